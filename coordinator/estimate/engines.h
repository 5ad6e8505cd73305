/* SPDX-License-Identifier: MIT
 * coordinator/estimate/engines.h - the tensor-parallel sizes at which vLLM and SGLang load a
 * quantized model.
 *
 * Each GPU gets whole heads, whole or repeated kv heads, and of what o and down read a share that
 * must be made of whole groups. Engines differ in what they do about a share that is not
 * (docs/formats.md has the rules and the versions that they were read in). */
#ifndef AWQ_COORDINATOR_ESTIMATE_ENGINES_H
#define AWQ_COORDINATOR_ESTIMATE_ENGINES_H

#include <stdio.h>

#include "io/model/model.h"

typedef enum awq_engine { AWQ_VLLM, AWQ_SGLANG, AWQ_ENGINES } awq_engine;

/* Whether an engine loads the model on so many GPUs. Linears that are kept in full precision need
 * no groups. */
bool awq_engine_loads(awq_engine engine, const awq_model *model, const awq_quantization *how,
                      int gpus);
/* A group size with which the engines load more of 2, 4 and 8 GPUs than with that of `how`; 0:
 * there is none. */
int64_t awq_engines_advise(const awq_model *model, const awq_quantization *how);

/* A line: "gemm at tensor parallel 1, 2 in vLLM and SGLang; --group-size 64: ..". */
void awq_engines_print(FILE *file, const awq_model *model, const awq_quantization *how);
/* {"format", "vllm": [1, 2..], "sglang": [..], "advised_group_size": number or null}; NULL: no
 * memory. */
json_t *awq_engines_json(const awq_model *model, const awq_quantization *how);

#endif
