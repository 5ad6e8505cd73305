/* SPDX-License-Identifier: MIT
 * layers/forward/mlps.c - down(activation(gate) * up), gate, up = linears of the input (docs/awq.md
 * 4): the MLP of a dense layer; and those of a sparse one, where each row goes to the experts of
 * its router's choice, and what they put out is added to the residual, expert after expert,
 * in ascending order; then the shared expert's.
 *
 * Which rows an expert gets is sorted out on the host, which must know how many they are. */
#include <stdlib.h>
#include <string.h>

#include "layers/forward/forward.h"

void awq_forward_gate_up(forward_pass *pass, const awq_mlp_spec *mlp, const forward_rows *rows)
{
    const awq_scratch *scratch = pass->scratch;
    const awq_mlps_spec *mlps = &pass->spec->mlps;
    size_t count = (size_t)(rows->count * pass->spec->linear[mlp->down].in);
    bool gated = mlp->gate.linear >= 0;
    if (gated) awq_forward_linear(pass, &mlp->gate, scratch->gate, rows);
    awq_forward_linear(pass, &mlp->up, gated ? scratch->up : scratch->gate, rows);
    pass->be->gated(pass->device, scratch->gate, scratch->gate, gated ? scratch->up : NULL, count,
                    mlps->activation, mlps->limit);
}

/* The same, into the statistics too; returns it. */
static forward_rows run_gate_up(forward_pass *pass, const awq_mlp_spec *mlp,
                                const forward_rows *rows)
{
    forward_rows inner = {pass->scratch->gate, rows->mask, rows->count};
    awq_forward_gate_up(pass, mlp, rows);
    awq_forward_gather(pass, pass->spec->linear[mlp->down].group, &inner);
    return inner;
}

/* ---- which rows go where ---- */

static int64_t choices(const forward_pass *pass)
{
    return pass->rows * pass->spec->mlps.routing.active;
}

/* Router logits in float32, the choice and its weights, on the device. A held choice is taken as it
 * is: then only the weights follow from the logits. */
static void run_router(const forward_pass *pass, const forward_rows *rows)
{
    const awq_mlps_spec *mlps = &pass->spec->mlps;
    const awq_routing *routing = &pass->scratch->routing;
    size_t logits = (size_t)(rows->count * mlps->routing.experts) * sizeof(float);
    pass->be->zero(pass->device, routing->logits, logits);
    awq_forward_linear_add(pass, mlps->router, routing->logits, rows);
    if (routing->held)
        pass->be->upload(pass->device, routing->expert, routing->held,
                         (size_t)choices(pass) * sizeof *routing->held);
    else
        pass->be->top_experts(pass->device, routing->expert, routing->logits,
                              awq_forward_vector(pass, mlps->correction), rows->count,
                              &mlps->routing);
    pass->be->expert_weights(pass->device, routing->weight, routing->logits, routing->expert,
                             awq_forward_vector(pass, mlps->expert_scale), rows->count,
                             &mlps->routing);
}

/* The choice, its weights and, for statistics, the mask, to the host. */
static awq_status fetch_choice(const forward_pass *pass, awq_error *err)
{
    const awq_routing *routing = &pass->scratch->routing;
    awq_routing_lists *host = pass->scratch->routing.host;
    size_t count = (size_t)choices(pass);
    if (pass->be->download(pass->device, host->expert, routing->expert,
                           count * sizeof *host->expert, err) ||
        pass->be->download(pass->device, host->weight, routing->weight,
                           count * sizeof *host->weight, err))
        return err->status;
    if (!pass->mask || !pass->statistics) return AWQ_OK;
    return pass->be->download(pass->device, host->mask, pass->mask, (size_t)pass->rows, err);
}

