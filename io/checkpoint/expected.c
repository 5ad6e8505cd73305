/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/expected.h"

#include <string.h>

typedef struct visitor {
    const awq_model *model;
    const awq_checkpoint_tensors *tensors;
    void (*visit)(const awq_expected *expected, void *context);
    void *context;
} visitor;

/* A weight [rows, cols], or [rows] where cols is 0. */
static void visit_weight(const visitor *v, const char *name, int64_t rows, int64_t cols)
{
    awq_expected expected = {.type = AWQ_PART_WEIGHT,
                             .tensor = {.name = name, .dims = cols ? 2 : 1, .shape = {rows, cols}}};
    v->visit(&expected, v->context);
}

/* A stack is visited with the first of the linears in it. */
static bool is_visited(const awq_weight *weight)
{
    return weight->experts && (weight->expert || weight->first);
}

/* In full precision, or what stands for it; a linear that is nowhere is expected under its name. */
static void visit_stored(const visitor *v, int64_t layer, int linear)
{
    char name[AWQ_NAME_BYTES];
    awq_weight weight;
    awq_expected expected;
    const awq_linear_spec *spec = &awq_model_layer(v->model, layer)->linear[linear];
    if (v->model->quantized || !awq_weight_find(v->tensors, v->model, layer, linear, &weight))
        visit_weight(v, awq_linear_tensor_name(name, v->model, layer, linear, "weight"), spec->out,
                     spec->in);
    else
        for (int64_t i = 0;
             !is_visited(&weight) && awq_weight_expected(&weight, i, &expected, name); i++)
            v->visit(&expected, v->context);
}

static void visit_bias(const visitor *v, int64_t layer, int linear)
{
    char name[AWQ_NAME_BYTES];
    awq_weight bias;
    const awq_linear_spec *spec = &awq_model_layer(v->model, layer)->linear[linear];
    if (!awq_bias_find(v->tensors, v->model, layer, linear, &bias) || !bias.experts) {
        visit_weight(v, awq_linear_tensor_name(name, v->model, layer, linear, "bias"), spec->out,
                     0);
    } else if (!is_visited(&bias)) {
        awq_expected expected = awq_bias_expected(&bias);
        v->visit(&expected, v->context);
    }
}

static void visit_shape(const visitor *v, const char *name, const awq_vector_spec *spec, int pieces)
{
    int64_t cols = spec->rows ? spec->width / spec->rows : 0;
    awq_expected expected = {.type = AWQ_PART_WEIGHT,
                             .tensor = {.name = name, .dims = 3, .shape = {spec->rows, 1, cols}}};
    if (spec->middle)
        v->visit(&expected, v->context);
    else
        visit_weight(v, name, spec->rows ? spec->rows : spec->width / pieces, cols);
}

/* Under the name that it has there, or its own. */
static void visit_vector(const visitor *v, int64_t layer, int vector)
{
    char name[AWQ_NAME_BYTES];
    const awq_vector_spec *spec = &awq_model_layer(v->model, layer)->vector[vector];
    int pieces = awq_vector_pieces(spec);
    for (int i = 0; i < pieces; i++) {
        const awq_tensor *found = awq_vector_find(v->tensors, v->model, layer, vector, i);
        awq_vector_tensor_name(name, v->model, layer, vector, i);
        visit_shape(v, found ? found->name : name, spec, pieces);
    }
}

static void visit_codes(const visitor *v, int64_t layer, int linear)
{
    char name[AWQ_NAME_BYTES];
    awq_part parts[AWQ_MAX_PARTS];
    const awq_linear_spec *spec = &awq_model_layer(v->model, layer)->linear[linear];
    int count = awq_format_parts(&v->model->quantization, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++) {
        awq_linear_tensor_name(name, v->model, layer, linear, parts[i].suffix);
        awq_expected expected = {.type = parts[i].type,
                                 .tensor = {.name = name,
                                            .dtype = parts[i].dtype,
                                            .dims = parts[i].dims,
                                            .shape = {parts[i].shape[0], parts[i].shape[1]}}};
        v->visit(&expected, v->context);
    }
}

