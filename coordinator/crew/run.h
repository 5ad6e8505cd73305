/* SPDX-License-Identifier: MIT
 * coordinator/crew/run.h - a quantization under way: its inputs, its run directory, its plan, its
 * progress. Shared by quantize.c (the layers) and merge.c (the checkpoint). */
#ifndef AWQ_COORDINATOR_CREW_RUN_H
#define AWQ_COORDINATOR_CREW_RUN_H

#include "coordinator/check/check.h"
#include "coordinator/crew/crew.h"
#include "coordinator/crew/progress.h"
#include "jobs/plan/job.h"
#include "jobs/plan/plan.h"
#include "jobs/run/run_lock.h"

typedef struct awq_run {
    const awq_options *options;  /* borrowed */
    awq_options told;            /* as workers and job.json have them: strings are borrowed */
    char tokens[AWQ_PATH_BYTES]; /* of told, when they are made of text */
    awq_crew *crew;              /* borrowed */
    awq_inputs inputs;
    char directory[AWQ_PATH_BYTES]; /* OUT/.awqrun */
    char fingerprint[AWQ_FINGERPRINT_BYTES];
    awq_run_lock *lock;
    awq_plan plan;
    bool *boundary; /* [layers]: durable input of the layer */
    awq_progress_view view;
    awq_worker_status *workers; /* [crew->count] */
    double last_status;         /* clock seconds */
    int64_t layers_done;
    int64_t layers_at_start; /* done by earlier runs */
} awq_run;

/* Waits for the next letter of the crew while keeping progress, status.json and the lock fresh. */
awq_status awq_run_next(awq_run *run, awq_run_state state, awq_letter **out, int *worker,
                        awq_error *err);
/* Writes status.json now; a failure to do so is a warning only. */
void awq_run_tell(awq_run *run, awq_run_state state, const char *error);

/* Takes note of a letter: a layer or a boundary that is done. NULL is fine. */
void awq_run_read(awq_run *run, const awq_letter *letter);
/* After an interrupt (*err says which): lets the layers in search be finished, and names a worker
 * that was lost. */
void awq_run_drain(awq_run *run, const awq_error *err);

#endif
