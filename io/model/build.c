/* SPDX-License-Identifier: MIT
 * io/model/build.c - from what config.json says to layers as data: attention, dense MLPs, mixtures
 * of experts, each a builder. The order in which linears and groups are added is the order in which
 * they are searched, and part of a job's bytes. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/model/config.h"

/* ---- adding to a layer ---- */

static int add_norm(awq_layer_spec *layer, const char *name, int64_t width, bool offset)
{
    layer->norm[layer->norms] = (awq_norm_spec){name, width, offset, -1};
    return layer->norms++;
}

static awq_producer by_norm(int norm)
{
    return (awq_producer){.by = AWQ_BY_NORM, .norm = norm};
}

static awq_producer by_rows(awq_rows rows)
{
    return (awq_producer){.by = AWQ_BY_ROWS, .norm = -1, .rows = rows};
}

static int add_group(awq_layer_spec *layer, int expert, const char *prefix, const char *name,
                     int64_t channels, awq_producer producer)
{
    int index = layer->groups++;
    awq_group_spec *group = &layer->group[index];
    *group = (awq_group_spec){
        .channels = channels, .producer = producer, .run = channels, .repeat = 1, .expert = expert};
    snprintf(group->name, sizeof group->name, "%.30s%s", prefix, name);
    if (producer.by == AWQ_BY_NORM) layer->norm[producer.norm].absorbs = index;
    if (producer.by == AWQ_BY_ROWS) layer->linear[producer.rows.linear].absorbs = index;
    return index;
}

/* A linear that reads a group's input. */
static awq_linear_spec *add_linear(awq_layer_spec *layer, awq_half half, int group, int64_t out,
                                   const char *format, ...) __attribute__((format(printf, 5, 6)));

static awq_linear_spec *add_linear(awq_layer_spec *layer, awq_half half, int group, int64_t out,
                                   const char *format, ...)
{
    va_list arguments;
    awq_linear_spec *linear = &layer->linear[layer->linears++];
    *linear = (awq_linear_spec){.out = out,
                                .in = layer->group[group].channels,
                                .group = group,
                                .absorbs = -1,
                                .expert = -1,
                                .half = half,
                                .scale = 1,
                                .clipped = true};
    va_start(arguments, format);
    vsnprintf(linear->name, sizeof linear->name, format, arguments);
    va_end(arguments);
    return linear;
}

static awq_rows rows_of(const awq_layer_spec *layer, const awq_linear_spec *linear, int64_t first,
                        int64_t count)
{
    return (awq_rows){(int)(linear - layer->linear), first, count, count, 1};
}

static awq_rows all_rows(const awq_layer_spec *layer, const awq_linear_spec *linear)
{
    return rows_of(layer, linear, 0, linear->out);
}

/* ---- grouped-query attention ---- */

static const char fused_qkv[] = "q_proj, k_proj and v_proj";

static awq_rows add_qkv(const awq_config *config, awq_layer_spec *layer, int group,
                        const char *name, int64_t heads, bool clipped)
{
    awq_linear_spec *linear = add_linear(layer, AWQ_HALF_ATTENTION, group, heads * config->head_dim,
                                         "self_attn.%s", name);
    linear->bias = config->qkv_bias;
    linear->clipped = clipped;
    linear->fused = fused_qkv;
    return all_rows(layer, linear);
}

/* One weight of q's rows, then k's, then v's. It is not cut, since q and k are not. */
static void add_fused_qkv(const awq_config *config, awq_layer_spec *layer, int group)
{
    awq_attention_spec *attention = &layer->attention;
    int64_t q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    awq_linear_spec *linear =
        add_linear(layer, AWQ_HALF_ATTENTION, group, q + 2 * kv, "self_attn.qkv_proj");
    linear->bias = config->qkv_bias;
    linear->clipped = false;
    attention->q = rows_of(layer, linear, 0, q);
    attention->k = rows_of(layer, linear, q, kv);
    attention->v = rows_of(layer, linear, q + kv, kv);
}

static void add_attention(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_half_spec *half = &layer->half[AWQ_HALF_ATTENTION];
    awq_attention_spec *attention = &layer->attention;
    *attention = (awq_attention_spec){.q_norm = -1,
                                      .k_norm = -1,
                                      .heads = config->heads,
                                      .kv_heads = config->kv_heads,
                                      .head_dim = config->head_dim,
                                      .rope_dim = config->rotated[index] ? config->rope_dim : 0,
                                      .window = config->windowed[index] ? config->window : 0,
                                      .scale = config->scale,
                                      .softcap = config->softcap};
    half->group = add_group(layer, -1, "", "qkv", config->hidden, by_norm(half->norm));
    if (config->family->fused) {
        add_fused_qkv(config, layer, half->group);
    } else {
        attention->q = add_qkv(config, layer, half->group, "q_proj", config->heads, false);
        attention->k = add_qkv(config, layer, half->group, "k_proj", config->kv_heads, false);
        attention->v = add_qkv(config, layer, half->group, "v_proj", config->kv_heads, true);
    }
    int group =
        add_group(layer, -1, "", "o", config->heads * config->head_dim, by_rows(attention->v));
    layer->group[group].run = config->head_dim;
    layer->group[group].repeat = config->heads / config->kv_heads;
    awq_linear_spec *o =
        add_linear(layer, AWQ_HALF_ATTENTION, group, config->hidden, "self_attn.o_proj");
    o->bias = config->o_bias;
    o->scale = config->residual_scale;
    attention->o = (int)(o - layer->linear);
    if (!config->family->qk_norm) return;
    bool offset = config->family->norm_offset;
    attention->q_norm = add_norm(layer, "self_attn.q_norm", config->head_dim, offset);
    attention->k_norm = add_norm(layer, "self_attn.k_norm", config->head_dim, offset);
}

