/* SPDX-License-Identifier: MIT */
#include "coordinator/estimate/engines.h"

#include <string.h>

#include "io/formats/format.h"

enum { MOST_GPUS = 16, LEAST_GROUP = 32, LARGEST_GROUP = 128, SGLANG_TILE = 64 };

/* The engines read no other AWQ layout, whatever config.json calls it. */
static bool reads(const awq_quantization *how)
{
    if (how->format == AWQ_FORMAT_COMPRESSED) return how->bits == 4 || how->bits == 8;
    return how->format == AWQ_FORMAT_GEMM && how->bits == 4;
}

/* AWQ's experts, whose groups are halved until a share is made of whole ones; kernels begin with
 * groups of 32. vLLM refuses a share smaller than a group of the checkpoint's. */
static bool halves_into(awq_engine engine, int64_t share, int64_t group)
{
    if (engine == AWQ_VLLM && share < group) return false;
    while (share % group) group /= 2;
    return group >= LEAST_GROUP;
}

/* Whether a GPU can hold `share` of the inputs of a linear. */
static bool takes(awq_engine engine, const awq_quantization *how, const awq_linear_spec *linear,
                  int64_t share)
{
    bool compressed = how->format == AWQ_FORMAT_COMPRESSED, expert = linear->expert >= 0;
    int64_t group = how->group_size;
    if (compressed && engine == AWQ_SGLANG && share % SGLANG_TILE) return false;
    if (group < 0) return compressed || share == linear->in;
    if (linear->in % group || (group > LARGEST_GROUP && (compressed || expert))) return false;
    return !compressed && expert ? halves_into(engine, share, group) : share % group == 0;
}

/* o's and down's inputs are split, those of the others are whole on each GPU. */
static bool is_split(const awq_layer_spec *layer, int index)
{
    const awq_linear_spec *linear = &layer->linear[index];
    return index == layer->attention.o ||
           (linear->half == AWQ_HALF_MLP && linear->group != layer->half[AWQ_HALF_MLP].group);
}

static bool splits_layer(awq_engine engine, const awq_model *model, int kind,
                         const awq_quantization *how, int gpus)
{
    const awq_layer_spec *layer = &model->kind[kind];
    const awq_attention_spec *attention = &layer->attention;
    bool repeats = attention->kind == AWQ_ATTENTION_GROUPED && gpus % attention->kv_heads == 0;
    if (attention->heads % gpus || (attention->kv_heads % gpus && !repeats)) return false;
    for (int i = 0; i < layer->linears; i++) {
        const awq_linear_spec *linear = &layer->linear[i];
        int64_t parts = is_split(layer, i) ? gpus : 1;
        if (linear->in % parts) return false;
        if (!awq_model_keeps_all(model, kind, i) && !takes(engine, how, linear, linear->in / parts))
            return false;
    }
    return true;
}

bool awq_engine_loads(awq_engine engine, const awq_model *model, const awq_quantization *how,
                      int gpus)
{
    for (int kind = 0; kind < model->kinds; kind++)
        if (!splits_layer(engine, model, kind, how, gpus)) return false;
    return reads(how);
}

/* ---- another group size ---- */

/* Of the usual sizes, over both engines. */
static int count_usual(const awq_model *model, const awq_quantization *how)
{
    int count = 0;
    for (int engine = 0; engine < AWQ_ENGINES; engine++)
        for (int gpus = 2; gpus <= 8; gpus *= 2)
            count += awq_engine_loads((awq_engine)engine, model, how, gpus);
    return count;
}

int64_t awq_engines_advise(const awq_model *model, const awq_quantization *how)
{
    int most = count_usual(model, how);
    int64_t best = 0;
    for (int64_t size = LARGEST_GROUP; size >= LEAST_GROUP; size /= 2) {
        awq_quantization other = *how;
        other.group_size = size;
        int count = count_usual(model, &other);
        if (count <= most) continue;
        most = count;
        best = size;
    }
    return best;
}

/* ---- as text and as JSON ---- */

typedef struct sizes {
    char text[AWQ_ENGINES][32]; /* "1, 2, 4"; "none" */
} sizes;

static sizes list_sizes(const awq_model *model, const awq_quantization *how)
{
    sizes list;
    for (int engine = 0; engine < AWQ_ENGINES; engine++) {
        char *text = list.text[engine];
        size_t used = 0;
        strcpy(text, "none");
        for (int gpus = 1; gpus <= MOST_GPUS; gpus *= 2)
            if (awq_engine_loads((awq_engine)engine, model, how, gpus))
                used += (size_t)snprintf(text + used, sizeof list.text[0] - used, "%s%d",
                                         used ? ", " : "", gpus);
    }
    return list;
}

static void print_sizes(FILE *file, const awq_model *model, const awq_quantization *how)
{
    sizes list = list_sizes(model, how);
    if (!strcmp(list.text[AWQ_VLLM], list.text[AWQ_SGLANG]))
        fprintf(file, "%s in vLLM and SGLang", list.text[AWQ_VLLM]);
    else
        fprintf(file, "%s in vLLM, %s in SGLang", list.text[AWQ_VLLM], list.text[AWQ_SGLANG]);
}

void awq_engines_print(FILE *file, const awq_model *model, const awq_quantization *how)
{
    awq_quantization other = *how;
    other.group_size = awq_engines_advise(model, how);
    fprintf(file, "%s ", awq_format_name(how->format));
    if (!reads(how)) {
        fprintf(file, "in neither vLLM nor SGLang\n");
        return;
    }
    fprintf(file, "at tensor parallel ");
    print_sizes(file, model, how);
    if (other.group_size) {
        fprintf(file, "; --group-size %lld: ", (long long)other.group_size);
        print_sizes(file, model, &other);
    }
    fprintf(file, "\n");
}

static json_t *sizes_json(awq_engine engine, const awq_model *model, const awq_quantization *how)
{
    json_t *list = json_array();
    for (int gpus = 1; gpus <= MOST_GPUS; gpus *= 2)
        if (awq_engine_loads(engine, model, how, gpus))
            json_array_append_new(list, json_integer(gpus));
    return list;
}

json_t *awq_engines_json(const awq_model *model, const awq_quantization *how)
{
    int64_t advised = awq_engines_advise(model, how);
    return json_pack("{s:s, s:o, s:o, s:o}", "format", awq_format_name(how->format), "vllm",
                     sizes_json(AWQ_VLLM, model, how), "sglang", sizes_json(AWQ_SGLANG, model, how),
                     "advised_group_size", advised ? json_integer(advised) : json_null());
}
