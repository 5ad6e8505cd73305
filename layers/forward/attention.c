/* SPDX-License-Identifier: MIT
 * layers/forward/attention.c - grouped-query attention (docs/awq.md 4): o(attention(rope(q),
 * rope(k), v)), q, k, v linears of the input, of which q and k may be normalized, before or after
 * they are turned; what the heads put out may be multiplied by the sigmoid of a gate. */
#include "layers/forward/forward.h"

/* The norm of each head, or of all together, where the layer has one. */
static void normalize_heads(const forward_pass *pass, void *x, int64_t heads, int norm)
{
    if (norm < 0) return;
    const awq_norm_spec *spec = &pass->spec->norm[norm];
    int64_t columns = heads * pass->spec->attention.head_dim, count = columns / spec->cols;
    int64_t width = spec->weight < 0 ? spec->cols : pass->spec->vector[spec->weight].width;
    awq_norm_shape shape = {pass->rows * count, spec->cols, width / spec->cols,
                            pass->model->norm_eps, spec->centered};
    pass->be->norm_heads(pass->device, x, awq_forward_vector(pass, spec->weight),
                         awq_forward_vector(pass, spec->bias), &shape);
}

/* Positions, where the layer has them. */
static void turn_heads(const forward_pass *pass, void *x, int64_t heads, int rope)
{
    if (rope < 0) return;
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_rope_shape shape = {.heads = heads,
                            .head_dim = attention->head_dim,
                            .rope_dim = pass->model->rope[rope].dim,
                            .length = pass->scratch->size.length,
                            .interleaved = attention->rope_interleaved};
    pass->be->rope(pass->device, x, pass->scratch->cos[rope], pass->scratch->sin[rope], pass->rows,
                   &shape);
}

static void clamp_heads(const forward_pass *pass, void *x, int64_t heads)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    size_t count = (size_t)(pass->rows * heads * attention->head_dim);
    if (attention->clamp > 0)
        pass->be->gated(pass->device, x, x, NULL, count, AWQ_CLAMP, attention->clamp);
}

static void prepare_heads(const forward_pass *pass, void *x, int64_t heads, int norm, int rope)
{
    bool last = pass->spec->attention.norms_last;
    if (!last) normalize_heads(pass, x, heads, norm);
    clamp_heads(pass, x, heads);
    turn_heads(pass, x, heads, rope);
    if (last) normalize_heads(pass, x, heads, norm);
}

void awq_forward_attention(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_scratch *scratch = pass->scratch;
    int64_t length = scratch->size.length;
    bool narrow = attention->window < length;
    forward_rows values = {scratch->normed, rows->mask, rows->count};
    awq_attention_shape shape = {.heads = attention->heads,
                                 .kv_heads = attention->kv_heads,
                                 .head_dim = attention->head_dim,
                                 .scale = attention->scale,
                                 .softcap = attention->softcap,
                                 .window = narrow ? attention->window : 0,
                                 .chunked = narrow && attention->chunked,
                                 .sinks = awq_forward_vector(pass, attention->sinks)};
    awq_forward_linear(pass, &attention->q, scratch->q, rows);
    awq_forward_linear(pass, &attention->k, scratch->k, rows);
    awq_forward_linear(pass, &attention->v, scratch->v, rows);
    if (attention->gate.linear >= 0)
        awq_forward_linear(pass, &attention->gate, scratch->gates, rows);
    prepare_heads(pass, scratch->q, attention->heads, attention->q_norm, attention->q_rope);
    prepare_heads(pass, scratch->k, attention->kv_heads, attention->k_norm, attention->k_rope);
    clamp_heads(pass, scratch->v, attention->kv_heads);
    pass->be->attention(pass->device, scratch->normed, scratch->q, scratch->k, scratch->v,
                        pass->sequences, length, &shape);
    if (attention->gate.linear >= 0)
        pass->be->gated(pass->device, scratch->normed, scratch->gates, scratch->normed,
                        (size_t)(pass->rows * awq_attention_channels(pass->spec)), AWQ_SIGMOID, 0);
    awq_forward_gather(pass, pass->spec->linear[attention->o].group, &values);
    awq_forward_linear_add(pass, attention->o, pass->sum, &values);
}