/* The rows of each expert, ascending, with their weights and mask, to the device. */
static void sort_rows(const forward_pass *pass)
{
    const awq_routing *routing = &pass->scratch->routing;
    awq_routing_lists *host = pass->scratch->routing.host;
    int64_t active = pass->spec->mlps.routing.active, experts = pass->spec->mlps.routing.experts;
    int64_t count = choices(pass);
    bool masked = pass->mask && pass->statistics;
    memset(host->first, 0, (size_t)(experts + 1) * sizeof *host->first);
    for (int64_t i = 0; i < count; i++) host->first[host->expert[i] + 1]++;
    for (int64_t e = 0; e < experts; e++) host->first[e + 1] += host->first[e];
    memcpy(host->next, host->first, (size_t)experts * sizeof *host->next);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = host->next[host->expert[i]]++;
        host->row[at] = (int32_t)(i / active);
        host->sorted_weight[at] = host->weight[i];
        if (masked) host->sorted_mask[at] = host->mask[i / active];
    }
    pass->be->upload(pass->device, routing->row, host->row, (size_t)count * sizeof *host->row);
    pass->be->upload(pass->device, routing->sorted_weight, host->sorted_weight,
                     (size_t)count * sizeof *host->sorted_weight);
}

/* Keeps what experts read, for their statistics. */
static awq_status keep_rows(const forward_pass *pass, const forward_rows *rows, awq_error *err)
{
    awq_statistics *statistics = pass->statistics;
    const awq_routing_lists *host = pass->scratch->routing.host;
    bool weighs = pass->spec->mlps.weighs_inputs;
    awq_routes routes = {host->first, host->row, pass->mask ? host->sorted_mask : NULL,
                         weighs ? host->sorted_weight : NULL};
    if (!statistics) return AWQ_OK;
    for (int i = 0; i < pass->spec->mlps.count; i++) {
        const awq_mlp_spec *mlp = &pass->spec->mlps.mlp[i];
        if (mlp->expert < 0) continue;
        int64_t *tokens = &statistics->group_tokens[pass->spec->linear[mlp->down].group];
        for (int64_t at = host->first[mlp->expert]; at < host->first[mlp->expert + 1]; at++)
            *tokens += !routes.mask || routes.mask[at];
    }
    if (pass->be->download(pass->device, host->x, rows->x,
                           (size_t)rows->count * statistics->routed.row_bytes, err))
        return err->status;
    return awq_routed_add(&statistics->routed, host->x, rows->count,
                          pass->spec->mlps.routing.experts, &routes, err);
}

/* Keeps the choice of the first rows that statistics see, for the folding check. */
static awq_status keep_choice(const forward_pass *pass, awq_error *err)
{
    awq_statistics *statistics = pass->statistics;
    int64_t rows = pass->scratch->size.checked;
    if (!statistics || statistics->choice) return AWQ_OK;
    if (rows > pass->rows) rows = pass->rows;
    size_t bytes = (size_t)(rows * pass->spec->mlps.routing.active) * sizeof *statistics->choice;
    statistics->choice = malloc(bytes + 1);
    if (!statistics->choice) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for chosen experts");
    memcpy(statistics->choice, pass->scratch->routing.host->expert, bytes);
    statistics->choice_rows = rows;
    return AWQ_OK;
}

/* ---- what is done with them ---- */

/* sum[rows] += weight * what the MLP puts out; rows NULL: all; weight NULL: 1. */
static void run_mlp(forward_pass *pass, const awq_mlp_spec *mlp, const forward_rows *rows,
                    const int32_t *at, const float *weight)
{
    const awq_routing *routing = &pass->scratch->routing;
    int64_t hidden = pass->model->hidden;
    forward_rows inner = run_gate_up(pass, mlp, rows);
    pass->be->zero(pass->device, routing->out, (size_t)(rows->count * hidden) * sizeof(float));
    awq_forward_linear_add(pass, mlp->down, routing->out, &inner);
    pass->be->scatter_add(pass->device, pass->sum, routing->out, at, weight, rows->count, hidden);
}

static void run_expert(forward_pass *pass, const awq_mlp_spec *mlp, const void *x)
{
    const awq_routing *routing = &pass->scratch->routing;
    const awq_routing_lists *host = pass->scratch->routing.host;
    int64_t first = host->first[mlp->expert], count = host->first[mlp->expert + 1] - first;
    const float *weight = routing->sorted_weight + first;
    bool of_inputs = pass->spec->mlps.weighs_inputs;
    forward_rows rows = {routing->x, NULL, count};
    if (!count) return;
    pass->be->gather_rows(pass->device, routing->x, x, routing->row + first,
                          of_inputs ? weight : NULL, count, pass->model->hidden);
    run_mlp(pass, mlp, &rows, routing->row + first, of_inputs ? NULL : weight);
}

