/* SPDX-License-Identifier: MIT
 * jobs/plan/job.h - one job: resolved options, what it reads, and its fingerprint.
 *
 * The fingerprint is everything that decides the output's bytes: the model's headers and sizes,
 * the tokens' crc32, the options that change the result, the backend and the type of its device.
 * Two runs with the same fingerprint may take over from each other. As JSON:
 *
 *   {"format": 3, "backend": "cpu on OpenBLAS 0.3.21 Haswell", "model": [...],
 *    "tokens": {"sequences", "length", "crc32"}, "options": {...}} */
#ifndef AWQ_JOBS_PLAN_JOB_H
#define AWQ_JOBS_PLAN_JOB_H

#include <jansson.h>

#include "io/checkpoint/checkpoint.h"
#include "io/files/path.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/options/options.h"

enum { AWQ_RUN_FORMAT = 6, AWQ_FINGERPRINT_BYTES = 16 };

/* kind: "cpu on OpenBLAS 0.3.21 Haswell", "cuda on NVIDIA H200, .." (awq_hello.kind). NULL: no
 * memory. The caller decrefs. */
json_t *awq_job_fingerprint(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, const char *kind);
/* Its short form, eight hex digits: what layer records and boundaries carry. */
awq_status awq_job_fingerprint_text(const json_t *fingerprint, char out[AWQ_FINGERPRINT_BYTES],
                                    awq_error *err);
/* Adds one problem for each difference, naming it with both values. */
void awq_job_fingerprint_compare(const json_t *earlier, const json_t *now, awq_problems *problems);

/* What a worker is told: {"command", "options", "run_directory", "kind"}. */
typedef struct awq_job {
    awq_command command;
    awq_options options;
    char run_directory[AWQ_PATH_BYTES]; /* "" for eval */
    char kind[AWQ_KIND_BYTES];          /* that it was begun with; "": by nobody yet */
} awq_job;

/* The job as text; free it. NULL: no memory. */
char *awq_job_to_text(const awq_job *job);
/* Release job->options of the result. */
awq_status awq_job_from_text(const char *text, size_t bytes, awq_job *out, awq_error *err);

/* Sequences in a tile: tile_tokens / length, at least 1, at most all. */
int64_t awq_job_tile_sequences(const awq_options *options, const awq_tokens *tokens);
/* Sequences that the module objective is measured on, the first ones: objective_tokens / length, at
 * least 1, at most all; 0 with another objective. */
int64_t awq_job_objective_sequences(const awq_options *options, const awq_tokens *tokens);
/* Tiles of the job. */
int64_t awq_job_tiles(const awq_options *options, const awq_tokens *tokens);

#endif
