/* SPDX-License-Identifier: MIT */
#include "io/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void awq_model_release(awq_model *model)
{
    for (int i = 0; i < model->kinds; i++) {
        free(model->kind[i].linear);
        free(model->kind[i].group);
        free(model->kind[i].reader);
        free(model->kind[i].mlps.mlp);
    }
    model->kinds = 0;
}

const awq_mlps_spec *awq_model_experts(const awq_model *model)
{
    for (int i = 0; i < model->kinds; i++)
        if (model->kind[i].mlps.routing.experts) return &model->kind[i].mlps;
    return NULL;
}

/* ---- full precision ---- */

static size_t bit_of(const awq_model *model, int64_t layer, int linear)
{
    return (size_t)layer * (size_t)model->widest + (size_t)linear;
}

void awq_model_keep(awq_model *model, int64_t layer, int linear)
{
    size_t bit = bit_of(model, layer, linear);
    model->kept[bit / 32] |= UINT32_C(1) << bit % 32;
}

bool awq_model_keeps(const awq_model *model, int64_t layer, int linear)
{
    size_t bit = bit_of(model, layer, linear);
    return awq_model_layer(model, layer)->linear[linear].exempt ||
           (model->kept[bit / 32] >> bit % 32 & 1);
}

bool awq_model_packs(const awq_model *model, int64_t layer, int linear)
{
    return model->quantized && !awq_model_keeps(model, layer, linear);
}

bool awq_model_keeps_all(const awq_model *model, int kind, int linear)
{
    for (int64_t layer = 0; layer < model->layers; layer++)
        if (model->kind_of[layer] == kind && !awq_model_keeps(model, layer, linear)) return false;
    return true;
}

/* ---- names ---- */

static const awq_root roots[] = {
    {"model.", "lm_head", false, "embed_tokens"},
    {"model.", "output", false, "tok_embeddings"},
    {"model.language_model.", "lm_head", false, "embed_tokens"},
    {"language_model.model.", "language_model.lm_head", false, "embed_tokens"},
    {"model.text_model.", "lm_head", false, "embed_tokens"},
    {"language_model.", "lm_head", true, "embed_tokens"},
    {"", "lm_head", true, "embed_tokens"},
};
enum { ROOTS = sizeof roots / sizeof *roots };

const awq_root *awq_root_at(int index)
{
    return index < ROOTS ? &roots[index] : NULL;
}

/* What follows `start` in `name`; NULL: it does not begin so. */
static const char *behind(const char *name, const char *start)
{
    size_t length = strlen(start);
    return name && !strncmp(name, start, length) ? name + length : NULL;
}

int64_t awq_root_layer_of(const awq_root *root, const char *name)
{
    char *end;
    const char *digits = behind(behind(name, root->decoder), "layers.");
    if (!digits || *digits < '0' || *digits > '9') return -1;
    long long layer = strtoll(digits, &end, 10);
    return *end == '.' ? (int64_t)layer : -1;
}

size_t awq_name_part_length(const char *name)
{
    const char *from = behind(name, "model.");
    if (!from) from = name;
    if (behind(from, "layers.")) from = behind(from, "layers.");
    return (size_t)(from - name) + strcspn(from, ".");
}

bool awq_name_is_of_experts(const char *name, size_t length)
{
    static const char tail[] = ".experts";
    size_t bytes = sizeof tail - 1;
    return length > bytes && !memcmp(name + length - bytes, tail, bytes);
}

/* Of each end: what it is called under the decoder, but for the embedding's and the head's. */
static const char *const end_modules[AWQ_ENDS] = {
    [AWQ_FINAL_NORM] = "norm",
    [AWQ_FINAL_NORM_BIAS] = "norm",
    [AWQ_INPUTS_TABLE] = "embed_tokens_per_layer",
    [AWQ_INPUTS_PROJECTION] = "per_layer_model_projection",
    [AWQ_INPUTS_NORM] = "per_layer_projection_norm",
};

bool awq_model_owns(const awq_model *model, const char *name)
{
    const char *rest = behind(name, model->root->decoder);
    int64_t layer = awq_root_layer_of(model->root, name);
    if (layer >= 0) return layer < model->layers;
    if (behind(behind(rest, model->root->embedding), ".")) return true;
    for (awq_end end = 0; end < AWQ_ENDS; end++)
        if (end_modules[end] && awq_model_stores(model, end) &&
            behind(behind(rest, end_modules[end]), "."))
            return true;
    return behind(behind(name, model->root->head), ".");
}

static char *layer_name(char out[AWQ_NAME_BYTES], const awq_root *root, int64_t layer,
                        const char *name, const char *suffix)
{
    snprintf(out, AWQ_NAME_BYTES, "%slayers.%lld.%s%s%s", root->decoder, (long long)layer, name,
             *suffix ? "." : "", suffix);
    return out;
}

