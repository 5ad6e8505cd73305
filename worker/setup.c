/* SPDX-License-Identifier: MIT */
#include "worker/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/log.h"
#include "jobs/options/skip.h"
#include "worker/cores.h"
#include "worker/needs.h"
#include "worker/results/check_layer.h"

/* mpirun binds ranks to one core, or to one socket, unless told otherwise. */
static void warn_of_binding(const awq_device *device, awq_neighbours neighbours)
{
    int share = awq_cores_online() / neighbours.workers;
    if (!device->threads || neighbours.index || device->threads >= share ||
        awq_cores_allowed() == awq_cores_online())
        return;
    char host[AWQ_HOST_BYTES] = "?";
    gethostname(host, sizeof host - 1);
    awq_report_warning("workers on %s are bound to %d of its %d cores each; 'mpirun --bind-to "
                       "none' gives them %d threads",
                       host, awq_cores_allowed(), awq_cores_online(), share);
}

/* The GPUs that the scheduler gave this job, as it names them; NULL: none, or nobody knows. */
static const char *given_gpus(void)
{
    const char *job = getenv("SLURM_JOB_GPUS"), *step = getenv("SLURM_STEP_GPUS");
    return job && *job ? job : step && *step ? step : NULL;
}

/* Workers take the GPUs that they see in turn: where each sees all of the node's, each has its own;
 * where the scheduler gives each its own, that one. Two that met on one are the coordinator's to
 * find (coordinator/crew/assign.h). A GPU computes in the model's type; a float32 model's range is
 * bfloat16's. */
static awq_device_options device_options(const awq_worker *worker, const awq_backend *backend)
{
    awq_neighbours neighbours = awq_mail_neighbours(worker->mail);
    awq_error none;
    int gpus = backend->survey ? backend->survey(NULL, 0, &none) : 0; /* 0: open says why */
    int threads = (int)worker->told.job.options.threads;
    if (!threads) threads = awq_cores_allowed() / neighbours.sharing;
    bool half = worker->has.checkpoint[0] && awq_worker_model(worker, 0)->dtype == AWQ_F16;
    return (awq_device_options){.threads = threads > 0 ? threads : 1,
                                .processor = awq_mail_processor(worker->mail),
                                .earlier = worker->told.job.kind,
                                .index = gpus ? neighbours.index % gpus : 0,
                                .compute = half ? AWQ_F16 : AWQ_BF16};
}

static awq_status open_device(awq_worker *worker, awq_error *err)
{
    const awq_options *options = &worker->told.job.options;
    awq_holdings *has = &worker->has;
    bool first = !awq_mail_neighbours(worker->mail).index; /* says things once a node */
    const awq_backend *backend = NULL;
    awq_error why;
    if (awq_needs_backend(options, &backend, &why, err)) return err->status;
    if (!backend->survey && !strcmp(options->backend, "auto") && given_gpus() &&
        !worker->purpose->compares)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "SLURM gave this job GPUs (%s), and none can be used: %s; give --backend "
                        "cpu to compute without them",
                        given_gpus(), *why.text ? why.text : "this build has no CUDA backend");
    if (*why.text && first) awq_log(AWQ_LOG_INFO, "backend=%s: %s", backend->name, why.text);
    has->device_options = device_options(worker, backend);
    if (backend->open(&has->device_options, &has->device, err)) return err->status;
    if (*has->device->warning && first) awq_log(AWQ_LOG_INFO, "warning: %s", has->device->warning);
    if (!options->threads) warn_of_binding(has->device, awq_mail_neighbours(worker->mail));
    return AWQ_OK;
}

/* Problems become one error: a worker can only meet them when files changed under the job. */
static awq_status open_model(const char *directory, awq_checkpoint **out, awq_error *err)
{
    awq_problems problems;
    awq_problems_init(&problems);
    *out = awq_checkpoint_open(directory, &problems);
    awq_status status = AWQ_OK;
    if (!*out) {
        *err = problems.items[0];
        status = err->status;
    }
    awq_problems_release(&problems);
    return status;
}

/* Whether tiles can go from GPU to GPU; NCCL is not loaded for a job that has no use for it. */
static void look_for_links(const awq_worker *worker, awq_hello *hello)
{
    const awq_links *links = worker->has.device->backend->links;
    awq_error err;
    if (worker->told.job.options.transport == AWQ_TRANSPORT_MPI || awq_mail_size(worker->mail) < 3)
        snprintf(hello->no_link, sizeof hello->no_link, "there is no use for it");
    else if (!links)
        snprintf(hello->no_link, sizeof hello->no_link, "the %s backend of this build has none",
                 worker->has.device->backend->name);
    else if (links->load(&err))
        snprintf(hello->no_link, sizeof hello->no_link, "%.250s", err.text);
}

