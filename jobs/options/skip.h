/* SPDX-License-Identifier: MIT
 * jobs/options/skip.h - the linears of a model that a job keeps in full precision. */
#ifndef AWQ_JOBS_OPTIONS_SKIP_H
#define AWQ_JOBS_OPTIONS_SKIP_H

#include "io/checkpoint/checkpoint.h"
#include "jobs/options/options.h"

/* Marks what --kv-b-proj keeps, and every linear of the model whose full name,
 * model.layers.7.mlp.down_proj, has a match of --skip (PCRE2) in it, whatever the model's root: its
 * own name or the plain one; *kept (may be NULL) counts the latter. Without --skip none has. A
 * regular expression that is none is AWQ_ERR_USAGE. */
awq_status awq_job_skip(const awq_options *options, awq_checkpoint *checkpoint, int64_t *kept,
                        awq_error *err);

#endif
