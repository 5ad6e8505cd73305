/* SPDX-License-Identifier: MIT
 * io/families/build_mlps.c - the MLP of a dense layer, and those of a sparse one: experts, a shared
 * one, routers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/families/build.h"

/* What one MLP is called, and which it is. */
typedef struct mlp_names {
    const char *module;           /* in the layer: "mlp.experts.3" */
    const char *prefix;           /* of its group: "experts.3." */
    const char *gate, *up, *down; /* gate NULL: there is none */
    const char *gate_up;          /* both in one; NULL: apart */
    int expert;                   /* -1: all tokens go through it */
    const char *fused;            /* what gate and up are loaded with */
    bool whole;                   /* its linears' short names are whole */
    int group;                    /* that gate and up read; 0: the half's */
} mlp_names;

static const char fused_gate_up[] = "gate_proj and up_proj";

/* ---- one MLP ---- */

/* Experts have them where their family's do, whatever config.json says of the others. */
static bool has_bias(const awq_config *config, const mlp_names *names)
{
    return names->expert < 0 ? config->mlp_bias : config->family->mixture->expert_bias;
}

static awq_rows add_input(const awq_config *config, awq_layer_spec *layer, int64_t width,
                          const mlp_names *names, const char *name)
{
    int group = names->group ? names->group : layer->half[AWQ_HALF_MLP].group;
    awq_linear_spec *linear =
        awq_build_linear(layer, AWQ_HALF_MLP, group, width, "%.40s.%.20s", names->module, name);
    linear->bias = has_bias(config, names);
    linear->fused = names->fused;
    linear->expert = names->expert;
    linear->whole_name = names->whole;
    return awq_build_all_rows(layer, linear);
}

static void add_gate_up(const awq_config *config, awq_layer_spec *layer, int64_t width,
                        const mlp_names *names, awq_mlp_spec *mlp)
{
    mlp->gate.linear = -1;
    if (names->gate_up) {
        awq_rows all = add_input(config, layer, 2 * width, names, names->gate_up);
        const awq_linear_spec *linear = &layer->linear[all.linear];
        layer->linear[all.linear].fused = NULL;
        mlp->gate = awq_build_rows(layer, linear, 0, width, width, 1);
        mlp->up = awq_build_rows(layer, linear, width, width, width, 1);
        return;
    }
    if (names->gate) mlp->gate = add_input(config, layer, width, names, names->gate);
    mlp->up = add_input(config, layer, width, names, names->up);
}

/* Of an MLP that all tokens go through. */
static int64_t width_of(const awq_config *config, int64_t index, int64_t width)
{
    return config->wide_takers && config->sharing[index] == AWQ_KV_TAKEN ? 2 * width : width;
}

/* Whose rows can absorb what down's channels are scaled by: up's, where what the MLP puts out is
 * linear in it. */
static awq_producer down_producer(const awq_layer_spec *layer, const awq_mlp_spec *mlp)
{
    bool linear = mlp->gate.linear >= 0 && layer->mlps.activation != AWQ_SWIGLU_OAI &&
                  !(layer->mlps.limit > 0);
    return linear ? awq_build_by_rows(mlp->up) : awq_build_no_one();
}

/* Adds an MLP of `width` channels; its linears are the layer's last ones. */
static awq_mlp_spec *add_mlp(const awq_config *config, awq_layer_spec *layer, int64_t width,
                             const mlp_names *names)
{
    awq_mlp_spec *mlp = &layer->mlps.mlp[layer->mlps.count++];
    mlp->expert = names->expert;
    add_gate_up(config, layer, width, names, mlp);
    int group = awq_build_group(layer, names->expert, names->prefix, "down", width,
                                down_producer(layer, mlp));
    awq_linear_spec *down = awq_build_linear(layer, AWQ_HALF_MLP, group, config->hidden,
                                             "%.40s.%.20s", names->module, names->down);
    if (names->expert >= 0) down->fused = names->fused;
    down->scale = config->residual_scale;
    down->bias = has_bias(config, names);
    down->expert = names->expert;
    down->whole_name = names->whole;
    mlp->down = (int)(down - layer->linear);
    return mlp;
}

static void add_dense(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    static const awq_names llama = {0};
    const awq_family *family = config->family;
    const awq_names *own = family->names ? family->names : &llama;
    mlp_names names = {own->mlp ? own->mlp : "mlp",
                       "",
                       own->gate ? own->gate : "gate_proj",
                       own->up ? own->up : "up_proj",
                       own->down ? own->down : "down_proj",
                       own->gate_up,
                       -1,
                       fused_gate_up,
                       false,
                       0};
    if (family->ungated) names.gate = names.fused = NULL;
    layer->mlps.intermediate = width_of(config, index, config->intermediate);
    add_mlp(config, layer, layer->mlps.intermediate, &names);
}

/* ---- experts ---- */

/* Where all experts are in one tensor, gate's rows before up's or between them. */
static void stack_expert(const awq_mixture *mixture, awq_layer_spec *layer, const awq_mlp_spec *mlp)
{
    static const awq_stacks usual = {.gate_up = "mlp.experts.gate_up_proj",
                                     .down = "mlp.experts.down_proj"};
    const awq_stacks *stacks = mixture->stacks ? mixture->stacks : &usual;
    const awq_rows *rows[] = {&mlp->gate, &mlp->up};
    int64_t width = mlp->gate.count, step = stacks->interleaved ? 2 : 1;
    for (int i = 0; i < 2; i++)
        layer->linear[rows[i]->linear].stack = (awq_stack_spec){
            stacks->gate_up,    2 * width,     stacks->interleaved ? i : i * width, step,
            stacks->transposed, stacks->either};
    awq_linear_spec *down = &layer->linear[mlp->down];
    down->stack =
        (awq_stack_spec){stacks->down, down->out, 0, 1, stacks->transposed, stacks->either};
}