/* Where others on the GPU leave less than the job was to have. */
static void tell_what_is_free(const awq_device *device, const awq_job_size *size)
{
    uint64_t wanted = awq_needs_wanted_bytes(size);
    if (!size->gpu_free || size->gpu_free >= wanted) return;
    awq_log(AWQ_LOG_INFO,
            "%s: %.2f of %.2f GB are free, less than the %.2f GB of --device-memory: the plan "
            "counts on what is free",
            device->name, 1e-9 * (double)size->gpu_free, 1e-9 * (double)device->memory_bytes,
            1e-9 * (double)wanted);
}

static void say_hello(awq_worker *worker)
{
    int workers = awq_mail_size(worker->mail); /* and the coordinator, unless it is one rank */
    awq_hello hello = {.pid = getpid(), .threads = worker->has.device->threads};
    gethostname(hello.host, sizeof hello.host - 1);
    snprintf(hello.device, sizeof hello.device, "%s", worker->has.device->name);
    snprintf(hello.kind, sizeof hello.kind, "%s%s%s", worker->has.device->backend->name,
             *worker->has.device->type ? " on " : "", worker->has.device->type);
    snprintf(hello.gpu, sizeof hello.gpu, "%s", worker->has.device->id);
    snprintf(hello.backend, sizeof hello.backend, "%s", worker->has.device->backend->name);
    look_for_links(worker, &hello);
    awq_job_size size = {.options = &worker->told.job.options,
                         .tokens = &worker->told.tokens,
                         .models = worker->purpose->scores ? worker->told.models : 0,
                         .workers = workers > 1 ? workers - 1 : 1,
                         .workers_on_node = awq_mail_neighbours(worker->mail).workers,
                         .gpu_bytes =
                             worker->has.device->threads ? 0 : worker->has.device->memory_bytes,
                         .gpu_free = worker->has.device->free_bytes};
    if (worker->told.tokens.ids) size.model = awq_worker_model(worker, 0);
    if (size.model) awq_needs_count(&size, worker->has.device->backend->compute_bytes, &hello);
    tell_what_is_free(worker->has.device, &size);
    worker->has.needs = hello;
    awq_worker_tell(worker, awq_letter_write(AWQ_LETTER_HELLO, 0, 0, &hello, sizeof hello));
}

/* verify takes a checkpoint and, for what it is to be compared with, neither model nor tokens, or a
 * model, or both. */
static awq_status open_inputs(awq_worker *worker, awq_error *err)
{
    awq_told *told = &worker->told;
    awq_holdings *has = &worker->has;
    const awq_options *options = &told->job.options;
    told->models = 1;
    if (worker->purpose->compares && awq_verify_open(worker, err)) return err->status;
    if (!options->model) return AWQ_OK;
    if (open_model(options->model, &has->checkpoint[0], err)) return err->status;
    if (!worker->purpose->scores) awq_checkpoint_dequantize(has->checkpoint[0]);
    if (awq_job_skip(options, has->checkpoint[0], NULL, err)) return err->status;
    if (!options->tokens) return AWQ_OK;
    if (worker->purpose->scores && options->against) told->models = 2;
    if (told->models == 2 && open_model(options->against, &has->checkpoint[1], err))
        return err->status;
    if (awq_tokens_read(options->tokens, options->sequences, &told->tokens, err))
        return err->status;
    told->hidden = awq_worker_model(worker, 0)->residual;
    told->tiles = awq_job_tiles(options, &told->tokens);
    told->tile_sequences = awq_job_tile_sequences(options, &told->tokens);
    if (worker->purpose->gathers)
        told->kept_sequences = awq_needs_kept_sequences(options, &told->tokens);
    return AWQ_OK;
}

awq_status awq_worker_setup(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    awq_options *options = &worker->told.job.options;
    if (awq_job_from_text((const char *)letter->payload, letter->bytes, &worker->told.job, err))
        return err->status;
    worker->told.ready = true;
    awq_log_init(awq_mail_rank(worker->mail), options->quiet     ? AWQ_LOG_QUIET
                                              : options->verbose ? AWQ_LOG_VERBOSE
                                                                 : AWQ_LOG_INFO);
    awq_log_set_json(options->log_json);
    if (open_inputs(worker, err) || open_device(worker, err)) return err->status;
    say_hello(worker);
    return AWQ_OK;
}

void awq_worker_teardown(awq_worker *worker)
{
    awq_verify_close(worker);
    awq_output_release(&worker->has.output);
    if (worker->has.device) worker->has.device->backend->close(worker->has.device);
    awq_tokens_release(&worker->told.tokens);
    for (int i = 0; i < AWQ_MODELS; i++) awq_checkpoint_close(worker->has.checkpoint[i]);
    if (worker->told.ready) awq_options_release(&worker->told.job.options);
}
