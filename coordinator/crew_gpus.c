/* SPDX-License-Identifier: MIT */
#include "coordinator/crew_gpus.h"

#include <string.h>

#include "io/core/log.h"

static bool on_one_gpu(const awq_hello *a, const awq_hello *b)
{
    return *a->gpu && !strcmp(a->gpu, b->gpu);
}

/* The next worker on the GPU of worker `first`; -1: there is none. */
static int next_on_gpu(const awq_crew *crew, int first)
{
    for (int i = first + 1; i < crew->count; i++)
        if (on_one_gpu(&crew->members[first].hello, &crew->members[i].hello)) return i;
    return -1;
}

static int count_on_gpu(const awq_crew *crew, int worker)
{
    int count = 1;
    for (int i = 0; i < crew->count; i++)
        count += i != worker && on_one_gpu(&crew->members[i].hello, &crew->members[worker].hello);
    return count;
}

static awq_status refuse(const awq_crew *crew, int first, int second, awq_error *err)
{
    const awq_hello *hello = &crew->members[first].hello;
    return awq_fail(err, AWQ_ERR_INPUT,
                    "workers %d and %d on %s would share %s (%s); start one worker for each GPU, "
                    "or give --share-gpu",
                    first + 1, second + 1, hello->host, hello->device, hello->gpu);
}

awq_status awq_crew_share_gpus(awq_crew *crew, const awq_options *options, awq_error *err)
{
    for (int i = 0; i < crew->count; i++) {
        int other = next_on_gpu(crew, i);
        if (other >= 0 && !options->share_gpu) return refuse(crew, i, other, err);
    }
    for (int i = 0; options->device_memory.percent && i < crew->count; i++)
        crew->members[i].hello.budget_bytes /= (uint64_t)count_on_gpu(crew, i);
    return AWQ_OK;
}

/* Why tiles cannot go from GPU to GPU: because of one worker, or of all. AWQ_OK: they can. NCCL
 * refuses two ranks on one GPU. */
static awq_status check_links(const awq_crew *crew, awq_error *err)
{
    for (int i = 0; i < crew->count; i++) {
        char who[256];
        awq_crew_describe(crew, i, who, sizeof who);
        if (*crew->members[i].hello.no_link)
            return awq_fail(err, AWQ_ERR_INPUT, "%s has no NCCL: %s", who,
                            crew->members[i].hello.no_link);
        if (next_on_gpu(crew, i) >= 0)
            return awq_fail(err, AWQ_ERR_INPUT, "%s shares its GPU, and NCCL takes one a worker",
                            who);
    }
    return AWQ_OK;
}

awq_status awq_crew_choose_transport(awq_crew *crew, const awq_options *options, awq_error *err)
{
    crew->linked = false;
    if (crew->count < 2 || options->transport == AWQ_TRANSPORT_MPI) return AWQ_OK;
    awq_status status = check_links(crew, err);
    if (status && options->transport == AWQ_TRANSPORT_NCCL)
        return awq_error_wrap(err, "--transport nccl");
    crew->linked = !status;
    awq_log(AWQ_LOG_VERBOSE, "transport=%s%s%s", status ? "mpi" : "nccl", status ? ": " : "",
            status ? err->text : "");
    return AWQ_OK;
}
