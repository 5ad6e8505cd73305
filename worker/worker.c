/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "io/core/clock.h"
#include "io/core/log.h"
#include "layers/quantize/quantize.h"
#include "worker/context.h"
#include "worker/cores.h"
#include "worker/flow/keeper.h"
#include "worker/flow/parts.h"
#include "worker/flow/port.h"
#include "worker/flow/reader.h"
#include "worker/flow/shelf.h"
#include "worker/flow/stage.h"
#include "worker/results/check_layer.h"
#include "worker/results/publisher.h"
#include "worker/results/shard.h"
#include "worker/setup.h"

static const double heartbeat_seconds = 1;
/* How long a compute thread may take to notice STOP before it is left behind. Whatever it was
 * writing is not published, so nothing durable depends on it. */
static const double patience_seconds = 2;

/* ---- a plan; the compute thread ---- */

/* The PLAN letter. */
typedef struct given_plan {
    const awq_plan_head *head;
    const awq_stage *stages; /* [count] */
    int64_t count;
    const bool *done; /* by layer */
    bool mine;        /* a stage is this worker's */
} given_plan;

static given_plan plan_of(const awq_worker *worker, const awq_letter *letter)
{
    given_plan plan = {.head = (const awq_plan_head *)(const void *)letter->payload,
                       .count = letter->a};
    plan.stages = (const awq_stage *)(const void *)(plan.head + 1);
    plan.done = (const bool *)(plan.stages + plan.count);
    for (int64_t i = 0; i < plan.count; i++)
        if (plan.stages[i].worker == awq_worker_number(worker) - 1) plan.mine = true;
    return plan;
}

static bool is_mine(const awq_worker *worker, const awq_stage *stage)
{
    return stage->worker == awq_worker_number(worker) - 1;
}

/* The most that a layer of this worker's stages has of codes. */
static size_t codes_bytes(const awq_worker *worker, const given_plan *plan)
{
    size_t most = 0;
    for (const awq_stage *stage = plan->stages; stage < plan->stages + plan->count; stage++)
        for (int64_t i = 0; is_mine(worker, stage) && i < stage->count; i++) {
            size_t bytes = awq_quantized_codes_bytes(awq_worker_model(worker, 0), stage->first + i,
                                                     stage->part, &worker->told.job.options.recipe);
            if (bytes > most) most = bytes;
        }
    return most;
}

static void boundary_done(void *context, int64_t layer)
{
    awq_worker_tell(context, awq_letter_create(AWQ_LETTER_BOUNDARY_DONE, layer, 0, 0));
}

static void boundary_failed(void *context, const awq_error *err)
{
    awq_worker_fail(context, err);
}

static awq_status start_helpers(awq_worker *worker, const given_plan *plan, awq_error *err)
{
    const awq_purpose *purpose = worker->purpose;
    awq_told *told = &worker->told;
    awq_helpers *helpers = &worker->helpers;
    awq_keeper_options kept = {.run = told->job.run_directory,
                               .fingerprint = told->fingerprint,
                               .shape = awq_tile_boundary(told, 0),
                               .backend = worker->has.device->backend,
                               .device = &worker->has.device_options,
                               .done = boundary_done,
                               .failed = boundary_failed,
                               .context = worker};
    /* before links are open: it may wait for all of the GPU */
    if (purpose->gathers && plan->mine &&
        awq_result_memory_create(worker->has.device, codes_bytes(worker, plan),
                                 &worker->has.results, err))
        return err->status;
    if (!worker->has.shelf &&
        awq_shelf_create(worker, plan->stages, plan->count, &worker->has.shelf, err))
        return err->status;
    if (purpose->keeps && awq_keeper_start(&kept, worker->inbox.to_keep, &helpers->keeper, err))
        return err->status;
    if (purpose->gathers && !purpose->compares &&
        awq_publisher_start(worker, &helpers->publisher, err))
        return err->status;
    if (awq_reader_start(worker, plan->stages, plan->count, &helpers->reader, err))
        return err->status;
    if (!plan->head->linked) return AWQ_OK;
    if (awq_port_open(worker, AWQ_LINK_SENDS, plan->stages, plan->count, &helpers->outlet, err))
        return err->status;
    return awq_port_open(worker, AWQ_LINK_RECEIVES, plan->stages, plan->count, &helpers->inlet,
                         err);
}

