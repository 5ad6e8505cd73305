/* SPDX-License-Identifier: MIT */
#include "coordinator/crew/crew.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/crew/interrupt.h"
#include "io/core/clock.h"
#include "io/core/log.h"

static const double ping_seconds = 1;

awq_status awq_crew_open(awq_mail *mail, awq_crew *out, awq_error *err)
{
    int size = awq_mail_size(mail);
    awq_crew crew = {.mail = mail, .count = size == 1 ? 1 : size - 1};
    crew.members = calloc((size_t)crew.count, sizeof *crew.members);
    if (!crew.members) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %d workers", crew.count);
    for (int i = 0; i < crew.count; i++) crew.members[i].progress.stage = -1;
    if (size == 1 && awq_worker_start(mail, &crew.own, err)) {
        free(crew.members);
        return err->status;
    }
    *out = crew;
    return AWQ_OK;
}

bool awq_crew_close(awq_crew *crew)
{
    bool freed = !crew->own || awq_worker_free(crew->own);
    free(crew->members);
    *crew = (awq_crew){0};
    return freed;
}

void awq_crew_describe(const awq_crew *crew, int worker, char *out, size_t bytes)
{
    const awq_hello *hello = &crew->members[worker].hello;
    if (*hello->host)
        snprintf(out, bytes, "worker %d (%s, %s)", worker + 1, hello->host, hello->device);
    else
        snprintf(out, bytes, "worker %d", worker + 1);
}

void awq_crew_send(awq_crew *crew, int worker, awq_letter *letter)
{
    awq_mail_post(crew->mail, crew->own ? 0 : worker + 1, letter);
}

void awq_crew_broadcast(awq_crew *crew, int32_t kind, int64_t a, int64_t b, const void *payload,
                        size_t bytes)
{
    for (int i = 0; i < crew->count; i++)
        awq_crew_send(crew, i, awq_letter_write(kind, a, b, payload, bytes));
}

/* What the plan is made of; tests/bench compares the memory with what it then takes. */
static void log_hello(const awq_crew *crew, int worker)
{
    const awq_hello *hello = &crew->members[worker].hello;
    AWQ_LOG(AWQ_LOG_VERBOSE, "worker ready", AWQ_WHOLE("worker", worker + 1),
            AWQ_TEXT("host", hello->host), AWQ_WHOLE("pid", hello->pid),
            AWQ_QUOTED("device", hello->device), AWQ_WHOLE("budget_bytes", hello->budget_bytes),
            AWQ_WHOLE("layer_bytes", hello->layer_bytes),
            AWQ_WHOLE("fixed_bytes", hello->fixed_bytes),
            AWQ_WHOLE("inputs_bytes", hello->inputs_bytes),
            AWQ_WHOLE("inputs_layers", hello->inputs_layers));
}

/* Reads what the crew itself must know. *out keeps the letter if it is for the caller. */
static awq_status read_letter(awq_crew *crew, awq_letter *letter, awq_letter **out, int *worker,
                              awq_error *err)
{
    int from = crew->own ? 0 : letter->from - 1;
    awq_member *member = &crew->members[from];
    awq_status status = AWQ_OK;
    member->heard = awq_clock_seconds();
    switch (letter->kind) {
    case AWQ_LETTER_ALIVE:
        memcpy(&member->progress, letter->payload, sizeof member->progress);
        break;
    case AWQ_LETTER_HELLO:
        memcpy(&member->hello, letter->payload, sizeof member->hello);
        member->greeted = true;
        log_hello(crew, from);
        break;
    case AWQ_LETTER_DRAINED:
        member->drained = true;
        break;
    case AWQ_LETTER_BYE:
        member->gone = true;
        break;
    case AWQ_LETTER_ERROR: /* its own words, with its name in front when there are several */
        memcpy(err, letter->payload, sizeof *err);
        if (!crew->own) {
            char who[256];
            awq_crew_describe(crew, from, who, sizeof who);
            awq_error_wrap(err, "%s", who);
        }
        status = err->status;
        break;
    default:
        *out = letter;
        if (worker) *worker = from;
        return AWQ_OK;
    }
    awq_letter_free(letter);
    return status;
}

/* One turn of the mail: at most one letter, for whichever half it is. */
static awq_status turn(awq_crew *crew, awq_letter **out, int *worker, awq_error *err)
{
    awq_letter *letter;
    double now = awq_clock_seconds();
    int ignored;
    if (crew->timeout && now - crew->pinged >= ping_seconds) {
        crew->pinged = now;
        awq_crew_broadcast(crew, AWQ_LETTER_PING, 0, 0, NULL, 0);
    }
    if (awq_mail_pump(crew->mail, &letter, err)) return err->status;
    if (crew->own) awq_worker_tick(crew->own, &ignored);
    if (!letter) return AWQ_OK;
    if (awq_letter_is_for_worker(letter->kind)) {
        awq_worker_receive(crew->own, letter);
        return AWQ_OK;
    }
    return read_letter(crew, letter, out, worker, err);
}

