/* SPDX-License-Identifier: MIT
 * io/checkpoint/stored.c - which tensors hold a linear's weight, and where in them it is. */
#include "io/checkpoint/stored.h"

#include <stdio.h>
#include <string.h>

enum { SUFFIXES = 3, FLOAT4_BLOCK = 32, USUAL_BLOCK = 128 };

/* Of a linear's own tensors, and of a stack's; which comes first is what is missed. */
static const char *const value_suffixes[2][SUFFIXES] = {{".weight", ".weight_packed", NULL},
                                                        {"", "_blocks", NULL}};
static const char *const scale_suffixes[2][SUFFIXES] = {
    {".weight_scale_inv", ".weight_scale", ".scale"}, {"_scale_inv", "_scale", "_scales"}};

static const awq_tensor *find(const awq_checkpoint_tensors *tensors, const char *stem,
                              const char *suffix)
{
    char name[AWQ_NAME_BYTES];
    int length = snprintf(name, sizeof name, "%s%s", stem, suffix);
    if (length >= (int)sizeof name) return NULL;
    const awq_checkpoint_tensor *found = awq_checkpoint_tensors_find(tensors, name);
    return found ? found->tensor : NULL;
}

static const awq_tensor *find_first(const awq_checkpoint_tensors *tensors, const char *stem,
                                    const char *const suffixes[SUFFIXES])
{
    const awq_tensor *found = NULL;
    for (int i = 0; i < SUFFIXES && suffixes[i] && !found; i++)
        found = find(tensors, stem, suffixes[i]);
    return found;
}

/* ---- where ---- */

static awq_weight own(const awq_linear_spec *spec)
{
    return (awq_weight){.rows = spec->out, .cols = spec->in, .tensor_rows = spec->out, .step = 1};
}

/* Whether a stack of either layout is [experts, rows, in]: so transformers reads it, too. */
static bool is_upright(const awq_linear_spec *spec, const awq_tensor *values)
{
    return spec->stack.either && values->dims == 3 && values->shape[1] == spec->stack.rows &&
           values->shape[2] == spec->in;
}

static awq_weight slice(const awq_linear_spec *spec, const awq_layer_spec *layer,
                        const awq_tensor *values)
{
    const awq_stack_spec *stack = &spec->stack;
    return (awq_weight){.rows = spec->out,
                        .cols = spec->in,
                        .experts = layer->mlps.routing.experts,
                        .expert = spec->expert,
                        .tensor_rows = stack->rows,
                        .first = stack->first,
                        .step = stack->step,
                        .transposed = stack->transposed && !is_upright(spec, values)};
}

/* The values, and the stem of their names; false: there are none. */
static bool find_values(const awq_checkpoint_tensors *tensors, const awq_model *model,
                        int64_t layer, int linear, awq_weight *out, char stem[AWQ_NAME_BYTES])
{
    const awq_layer_spec *of = awq_model_layer(model, layer);
    const awq_linear_spec *spec = &of->linear[linear];
    const awq_tensor *values = NULL;
    *out = own(spec);
    if (spec->stack.name) {
        awq_other_tensor_name(stem, model, layer, spec->stack.name, "");
        values = find_first(tensors, stem, value_suffixes[1]);
        if (values) *out = slice(spec, of, values);
    }
    if (!values)
        values = find_first(tensors, awq_linear_full_name(stem, model, layer, linear),
                            value_suffixes[0]);
    if (!values && spec->alias)
        values = find_first(tensors, awq_other_tensor_name(stem, model, layer, spec->alias, ""),
                            value_suffixes[0]);
    out->part[AWQ_PART_VALUES] = values;
    return values != NULL;
}

/* ---- how ---- */

static awq_stored stored_as(const awq_tensor *values, const awq_model *model)
{
    bool integers = !model->quantized && model->quantization.bits;
    switch (values->dtype) {
    case AWQ_F8_E4M3:
        return AWQ_STORED_FLOAT8;
    case AWQ_U8:
    case AWQ_I8:
        return AWQ_STORED_FLOAT4;
    case AWQ_I32:
        return integers ? AWQ_STORED_INTEGERS : AWQ_STORED_PLAIN;
    default:
        return AWQ_STORED_PLAIN;
    }
}

static void find_integers(const awq_checkpoint_tensors *tensors, const awq_model *model,
                          const char *stem, awq_weight *weight)
{
    awq_part parts[AWQ_MAX_PARTS];
    weight->integers = &model->quantization;
    int count = awq_format_parts(weight->integers, weight->rows, weight->cols, parts);
    for (int i = 0; i < count; i++) {
        char suffix[64];
        snprintf(suffix, sizeof suffix, ".%s", parts[i].suffix);
        weight->part[i] = find(tensors, stem, suffix);
    }
    weight->block_rows = 1;
    weight->block_cols = weight->cols / awq_quantization_groups(weight->integers, weight->cols);
}

