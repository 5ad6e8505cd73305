/* SPDX-License-Identifier: MIT
 * coordinator/crew/crew.h - the workers of a job, as the coordinator sees them.
 *
 * Hire, send, listen, dismiss. Listening turns a worker's error, a worker's silence and an
 * interrupt into an awq_error; heartbeats are consumed here. A job of one rank has its worker in
 * this process, on the same path. */
#ifndef AWQ_COORDINATOR_CREW_CREW_H
#define AWQ_COORDINATOR_CREW_CREW_H

#include <stdbool.h>

#include "io/checkpoint/checkpoint.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/mail/mail.h"
#include "jobs/plan/job.h"
#include "jobs/run/run_status.h"
#include "worker/worker.h"

typedef struct awq_member {
    awq_hello hello;
    awq_progress progress;
    double heard; /* clock seconds */
    bool greeted;
    bool drained;
    bool gone; /* said goodbye */
} awq_member;

typedef struct awq_crew {
    awq_mail *mail;
    awq_worker *own;     /* NULL: all workers are other ranks */
    awq_member *members; /* owned, [count] */
    int count;
    bool linked;      /* tiles go from GPU to GPU, past MPI */
    double timeout;   /* seconds of silence that end the job; 0: none */
    double deadline;  /* clock seconds at which the job is interrupted; 0: none */
    double pinged;    /* clock seconds */
    double last_turn; /* clock seconds: when the mail was last looked at */
} awq_crew;

awq_status awq_crew_open(awq_mail *mail, awq_crew *out, awq_error *err);
/* Frees what is left once everybody is dismissed; false: as awq_worker_free. */
bool awq_crew_close(awq_crew *crew);

/* Sends the job to all and waits until all have said hello (assign.h says what comes then). */
awq_status awq_crew_greet(awq_crew *crew, const awq_job *job, awq_error *err);

void awq_crew_send(awq_crew *crew, int worker, awq_letter *letter);
/* A copy to each. */
void awq_crew_broadcast(awq_crew *crew, int32_t kind, int64_t a, int64_t b, const void *payload,
                        size_t bytes);

/* Waits up to `seconds` for a letter that is not a heartbeat: *out, to be freed, or NULL. *worker
 * (may be NULL) is who sent it. A signal or the deadline is AWQ_ERR_INTERRUPTED. */
awq_status awq_crew_next(awq_crew *crew, double seconds, awq_letter **out, int *worker,
                         awq_error *err);

/* As awq_crew_next, when interrupts are no news. */
awq_status awq_crew_listen(awq_crew *crew, double seconds, awq_letter **out, int *worker,
                           awq_error *err);
/* Whether all that were told to drain have nothing under way any more. */
bool awq_crew_drained(const awq_crew *crew);

/* What all workers have done: counts and sums; stage, layer, tile and phase are without meaning. */
awq_progress awq_crew_progress(const awq_crew *crew);
/* For status.json: fills workers[count]. */
void awq_crew_status(const awq_crew *crew, awq_worker_status *workers);
/* "worker 3 (node07, GPU 1, NVIDIA H200)" */
void awq_crew_describe(const awq_crew *crew, int worker, char *out, size_t bytes);

/* Tells all to stop with this exit code and waits for their goodbyes; false: somebody stayed
 * silent for `seconds`, and the caller must end the job by force. */
bool awq_crew_dismiss(awq_crew *crew, int exit_code, double seconds);

#endif
