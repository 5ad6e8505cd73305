/* SPDX-License-Identifier: MIT
 * coordinator/estimate/serving.h - what the quantized model will need where it is served.
 *
 * Keys and values in 16 bits; tensor parallel over 1, 2, 4 or 8 GPUs, where vLLM loads it so
 * (engines.h). A GPU is taken to hold 90 % of its memory, less 1.5 GB for activations
 * and the CUDA context. */
#ifndef AWQ_COORDINATOR_ESTIMATE_SERVING_H
#define AWQ_COORDINATOR_ESTIMATE_SERVING_H

#include <jansson.h>
#include <stdio.h>

#include "io/model/model.h"

typedef struct awq_serving {
    uint64_t weight_bytes;
    uint64_t cache_bytes; /* keys and values of `batch` sequences of `context` tokens */
    int64_t context, batch;
    const awq_model *model; /* borrowed */
    awq_quantization how;
} awq_serving;

/* context 0: what the model can, at most 8192. */
awq_serving awq_serving_make(const awq_model *model, uint64_t weight_bytes,
                             const awq_quantization *how, int64_t context, int64_t batch);
/* The fewest GPUs of so much memory that hold it; 0: eight do not. */
int awq_serving_gpus(const awq_serving *serving, double gpu_bytes);

/* The last lines are the engines', of this format and of gemm and compressed-tensors. */
void awq_serving_print(FILE *file, const awq_serving *serving);
/* {"weight_bytes", "kv_cache_bytes", "context", "batch", "gpus": [{"memory_bytes", "models",
 * "count"}], "engines": [of awq_engines_json]}; NULL: no memory. */
json_t *awq_serving_json(const awq_serving *serving);

#endif
