/* SPDX-License-Identifier: MIT
 * layers/forward/attention.c - grouped-query attention (docs/awq.md 4): o(attention(rope(q),
 * rope(k), v)), q, k, v linears of the input, of which q and k may be normalized, head by head. */
#include "layers/forward/forward.h"

/* The norm of each head where the layer has one, then positions where it has them. */
static void turn_heads(const forward_pass *pass, void *x, int64_t heads, int norm)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_rope_shape shape = {.heads = heads,
                            .head_dim = attention->head_dim,
                            .rope_dim = attention->rope_dim,
                            .length = pass->scratch->size.length};
    awq_norm_shape each = {pass->rows * heads, attention->head_dim, 1, pass->model->norm_eps,
                           false};
    if (norm >= 0) pass->be->norm_heads(pass->device, x, pass->decoder->norm[norm], NULL, &each);
    if (attention->rope_dim > 0)
        pass->be->rope(pass->device, x, pass->scratch->cos, pass->scratch->sin, pass->rows, &shape);
}

void awq_forward_attention(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_scratch *scratch = pass->scratch;
    int64_t length = scratch->size.length;
    forward_rows values = {scratch->normed, rows->mask, rows->count};
    awq_attention_shape shape = {.heads = attention->heads,
                                 .kv_heads = attention->kv_heads,
                                 .head_dim = attention->head_dim,
                                 .scale = attention->scale,
                                 .softcap = attention->softcap,
                                 .window = attention->window < length ? attention->window : 0};
    awq_forward_linear(pass, &attention->q, scratch->q, rows);
    awq_forward_linear(pass, &attention->k, scratch->k, rows);
    awq_forward_linear(pass, &attention->v, scratch->v, rows);
    turn_heads(pass, scratch->q, attention->heads, attention->q_norm);
    turn_heads(pass, scratch->k, attention->kv_heads, attention->k_norm);
    pass->be->attention(pass->device, scratch->normed, scratch->q, scratch->k, scratch->v,
                        pass->sequences, length, &shape);
    awq_forward_gather(pass, pass->spec->linear[attention->o].group, &values);
    awq_forward_linear_add(pass, attention->o, pass->sum, &values);
}