/* ---- MLPs ---- */

/* What one MLP is called, and which it is. */
typedef struct mlp_names {
    const char *module, *prefix; /* "mlp", "experts.3." */
    const char *gate, *up, *down;
    int expert;        /* -1: all tokens go through it */
    const char *fused; /* what gate and up are loaded with */
} mlp_names;

static void add_gate_up(const awq_config *config, awq_layer_spec *layer, int64_t width,
                        const mlp_names *names, awq_mlp_spec *mlp)
{
    int group = layer->half[AWQ_HALF_MLP].group;
    if (config->family->fused) {
        awq_linear_spec *linear =
            add_linear(layer, AWQ_HALF_MLP, group, 2 * width, "%.20s.%.20sgate_up_proj",
                       names->module, names->prefix);
        mlp->gate = rows_of(layer, linear, 0, width);
        mlp->up = rows_of(layer, linear, width, width);
        return;
    }
    const char *const kind[] = {names->gate, names->up};
    awq_rows *const rows[] = {&mlp->gate, &mlp->up};
    for (int i = 0; i < 2; i++) {
        awq_linear_spec *linear = add_linear(layer, AWQ_HALF_MLP, group, width, "%.20s.%.20s%.20s",
                                             names->module, names->prefix, kind[i]);
        linear->fused = names->fused;
        *rows[i] = all_rows(layer, linear);
    }
}

/* Adds an MLP of `width` channels; its linears are the layer's last ones. */
static void add_mlp(const awq_config *config, awq_layer_spec *layer, int64_t width,
                    const mlp_names *names)
{
    awq_mlp_spec *mlp = &layer->mlps.mlp[layer->mlps.count++];
    int first = layer->linears;
    mlp->expert = names->expert;
    add_gate_up(config, layer, width, names, mlp);
    int group = add_group(layer, names->expert, names->prefix, "down", width, by_rows(mlp->up));
    awq_linear_spec *down =
        add_linear(layer, AWQ_HALF_MLP, group, config->hidden, "%.20s.%.20s%.20s", names->module,
                   names->prefix, names->down);
    if (names->expert >= 0) down->fused = names->fused;
    down->scale = config->residual_scale;
    mlp->down = (int)(down - layer->linear);
    for (int i = first; i < layer->linears; i++) {
        layer->linear[i].expert = names->expert;
        layer->linear[i].bias = config->mlp_bias;
    }
}

/* Where transformers 5 has all experts in one tensor, gate's rows before up's. */
static void stack_experts(awq_layer_spec *layer, const awq_mlp_spec *mlp)
{
    static const char gate_up[] = "mlp.experts.gate_up_proj", down[] = "mlp.experts.down_proj";
    const awq_rows *rows[] = {&mlp->gate, &mlp->up};
    int64_t width = mlp->gate.count;
    for (int i = 0; i < 2; i++)
        layer->linear[rows[i]->linear].stack =
            (awq_stack_spec){gate_up, 2 * width, i * width, 1, false};
    awq_linear_spec *last = &layer->linear[mlp->down];
    last->stack = (awq_stack_spec){down, last->out, 0, 1, false};
}

static const char fused_gate_up[] = "gate_proj and up_proj";

static void add_dense(const awq_config *config, awq_layer_spec *layer)
{
    layer->mlps.intermediate = config->intermediate;
    add_mlp(config, layer, config->intermediate,
            &(mlp_names){"mlp", "", "gate_proj", "up_proj", "down_proj", -1, fused_gate_up});
}

/* A linear whose outputs weigh experts. */
static int add_router(awq_layer_spec *layer, int64_t out, const char *module, const char *name)
{
    awq_linear_spec *linear = add_linear(layer, AWQ_HALF_MLP, layer->half[AWQ_HALF_MLP].group, out,
                                         "%.20s.%.30s", module, name);
    linear->router = true;
    linear->clipped = false;
    return (int)(linear - layer->linear);
}