static awq_status run_plan(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    given_plan plan = plan_of(worker, letter);
    memcpy(worker->told.fingerprint, plan.head->fingerprint, sizeof worker->told.fingerprint);
    awq_unfolder_free(worker->examined.unfolder); /* a stage counts on all of the memory */
    worker->examined.unfolder = NULL;
    awq_status status = start_helpers(worker, &plan, err);
    int64_t next = 0;
    for (; !status && next < plan.count; next++)
        if (is_mine(worker, &plan.stages[next]))
            status = awq_stage_run(worker, plan.stages, next, plan.done, err);
    if (status) awq_parts_decline(worker, plan.stages, next ? next - 1 : 0, plan.count, plan.done);
    if (!status) awq_worker_progress(worker, -1, -1, -1, AWQ_PHASE_WRITE, 0);
    awq_helpers *helpers = &worker->helpers;
    awq_publisher_free(helpers->publisher); /* an error does not lose what is made */
    awq_result_memory_free(worker->has.results);
    worker->has.results = NULL;
    if (!status && !worker->purpose->keeps) { /* nobody has anything of it */
        awq_shelf_free(worker->has.shelf);
        worker->has.shelf = NULL;
    }
    if (status && status != AWQ_ERR_INTERRUPTED)
        awq_worker_fail(worker, err); /* before waiting for threads that wait for other workers */
    awq_port_close(helpers->outlet);
    awq_port_close(helpers->inlet);
    awq_reader_free(helpers->reader);
    *helpers = (awq_helpers){.keeper = helpers->keeper}; /* which may wait for more tiles */
    return status;
}

/* ---- the compute thread ---- */

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
    case AWQ_LETTER_DRAIN:
        awq_worker_tell(worker, awq_letter_create(AWQ_LETTER_DRAINED, 0, 0, 0));
        return AWQ_OK;
    default:
        return awq_fail(err, AWQ_ERR_INTERNAL, "a letter of kind %d came to a worker",
                        letter->kind);
    }
}

static void drain_letters(awq_lane *lane)
{
    awq_letter *letter;
    while (awq_lane_drain(lane, &letter)) awq_letter_free(letter);
}

static void *compute(void *argument)
{
    awq_worker *worker = argument;
    awq_error err;
    awq_letter *letter;
    while (!awq_lane_take(worker->inbox.tasks, &letter, &err)) {
        if (!atomic_load(&worker->failed) && run_task(worker, letter, &err) &&
            err.status != AWQ_ERR_INTERRUPTED)
            awq_worker_fail(worker, &err);
        awq_letter_free(letter);
    }
    awq_keeper_free(worker->helpers.keeper);
    drain_letters(worker->inbox.tiles); /* which may have what the shelf has lent */
    drain_letters(worker->inbox.to_keep);
    awq_shelf_free(worker->has.shelf);
    awq_worker_teardown(worker);
    atomic_store(&worker->finished, true);
    return NULL;
}

/* ---- the main thread ---- */

/* Any number of letters, so that the main thread never waits. NULL: no memory. */
static awq_lane *letters_until(awq_worker *worker, awq_until until)
{
    return worker->lanes ? awq_lane_create(worker->lanes, until, 0, sizeof(awq_letter *)) : NULL;
}

static void free_letters(awq_lane *lane)
{
    drain_letters(lane);
    awq_lane_free(lane);
}

static void release(awq_worker *worker)
{
    free_letters(worker->inbox.tasks);
    free_letters(worker->inbox.tiles);
    free_letters(worker->inbox.to_keep);
    free_letters(worker->inbox.parts);
    free_letters(worker->inbox.packed);
    free_letters(worker->inbox.announced);
    free_letters(worker->inbox.link_ids);
    awq_lanes_free(worker->lanes);
    pthread_mutex_destroy(&worker->tally.mutex);
    free(worker);
}

awq_status awq_worker_start(awq_mail *mail, awq_worker **out, awq_error *err)
{
    awq_worker *worker = calloc(1, sizeof *worker);
    if (!worker) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a worker");
    worker->mail = mail;
    worker->tally.progress = (awq_progress){.stage = -1, .layer = -1, .tile = -1};
    pthread_mutex_init(&worker->tally.mutex, NULL);
    worker->lanes = awq_lanes_create();
    worker->inbox = (awq_inbox){.tasks = letters_until(worker, AWQ_UNTIL_STOP),
                                .tiles = letters_until(worker, AWQ_UNTIL_DRAIN),
                                .to_keep = letters_until(worker, AWQ_UNTIL_STOP),
                                .parts = letters_until(worker, AWQ_UNTIL_STOP),
                                .packed = letters_until(worker, AWQ_UNTIL_STOP),
                                .announced = letters_until(worker, AWQ_UNTIL_DRAIN),
                                .link_ids = letters_until(worker, AWQ_UNTIL_DRAIN)};
    const awq_inbox *inbox = &worker->inbox;
    if (!inbox->tasks || !inbox->tiles || !inbox->to_keep || !inbox->parts || !inbox->packed ||
        !inbox->announced || !inbox->link_ids ||
        pthread_create(&worker->compute, NULL, compute, worker)) {
        release(worker);
        return awq_fail(err, AWQ_ERR_MEMORY, "cannot start the compute thread");
    }
    *out = worker;
    return AWQ_OK;
}