/* Time during which this process itself did not run is nobody's silence. */
static awq_status check_silence(awq_crew *crew, awq_error *err)
{
    double now = awq_clock_seconds(), away = now - crew->last_turn;
    crew->last_turn = now;
    for (int i = 0; away > ping_seconds && i < crew->count; i++) crew->members[i].heard = now;
    for (int i = 0; i < crew->count; i++) {
        const awq_member *member = &crew->members[i];
        if (!crew->timeout || member->gone || !member->heard || now - member->heard < crew->timeout)
            continue;
        char who[256];
        awq_crew_describe(crew, i, who, sizeof who);
        return awq_fail(err, AWQ_ERR_MPI,
                        "%s has been silent for %.0f s, at layer %lld; look at its node, then run "
                        "the same command again",
                        who, now - member->heard, (long long)member->progress.layer);
    }
    return AWQ_OK;
}

static awq_status check_interrupt(const awq_crew *crew, awq_error *err)
{
    if (awq_interrupt_count()) return awq_fail(err, AWQ_ERR_INTERRUPTED, "interrupted by a signal");
    if (crew->deadline && awq_clock_seconds() > crew->deadline)
        return awq_fail(err, AWQ_ERR_INTERRUPTED, "the time limit is reached");
    return AWQ_OK;
}

static awq_status listen(awq_crew *crew, double seconds, bool interruptible, awq_letter **out,
                         int *worker, awq_error *err)
{
    double end = awq_clock_seconds() + seconds;
    *out = NULL;
    do {
        if (turn(crew, out, worker, err) || check_silence(crew, err) ||
            (interruptible && check_interrupt(crew, err))) {
            awq_letter_free(*out);
            *out = NULL;
            return err->status;
        }
    } while (!*out && awq_clock_seconds() < end);
    return AWQ_OK;
}

awq_status awq_crew_next(awq_crew *crew, double seconds, awq_letter **out, int *worker,
                         awq_error *err)
{
    return listen(crew, seconds, true, out, worker, err);
}

awq_status awq_crew_listen(awq_crew *crew, double seconds, awq_letter **out, int *worker,
                           awq_error *err)
{
    return listen(crew, seconds, false, out, worker, err);
}

bool awq_crew_drained(const awq_crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (!crew->members[i].drained) return false;
    return true;
}

awq_status awq_crew_greet(awq_crew *crew, const awq_job *job, awq_error *err)
{
    char *text = awq_job_to_text(job);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to tell the workers their job");
    crew->timeout = job->options.worker_timeout;
    for (int i = 0; i < crew->count; i++) crew->members[i].heard = awq_clock_seconds();
    awq_crew_broadcast(crew, AWQ_LETTER_JOB, job->command, (int64_t)ceil(crew->timeout), text,
                       strlen(text));
    free(text);
    int greeted = 0;
    while (greeted < crew->count) {
        awq_letter *letter;
        if (awq_crew_next(crew, 0.1, &letter, NULL, err)) return err->status;
        awq_letter_free(letter);
        greeted = 0;
        for (int i = 0; i < crew->count; i++) greeted += crew->members[i].greeted;
    }
    return AWQ_OK;
}

awq_progress awq_crew_progress(const awq_crew *crew)
{
    awq_progress sum = {.stage = -1, .layer = -1, .tile = -1};
    for (int i = 0; i < crew->count; i++) {
        const awq_progress *member = &crew->members[i].progress;
        sum.tiles += member->tiles;
        sum.stages += member->stages;
        for (int work = 0; work < AWQ_WORKS; work++) {
            sum.flops[work] += member->flops[work];
            sum.seconds[work] += member->seconds[work];
        }
    }
    return sum;
}

void awq_crew_status(const awq_crew *crew, awq_worker_status *workers)
{
    double now = awq_clock_seconds();
    for (int i = 0; i < crew->count; i++) {
        const awq_member *member = &crew->members[i];
        awq_worker_status *status = &workers[i];
        *status = (awq_worker_status){.progress = member->progress};
        snprintf(status->host, sizeof status->host, "%s", member->hello.host);
        snprintf(status->device, sizeof status->device, "%s", member->hello.device);
        status->heard_seconds = member->heard ? now - member->heard : 0;
    }
}

static bool all_gone(const awq_crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (!crew->members[i].gone) return false;
    return true;
}

bool awq_crew_dismiss(awq_crew *crew, int exit_code, double seconds)
{
    double end = awq_clock_seconds() + seconds;
    awq_error err;
    awq_crew_broadcast(crew, AWQ_LETTER_STOP, exit_code, 0, NULL, 0);
    while (!all_gone(crew)) {
        awq_letter *letter = NULL;
        turn(crew, &letter, NULL, &err); /* late errors of others are not news */
        awq_letter_free(letter);
        if (awq_clock_seconds() > end) return false;
    }
    return !awq_mail_flush(crew->mail, -1, seconds, &err);
}
