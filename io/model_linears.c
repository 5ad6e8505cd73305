/* SPDX-License-Identifier: MIT
 * io/model_linears.c - the linears and scale groups of a model's layers: numbers, shapes, names.
 *
 * MLP m has its gate, up and down at AWQ_GATE + 3m and on, and the group of its down at
 * AWQ_GROUP_DOWN + m; m is 0 in a dense layer. */
#include <stdio.h>
#include <string.h>

#include "io/model.h"

/* ---- numbers ---- */

int awq_model_mlps(const awq_model *model)
{
    return 1 + (int)model->experts.count + (model->experts.shared_intermediate > 0);
}

int awq_model_shared_mlp(const awq_model *model)
{
    return model->experts.shared_intermediate > 0 ? 1 + (int)model->experts.count : 0;
}

int64_t awq_mlp_intermediate(const awq_model *model, int mlp)
{
    if (!mlp) return model->intermediate;
    return mlp == awq_model_shared_mlp(model) ? model->experts.shared_intermediate
                                              : model->experts.intermediate;
}

awq_linear awq_mlp_linear(int mlp, awq_kind kind)
{
    return (awq_linear)kind + AWQ_MLP_LINEARS * mlp;
}

awq_group awq_mlp_down_group(int mlp)
{
    return AWQ_GROUP_DOWN + mlp;
}

/* The number behind the last MLP's last linear. */
static awq_linear mlps_end(const awq_model *model)
{
    return AWQ_GATE + AWQ_MLP_LINEARS * awq_model_mlps(model);
}

awq_linear awq_model_linears(const awq_model *model)
{
    return mlps_end(model) + (model->experts.count > 0) + (awq_model_shared_mlp(model) > 0);
}

awq_group awq_model_groups(const awq_model *model)
{
    return AWQ_GROUP_DOWN + awq_model_mlps(model);
}

int awq_linear_mlp(awq_linear linear)
{
    return (linear - AWQ_GATE) / AWQ_MLP_LINEARS;
}

awq_kind awq_linear_kind(const awq_model *model, awq_linear linear)
{
    if (linear < AWQ_DENSE_LINEARS) return (awq_kind)linear;
    if (linear >= mlps_end(model)) return (awq_kind)(AWQ_ROUTER + linear - mlps_end(model));
    return (awq_kind)(AWQ_GATE + (linear - AWQ_GATE) % AWQ_MLP_LINEARS);
}

awq_linear awq_model_linear(const awq_model *model, awq_kind kind)
{
    return kind < AWQ_ROUTER ? (awq_linear)kind : mlps_end(model) + (awq_linear)(kind - AWQ_ROUTER);
}

bool awq_layer_has(const awq_model *model, int64_t layer, awq_linear linear)
{
    if (linear < AWQ_GATE) return true;
    return model->sparse[layer] == (linear >= AWQ_DENSE_LINEARS);
}

bool awq_layer_has_group(const awq_model *model, int64_t layer, awq_group group)
{
    if (group < AWQ_GROUP_DOWN) return true;
    return model->sparse[layer] == (group >= AWQ_DENSE_GROUPS);
}

int awq_model_sorts(const awq_model *model, int64_t layer[2])
{
    layer[0] = 0;
    for (int64_t i = 1; i < model->layers; i++) {
        if (model->sparse[i] == model->sparse[0]) continue;
        layer[1] = i;
        return 2;
    }
    return 1;
}

/* ---- groups ---- */

awq_group awq_linear_group(const awq_model *model, awq_linear linear)
{
    switch (awq_linear_kind(model, linear)) {
    case AWQ_Q:
    case AWQ_K:
    case AWQ_V:
        return AWQ_GROUP_QKV;
    case AWQ_O:
        return AWQ_GROUP_O;
    case AWQ_DOWN:
        return awq_mlp_down_group(awq_linear_mlp(linear));
    default:
        return AWQ_GROUP_GATE_UP;
    }
}

int64_t awq_group_channels(const awq_model *model, awq_group group)
{
    if (group == AWQ_GROUP_O) return model->heads * model->head_dim;
    if (group < AWQ_GROUP_DOWN) return model->hidden;
    return awq_mlp_intermediate(model, group - AWQ_GROUP_DOWN);
}

awq_group awq_linear_feeds(const awq_model *model, awq_linear linear)
{
    awq_kind kind = awq_linear_kind(model, linear);
    if (kind == AWQ_V) return AWQ_GROUP_O;
    return kind == AWQ_UP ? awq_mlp_down_group(awq_linear_mlp(linear)) : -1;
}

/* ---- shapes ---- */

/* Rows of a weight. */
static int64_t outputs(const awq_model *model, awq_linear linear)
{
    switch (awq_linear_kind(model, linear)) {
    case AWQ_Q:
        return model->heads * model->head_dim;
    case AWQ_K:
    case AWQ_V:
        return model->kv_heads * model->head_dim;
    case AWQ_GATE:
    case AWQ_UP:
        return awq_mlp_intermediate(model, awq_linear_mlp(linear));
    case AWQ_ROUTER:
        return model->experts.count;
    case AWQ_SHARED_GATE:
        return 1;
    default:
        return model->hidden;
    }
}

