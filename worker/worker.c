/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "io/core/clock.h"
#include "io/core/log.h"
#include "kernels/backend.h"
#include "worker/cores.h"
#include "worker/state.h"

static const double heartbeat_seconds = 1;
static const long look_nanoseconds = 50000000;
/* How long a compute thread may take to notice STOP before it is left behind. Whatever it was
 * writing is not published, so nothing durable depends on it. */
static const double patience_seconds = 2;

awq_status awq_worker_check(awq_worker *worker, awq_error *err)
{
    if (!atomic_load(&worker->stop) && !atomic_load(&worker->wind_down)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERRUPTED, "told to stop");
}

void awq_worker_progress(awq_worker *worker, int64_t stage, int64_t layer, int64_t tile,
                         awq_phase phase, double flops)
{
    pthread_mutex_lock(&worker->mutex);
    awq_progress *progress = &worker->progress;
    awq_work work = phase == AWQ_PHASE_FORWARD ? AWQ_WORK_FLOW : AWQ_WORK_SEARCH;
    double now = awq_clock_seconds();
    progress->stage = stage;
    progress->layer = layer;
    progress->tile = tile;
    progress->phase = phase;
    progress->flops[work] += flops;
    if (flops > 0) progress->seconds[work] += now - worker->resumed;
    worker->resumed = now;
    pthread_mutex_unlock(&worker->mutex);
}

void awq_worker_resume(awq_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->resumed = awq_clock_seconds();
    pthread_mutex_unlock(&worker->mutex);
}

void awq_worker_count_tile(awq_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->progress.tiles++;
    pthread_mutex_unlock(&worker->mutex);
}

void awq_worker_count_stage(awq_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->progress.stages++;
    pthread_mutex_unlock(&worker->mutex);
}

void awq_worker_wait(pthread_cond_t *changed, pthread_mutex_t *mutex)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += look_nanoseconds;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_cond_timedwait(changed, mutex, &end);
}

void awq_worker_fail(awq_worker *worker, const awq_error *err)
{
    if (atomic_exchange(&worker->failed, true)) return;
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_write(AWQ_LETTER_ERROR, 0, 0, err, sizeof *err));
}

/* ---- the compute thread ---- */

static awq_status run_stages(awq_worker *worker, const awq_stage *stages, int64_t count,
                             const bool *done, awq_error *err)
{
    int self = awq_worker_number(worker) - 1;
    awq_status status = AWQ_OK;
    for (int64_t i = 0; !status && i < count; i++)
        if (stages[i].worker == self)
            status = worker->job.command == AWQ_COMMAND_EVAL
                         ? awq_eval_stage(worker, stages, i, err)
                         : awq_quantize_stage(worker, stages, i, done, err);
    if (!status) awq_worker_progress(worker, -1, -1, -1, AWQ_PHASE_WRITE, 0);
    return status;
}

static bool has_stage(const awq_worker *worker, const awq_stage *stages, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (stages[i].worker == awq_worker_number(worker) - 1) return true;
    return false;
}

/* Before links are open: it may wait for all of the GPU. */
static awq_status take_result_memory(awq_worker *worker, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(worker->checkpoint[0]);
    size_t bytes = awq_quantized_codes_bytes(model, &worker->job.options.recipe);
    return awq_result_memory_create(worker->device, bytes, &worker->result_memory, err);
}

/* The threads beside the compute thread, while it works on a plan, and what they hand over. */
static awq_status start_helpers(awq_worker *worker, const awq_stage *stages, int64_t count,
                                bool linked, awq_error *err)
{
    if (worker->job.command != AWQ_COMMAND_EVAL && has_stage(worker, stages, count) &&
        take_result_memory(worker, err))
        return err->status;
    if (worker->job.command == AWQ_COMMAND_QUANTIZE &&
        (awq_worker_start_keeper(worker, err) ||
         awq_publisher_start(worker, &worker->publisher, err)))
        return err->status;
    if (awq_reader_start(worker, stages, count, &worker->reader, err)) return err->status;
    if (!linked) return AWQ_OK;
    return awq_outlet_start(worker, stages, count, &worker->outlet, err)
               ? err->status
               : awq_inlet_start(worker, stages, count, &worker->inlet, err);
}

static void end_helpers(awq_worker *worker)
{
    awq_outlet_free(worker->outlet);
    awq_inlet_free(worker->inlet);
    awq_reader_free(worker->reader);
    worker->outlet = NULL;
    worker->inlet = NULL;
    worker->reader = NULL;
}