static int64_t blocks(int64_t count, int64_t size)
{
    return (count + size - 1) / size;
}

/* Whether the last `dims` of a stack's, or all, are [rows, cols]. */
static bool is_shape(const awq_tensor *tensor, int before, int dims, int64_t rows, int64_t cols)
{
    return tensor->dims == before + dims && (dims < 1 || tensor->shape[before] == rows) &&
           (dims < 2 || tensor->shape[before + 1] == cols);
}

/* A float8's scales are of blocks, or else of each row, or of the whole. */
static void find_block(const awq_model *model, awq_weight *weight)
{
    const awq_tensor *scales = weight->part[AWQ_PART_SCALES];
    int64_t rows = weight->tensor_rows, cols = weight->cols;
    int before = weight->experts > 0;
    weight->block_rows = model->block[0] ? model->block[0] : USUAL_BLOCK;
    weight->block_cols = model->block[1] ? model->block[1] : USUAL_BLOCK;
    if (!scales || is_shape(scales, before, 2, blocks(rows, weight->block_rows),
                            blocks(cols, weight->block_cols)))
        return;
    bool row = is_shape(scales, before, 1, rows, 1) || is_shape(scales, before, 2, rows, 1);
    bool whole = is_shape(scales, before, 0, 1, 1) || is_shape(scales, before, 1, 1, 1) ||
                 is_shape(scales, before, 2, 1, 1);
    if (!row && !whole) return;
    weight->block_rows = whole ? rows : 1;
    weight->block_cols = cols;
}

bool awq_weight_find(const awq_checkpoint_tensors *tensors, const awq_model *model, int64_t layer,
                     int linear, awq_weight *out)
{
    char stem[AWQ_NAME_BYTES];
    awq_weight weight;
    if (!find_values(tensors, model, layer, linear, &weight, stem)) return false;
    const awq_tensor *values = weight.part[AWQ_PART_VALUES];
    weight.stored = stored_as(values, model);
    weight.dtype = weight.stored == AWQ_STORED_PLAIN ? values->dtype : model->dtype;
    if (weight.stored == AWQ_STORED_FLOAT8 || weight.stored == AWQ_STORED_FLOAT4)
        weight.part[AWQ_PART_SCALES] =
            find_first(tensors, stem, scale_suffixes[weight.experts > 0]);
    if (weight.stored != AWQ_STORED_PLAIN) weight.transposed = false; /* groups lie along a row */
    if (weight.stored == AWQ_STORED_FLOAT8) find_block(model, &weight);
    if (weight.stored == AWQ_STORED_FLOAT4) {
        weight.block_rows = 1;
        weight.block_cols = FLOAT4_BLOCK;
    }
    if (weight.stored == AWQ_STORED_INTEGERS) find_integers(tensors, model, stem, &weight);
    *out = weight;
    return true;
}

bool awq_bias_find(const awq_checkpoint_tensors *tensors, const awq_model *model, int64_t layer,
                   int linear, awq_weight *out)
{
    char name[AWQ_NAME_BYTES];
    const awq_layer_spec *of = awq_model_layer(model, layer);
    const awq_linear_spec *spec = &of->linear[linear];
    awq_weight bias = own(spec);
    const awq_tensor *values = NULL;
    if (spec->stack.name) {
        awq_other_tensor_name(name, model, layer, spec->stack.name, "");
        values = find(tensors, name, "_bias");
        if (values) bias = slice(spec, of, values);
    }
    if (!values) {
        awq_linear_full_name(name, model, layer, linear);
        values = find(tensors, name, ".bias");
    }
    if (!values) return false;
    bias.part[AWQ_PART_VALUES] = values;
    bias.dtype = values->dtype;
    bias.cols = 1;
    bias.transposed = false;
    *out = bias;
    return true;
}

const awq_tensor *awq_vector_find(const awq_checkpoint_tensors *tensors, const awq_model *model,
                                  int64_t layer, int vector, int piece)
{
    char name[AWQ_NAME_BYTES];
    const awq_vector_spec *spec = &awq_model_layer(model, layer)->vector[vector];
    const awq_tensor *own =
        find(tensors, awq_vector_tensor_name(name, model, layer, vector, piece), "");
    if (own || !spec->alias) return own;
    return find(tensors, awq_other_tensor_name(name, model, layer, spec->alias, ""), "");
}

/* ---- the tensors that there must be ---- */

