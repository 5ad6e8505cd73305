/* SPDX-License-Identifier: MIT */
#include "io/model.h"

#include <stdio.h>

const char *awq_family_name(awq_family family)
{
    switch (family) {
#define AWQ_FAMILY_CASE(name, text)                                                                \
    case name:                                                                                     \
        return text;
        AWQ_FAMILY_LIST(AWQ_FAMILY_CASE)
#undef AWQ_FAMILY_CASE
    }
    return "?";
}

const char *awq_linear_name(awq_linear linear)
{
    static const char *const names[] = {
#define AWQ_LINEAR_TEXT(name, text) text,
        AWQ_LINEAR_LIST(AWQ_LINEAR_TEXT)
#undef AWQ_LINEAR_TEXT
    };
    return names[linear];
}

const char *awq_norm_name(awq_norm norm)
{
    static const char *const names[] = {
#define AWQ_NORM_TEXT(name, text) text,
        AWQ_NORM_LIST(AWQ_NORM_TEXT)
#undef AWQ_NORM_TEXT
    };
    return names[norm];
}

void awq_linear_shape(const awq_model *model, awq_linear linear, int64_t *out, int64_t *in)
{
    int64_t query = model->heads * model->head_dim;
    int64_t key = model->kv_heads * model->head_dim;
    int64_t rows[] = {[AWQ_Q] = query,
                      [AWQ_K] = key,
                      [AWQ_V] = key,
                      [AWQ_O] = model->hidden,
                      [AWQ_GATE] = model->intermediate,
                      [AWQ_UP] = model->intermediate,
                      [AWQ_DOWN] = model->hidden};
    *out = rows[linear];
    *in = linear == AWQ_O ? query : linear == AWQ_DOWN ? model->intermediate : model->hidden;
}

bool awq_model_leaves(const awq_model *model, int64_t layer, awq_linear linear)
{
    return model->full_precision[layer] >> linear & 1;
}

bool awq_model_packs(const awq_model *model, int64_t layer, awq_linear linear)
{
    return model->quantized && !awq_model_leaves(model, layer, linear);
}

bool awq_model_leaves_all(const awq_model *model, awq_linear linear)
{
    for (int64_t layer = 0; layer < model->layers; layer++)
        if (!awq_model_leaves(model, layer, linear)) return false;
    return true;
}

bool awq_model_has_norm(const awq_model *model, awq_norm norm)
{
    return norm == AWQ_INPUT_NORM || norm == AWQ_POST_NORM || model->qk_norm;
}

int64_t awq_norm_elements(const awq_model *model, awq_norm norm)
{
    return norm == AWQ_INPUT_NORM || norm == AWQ_POST_NORM ? model->hidden : model->head_dim;
}

char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_linear linear,
                             const char *suffix)
{
    snprintf(out, AWQ_NAME_BYTES, "model.layers.%lld.%s.%s", (long long)layer,
             awq_linear_name(linear), suffix);
    return out;
}

char *awq_linear_full_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_linear linear)
{
    snprintf(out, AWQ_NAME_BYTES, "model.layers.%lld.%s", (long long)layer,
             awq_linear_name(linear));
    return out;
}

char *awq_norm_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_norm norm)
{
    snprintf(out, AWQ_NAME_BYTES, "model.layers.%lld.%s.weight", (long long)layer,
             awq_norm_name(norm));
    return out;
}

int64_t awq_model_layer_parameters(const awq_model *model)
{
    int64_t sum = 0;
    for (awq_linear linear = 0; linear < AWQ_LINEARS; linear++) {
        int64_t out, in;
        awq_linear_shape(model, linear, &out, &in);
        sum += out * in + (model->bias[linear] ? out : 0);
    }
    for (awq_norm norm = 0; norm < AWQ_NORMS; norm++)
        if (awq_model_has_norm(model, norm)) sum += awq_norm_elements(model, norm);
    return sum;
}

int64_t awq_model_parameters(const awq_model *model)
{
    int64_t matrices = model->tied ? 1 : 2; /* embedding and head */
    return model->layers * awq_model_layer_parameters(model) +
           matrices * model->vocab * model->hidden + model->hidden;
}
