/* SPDX-License-Identifier: MIT
 * From the JOB letter to the HELLO: open the device, the model and the tokens. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/core/log.h"
#include "jobs/options/skip.h"
#include "worker/cores.h"
#include "worker/needs.h"
#include "worker/state.h"
#include "worker/worker.h"

static int threads_share(awq_neighbours neighbours)
{
    int threads = awq_cores_allowed() / neighbours.sharing;
    return threads > 0 ? threads : 1;
}

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

/* A GPU computes in the model's type; a float32 model's range is bfloat16's. */
static awq_dtype compute_type(const awq_checkpoint *checkpoint)
{
    return checkpoint && awq_checkpoint_model(checkpoint)->dtype == AWQ_F16 ? AWQ_F16 : AWQ_BF16;
}

/* Workers take the GPUs that they see in turn: where each sees all of the node's, each has its own;
 * where the scheduler gives each its own, that one. Two that met on one are the coordinator's to
 * find (coordinator/crew_gpus.h). */
static int gpu_index(const awq_backend *backend, awq_neighbours neighbours)
{
    awq_error none;
    int count = backend->survey ? backend->survey(NULL, 0, &none) : 0;
    return count ? neighbours.index % count : 0; /* none: open says what is missing */
}

/* The GPUs that the scheduler gave this job, as it names them; NULL: none, or nobody knows. */
static const char *given_gpus(void)
{
    const char *job = getenv("SLURM_JOB_GPUS"), *step = getenv("SLURM_STEP_GPUS");
    return job && *job ? job : step && *step ? step : NULL;
}

static awq_status open_device(const awq_options *options, awq_dtype compute,
                              awq_neighbours neighbours, awq_worker *worker, awq_error *err)
{
    const awq_backend *backend = NULL;
    awq_error why;
    if (awq_needs_backend(options, &backend, &why, err)) return err->status;
    if (!backend->survey && !strcmp(options->backend, "auto") && given_gpus() &&
        worker->job.command != AWQ_COMMAND_VERIFY)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "SLURM gave this job GPUs (%s), and none can be used: %s; give --backend "
                        "cpu to compute without them",
                        given_gpus(), *why.text ? why.text : "this build has no CUDA backend");
    if (*why.text && !neighbours.index) /* once a node */
        awq_log(AWQ_LOG_INFO, "backend=%s: %s", backend->name, why.text);
    worker->device_options = (awq_device_options){
        .threads = options->threads ? (int)options->threads : threads_share(neighbours),
        .processor = awq_mail_processor(worker->mail),
        .earlier = worker->job.kind,
        .index = gpu_index(backend, neighbours),
        .compute = compute};
    if (backend->open(&worker->device_options, &worker->device, err)) return err->status;
    if (*worker->device->warning && !neighbours.index)
        awq_log(AWQ_LOG_INFO, "warning: %s", worker->device->warning);
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
    const awq_links *links = worker->device->backend->links;
    awq_error err;
    if (worker->job.options.transport == AWQ_TRANSPORT_MPI || awq_mail_size(worker->mail) < 3)
        snprintf(hello->no_link, sizeof hello->no_link, "there is no use for it");
    else if (!links)
        snprintf(hello->no_link, sizeof hello->no_link, "the %s backend of this build has none",
                 worker->device->backend->name);
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

static void say_hello(awq_worker *worker, int neighbours)
{
    int workers = awq_mail_size(worker->mail); /* and the coordinator, unless it is one rank */
    awq_hello hello = {.pid = getpid(), .threads = worker->device->threads};
    gethostname(hello.host, sizeof hello.host - 1);
    snprintf(hello.device, sizeof hello.device, "%s", worker->device->name);
    snprintf(hello.kind, sizeof hello.kind, "%s%s%s", worker->device->backend->name,
             *worker->device->type ? " on " : "", worker->device->type);
    snprintf(hello.gpu, sizeof hello.gpu, "%s", worker->device->id);
    snprintf(hello.backend, sizeof hello.backend, "%s", worker->device->backend->name);
    look_for_links(worker, &hello);
    awq_job_size size = {.options = &worker->job.options,
                         .tokens = &worker->tokens,
                         .models = worker->models,
                         .workers = workers > 1 ? workers - 1 : 1,
                         .workers_on_node = neighbours,
                         .gpu_bytes = worker->device->threads ? 0 : worker->device->memory_bytes,
                         .gpu_free = worker->device->free_bytes};
    if (worker->tokens.ids) size.model = awq_checkpoint_model(worker->checkpoint[0]);
    if (size.model) awq_needs_count(&size, worker->device->backend->compute_bytes, &hello);
    tell_what_is_free(worker->device, &size);
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_write(AWQ_LETTER_HELLO, 0, 0, &hello, sizeof hello));
}

