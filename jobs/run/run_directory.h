/* SPDX-License-Identifier: MIT
 * jobs/run/run_directory.h - OUT/.awqrun: what a job needs to resume after a crash.
 *
 *   job.json                     {"awqrun", "fingerprint_crc32", "fingerprint", "options"}
 *   lock                         who works here (jobs/run/run_lock.h)
 *   status.json                  progress (jobs/run/run_status.h)
 *   layers/00017.safetensors     io/records/layer_record.h
 *   layers/00017.h5
 *   boundaries/00040.h5          io/records/boundary.h
 *
 * A run directory belongs to one fingerprint. Everything in it appears whole or not at all. */
#ifndef AWQ_JOBS_RUN_RUN_DIRECTORY_H
#define AWQ_JOBS_RUN_RUN_DIRECTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/core/problems.h"
#include "io/files/path.h"
#include "io/records/boundary.h"
#include "jobs/mail/letters.h"
#include "jobs/options/options.h"

#define AWQ_RUN_DIRECTORY_NAME ".awqrun"
#define AWQ_STATISTICS_NAME    "awqrun.h5"
#define AWQ_REPORT_NAME        "awqrun-report.html"

/* Paths inside; each fits or fails with the path too long. */
awq_status awq_run_layer_path(char out[AWQ_PATH_BYTES], const char *run, int64_t layer,
                              const char *extension, awq_error *err);
awq_status awq_run_boundary_path(char out[AWQ_PATH_BYTES], const char *run, int64_t layer,
                                 awq_error *err);

/* Whether a file of a source checkpoint belongs beside the weights of the new one: tokenizer,
 * generation settings, chat template. */
bool awq_output_is_companion(const char *name);

/* What an output directory is, by what lies in it. */
typedef enum awq_out_state {
    AWQ_OUT_FREE,     /* missing or empty */
    AWQ_OUT_STARTED,  /* holds a run directory with a job.json, or what is left of a checkpoint of
                         ours that was being discarded: its awqrun.h5 */
    AWQ_OUT_COMPLETE, /* a checkpoint of ours: config.json and awqrun.h5 */
    AWQ_OUT_FOREIGN   /* holds something that is not ours */
} awq_out_state;

/* Finds out; `foreign` is set to the first name that is not ours. */
awq_status awq_out_inspect(const char *out, awq_out_state *state, char foreign[256],
                           awq_error *err);

/* AWQ_ERR_INPUT where there is no such directory: for commands that read one. */
awq_status awq_out_require(const char *out, awq_error *err);

/* The awq_hello.kind of the workers that began the run; "" where there is none, or it is damaged.
 */
void awq_run_kind(const char *run, char kind[AWQ_KIND_BYTES]);

/* Makes the directories and job.json where they are missing; sweeps stale temporaries. The lock
 * must be held. A job.json with another fingerprint is refused: each difference is a problem. */
awq_status awq_run_prepare(const char *run, const json_t *fingerprint, const awq_options *options,
                           awq_problems *problems, awq_error *err);

/* Whether layer shape->layer is done, and whether its input is on disk: durable and sound, every
 * byte read. A record or boundary that is torn, foreign or corrupt is reported as a warning and
 * removed: it is done again. One that cannot be read for another reason may be sound: it stays, and
 * that is an error. `shape` is that of the job's boundaries. */
awq_status awq_run_scan(const char *run, const char *fingerprint, const awq_boundary_shape *shape,
                        bool *done, bool *boundary, awq_error *err);

/* Removes a complete checkpoint of ours, config.json first and awqrun.h5 last, so that one half
 * removed is neither taken for a checkpoint nor for somebody else's: --restart. */
awq_status awq_out_discard(const char *out, awq_error *err);
/* Removes all but the lock: --restart. */
awq_status awq_run_discard(const char *run, awq_error *err);

#endif