static void add_experts(const awq_config *config, awq_layer_spec *layer)
{
    const awq_mixture *mixture = config->family->mixture;
    awq_mlps_spec *mlps = &layer->mlps;
    mlp_names names = {mixture->module, NULL, mixture->gate, mixture->up,
                       mixture->down,   0,    "the experts"};
    mlps->experts = config->experts;
    mlps->active = config->active;
    mlps->intermediate = config->expert_width;
    mlps->shared = config->shared_width;
    mlps->normalized = config->normalized;
    for (; names.expert < config->experts; names.expert++) {
        char prefix[24];
        snprintf(prefix, sizeof prefix, "experts.%d.", names.expert);
        names.prefix = prefix;
        add_mlp(config, layer, config->expert_width, &names);
        stack_experts(layer, &mlps->mlp[names.expert]);
    }
    if (config->shared_width) {
        names.prefix = "shared_expert.";
        names.expert = -1;
        names.fused = fused_gate_up;
        add_mlp(config, layer, config->shared_width, &names);
    }
    mlps->router = add_router(layer, config->experts, mixture->module, "gate");
    layer->linear[mlps->router].alias = mixture->router_alias;
    if (config->shared_width)
        mlps->shared_gate = add_router(layer, 1, mixture->module, "shared_expert_gate");
}

/* ---- a layer ---- */

/* layer->reader: the linears by the group that they read. */
static void list_readers(awq_layer_spec *layer)
{
    int next = 0;
    for (int i = 0; i < layer->linears; i++) layer->group[layer->linear[i].group].count++;
    for (int i = 0; i < layer->groups; i++) {
        layer->group[i].first = next;
        next += layer->group[i].count;
        layer->group[i].count = 0;
    }
    for (int i = 0; i < layer->linears; i++) {
        awq_group_spec *group = &layer->group[layer->linear[i].group];
        layer->reader[group->first + group->count++] = i;
    }
}

/* Room for all that the builders add. */
static bool allocate(awq_layer_spec *layer, int64_t mlps)
{
    size_t count = (size_t)mlps, linears = 4 + 3 * count + 2;
    layer->linear = calloc(linears, sizeof *layer->linear);
    layer->reader = calloc(linears, sizeof *layer->reader);
    layer->group = calloc(3 + count, sizeof *layer->group);
    layer->mlps.mlp = calloc(count, sizeof *layer->mlps.mlp);
    return layer->linear && layer->reader && layer->group && layer->mlps.mlp;
}

/* false: no memory; the layer is the caller's to release. */
static bool build_layer(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    const awq_family *family = config->family;
    awq_half_spec *attention = &layer->half[AWQ_HALF_ATTENTION], *mlp = &layer->half[AWQ_HALF_MLP];
    bool offset = family->norm_offset, out = family->out_norms, sparse = config->sparse[index];
    if (!allocate(layer, sparse ? config->experts + 1 : 1)) return false;
    attention->norm = add_norm(layer, "input_layernorm", config->hidden, offset);
    attention->out_norm =
        out ? add_norm(layer, "post_attention_layernorm", config->hidden, offset) : -1;
    mlp->norm = add_norm(layer, out ? "pre_feedforward_layernorm" : "post_attention_layernorm",
                         config->hidden, offset);
    mlp->out_norm =
        out ? add_norm(layer, "post_feedforward_layernorm", config->hidden, offset) : -1;
    layer->mlps.activation = family->activation;
    layer->mlps.router = layer->mlps.shared_gate = -1;
    add_attention(config, index, layer);
    mlp->group = add_group(layer, -1, "", "gate_up", config->hidden, by_norm(mlp->norm));
    if (sparse)
        add_experts(config, layer);
    else
        add_dense(config, layer);
    list_readers(layer);
    return true;
}

/* ---- the model ---- */

static void complain_of_linears(const awq_config_reader *reader, const awq_config *config)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                     "'%s': %lld layers of %lld experts are more than %d linears, and not "
                     "supported",
                     reader->name, (long long)config->layers, (long long)config->experts,
                     (int)AWQ_MAX_LINEARS);
}

/* The first layer of the same kind; the layer itself: it is the first. */
static int64_t first_alike(const awq_config *config, int64_t layer)
{
    int64_t first = 0;
    while (config->sparse[first] != config->sparse[layer] ||
           config->windowed[first] != config->windowed[layer] ||
           config->rotated[first] != config->rotated[layer])
        first++;
    return first;
}

void awq_model_build(const awq_config_reader *reader, const awq_config *config, awq_model *out)
{
    for (int64_t i = 0; i < config->layers; i++) {
        int64_t first = first_alike(config, i);
        out->kind_of[i] = first < i ? out->kind_of[first] : (uint8_t)out->kinds;
        if (first < i) continue;
        awq_layer_spec *layer = &out->kind[out->kinds++];
        if (!build_layer(config, i, layer)) {
            awq_config_complain(reader, "no memory for the description of its layers", "");
            return;
        }
        if (layer->linears > out->widest) out->widest = layer->linears;
    }
    if (config->layers * out->widest > AWQ_MAX_LINEARS) complain_of_linears(reader, config);
}
