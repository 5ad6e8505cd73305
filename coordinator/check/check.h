/* SPDX-License-Identifier: MIT
 * coordinator/check/check.h - everything that can be known before the first multiplication.
 *
 * A job that cannot finish is refused with one sentence per problem, all of them at once. */
#ifndef AWQ_COORDINATOR_CHECK_CHECK_H
#define AWQ_COORDINATOR_CHECK_CHECK_H

#include "io/checkpoint/checkpoint.h"
#include "io/core/problems.h"
#include "io/files/path.h"
#include "io/text/tokens.h"
#include "jobs/options/options.h"
#include "jobs/run/run_directory.h"

/* What a job reads, opened. */
typedef struct awq_inputs {
    awq_checkpoint *model;
    awq_checkpoint *against; /* NULL: none */
    awq_tokens tokens;
} awq_inputs;

/* Opens the inputs and checks that the tokens fit the models. Release *out in any case. */
void awq_check_inputs(const awq_options *options, awq_inputs *out, awq_problems *problems);
/* The same for a command that reads a model and nothing else. */
void awq_check_source(const awq_options *options, awq_inputs *out, awq_problems *problems);
void awq_inputs_release(awq_inputs *inputs);

/* Whether two models differ in sizes, so that their weights cannot be compared; `what` then says
 * how, the first way: "layers: 2, not 4", b's first. */
bool awq_models_differ(const awq_model *a, const awq_model *b, char *what, size_t bytes);

/* What a quantization asks of its model: not quantized yet, bits and sizes that the format can
 * hold. Marks the linears that --skip leaves (jobs/options/skip.h) in inputs->model. */
void awq_check_quantizable(const awq_options *options, const awq_inputs *inputs,
                           awq_problems *problems);
/* A warning if a model's type is not known, and it was taken as another. */
void awq_warn_of_unknown(const char *path, const awq_model *model);

/* The output directory: not the source, nothing foreign in it, writable, room on its disk for what
 * is sure to be written. Sets *state. */
void awq_check_output(const awq_options *options, const awq_inputs *inputs, awq_out_state *state,
                      awq_problems *problems);

/* Bytes of the checkpoint that will be written, and of the run directory beside it. */
uint64_t awq_output_bytes(const awq_options *options, const awq_checkpoint *model);
uint64_t awq_run_bytes(const awq_options *options, const awq_inputs *inputs, int64_t boundaries);
/* Room for both on the output's disk, with so many boundaries at once, and so many bytes of what
 * experts read. */
void awq_check_disk(const awq_options *options, const awq_inputs *inputs, int64_t boundaries,
                    uint64_t inputs_bytes, awq_problems *problems);
/* Room for so many bytes, what is in the directory already counted in. */
void awq_check_room(const char *out, uint64_t needed, awq_problems *problems);
/* A complete checkpoint must be of this job, as its awqrun.h5 says: each difference is a problem.
 * The backend is not known before there are workers, and is taken to be the same. */
void awq_check_complete(const awq_options *options, const awq_inputs *inputs,
                        awq_problems *problems);

#endif
