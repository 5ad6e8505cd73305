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

const char *awq_norm_name(awq_norm norm)
{
    static const char *const names[] = {
#define AWQ_NORM_TEXT(name, text) text,
        AWQ_NORM_LIST(AWQ_NORM_TEXT)
#undef AWQ_NORM_TEXT
    };
    return names[norm];
}

bool awq_model_has_norm(const awq_model *model, awq_norm norm)
{
    return norm == AWQ_INPUT_NORM || norm == AWQ_POST_NORM || model->qk_norm;
}

int64_t awq_norm_elements(const awq_model *model, awq_norm norm)
{
    return norm == AWQ_INPUT_NORM || norm == AWQ_POST_NORM ? model->hidden : model->head_dim;
}

char *awq_norm_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_norm norm)
{
    snprintf(out, AWQ_NAME_BYTES, "model.layers.%lld.%s.weight", (long long)layer,
             awq_norm_name(norm));
    return out;
}

int64_t awq_model_layer_parameters(const awq_model *model, int64_t layer)
{
    int64_t sum = 0;
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        int64_t out, in;
        if (!awq_layer_has(model, layer, linear)) continue;
        awq_linear_shape(model, linear, &out, &in);
        sum += out * in + (model->bias[awq_linear_kind(model, linear)] ? out : 0);
    }
    for (awq_norm norm = 0; norm < AWQ_NORMS; norm++)
        if (awq_model_has_norm(model, norm)) sum += awq_norm_elements(model, norm);
    return sum;
}

int64_t awq_model_parameters(const awq_model *model)
{
    int64_t matrices = model->tied ? 1 : 2; /* embedding and head */
    int64_t sum = matrices * model->vocab * model->hidden + model->hidden;
    for (int64_t layer = 0; layer < model->layers; layer++)
        sum += awq_model_layer_parameters(model, layer);
    return sum;
}

int64_t awq_model_active_parameters(const awq_model *model)
{
    int64_t idle = model->experts.count - model->experts.active;
    int64_t of_one = AWQ_MLP_LINEARS * model->hidden * model->experts.intermediate;
    int64_t sum = awq_model_parameters(model);
    for (int64_t layer = 0; layer < model->layers; layer++)
        if (model->sparse[layer]) sum -= idle * of_one;
    return sum;
}