static awq_tensor shape_of(const awq_weight *weight, int64_t rows, int64_t cols)
{
    awq_tensor shape = {0};
    if (weight->experts) shape.shape[shape.dims++] = weight->experts;
    shape.shape[shape.dims++] = rows;
    if (cols) shape.shape[shape.dims++] = cols;
    return shape;
}

static awq_expected expected_values(const awq_weight *weight)
{
    const awq_tensor *values = weight->part[AWQ_PART_VALUES];
    int64_t rows = weight->tensor_rows, cols = weight->cols;
    awq_expected expected = {.type = AWQ_PART_EXACT};
    if (weight->stored == AWQ_STORED_PLAIN) expected.type = AWQ_PART_WEIGHT;
    if (weight->stored == AWQ_STORED_FLOAT4) {
        expected.tensor = shape_of(weight, rows, blocks(cols, 2));
        if (values->dims == expected.tensor.dims + 1) { /* groups apart */
            expected.tensor = shape_of(weight, rows, blocks(cols, FLOAT4_BLOCK));
            expected.tensor.shape[expected.tensor.dims++] = FLOAT4_BLOCK / 2;
        }
    } else {
        expected.tensor =
            weight->transposed ? shape_of(weight, cols, rows) : shape_of(weight, rows, cols);
    }
    expected.tensor.dtype = values->dtype;
    expected.tensor.name = values->name;
    return expected;
}

static awq_expected expected_scales(const awq_weight *weight)
{
    const awq_tensor *values = weight->part[AWQ_PART_VALUES];
    const awq_tensor *scales = weight->part[AWQ_PART_SCALES];
    awq_expected expected = {.type = AWQ_PART_WEIGHT, .of = values->name};
    bool whole = weight->block_rows == weight->tensor_rows && weight->block_cols == weight->cols;
    bool row = weight->block_rows == 1 && weight->block_cols == weight->cols;
    expected.tensor = shape_of(weight, blocks(weight->tensor_rows, weight->block_rows),
                               blocks(weight->cols, weight->block_cols));
    if (!scales) return expected;
    /* which other shapes mean the same */
    if ((whole || row) && (!weight->experts || scales->shape[0] == weight->experts))
        expected.tensor = *scales;
    expected.tensor.name = scales->name;
    if (scales->dtype == AWQ_F8_E8M0 ||
        (weight->stored == AWQ_STORED_FLOAT4 && scales->dtype == AWQ_U8)) {
        expected.type = AWQ_PART_EXACT;
        expected.tensor.dtype = scales->dtype;
    }
    return expected;
}

bool awq_weight_expected(const awq_weight *weight, int64_t index, awq_expected *out,
                         char name[AWQ_NAME_BYTES])
{
    bool scaled = weight->stored == AWQ_STORED_FLOAT8 || weight->stored == AWQ_STORED_FLOAT4;
    if (index > scaled) return false;
    *out = index ? expected_scales(weight) : expected_values(weight);
    if (out->tensor.name) return true;
    /* the scales are missing: what they would be called */
    const char *values = weight->part[AWQ_PART_VALUES]->name;
    int stem = (int)strlen(values);
    bool stacked = weight->experts > 0;
    for (int i = 0; i < SUFFIXES && value_suffixes[stacked][i]; i++) {
        int length = (int)strlen(value_suffixes[stacked][i]);
        if (stem > length && !strcmp(values + stem - length, value_suffixes[stacked][i]))
            stem -= length;
    }
    int usual = weight->stored == AWQ_STORED_FLOAT4 ? 1 + stacked : 0;
    snprintf(name, AWQ_NAME_BYTES, "%.*s%s", stem, values, scale_suffixes[stacked][usual]);
    out->tensor.name = name;
    return true;
}

awq_expected awq_bias_expected(const awq_weight *bias)
{
    awq_expected expected = {.type = AWQ_PART_WEIGHT,
                             .tensor = shape_of(bias, bias->tensor_rows, 0)};
    expected.tensor.name = bias->part[AWQ_PART_VALUES]->name;
    return expected;
}

/* ---- scales that belong to nothing ---- */

bool awq_weight_is_stray_scale(const awq_checkpoint_tensors *tensors, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < 2; i++) { /* not ".scale", which other modules have */
        char stem[AWQ_NAME_BYTES];
        size_t tail = strlen(scale_suffixes[0][i]);
        if (length <= tail || length >= sizeof stem ||
            strcmp(name + length - tail, scale_suffixes[0][i]) != 0)
            continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(length - tail), name);
        const awq_tensor *values = find_first(tensors, stem, value_suffixes[0]);
        return !values || awq_dtype_is_weight(values->dtype);
    }
    return false;
}
