/* SPDX-License-Identifier: MIT */
#include "io/checkpoint_expected.h"

#include <string.h>

enum { COLUMNS_A_WORD = 8 };

typedef struct visitor {
    const awq_model *model;
    void (*visit)(const awq_expected *expected, void *context);
    void *context;
} visitor;

/* rows [rows, cols], or [rows] where cols is 0. */
static void visit_one(const visitor *v, const char *name, awq_expected_type type, int64_t rows,
                      int64_t cols)
{
    awq_expected expected = {.type = type,
                             .tensor = {.name = name, .dims = cols ? 2 : 1, .shape = {rows, cols}}};
    v->visit(&expected, v->context);
}

static void visit_linear(const visitor *v, int64_t layer, awq_linear linear)
{
    char name[AWQ_NAME_BYTES];
    int64_t out, in;
    awq_linear_shape(v->model, linear, &out, &in);
    if (v->model->quantized) {
        int64_t group = v->model->quantized_group_size;
        int64_t groups = group > 0 ? in / group : 1;
        awq_linear_tensor_name(name, layer, linear, "qweight");
        visit_one(v, name, AWQ_EXPECT_I32, in, out / COLUMNS_A_WORD);
        awq_linear_tensor_name(name, layer, linear, "qzeros");
        visit_one(v, name, AWQ_EXPECT_I32, groups, out / COLUMNS_A_WORD);
        awq_linear_tensor_name(name, layer, linear, "scales");
        visit_one(v, name, AWQ_EXPECT_F16, groups, out);
    } else {
        awq_linear_tensor_name(name, layer, linear, "weight");
        visit_one(v, name, AWQ_EXPECT_WEIGHT, out, in);
    }
    if (v->model->bias[linear])
        visit_one(v, awq_linear_tensor_name(name, layer, linear, "bias"), AWQ_EXPECT_WEIGHT, out,
                  0);
}

static void visit_layer(const visitor *v, int64_t layer)
{
    char name[AWQ_NAME_BYTES];
    for (awq_linear linear = 0; linear < AWQ_LINEARS; linear++) visit_linear(v, layer, linear);
    for (awq_norm norm = 0; norm < AWQ_NORMS; norm++)
        if (awq_model_has_norm(v->model, norm))
            visit_one(v, awq_norm_tensor_name(name, layer, norm), AWQ_EXPECT_WEIGHT,
                      awq_norm_elements(v->model, norm), 0);
}

void awq_expected_visit(const awq_model *model,
                        void (*visit)(const awq_expected *expected, void *context), void *context)
{
    const visitor v = {model, visit, context};
    visit_one(&v, AWQ_EMBEDDING_NAME, AWQ_EXPECT_WEIGHT, model->vocab, model->hidden);
    for (int64_t layer = 0; layer < model->layers; layer++) visit_layer(&v, layer);
    visit_one(&v, AWQ_FINAL_NORM_NAME, AWQ_EXPECT_WEIGHT, model->hidden, 0);
    if (!model->tied) visit_one(&v, AWQ_HEAD_NAME, AWQ_EXPECT_WEIGHT, model->vocab, model->hidden);
}

bool awq_expected_dtype_fits(const awq_expected *expected, awq_dtype dtype)
{
    switch (expected->type) {
    case AWQ_EXPECT_WEIGHT:
        return awq_dtype_is_weight(dtype);
    case AWQ_EXPECT_I32:
        return dtype == AWQ_I32;
    case AWQ_EXPECT_F16:
        return dtype == AWQ_F16;
    }
    return false;
}

const char *awq_expected_dtype_text(const awq_expected *expected)
{
    switch (expected->type) {
    case AWQ_EXPECT_WEIGHT:
        return "F32, F16 or BF16";
    case AWQ_EXPECT_I32:
        return "I32";
    case AWQ_EXPECT_F16:
        return "F16";
    }
    return "?";
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

bool awq_expected_ignores(const char *name, bool tied)
{
    return ends_with(name, "rotary_emb.inv_freq") ||
           ends_with(name, ".self_attn.rotary_emb.cos_cached") ||
           ends_with(name, ".self_attn.rotary_emb.sin_cached") ||
           (tied && !strcmp(name, AWQ_HEAD_NAME));
}
