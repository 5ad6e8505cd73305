/* SPDX-License-Identifier: MIT
 * jobs/run/run_status.h - status.json: how a run is doing, for `awqrun status` on any node.
 *
 * The coordinator replaces it every few seconds. It is for people: nothing is decided by it. */
#ifndef AWQ_JOBS_RUN_RUN_STATUS_H
#define AWQ_JOBS_RUN_RUN_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "jobs/mail/letters.h"

typedef enum awq_run_state {
    AWQ_RUN_RUNNING,
    AWQ_RUN_MERGING,
    AWQ_RUN_INTERRUPTED,
    AWQ_RUN_FAILED,
    AWQ_RUN_COMPLETE
} awq_run_state;

typedef struct awq_worker_status {
    char host[AWQ_HOST_BYTES];
    char device[96];
    awq_progress progress;
    double heard_seconds; /* since it was last heard */
} awq_worker_status;

typedef struct awq_run_status {
    awq_run_state state;
    int64_t layers;
    int64_t layers_done;
    double fraction;    /* of the work, 0..1 */
    double eta_seconds; /* negative: not known */
    double elapsed_seconds;
    awq_worker_status *workers; /* borrowed */
    int worker_count;
    char error[AWQ_ERROR_TEXT_BYTES]; /* "": none */
} awq_run_status;

/* Publishes RUN/status.json. */
awq_status awq_run_status_write(const char *run, const awq_run_status *status, awq_error *err);
/* The file's object; the caller decrefs. */
awq_status awq_run_status_read(const char *run, json_t **out, awq_error *err);
/* Whether the run that wrote it was still at work: it is, or it was ended by force. */
bool awq_run_status_is_live(const json_t *status);
/* Prints what each worker was at, a line each. */
void awq_run_status_print_workers(FILE *file, const json_t *status);
/* Prints it for people: what is done, who does what, the last error. `now` is the wall clock. */
void awq_run_status_print(FILE *file, const char *out, const json_t *status, double now);

#endif