/* A linear whose outputs weigh experts. */
static int add_router(awq_layer_spec *layer, int group, int64_t out, const char *module,
                      const char *name)
{
    awq_linear_spec *linear = awq_build_linear(layer, AWQ_HALF_MLP, group, out, "%.20s%s%.30s",
                                               module, *module ? "." : "", name);
    linear->exempt = true;
    linear->whole_name = !*module;
    linear->clipped = false;
    return (int)(linear - layer->linear);
}

/* The group that the shared expert reads, where it has a norm of its own. */
static int add_shared_input(const awq_config *config, awq_layer_spec *layer, const char *prefix)
{
    const awq_apart *apart = config->family->mixture->apart;
    layer->mlps.shared_norm =
        awq_build_norm(config, layer, apart->shared_in, config->hidden, config->hidden);
    layer->mlps.shared_out_norm =
        awq_build_norm(config, layer, apart->shared_out, config->hidden, config->hidden);
    return awq_build_group(layer, -1, prefix, "gate_up", config->hidden,
                           awq_build_by_norm(layer->mlps.shared_norm));
}

static void add_shared(const awq_config *config, awq_layer_spec *layer)
{
    const awq_mixture *mixture = config->family->mixture;
    const char *last = strrchr(mixture->shared_module, '.');
    char prefix[AWQ_GROUP_NAME_BYTES];
    mlp_names names = {mixture->shared_module,
                       prefix,
                       mixture->gate,
                       mixture->up,
                       mixture->shared_down ? mixture->shared_down : mixture->down,
                       mixture->shared_gate_up,
                       -1,
                       fused_gate_up,
                       false,
                       0};
    snprintf(prefix, sizeof prefix, "%.24s.", last ? last + 1 : mixture->shared_module);
    if (mixture->apart) names.group = add_shared_input(config, layer, prefix);
    add_mlp(config, layer, layer->mlps.shared, &names);
}

/* The group that the router reads, where it has a norm of its own: of few rows, which are kept, so
 * that nothing is to be scaled. */
static int add_router_input(const awq_config *config, awq_layer_spec *layer)
{
    const awq_apart *apart = config->family->mixture->apart;
    int norm = layer->mlps.router_norm = awq_build_plain_norm(config, layer, config->hidden);
    layer->norm[norm].weight = awq_build_vector(layer, config->hidden, "%.60s", apart->router);
    return awq_build_group(layer, -1, "", "router", config->hidden, awq_build_no_one());
}

static void add_routers(const awq_config *config, awq_layer_spec *layer)
{
    const awq_mixture *mixture = config->family->mixture;
    awq_mlps_spec *mlps = &layer->mlps;
    int group = layer->half[AWQ_HALF_MLP].group;
    if (mixture->apart) group = add_router_input(config, layer);
    mlps->router =
        add_router(layer, group, config->routing.experts, mixture->module, mixture->router);
    if (mixture->apart)
        layer->linear[mlps->router].scale = (float)(1 / sqrt((double)config->hidden));
    layer->linear[mlps->router].alias = mixture->router_alias;
    layer->linear[mlps->router].bias = mixture->router_bias;
    if (config->shared_width && mixture->shared_gate)
        mlps->shared_gate = add_router(layer, group, 1, mixture->module, mixture->shared_gate);
    if (mixture->expert_scale)
        mlps->expert_scale =
            awq_build_vector(layer, config->routing.experts, "%.60s", mixture->expert_scale);
    if (!mixture->correction) return;
    mlps->correction =
        awq_build_vector(layer, config->routing.experts, "%.60s", mixture->correction);
    layer->vector[mlps->correction].alias = mixture->correction_alias;
    layer->vector[mlps->correction].rows = mixture->correction_row;
}

static void add_experts(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    const awq_mixture *mixture = config->family->mixture;
    awq_mlps_spec *mlps = &layer->mlps;
    bool alone = !*mixture->module;
    mlps->routing = config->routing;
    mlps->routing.active = config->active[index];
    mlps->weighs_inputs = mixture->weighs_inputs;
    mlps->intermediate = config->expert_width;
    mlps->shared = width_of(config, index, config->shared_width);
    if (mixture->apart)
        mlps->experts_out_norm = awq_build_norm(config, layer, mixture->apart->experts_out,
                                                config->hidden, config->hidden);
    for (int i = 0; i < config->routing.experts; i++) {
        char module[AWQ_LAYER_NAME_BYTES], prefix[AWQ_GROUP_NAME_BYTES];
        snprintf(prefix, sizeof prefix, "experts.%d.", i);
        snprintf(module, sizeof module, "%.20s%sexperts.%d", mixture->module, alone ? "" : ".", i);
        awq_mlp_spec *mlp = add_mlp(config, layer, config->expert_width,
                                    &(mlp_names){module, prefix, mixture->gate, mixture->up,
                                                 mixture->down, NULL, i, "the experts", alone, 0});
        stack_expert(mixture, layer, mlp);
    }
    if (config->shared_width) add_shared(config, layer);
    add_routers(config, layer);
}

void awq_build_mlps(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    layer->mlps.activation = config->family->activation;
    layer->mlps.limit = config->limit;
    layer->mlps.router = layer->mlps.shared_gate = layer->mlps.correction = -1;
    layer->mlps.expert_scale = layer->mlps.router_norm = layer->mlps.shared_norm = -1;
    layer->mlps.experts_out_norm = layer->mlps.shared_out_norm = -1;
    if (config->sparse[index])
        add_experts(config, index, layer);
    else
        add_dense(config, index, layer);
}
