/* SPDX-License-Identifier: MIT
 * worker/needs.h - how much memory a worker needs for a job, and how much it may use: what the plan
 * is made of. tests/bench compares it with what a job then takes. */
#ifndef AWQ_WORKER_NEEDS_H
#define AWQ_WORKER_NEEDS_H

#include "io/checkpoint/checkpoint.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/plan/job.h"
#include "kernels/backend.h"

typedef struct awq_job_size {
    const awq_options *options;
    const awq_model *model;
    const awq_tokens *tokens;
    int models;  /* that eval runs side by side; 0: a quantization */
    int workers; /* of the job */
    int workers_on_node;
    uint64_t gpu_bytes; /* what its GPU has; 0: it computes in host memory */
    uint64_t gpu_free;  /* what of that others have left; 0: not known */
} awq_job_size;

/* Sequences of hidden states that are kept before each layer that is searched: for the folding
 * check and the module objective. */
int64_t awq_needs_kept_sequences(const awq_options *options, const awq_tokens *tokens);

/* Of a stage's layers, so many keep what their experts read in the node's memory: as many as
 * --inputs-memory holds, the first ones. */
int64_t awq_needs_inputs_layers(const awq_options *options, const awq_model *model,
                                const awq_tokens *tokens, size_t compute_bytes);

/* What --device-memory gives a worker, whatever others use of its GPU. */
uint64_t awq_needs_wanted_bytes(const awq_job_size *size);

/* Sets hello's budget_bytes, layer_bytes and fixed_bytes; reads its threads. */
void awq_needs_count(const awq_job_size *size, size_t compute_bytes, awq_hello *hello);

/* The backend that --backend names; for auto the first that finds what it needs on this machine,
 * and then *why says what a better one misses ("" if there is none). AWQ_ERR_USAGE when this build
 * has none. */
awq_status awq_needs_backend(const awq_options *options, const awq_backend **out, awq_error *why,
                             awq_error *err);

/* What a worker on this machine would say in its HELLO: for `awqrun plan`. */
awq_status awq_worker_needs(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, awq_hello *out, awq_error *err);

/* The libraries that the backends of this build stand on, "NAME VERSION": the index-th, or NULL
 * past the last. */
const char *awq_worker_library(int index);

/* The GPUs that this build could run on here, the first `most` of them; returns how many there are.
 * 0: *err says what is missing. */
int awq_worker_gpus(awq_device_facts *out, int most, awq_error *err);

#endif