static void visit_linear(const visitor *v, int64_t layer, int linear)
{
    if (awq_model_packs(v->model, layer, linear))
        visit_codes(v, layer, linear);
    else
        visit_stored(v, layer, linear);
    if (awq_model_layer(v->model, layer)->linear[linear].bias) visit_bias(v, layer, linear);
}

static void visit_end(const visitor *v, awq_end end)
{
    char name[AWQ_NAME_BYTES];
    int64_t rows, columns;
    awq_end_shape(v->model, end, &rows, &columns);
    visit_weight(v, awq_end_tensor_name(name, v->model, end), rows, columns);
}

void awq_expected_visit(const awq_model *model, const awq_checkpoint_tensors *tensors,
                        void (*visit)(const awq_expected *expected, void *context), void *context)
{
    const visitor v = {model, tensors, visit, context};
    visit_end(&v, AWQ_EMBEDDING);
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const awq_layer_spec *spec = awq_model_layer(model, layer);
        for (int linear = 0; linear < spec->linears; linear++) visit_linear(&v, layer, linear);
        for (int i = 0; i < spec->vectors; i++) visit_vector(&v, layer, i);
    }
    for (awq_end end = AWQ_FINAL_NORM; end < AWQ_ENDS; end++)
        if (awq_model_stores(model, end)) visit_end(&v, end);
}

/* A name, until it is found. */
static void forget_found(const awq_expected *expected, void *context)
{
    const char **name = context;
    if (*name && !strcmp(*name, expected->tensor.name)) *name = NULL;
}

bool awq_expected_has(const awq_model *model, const awq_checkpoint_tensors *tensors,
                      const char *name)
{
    const char *sought = name;
    awq_expected_visit(model, tensors, forget_found, &sought);
    return !sought;
}

bool awq_expected_dtype_fits(const awq_expected *expected, awq_dtype dtype)
{
    switch (expected->type) {
    case AWQ_PART_EXACT:
        return dtype == expected->tensor.dtype;
    case AWQ_PART_WEIGHT:
        return awq_dtype_is_weight(dtype);
    case AWQ_PART_SHAPE:
        return dtype == AWQ_I64 || dtype == AWQ_I32;
    }
    return false;
}

const char *awq_expected_dtype_text(const awq_expected *expected)
{
    switch (expected->type) {
    case AWQ_PART_EXACT:
        return awq_dtype_name(expected->tensor.dtype);
    case AWQ_PART_WEIGHT:
        return "F32, F16 or BF16";
    case AWQ_PART_SHAPE:
        return "I64 or I32";
    }
    return "?";
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

/* Whether a tensor is one of a layer's modules that nothing reads. An engine that loads what they
 * would be with what is quantized has no place for them. */
static bool is_unread(const awq_model *model, const char *name)
{
    char module[AWQ_NAME_BYTES];
    int64_t layer = awq_root_layer_of(model->root, name);
    if (layer < 0 || layer >= model->layers) return false;
    const char *const *unread = awq_model_layer(model, layer)->unread;
    for (; unread && *unread; unread++) {
        awq_other_tensor_name(module, model, layer, *unread, ".");
        if (!strncmp(name, module, strlen(module))) return true;
    }
    return false;
}

bool awq_expected_ignores(const awq_model *model, const char *name)
{
    char head[AWQ_NAME_BYTES];
    if (model->tied && !strcmp(name, awq_end_tensor_name(head, model, AWQ_HEAD))) return true;
    if (strncmp(name, model->root->decoder, strlen(model->root->decoder)) != 0) return false;
    if (is_unread(model, name)) return true;
    return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, ".rotary_emb.cos_cached") ||
           ends_with(name, ".rotary_emb.sin_cached");
}

bool awq_expected_scales_activations(const char *name)
{
    static const char *const ends[] = {".input_scale",  ".input_scale_ub", ".activation_scale",
                                       ".output_scale", ".q_scale",        ".k_scale",
                                       ".v_scale",      ".kv_scale"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return false;
}
