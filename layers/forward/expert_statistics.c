/* SPDX-License-Identifier: MIT */
#include "layers/forward/expert_statistics.h"

#include "kernels/gram.h"
#include "layers/forward/forward.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static size_t gram_bytes(int64_t channels)
{
    return (size_t)awq_gram_elements(channels) * sizeof(float);
}

void awq_expert_statistics_place(awq_arena *arena, const awq_model *model,
                                 awq_expert_statistics *to)
{
    int64_t hidden = 0, width = 0;
    for (int kind = 0; kind < model->kinds; kind++) {
        const awq_layer_spec *spec = &model->kind[kind];
        if (!spec->mlps.routing.experts) continue;
        hidden = larger(hidden, spec->group[spec->half[AWQ_HALF_MLP].group].channels);
        width = larger(width, spec->mlps.intermediate);
    }
    if (!width) return;
    to->gram = awq_arena_take(arena, gram_bytes(hidden));
    to->abs_sum = awq_arena_take(arena, (size_t)width * sizeof *to->abs_sum);
    to->down_gram = awq_arena_take(arena, gram_bytes(width));
}

/* The rows of a tile, to the device. */
static awq_status send_rows(const forward_pass *pass, const awq_routed_tile *tile,
                            const awq_mlp_spec *mlp, forward_rows *rows, awq_error *err)
{
    const awq_routed *routed = &pass->statistics->routed;
    const awq_routing *routing = &pass->scratch->routing;
    int64_t first = tile->routes.first[mlp->expert];
    *rows = (forward_rows){routing->x, NULL, tile->routes.first[mlp->expert + 1] - first};
    if (!rows->count) return AWQ_OK;
    if (awq_routed_gather(routed, tile, mlp->expert, routing->host->x, err)) return err->status;
    pass->be->upload(pass->device, routing->x, routing->host->x,
                     (size_t)rows->count * routed->row_bytes);
    if (tile->routes.weight) {
        pass->be->upload(pass->device, routing->sorted_weight, tile->routes.weight + first,
                         (size_t)rows->count * sizeof *routing->sorted_weight);
        pass->be->gather_rows(pass->device, routing->x, routing->x, NULL, routing->sorted_weight,
                              rows->count, pass->model->hidden);
    }
    if (!tile->routes.mask) return AWQ_OK;
    pass->be->upload(pass->device, routing->mask, tile->routes.mask + first, (size_t)rows->count);
    rows->mask = routing->mask;
    return AWQ_OK;
}

static void add_rows(forward_pass *pass, const awq_mlp_spec *mlp, const forward_rows *rows,
                     const awq_expert_statistics *to)
{
    const awq_linear_spec *down = &pass->spec->linear[mlp->down];
    const void *inner = pass->scratch->gate;
    pass->be->gram(pass->device, to->gram, rows->x, rows->mask, rows->count, pass->model->hidden);
    awq_forward_gate_up(pass, mlp, rows);
    pass->be->abs_sum(pass->device, to->abs_sum, inner, rows->mask, rows->count, down->in);
    pass->be->gram(pass->device, to->down_gram, inner, rows->mask, rows->count, down->in);
}

awq_status awq_expert_statistics_make(const awq_forward *what, const awq_mlp_spec *mlp,
                                      const awq_expert_statistics *to, awq_error *err)
{
    forward_pass pass = awq_forward_begin(what, NULL, NULL);
    int64_t width = pass.spec->linear[mlp->down].in;
    const awq_routed *routed = &what->statistics->routed;
    pass.statistics = what->statistics;
    pass.be->zero(pass.device, to->gram, gram_bytes(what->model->hidden));
    pass.be->zero(pass.device, to->abs_sum, (size_t)width * sizeof *to->abs_sum);
    pass.be->zero(pass.device, to->down_gram, gram_bytes(width));
    for (int64_t i = 0; i < routed->tiles; i++) {
        forward_rows rows;
        if (send_rows(&pass, &routed->tile[i], mlp, &rows, err)) return err->status;
        if (rows.count) add_rows(&pass, mlp, &rows, to);
    }
    return AWQ_OK;
}

double awq_expert_statistics_flops(const awq_layer_spec *layer, const awq_mlp_spec *mlp)
{
    double hidden = (double)layer->group[layer->half[AWQ_HALF_MLP].group].channels;
    double width = (double)layer->linear[mlp->down].in;
    double rows = (double)awq_rows_count(&mlp->up) +
                  (mlp->gate.linear < 0 ? 0 : (double)awq_rows_count(&mlp->gate));
    return hidden * hidden + width * width + 2 * rows * hidden;
}