char *awq_linear_full_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                           int linear)
{
    return layer_name(out, model->root, layer, awq_model_layer(model, layer)->linear[linear].name,
                      "");
}

char *awq_linear_plain_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                            int linear)
{
    return layer_name(out, roots, layer, awq_model_layer(model, layer)->linear[linear].name, "");
}

char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             int linear, const char *suffix)
{
    return layer_name(out, model->root, layer, awq_model_layer(model, layer)->linear[linear].name,
                      suffix);
}

char *awq_vector_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             int vector, int piece)
{
    const awq_vector_spec *spec = &awq_model_layer(model, layer)->vector[vector];
    const char *number = spec->pieces ? strchr(spec->name, '%') : NULL; /* %d */
    char name[AWQ_LAYER_NAME_BYTES + 16];
    if (!number) return layer_name(out, model->root, layer, spec->name, "");
    snprintf(name, sizeof name, "%.*s%d%s", (int)(number - spec->name), spec->name, piece,
             number + 2);
    return layer_name(out, model->root, layer, name, "");
}

char *awq_end_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_end end)
{
    const awq_root *root = model->root;
    bool head = end == AWQ_HEAD || end == AWQ_HEAD_BIAS;
    bool bias = end == AWQ_FINAL_NORM_BIAS || end == AWQ_HEAD_BIAS;
    const char *module = end == AWQ_EMBEDDING ? root->embedding : end_modules[end];
    snprintf(out, AWQ_NAME_BYTES, "%s%s.%s", head ? "" : root->decoder, head ? root->head : module,
             bias ? "bias" : "weight");
    return out;
}

bool awq_model_stores(const awq_model *model, awq_end end)
{
    switch (end) {
    case AWQ_FINAL_NORM_BIAS:
        return model->final_norm.bias;
    case AWQ_HEAD:
        return !model->tied && !model->headless;
    case AWQ_HEAD_BIAS:
        return model->head_bias && !model->headless;
    case AWQ_INPUTS_TABLE:
    case AWQ_INPUTS_PROJECTION:
    case AWQ_INPUTS_NORM:
        return model->inputs.width > 0;
    default:
        return true;
    }
}

void awq_end_shape(const awq_model *model, awq_end end, int64_t *rows, int64_t *columns)
{
    int64_t inputs = model->layers * model->inputs.width;
    const int64_t shapes[AWQ_ENDS][2] = {
        [AWQ_EMBEDDING] = {model->vocab, model->hidden},
        [AWQ_FINAL_NORM] = {model->hidden, 0},
        [AWQ_FINAL_NORM_BIAS] = {model->hidden, 0},
        [AWQ_HEAD] = {model->vocab, model->hidden},
        [AWQ_HEAD_BIAS] = {model->vocab, 0},
        [AWQ_INPUTS_TABLE] = {model->inputs.vocab, inputs},
        [AWQ_INPUTS_PROJECTION] = {inputs, model->hidden},
        [AWQ_INPUTS_NORM] = {model->inputs.width, 0},
    };
    *rows = shapes[end][0];
    *columns = shapes[end][1];
}

char *awq_other_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                            const char *name, const char *suffix)
{
    size_t length = strlen(layer_name(out, model->root, layer, name, ""));
    snprintf(out + length, AWQ_NAME_BYTES - length, "%s", suffix);
    return out;
}

/* ---- sizes ---- */

int64_t awq_model_parameters(const awq_model *model)
{
    int64_t sum = 0, rows, columns;
    for (awq_end end = 0; end < AWQ_ENDS; end++) {
        awq_end_shape(model, end, &rows, &columns);
        if (awq_model_stores(model, end)) sum += rows * (columns ? columns : 1);
    }
    for (int64_t layer = 0; layer < model->layers; layer++)
        sum += awq_layer_parameters(awq_model_layer(model, layer));
    return sum;
}

/* Those of the experts that a token does not go to. */
static int64_t idle_parameters(const awq_layer_spec *layer)
{
    int64_t of_experts = 0;
    for (int i = 0; i < layer->linears; i++)
        if (layer->linear[i].expert >= 0) of_experts += layer->linear[i].out * layer->linear[i].in;
    if (!of_experts) return 0;
    return of_experts / layer->mlps.routing.experts *
           (layer->mlps.routing.experts - layer->mlps.routing.active);
}

int64_t awq_model_active_parameters(const awq_model *model)
{
    int64_t sum = awq_model_parameters(model);
    for (int64_t layer = 0; layer < model->layers; layer++)
        sum -= idle_parameters(awq_model_layer(model, layer));
    return sum;
}