/* sum += sigmoid(shared gate) * the shared expert's output, or that as it is. */
static void run_shared(forward_pass *pass, const awq_mlp_spec *mlp, const forward_rows *rows)
{
    float *weight = pass->scratch->routing.shared_weight;
    if (pass->spec->mlps.shared_gate < 0) {
        forward_rows inner = run_gate_up(pass, mlp, rows);
        awq_forward_linear_add(pass, mlp->down, pass->sum, &inner);
        return;
    }
    pass->be->zero(pass->device, weight, (size_t)rows->count * sizeof *weight);
    awq_forward_linear_add(pass, pass->spec->mlps.shared_gate, weight, rows);
    pass->be->sigmoid(pass->device, weight, weight, (size_t)rows->count);
    run_mlp(pass, mlp, rows, NULL, weight);
}

/* What is added from here on goes through a norm before; returns what it is added to then. */
static float *begin_apart(forward_pass *pass, int norm)
{
    float *sum = pass->sum, *apart = pass->scratch->apart;
    if (norm < 0) return sum;
    pass->be->zero(pass->device, apart, (size_t)(pass->rows * pass->model->hidden) * sizeof *apart);
    pass->sum = apart;
    return sum;
}

static void end_apart(forward_pass *pass, int norm, float *sum)
{
    pass->sum = sum;
    if (norm >= 0) awq_forward_norm_add(pass, norm, sum, pass->scratch->apart);
}

static void run_experts(forward_pass *pass, const forward_rows *rows)
{
    const awq_mlps_spec *mlps = &pass->spec->mlps;
    float *sum = begin_apart(pass, mlps->experts_out_norm);
    for (int i = 0; i < mlps->count; i++) {
        const awq_mlp_spec *mlp = &mlps->mlp[i];
        if (mlp->expert >= 0 && pass->decoder->weight[mlp->down]) /* it is not another part's */
            run_expert(pass, mlp, rows->x);
    }
    end_apart(pass, mlps->experts_out_norm, sum);
}

/* Behind the experts, which are the first. */
static void run_common(forward_pass *pass, const forward_rows *rows)
{
    const awq_mlps_spec *mlps = &pass->spec->mlps;
    const awq_mlp_spec *mlp = &mlps->mlp[mlps->count - 1];
    if (mlp->expert >= 0 || !pass->decoder->weight[mlp->down]) return;
    if (mlps->shared_norm >= 0) {
        awq_forward_norm(pass, mlps->shared_norm);
        awq_forward_gather(pass, pass->spec->linear[mlp->up.linear].group, rows);
    }
    float *sum = begin_apart(pass, mlps->shared_out_norm);
    run_shared(pass, mlp, rows);
    end_apart(pass, mlps->shared_out_norm, sum);
}

/* The choice, by what the router reads. */
static void choose(forward_pass *pass, const forward_rows *rows)
{
    const awq_mlps_spec *mlps = &pass->spec->mlps;
    if (mlps->router_norm < 0) {
        run_router(pass, rows);
        return;
    }
    awq_forward_norm(pass, mlps->router_norm);
    awq_forward_gather(pass, pass->spec->linear[mlps->router].group, rows);
    run_router(pass, rows);
    awq_forward_norm(pass, pass->spec->half[AWQ_HALF_MLP].norm); /* what experts read */
}

/* All that time goes to the forward phase: to wait for the device before and after each expert's
 * Gram updates would take longer than they do. */
awq_status awq_forward_mlps(forward_pass *pass, const forward_rows *rows, awq_error *err)
{
    if (!pass->spec->mlps.routing.experts) {
        const awq_mlp_spec *mlp = &pass->spec->mlps.mlp[0];
        forward_rows inner = run_gate_up(pass, mlp, rows);
        awq_forward_linear_add(pass, mlp->down, pass->sum, &inner);
        return AWQ_OK;
    }
    choose(pass, rows);
    if (fetch_choice(pass, err)) return err->status;
    sort_rows(pass);
    if (keep_choice(pass, err) || keep_rows(pass, rows, err)) return err->status;
    double *seconds = pass->seconds;
    pass->seconds = NULL;
    run_experts(pass, rows);
    run_common(pass, rows);
    pass->seconds = seconds;
    return AWQ_OK;
}
