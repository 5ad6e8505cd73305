/* SPDX-License-Identifier: MIT
 * jobs/skip.h - --skip: the linears of a model that are left in full precision. */
#ifndef AWQ_JOBS_SKIP_H
#define AWQ_JOBS_SKIP_H

#include "io/checkpoint.h"
#include "jobs/options.h"

/* Marks every linear of the model whose full name, model.layers.7.mlp.down_proj, has a match of
 * --skip (PCRE2) in it; *left (may be NULL) counts them. Without --skip it marks none. A regular
 * expression that is none is AWQ_ERR_USAGE. */
awq_status awq_job_skip(const awq_options *options, awq_checkpoint *checkpoint, int64_t *left,
                        awq_error *err);

/* How the job's linears will be quantized. */
awq_quantization awq_job_quantization(const awq_options *options, const awq_model *model);

#endif
