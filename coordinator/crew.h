/* SPDX-License-Identifier: MIT
 * coordinator/crew.h - the workers of a job, as the coordinator sees them.
 *
 * Hire, send, listen, dismiss. Listening turns a worker's error, a worker's silence and an
 * interrupt into an awq_error; heartbeats are consumed here. A job of one rank has its worker in
 * this process, on the same path. */
#ifndef AWQ_COORDINATOR_CREW_H
#define AWQ_COORDINATOR_CREW_H

#include <stdbool.h>

#include "io/checkpoint.h"
#include "io/tokens.h"
#include "jobs/job.h"
#include "jobs/letters.h"
#include "jobs/mail.h"
#include "jobs/run_status.h"

struct awq_worker; /* worker/worker.h */

/* The worker half of a process, which this folder does not see: worker/worker.h's functions,
 * filled in by main.c. */
typedef struct awq_worker_half {
    awq_status (*start)(awq_mail *mail, struct awq_worker **out, awq_error *err);
    void (*receive)(struct awq_worker *worker, awq_letter *letter);
    bool (*tick)(struct awq_worker *worker, int *exit_code);
    void (*free)(struct awq_worker *worker);
    awq_status (*needs)(const awq_options *options, const awq_checkpoint *checkpoint,
                        const awq_tokens *tokens, awq_hello *out, awq_error *err);
} awq_worker_half;

typedef struct awq_member {
    awq_hello hello;
    awq_progress progress;
    double heard; /* clock seconds */
    bool greeted;
    bool gone; /* said goodbye */
} awq_member;

typedef struct awq_crew {
    awq_mail *mail;
    const awq_worker_half *half;
    struct awq_worker *own; /* NULL: all workers are other ranks */
    awq_member *members;    /* owned, [count] */
    int count;
    double timeout; /* seconds of silence that end the job; 0: none */
} awq_crew;

awq_status awq_crew_open(awq_mail *mail, const awq_worker_half *half, awq_crew *out,
                         awq_error *err);
/* Frees what is left once everybody is dismissed. */
void awq_crew_close(awq_crew *crew);

/* Sends the job to all and waits until all have said hello. */
awq_status awq_crew_hire(awq_crew *crew, const awq_job *job, awq_error *err);

void awq_crew_send(awq_crew *crew, int worker, awq_letter *letter);
/* A copy to each. */
void awq_crew_broadcast(awq_crew *crew, int32_t kind, int64_t a, int64_t b, const void *payload,
                        size_t bytes);

/* Waits up to `seconds` for a letter that is not a heartbeat: *out, to be freed, or NULL. *worker
 * (may be NULL) is who sent it. */
awq_status awq_crew_next(awq_crew *crew, double seconds, awq_letter **out, int *worker,
                         awq_error *err);

/* Floating-point operations that all workers have done. */
double awq_crew_flops(const awq_crew *crew);
/* For status.json: fills workers[count]. */
void awq_crew_status(const awq_crew *crew, awq_worker_status *workers);
/* "worker 3 (node07, NVIDIA H200)" */
void awq_crew_describe(const awq_crew *crew, int worker, char *out, size_t bytes);

/* Tells all to stop with this exit code and waits for their goodbyes; false: somebody stayed
 * silent for `seconds`, and the caller must end the job by force. */
bool awq_crew_dismiss(awq_crew *crew, int exit_code, double seconds);

#endif