/* Wakes whoever waits for a lane or for its sends. */
static void give_order(awq_worker *worker, awq_order order)
{
    awq_lanes_close(worker->lanes, order);
    awq_mail_release_waiters(worker->mail);
}

static awq_status receive(awq_worker *worker, awq_letter *letter, awq_error *err)
{
    const awq_inbox *inbox = &worker->inbox;
    awq_status status = AWQ_OK;
    switch (letter->kind) {
    case AWQ_LETTER_STOP:
        worker->main.exit_code = (int)letter->a;
        worker->main.stopped = awq_clock_seconds();
        give_order(worker, AWQ_STOP);
        awq_letter_free(letter);
        return AWQ_OK;
    case AWQ_LETTER_PING:
        awq_letter_free(letter);
        return AWQ_OK;
    case AWQ_LETTER_DRAIN: /* an answer at once tells that this rank is alive; the task behind
                                  the others tells that nothing is under way any more */
        worker->main.last_heartbeat = 0;
        give_order(worker, AWQ_DRAIN);
        return awq_worker_hand(inbox->tasks, letter, err);
    case AWQ_LETTER_PART:
        return awq_worker_hand(inbox->parts, letter, err);
    case AWQ_LETTER_PACKED:
        return awq_worker_hand(inbox->packed, letter, err);
    case AWQ_LETTER_PART_TILE: /* inside of a layer: no boundary */
        return awq_worker_hand(inbox->tiles, letter, err);
    case AWQ_LETTER_LINK:
        return awq_worker_hand(inbox->link_ids, letter, err);
    case AWQ_LETTER_TILE:
        if (!letter->bytes) return awq_worker_hand(inbox->announced, letter, err);
        if (worker->purpose->keeps)
            status = awq_worker_hand(inbox->to_keep, awq_letter_share(letter), err);
        return awq_worker_hand(inbox->tiles, letter, err) ? err->status : status;
    case AWQ_LETTER_JOB:
        worker->purpose = awq_purpose_of((awq_command)letter->a);
        worker->main.timeout = (double)letter->b;
        return awq_worker_hand(inbox->tasks, letter, err);
    default:
        return awq_worker_hand(inbox->tasks, letter, err);
    }
}

void awq_worker_receive(awq_worker *worker, awq_letter *letter)
{
    awq_error err;
    if (letter->from == AWQ_COORDINATOR) worker->main.last_heard = awq_clock_seconds();
    if (receive(worker, letter, &err) && err.status != AWQ_ERR_INTERRUPTED)
        awq_worker_fail(worker, &err);
}

bool awq_worker_tick(awq_worker *worker, int *exit_code)
{
    awq_main *own = &worker->main;
    double now = awq_clock_seconds();
    bool finished = atomic_load(&worker->finished);
    bool left_behind = own->stopped && own->exit_code && now - own->stopped > patience_seconds;
    *exit_code = own->exit_code;
    if (own->said_goodbye) return true;
    if (worker->purpose && now - own->last_heartbeat >= heartbeat_seconds) {
        own->last_heartbeat = now;
        pthread_mutex_lock(&worker->tally.mutex);
        awq_progress progress = worker->tally.progress;
        pthread_mutex_unlock(&worker->tally.mutex);
        awq_worker_tell(worker,
                        awq_letter_write(AWQ_LETTER_ALIVE, 0, 0, &progress, sizeof progress));
    }
    if (!finished && !left_behind) return false;
    own->said_goodbye = true;
    awq_worker_tell(worker, awq_letter_create(AWQ_LETTER_BYE, own->exit_code, 0, 0));
    return true;
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
    double now = awq_clock_seconds(), away = now - worker->main.last_turn;
    worker->main.last_turn = now;
    if (away > heartbeat_seconds) worker->main.last_heard = now;
    double silent = now - worker->main.last_heard;
    if (!worker->main.timeout || silent < worker->main.timeout) return AWQ_OK;
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