void awq_linear_shape(const awq_model *model, awq_linear linear, int64_t *out, int64_t *in)
{
    *out = outputs(model, linear);
    *in = awq_group_channels(model, awq_linear_group(model, linear));
}

/* ---- full precision ---- */

static size_t bit_of(const awq_model *model, int64_t layer, awq_linear linear)
{
    return (size_t)layer * (size_t)awq_model_linears(model) + (size_t)linear;
}

void awq_model_leave(awq_model *model, int64_t layer, awq_linear linear)
{
    size_t bit = bit_of(model, layer, linear);
    model->full_precision[bit / 32] |= UINT32_C(1) << bit % 32;
}

bool awq_model_leaves(const awq_model *model, int64_t layer, awq_linear linear)
{
    size_t bit = bit_of(model, layer, linear);
    return awq_linear_kind(model, linear) >= AWQ_ROUTER ||
           (model->full_precision[bit / 32] >> bit % 32 & 1);
}

bool awq_model_packs(const awq_model *model, int64_t layer, awq_linear linear)
{
    return model->quantized && !awq_model_leaves(model, layer, linear);
}

bool awq_model_leaves_all(const awq_model *model, awq_linear linear)
{
    for (int64_t layer = 0; layer < model->layers; layer++)
        if (awq_layer_has(model, layer, linear) && !awq_model_leaves(model, layer, linear))
            return false;
    return true;
}

/* ---- names ---- */

const char *awq_dense_linear_name(awq_linear linear)
{
    static const char *const names[] = {
#define AWQ_KIND_TEXT(name, text) text,
        AWQ_KIND_LIST(AWQ_KIND_TEXT)
#undef AWQ_KIND_TEXT
    };
    return names[linear];
}

const char *awq_dense_group_name(awq_group group)
{
    static const char *const names[] = {"qkv", "o", "gate_up", "down"};
    return names[group];
}

/* "up_proj" */
static const char *kind_name(const awq_model *model, awq_kind kind, bool of_expert)
{
    static const char *const mixtral[] = {[AWQ_GATE] = "w1", [AWQ_UP] = "w3", [AWQ_DOWN] = "w2"};
    if (of_expert && model->family == AWQ_MIXTRAL) return mixtral[kind];
    return strchr(awq_dense_linear_name((awq_linear)kind), '.') + 1;
}

/* "experts.3.", "shared_expert.", or nothing. */
static void mlp_prefix(char out[AWQ_NAME_BYTES], const awq_model *model, int mlp)
{
    *out = '\0';
    if (mlp && mlp == awq_model_shared_mlp(model))
        snprintf(out, AWQ_NAME_BYTES, "shared_expert.");
    else if (mlp)
        snprintf(out, AWQ_NAME_BYTES, "experts.%d.", mlp - 1);
}

char *awq_linear_short_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_linear linear)
{
    awq_kind kind = awq_linear_kind(model, linear);
    bool of_expert = linear >= AWQ_DENSE_LINEARS && kind <= AWQ_DOWN;
    mlp_prefix(out, model, of_expert ? awq_linear_mlp(linear) : 0);
    size_t used = strlen(out);
    snprintf(out + used, AWQ_NAME_BYTES - used, "%s", kind_name(model, kind, of_expert));
    return out;
}

/* "mlp." */
static const char *module_name(const awq_model *model, awq_linear linear)
{
    if (linear < AWQ_GATE) return "self_attn.";
    return model->family == AWQ_MIXTRAL ? "block_sparse_moe." : "mlp.";
}

char *awq_linear_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_linear linear)
{
    char name[AWQ_NAME_BYTES];
    awq_linear_short_name(name, model, linear);
    snprintf(out, AWQ_NAME_BYTES, "%s%.200s", module_name(model, linear), name);
    return out;
}

char *awq_linear_full_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                           awq_linear linear)
{
    char name[AWQ_NAME_BYTES];
    awq_linear_name(name, model, linear);
    snprintf(out, AWQ_NAME_BYTES, "model.layers.%lld.%.200s", (long long)layer, name);
    return out;
}

char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             awq_linear linear, const char *suffix)
{
    awq_linear_full_name(out, model, layer, linear);
    size_t used = strlen(out);
    snprintf(out + used, AWQ_NAME_BYTES - used, ".%s", suffix);
    return out;
}

char *awq_group_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_group group)
{
    bool dense = group < AWQ_DENSE_GROUPS;
    mlp_prefix(out, model, dense ? 0 : group - AWQ_GROUP_DOWN);
    size_t used = strlen(out);
    snprintf(out + used, AWQ_NAME_BYTES - used, "%s",
             awq_dense_group_name(dense ? group : AWQ_GROUP_DOWN));
    return out;
}