static awq_status run_plan(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    const awq_plan_head *head = (const awq_plan_head *)(const void *)letter->payload;
    const awq_stage *stages = (const awq_stage *)(const void *)(head + 1);
    const bool *done = (const bool *)(stages + letter->a);
    memcpy(worker->fingerprint, head->fingerprint, sizeof worker->fingerprint);
    awq_unfolder_free(worker->unfolder); /* a stage counts on all of the memory */
    worker->unfolder = NULL;
    awq_status status = start_helpers(worker, stages, letter->a, head->linked, err);
    if (!status) status = run_stages(worker, stages, letter->a, done, err);
    awq_publisher_free(worker->publisher); /* an error does not lose what is made */
    worker->publisher = NULL;
    awq_result_memory_free(worker->result_memory);
    worker->result_memory = NULL;
    if (status && status != AWQ_ERR_INTERRUPTED)
        awq_worker_fail(worker, err); /* before waiting for threads that wait for other workers */
    end_helpers(worker);
    return status;
}

static awq_status run_task(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    switch (letter->kind) {
    case AWQ_LETTER_JOB:
        return awq_worker_setup(worker, letter, err);
    case AWQ_LETTER_PLAN:
        return run_plan(worker, letter, err);
    case AWQ_LETTER_SHARD:
        return awq_worker_assemble(worker, letter->a, err);
    case AWQ_LETTER_VERIFY:
        return awq_worker_verify(worker, letter->a, err);
    case AWQ_LETTER_WIND_DOWN:
        awq_mail_post(worker->mail, AWQ_COORDINATOR,
                      awq_letter_create(AWQ_LETTER_WOUND_DOWN, 0, 0, 0));
        return AWQ_OK;
    default:
        return awq_fail(err, AWQ_ERR_INTERNAL, "a letter of kind %d came to a worker",
                        letter->kind);
    }
}

static void *compute(void *argument)
{
    awq_worker *worker = argument;
    awq_error err;
    for (awq_letter *letter; (letter = awq_queue_take(worker->tasks));) {
        if (!atomic_load(&worker->failed) && run_task(worker, letter, &err) &&
            err.status != AWQ_ERR_INTERRUPTED)
            awq_worker_fail(worker, &err);
        awq_letter_free(letter);
    }
    awq_worker_teardown(worker);
    atomic_store(&worker->finished, true);
    return NULL;
}

/* ---- the main thread ---- */

static void release(awq_worker *worker)
{
    awq_queue_free(worker->tasks);
    awq_queue_free(worker->tiles);
    awq_queue_free(worker->link_ids);
    awq_queue_free(worker->announced);
    awq_queue_free(worker->to_keep);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

awq_status awq_worker_start(awq_mail *mail, awq_worker **out, awq_error *err)
{
    awq_worker *worker = calloc(1, sizeof *worker);
    if (!worker) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a worker");
    worker->mail = mail;
    worker->progress = (awq_progress){.stage = -1, .layer = -1, .tile = -1};
    pthread_mutex_init(&worker->mutex, NULL);
    worker->tasks = awq_queue_create();
    worker->tiles = awq_queue_create();
    worker->link_ids = awq_queue_create();
    worker->announced = awq_queue_create();
    worker->to_keep = awq_queue_create();
    if (!worker->tasks || !worker->tiles || !worker->link_ids || !worker->announced ||
        !worker->to_keep || pthread_create(&worker->compute, NULL, compute, worker)) {
        release(worker);
        return awq_fail(err, AWQ_ERR_MEMORY, "cannot start the compute thread");
    }
    *out = worker;
    return AWQ_OK;
}

static void stop(awq_worker *worker, const awq_letter *letter)
{
    worker->exit_code = (int)letter->a;
    worker->stopped = awq_clock_seconds();
    atomic_store(&worker->stop, true);
    awq_queue_close(worker->tasks);
    awq_queue_close(worker->tiles);
    awq_queue_close(worker->link_ids);
    awq_queue_close(worker->announced);
    awq_queue_close(worker->to_keep);
    awq_mail_release_waiters(worker->mail);
}

/* Nothing new begins; who waits for tiles waits in vain. The answer at once tells that this rank
 * is alive; the task behind the others tells that nothing is under way any more. */
static bool wind_down(awq_worker *worker, awq_letter *letter)
{
    worker->last_heartbeat = 0;
    atomic_store(&worker->wind_down, true);
    awq_queue_close(worker->tiles);
    awq_queue_close(worker->link_ids);
    awq_queue_close(worker->announced);
    awq_mail_release_waiters(worker->mail);
    return awq_queue_put(worker->tasks, letter);
}

static bool receive_tile(awq_worker *worker, awq_letter *letter)
{
    bool kept = true;
    if (!letter->bytes) return awq_queue_put(worker->announced, letter);
    if (worker->command == AWQ_COMMAND_QUANTIZE)
        kept = awq_queue_put(worker->to_keep, awq_letter_share(letter));
    return awq_queue_put(worker->tiles, letter) && kept;
}

static bool receive_job(awq_worker *worker, awq_letter *letter)
{
    worker->command = (awq_command)letter->a;
    worker->timeout = (double)letter->b;
    return awq_queue_put(worker->tasks, letter);
}

static bool receive(awq_worker *worker, awq_letter *letter)
{
    switch (letter->kind) {
    case AWQ_LETTER_STOP:
        stop(worker, letter);
        awq_letter_free(letter);
        return true;
    case AWQ_LETTER_PING:
        awq_letter_free(letter);
        return true;
    case AWQ_LETTER_WIND_DOWN:
        return wind_down(worker, letter);
    case AWQ_LETTER_LINK:
        return awq_queue_put(worker->link_ids, letter);
    case AWQ_LETTER_TILE:
        return receive_tile(worker, letter);
    case AWQ_LETTER_JOB:
        return receive_job(worker, letter);
    default:
        return awq_queue_put(worker->tasks, letter);
    }
}

void awq_worker_receive(awq_worker *worker, awq_letter *letter)
{
    if (letter->from == AWQ_COORDINATOR) worker->last_heard = awq_clock_seconds();
    if (receive(worker, letter)) return;
    awq_error err;
    awq_fail(&err, AWQ_ERR_MEMORY, "no memory for a letter that arrived");
    awq_worker_fail(worker, &err);
}

static void heartbeat(awq_worker *worker)
{
    double now = awq_clock_seconds();
    if (!worker->command || now - worker->last_heartbeat < heartbeat_seconds) return;
    worker->last_heartbeat = now;
    pthread_mutex_lock(&worker->mutex);
    awq_progress progress = worker->progress;
    pthread_mutex_unlock(&worker->mutex);
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_write(AWQ_LETTER_ALIVE, 0, 0, &progress, sizeof progress));
}

