/* SPDX-License-Identifier: MIT */
#include "coordinator/crew/assign.h"

#include <stdio.h>
#include <string.h>

#include "io/core/log.h"

/* ---- GPUs ---- */

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

/* Two on one GPU are refused, or share what is planned for it. */
static awq_status share_gpus(awq_crew *crew, const awq_options *options, awq_error *err)
{
    for (int i = 0; i < crew->count; i++) {
        const awq_hello *hello = &crew->members[i].hello;
        int other = next_on_gpu(crew, i);
        if (other >= 0 && !options->share_gpu)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "workers %d and %d on %s would share %s (%s); start one worker for "
                            "each GPU, or give --share-gpu",
                            i + 1, other + 1, hello->host, hello->device, hello->gpu);
    }
    for (int i = 0; options->device_memory.percent && i < crew->count; i++) {
        awq_hello *hello = &crew->members[i].hello;
        uint64_t sharing = 1;
        for (int j = 0; j < crew->count; j++)
            sharing += j != i && on_one_gpu(&crew->members[j].hello, hello);
        hello->budget_bytes /= sharing;
    }
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

awq_status awq_crew_hire(awq_crew *crew, const awq_job *job, awq_error *err)
{
    awq_transport transport = job->options.transport;
    crew->linked = false;
    if (awq_crew_greet(crew, job, err) || share_gpus(crew, &job->options, err)) return err->status;
    if (crew->count < 2 || transport == AWQ_TRANSPORT_MPI) return AWQ_OK;
    awq_status status = check_links(crew, err);
    if (status && transport == AWQ_TRANSPORT_NCCL) return awq_error_wrap(err, "--transport nccl");
    crew->linked = !status;
    awq_log(AWQ_LOG_VERBOSE, "transport=%s%s%s", status ? "mpi" : "nccl", status ? ": " : "",
            status ? err->text : "");
    return AWQ_OK;
}

/* ---- layers ---- */

/* What does not fit beside a GPU is refused now, not when the node runs out of it. */
static awq_status check_host(const awq_hello *hello, int64_t layers, awq_error *err)
{
    uint64_t bytes = awq_plan_host_bytes(hello, layers);
    if (!hello->host_budget_bytes || bytes <= hello->host_budget_bytes) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY,
                    "%.2f GB of the node's memory are needed beside the GPU, and its share of what "
                    "is free is %.2f GB; take fewer --sequences, lower --tile-tokens%s, or run "
                    "fewer workers on a node",
                    1e-9 * (double)bytes, 1e-9 * (double)hello->host_budget_bytes,
                    hello->inputs_bytes ? " or --inputs-memory" : "");
}

awq_status awq_crew_shape(const awq_crew *crew, const awq_options *options, const awq_model *model,
                          int64_t layers, awq_plan_shape *out, awq_error *err)
{
    int64_t least = layers, parts = 1;
    for (int i = 0; i < crew->count; i++) {
        int64_t wanted = awq_plan_parts(layers, crew->count, options, &crew->members[i].hello);
        if (wanted > parts) parts = wanted;
    }
    for (int i = 0; i < crew->count; i++) {
        awq_hello needs = awq_plan_part_needs(&crew->members[i].hello, parts);
        int64_t fits;
        if (awq_plan_stage_layers(layers, crew->count, options->stage_layers, &needs, &fits, err) ||
            check_host(&needs, parts > 1 ? 1 : fits, err)) {
            char who[256];
            awq_crew_describe(crew, i, who, sizeof who);
            if (parts > 1) awq_error_wrap(err, "in %lld parts", (long long)parts);
            return awq_error_wrap(err, "%s", who);
        }
        if (fits < least) least = fits;
    }
    *out = (awq_plan_shape){.stage_layers = least > 0 ? least : 1,
                            .parts = parts,
                            .model = model,
                            .workers = crew->count};
    return AWQ_OK;
}

uint64_t awq_crew_file_bytes(const awq_crew *crew, const awq_plan *plan)
{
    uint64_t sum = 0;
    for (int i = 0; i < crew->count; i++) {
        uint64_t most = 0;
        for (const awq_stage *s = plan->stages; s < plan->stages + plan->stage_count; s++) {
            uint64_t bytes =
                s->worker == i ? awq_plan_file_bytes(&crew->members[i].hello, s->count) : 0;
            if (bytes > most) most = bytes;
        }
        sum += most;
    }
    return sum;
}

void awq_crew_send_plan(awq_crew *crew, const awq_plan *plan, const char *fingerprint)
{
    size_t stages = (size_t)plan->stage_count * sizeof *plan->stages;
    size_t layers = (size_t)plan->layers * sizeof *plan->done;
    awq_plan_head head = {.linked = crew->linked};
    if (fingerprint) snprintf(head.fingerprint, sizeof head.fingerprint, "%s", fingerprint);
    for (int i = 0; i < crew->count; i++) {
        awq_letter *letter = awq_letter_create(AWQ_LETTER_PLAN, plan->stage_count, plan->layers,
                                               sizeof head + stages + layers);
        if (letter) {
            unsigned char *to = letter->payload;
            memcpy(to, &head, sizeof head);
            memcpy(to + sizeof head, plan->stages, stages);
            memcpy(to + sizeof head + stages, plan->done, layers);
        }
        awq_crew_send(crew, i, letter);
    }
}
