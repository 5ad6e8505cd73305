/* SPDX-License-Identifier: MIT */
#include "coordinator/estimate/serving.h"

#include "coordinator/estimate/engines.h"
#include "io/formats/format.h"
#include "jobs/options/amounts.h"

enum { MOST_GPUS = 8, USUAL_CONTEXT = 8192, CACHE_ELEMENT_BYTES = 2 };
static const double usable_share = 0.9, overhead_bytes = 1.5e9;

static const struct {
    double bytes;
    const char *models;
} gpus[] = {{16e9, "T4, V100, RTX 4080"},
            {24e9, "L4, A10, RTX 3090, RTX 4090"},
            {48e9, "L40S, A6000"},
            {80e9, "A100, H100"},
            {141e9, "H200"},
            {180e9, "B200"}};
enum { GPUS = sizeof gpus / sizeof *gpus };

/* What a layer keeps of a sequence on `count` GPUs, in elements: keys and values of each token,
 * whose heads are repeated when there are too few; latent vectors and what turns of keys, on each
 * GPU; or a delta net's state, in float32, and what its convolution looks back to. */
static double cache_elements(const awq_attention_spec *attention, double context, int count)
{
    int64_t heads = attention->kv_heads > count ? attention->kv_heads : count;
    int64_t keys = attention->kv_heads * attention->head_dim;
    int64_t values = attention->heads * attention->value_dim;
    switch (attention->kind) {
    case AWQ_ATTENTION_GROUPED:
        if (attention->k.linear < 0) return 0; /* they are an earlier layer's */
        return (double)(heads * (attention->head_dim + attention->value_dim)) * context;
    case AWQ_ATTENTION_LATENT:
        return (double)(count * (attention->kv_latent.rows.count + attention->shared_k.count)) *
               context;
    case AWQ_ATTENTION_DELTA:
        break;
    }
    return (double)sizeof(float) / CACHE_ELEMENT_BYTES * (double)(values * attention->head_dim) +
           (double)((2 * keys + values) * (attention->delta.taps - 1));
}

/* Bytes on `count` GPUs of what sequences have left behind. */
static double cache_bytes(const awq_serving *serving, int count)
{
    const awq_model *model = serving->model;
    double elements = 0;
    for (int64_t layer = 0; layer < model->layers; layer++)
        elements += cache_elements(&awq_model_layer(model, layer)->attention,
                                   (double)serving->context, count);
    return CACHE_ELEMENT_BYTES * elements * (double)serving->batch;
}

awq_serving awq_serving_make(const awq_model *model, uint64_t weight_bytes,
                             const awq_quantization *how, int64_t context, int64_t batch)
{
    if (!context) context = USUAL_CONTEXT;
    if (context > model->max_positions) context = model->max_positions;
    awq_serving serving = {weight_bytes, 0, context, batch, model, *how};
    serving.cache_bytes = (uint64_t)cache_bytes(&serving, 1);
    return serving;
}

int awq_serving_gpus(const awq_serving *serving, double gpu_bytes)
{
    double room = usable_share * gpu_bytes - overhead_bytes;
    for (int count = 1; count <= MOST_GPUS; count *= 2) {
        double bytes = (double)serving->weight_bytes + cache_bytes(serving, count);
        bool loads = count == 1 || awq_engine_loads(AWQ_VLLM, serving->model, &serving->how, count);
        if (loads && bytes <= room * count) return count;
    }
    return 0;
}

/* The format that is asked for, then those that the engines read, as far as these hold the bits.
 * The index-th; false: there is none. */
static bool pick_format(const awq_serving *serving, int index, awq_quantization *out)
{
    static const awq_format read[] = {AWQ_FORMAT_GEMM, AWQ_FORMAT_COMPRESSED};
    char reason[AWQ_REASON_BYTES];
    *out = serving->how;
    for (size_t i = 0; index > 0 && i < sizeof read / sizeof *read; i++) {
        out->format = read[i];
        if (read[i] != serving->how.format && awq_format_holds(out, reason)) index--;
    }
    return index == 0;
}

static void print_engines(FILE *file, const awq_serving *serving)
{
    awq_quantization how;
    for (int i = 0; pick_format(serving, i, &how); i++) {
        fprintf(file, "%-10s ", i ? "" : "loads as");
        awq_engines_print(file, serving->model, &how);
    }
}

static json_t *engines_json(const awq_serving *serving)
{
    json_t *list = json_array();
    awq_quantization how;
    for (int i = 0; pick_format(serving, i, &how); i++)
        json_array_append_new(list, awq_engines_json(serving->model, &how));
    return list;
}

void awq_serving_print(FILE *file, const awq_serving *serving)
{
    char weights[32], cache[32];
    const char *between = "held by ";
    int fewest = MOST_GPUS + 1;
    awq_format_bytes(weights, (double)serving->weight_bytes);
    awq_format_bytes(cache, (double)serving->cache_bytes);
    fprintf(file, "served     %s of weights, %s of keys and values (context %lld, batch %lld)\n",
            weights, cache, (long long)serving->context, (long long)serving->batch);
    for (int i = 0; i < GPUS; i++) { /* larger ones only where fewer of them do */
        int count = awq_serving_gpus(serving, gpus[i].bytes);
        if (!count || count >= fewest) continue;
        fprintf(file, "           %s%d x %.0f GB (%s)\n", between, count, 1e-9 * gpus[i].bytes,
                gpus[i].models);
        between = "or ";
        fewest = count;
    }
    if (fewest > MOST_GPUS) fprintf(file, "           %d GPUs do not hold it\n", MOST_GPUS);
    print_engines(file, serving);
}

json_t *awq_serving_json(const awq_serving *serving)
{
    json_t *list = json_array();
    for (int i = 0; i < GPUS; i++)
        json_array_append_new(list, json_pack("{s:I, s:s, s:i}", "memory_bytes",
                                              (json_int_t)gpus[i].bytes, "models", gpus[i].models,
                                              "count", awq_serving_gpus(serving, gpus[i].bytes)));
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:o, s:o}", "weight_bytes", (json_int_t)serving->weight_bytes,
        "kv_cache_bytes", (json_int_t)serving->cache_bytes, "context", (json_int_t)serving->context,
        "batch", (json_int_t)serving->batch, "gpus", list, "engines", engines_json(serving));
}