static void boundary_done(void *context, int64_t layer)
{
    awq_worker *worker = context;
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_create(AWQ_LETTER_BOUNDARY_DONE, layer, 0, 0));
}

static void boundary_failed(void *context, const awq_error *err)
{
    awq_worker_fail(context, err);
}

awq_status awq_worker_start_keeper(awq_worker *worker, awq_error *err)
{
    awq_keeper_options options = {
        .run = worker->job.run_directory,
        .fingerprint = worker->fingerprint,
        .shape = {.sequences = worker->tokens.sequences,
                  .tile_sequences = worker->tile_sequences,
                  .length = worker->tokens.length,
                  .hidden = awq_checkpoint_model(worker->checkpoint[0])->residual},
        .done = boundary_done,
        .failed = boundary_failed,
        .context = worker,
    };
    return awq_keeper_start(&options, worker->to_keep, &worker->keeper, err);
}

/* verify takes a checkpoint and, for what it is to be compared with, neither model nor tokens, or a
 * model, or both. */
static awq_status open_inputs(awq_worker *worker, awq_error *err)
{
    const awq_options *options = &worker->job.options;
    if (worker->job.command == AWQ_COMMAND_VERIFY && awq_verify_open(worker, err))
        return err->status;
    if (!options->model) return AWQ_OK;
    if (open_model(options->model, &worker->checkpoint[0], err) ||
        awq_job_skip(options, worker->checkpoint[0], NULL, err))
        return err->status;
    if (!options->tokens) return AWQ_OK;
    if (worker->job.command == AWQ_COMMAND_EVAL) worker->models = options->against ? 2 : 1;
    if (worker->models == 2 && open_model(options->against, &worker->checkpoint[1], err))
        return err->status;
    if (awq_tokens_read(options->tokens, options->sequences, &worker->tokens, err))
        return err->status;
    worker->tile_sequences = awq_job_tile_sequences(options, &worker->tokens);
    worker->tiles_in_job = awq_job_tiles(options, &worker->tokens);
    return AWQ_OK;
}

awq_status awq_worker_setup(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    awq_neighbours neighbours = awq_mail_neighbours(worker->mail);
    if (awq_job_from_text((const char *)letter->payload, letter->bytes, &worker->job, err))
        return err->status;
    worker->ready = true;
    awq_log_init(awq_mail_rank(worker->mail), worker->job.options.quiet     ? AWQ_LOG_QUIET
                                              : worker->job.options.verbose ? AWQ_LOG_VERBOSE
                                                                            : AWQ_LOG_INFO);
    awq_log_set_json(worker->job.options.log_json);
    if (open_inputs(worker, err) ||
        open_device(&worker->job.options, compute_type(worker->checkpoint[0]), neighbours, worker,
                    err))
        return err->status;
    if (!worker->job.options.threads) warn_of_binding(worker->device, neighbours);
    say_hello(worker, neighbours.workers);
    return AWQ_OK;
}

void awq_worker_teardown(awq_worker *worker)
{
    awq_keeper_free(worker->keeper);
    awq_verify_close(worker);
    if (worker->device) worker->device->backend->close(worker->device);
    awq_tokens_release(&worker->tokens);
    for (int i = 0; i < AWQ_MODELS; i++) awq_checkpoint_close(worker->checkpoint[i]);
    if (worker->ready) awq_options_release(&worker->job.options);
}
