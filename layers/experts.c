/* SPDX-License-Identifier: MIT
 * layers/experts.c - the MLPs of a sparse layer (docs/awq.md 4): each row goes to the experts of
 * its largest router logits, and what they put out is added to the residual, expert after expert,
 * in ascending order; then the shared expert's.
 *
 * Which rows an expert gets is sorted out on the host, which must know how many they are. */
#include <stdlib.h>
#include <string.h>

#include "layers/extent.h"
#include "layers/forward.h"

/* ---- which rows go where ---- */

static int64_t choices(const forward_pass *pass)
{
    return pass->rows * pass->model->experts.active;
}

/* Router logits in float32, the choice and its weights, on the device. A held choice is taken as it
 * is: then only the weights follow from the logits. */
static void run_router(const forward_pass *pass, const forward_rows *rows)
{
    const awq_experts *experts = &pass->model->experts;
    const awq_routing *routing = &pass->scratch->routing;
    size_t logits = (size_t)(rows->count * experts->count) * sizeof(float);
    pass->be->zero(pass->device, routing->logits, logits);
    awq_forward_linear_add(pass, awq_model_linear(pass->model, AWQ_ROUTER), routing->logits, rows);
    if (routing->held)
        pass->be->upload(pass->device, routing->expert, routing->held,
                         (size_t)choices(pass) * sizeof *routing->held);
    else
        pass->be->top_experts(pass->device, routing->expert, routing->logits, rows->count,
                              experts->count, experts->active);
    pass->be->expert_weights(pass->device, routing->weight, routing->logits, routing->expert,
                             rows->count, experts->count, experts->active, experts->normalized);
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

/* host->first [experts + 1]: where each expert's rows begin in the lists. */
static void count_rows(const forward_pass *pass)
{
    awq_routing_lists *host = pass->scratch->routing.host;
    int64_t experts = pass->model->experts.count;
    memset(host->first, 0, (size_t)(experts + 1) * sizeof *host->first);
    for (int64_t i = 0; i < choices(pass); i++) host->first[host->expert[i] + 1]++;
    for (int64_t e = 0; e < experts; e++) host->first[e + 1] += host->first[e];
}

/* The rows of each expert, ascending, with their weights and mask, to the device. */
static void sort_rows(const forward_pass *pass)
{
    const awq_routing *routing = &pass->scratch->routing;
    awq_routing_lists *host = pass->scratch->routing.host;
    int64_t active = pass->model->experts.active, count = choices(pass);
    bool masked = pass->mask && pass->statistics;
    count_rows(pass);
    memcpy(host->next, host->first, (size_t)pass->model->experts.count * sizeof *host->next);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = host->next[host->expert[i]]++;
        host->row[at] = (int32_t)(i / active);
        host->sorted_weight[at] = host->weight[i];
        if (masked) host->sorted_mask[at] = host->mask[i / active];
    }
    pass->be->upload(pass->device, routing->row, host->row, (size_t)count * sizeof *host->row);
    pass->be->upload(pass->device, routing->sorted_weight, host->sorted_weight,
                     (size_t)count * sizeof *host->sorted_weight);
    if (masked) pass->be->upload(pass->device, routing->mask, host->sorted_mask, (size_t)count);
}

/* Keeps the choice of the first rows that statistics see, for the folding check. */
static awq_status keep_choice(const forward_pass *pass, awq_error *err)
{
    awq_statistics *statistics = pass->statistics;
    int64_t rows = pass->scratch->trial_rows;
    if (!statistics || statistics->choice) return AWQ_OK;
    if (rows > pass->rows) rows = pass->rows;
    size_t bytes = (size_t)(rows * pass->model->experts.active) * sizeof *statistics->choice;
    statistics->choice = malloc(bytes + 1);
    if (!statistics->choice) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for chosen experts");
    memcpy(statistics->choice, pass->scratch->routing.host->expert, bytes);
    statistics->choice_rows = rows;
    return AWQ_OK;
}

/* ---- what is done with them ---- */

/* Tokens of an expert that count. */
static void count_tokens(const forward_pass *pass, int mlp, int64_t first, int64_t count)
{
    const awq_routing_lists *host = pass->scratch->routing.host;
    int64_t tokens = pass->mask ? 0 : count;
    if (!pass->statistics) return;
    for (int64_t i = first; pass->mask && i < first + count; i++)
        tokens += host->sorted_mask[i] != 0;
    pass->statistics->group_tokens[awq_mlp_down_group(mlp)] += tokens;
}

/* sum[rows] += weight * what the MLP puts out; rows NULL: all. */
static void run_mlp(forward_pass *pass, int mlp, const forward_rows *rows, const int32_t *at,
                    const float *weight)
{
    const awq_routing *routing = &pass->scratch->routing;
    int64_t hidden = pass->model->hidden;
    forward_rows inner = {pass->scratch->gate, rows->mask, rows->count};
    awq_forward_mlp(pass, mlp, rows);
    pass->be->zero(pass->device, routing->out, (size_t)(rows->count * hidden) * sizeof(float));
    awq_forward_linear_add(pass, awq_mlp_linear(mlp, AWQ_DOWN), routing->out, &inner);
    pass->be->scatter_add(pass->device, pass->sum, routing->out, at, weight, rows->count, hidden);
}

static void run_expert(forward_pass *pass, int64_t expert, const void *x)
{
    const awq_routing *routing = &pass->scratch->routing;
    const awq_routing_lists *host = pass->scratch->routing.host;
    int64_t first = host->first[expert], count = host->first[expert + 1] - first;
    int mlp = 1 + (int)expert;
    bool masked = pass->mask && pass->statistics;
    forward_rows rows = {routing->x, masked ? routing->mask + first : NULL, count};
    if (!count) return;
    count_tokens(pass, mlp, first, count);
    pass->be->gather_rows(pass->device, routing->x, x, routing->row + first, count,
                          pass->model->hidden);
    if (pass->statistics)
        awq_forward_gram(pass, pass->statistics->expert_gram[mlp], &rows, pass->model->hidden);
    run_mlp(pass, mlp, &rows, routing->row + first, routing->sorted_weight + first);
}

/* sum += sigmoid(shared gate) * the shared expert's output. */
static void run_shared(forward_pass *pass, const forward_rows *rows)
{
    int mlp = awq_model_shared_mlp(pass->model);
    float *weight = pass->scratch->routing.shared_weight;
    if (!mlp) return;
    pass->be->zero(pass->device, weight, (size_t)rows->count * sizeof *weight);
    awq_forward_linear_add(pass, awq_model_linear(pass->model, AWQ_SHARED_GATE), weight, rows);
    pass->be->sigmoid(pass->device, weight, weight, (size_t)rows->count);
    run_mlp(pass, mlp, rows, NULL, weight);
}

/* All that time goes to the forward phase: to wait for the device before and after each expert's
 * Gram updates would take longer than they do. */
static void run_experts(forward_pass *pass, const forward_rows *rows)
{
    double *seconds = pass->seconds;
    pass->seconds = NULL;
    for (int64_t expert = 0; expert < pass->model->experts.count; expert++)
        run_expert(pass, expert, rows->x);
    run_shared(pass, rows);
    pass->seconds = seconds;
}

awq_status awq_forward_experts(forward_pass *pass, const forward_rows *rows, awq_error *err)
{
    run_router(pass, rows);
    if (fetch_choice(pass, err)) return err->status;
    sort_rows(pass);
    if (keep_choice(pass, err)) return err->status;
    run_experts(pass, rows);
    return AWQ_OK;
}