bool awq_worker_tick(awq_worker *worker, int *exit_code)
{
    bool finished = atomic_load(&worker->finished);
    bool left_behind = worker->stopped && worker->exit_code &&
                       awq_clock_seconds() - worker->stopped > patience_seconds;
    if (!worker->said_goodbye) heartbeat(worker);
    if (!worker->said_goodbye && (finished || left_behind)) {
        worker->said_goodbye = true;
        awq_mail_post(worker->mail, AWQ_COORDINATOR,
                      awq_letter_create(AWQ_LETTER_BYE, worker->exit_code, 0, 0));
    }
    *exit_code = worker->exit_code;
    return worker->said_goodbye;
}

bool awq_worker_free(awq_worker *worker)
{
    if (!worker) return true;
    if (!atomic_load(&worker->finished)) return false;
    pthread_join(worker->compute, NULL);
    release(worker);
    return true;
}

/* A coordinator that hangs would hold its workers for ever. Time during which this process itself
 * did not run (it was stopped, or the node suspended) is not the coordinator's silence. */
static awq_status check_coordinator(awq_worker *worker, awq_error *err)
{
    double now = awq_clock_seconds(), away = now - worker->last_turn;
    worker->last_turn = now;
    if (away > heartbeat_seconds) worker->last_heard = now;
    double silent = now - worker->last_heard;
    if (!worker->timeout || silent < worker->timeout) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MPI,
                    "the coordinator has been silent for %.0f s; look at its node, then run the "
                    "same command again",
                    silent);
}

awq_status awq_worker_run(awq_mail *mail, int *exit_code, bool *left_behind, awq_error *err)
{
    awq_worker *worker;
    *left_behind = true;
    if (awq_worker_start(mail, &worker, err)) return err->status;
    do {
        awq_letter *letter;
        if (awq_mail_pump(mail, &letter, err) || check_coordinator(worker, err))
            return err->status; /* main.c ends the job */
        if (letter) awq_worker_receive(worker, letter);
    } while (!awq_worker_tick(worker, exit_code));
    /* the goodbye alone, when the job has failed: another worker may hang, with a tile unread */
    awq_status status = awq_mail_flush(mail, *exit_code ? AWQ_COORDINATOR : -1, 5, err);
    *left_behind = !awq_worker_free(worker);
    return status;
}

uint64_t awq_worker_cores(void)
{
    return awq_cores_place();
}

int awq_worker_processor(void)
{
    return awq_processor();
}
