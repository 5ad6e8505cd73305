/* SPDX-License-Identifier: MIT */
#include "worker/context.h"

#include "io/core/clock.h"

const awq_purpose *awq_purpose_of(awq_command command)
{
    static const awq_purpose quantize = {.gathers = true, .keeps = true};
    static const awq_purpose verify = {.gathers = true, .compares = true};
    static const awq_purpose eval = {.scores = true};
    if (command == AWQ_COMMAND_EVAL) return &eval;
    return command == AWQ_COMMAND_VERIFY ? &verify : &quantize;
}

awq_status awq_worker_check(awq_worker *worker, awq_error *err)
{
    if (awq_lanes_order(worker->lanes) == AWQ_CARRY_ON) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERRUPTED, "stopped by the coordinator");
}

void awq_worker_tell(const awq_worker *worker, awq_letter *letter)
{
    awq_mail_post(worker->mail, AWQ_COORDINATOR, letter);
}

void awq_worker_fail(awq_worker *worker, const awq_error *err)
{
    if (atomic_exchange(&worker->failed, true)) return;
    awq_worker_tell(worker, awq_letter_write(AWQ_LETTER_ERROR, 0, 0, err, sizeof *err));
}

awq_status awq_worker_hand(awq_lane *lane, awq_letter *letter, awq_error *err)
{
    awq_status status = awq_lane_put(lane, letter->a, letter->b, &letter, err);
    if (status) awq_letter_free(letter);
    return status;
}

void awq_worker_progress(awq_worker *worker, int64_t stage, int64_t layer, int64_t tile,
                         awq_phase phase, double flops)
{
    awq_work work = phase == AWQ_PHASE_FORWARD ? AWQ_WORK_FLOW : AWQ_WORK_SEARCH;
    awq_tally *tally = &worker->tally;
    pthread_mutex_lock(&tally->mutex);
    awq_progress *progress = &tally->progress;
    double now = awq_clock_seconds();
    progress->stage = stage;
    progress->layer = layer;
    progress->tile = tile;
    progress->phase = phase;
    progress->flops[work] += flops;
    if (flops > 0) progress->seconds[work] += now - tally->resumed;
    tally->resumed = now;
    pthread_mutex_unlock(&tally->mutex);
}

void awq_worker_resume(awq_worker *worker)
{
    pthread_mutex_lock(&worker->tally.mutex);
    worker->tally.resumed = awq_clock_seconds();
    pthread_mutex_unlock(&worker->tally.mutex);
}

void awq_worker_count(awq_worker *worker, int64_t tiles, int64_t stages)
{
    pthread_mutex_lock(&worker->tally.mutex);
    worker->tally.progress.tiles += tiles;
    worker->tally.progress.stages += stages;
    pthread_mutex_unlock(&worker->tally.mutex);
}
