/* SPDX-License-Identifier: MIT
 * layers/forward/latent.c - multi-head latent attention (docs/awq.md 4), as it is trained: keys and
 * values are expanded from their latent vector, each head's key is what comes of that and, turned,
 * the channels that all heads share. An indexer is not run: up to the tokens that it chooses, it
 * chooses all. */
#include "layers/forward/forward.h"

/* to [rows, rank] = some rows of a linear, normalized, and into the statistics; returns it. */
static forward_rows run_latent(forward_pass *pass, const awq_latent_spec *latent, void *to,
                               const forward_rows *rows)
{
    forward_rows inner = {to, rows->mask, rows->count};
    awq_forward_linear(pass, &latent->rows, to, rows);
    awq_forward_norm_heads(pass, to, latent->rows.count, latent->norm);
    awq_forward_gather(pass, latent->group, &inner);
    return inner;
}

static void run_q(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    void *q = pass->scratch->q;
    int64_t still = attention->head_dim - attention->shared_k.count;
    forward_rows inner = *rows;
    if (attention->q_latent.rows.linear >= 0)
        inner = run_latent(pass, &attention->q_latent, pass->scratch->latent, rows);
    awq_forward_linear(pass, &attention->q, q, &inner);
    awq_forward_turn(pass, q, attention->heads, attention->head_dim, still, attention->q_rope);
    awq_forward_turn(pass, q, attention->heads, attention->head_dim, 0, attention->q_still);
}

/* k [rows, heads * head_dim] = each head's own channels, which stand in `own`, and those that all
 * share. */
static void join_keys(const forward_pass *pass, const void *own, const void *shared)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    int64_t period = attention->head_dim, turned = attention->shared_k.count;
    int64_t still = period - turned, columns = attention->heads * period;
    const awq_runs first = {0, still, period, attention->heads};
    const awq_runs last = {still, turned, period, attention->heads};
    pass->be->put_columns(pass->device, pass->scratch->k, own, pass->rows, columns, &first, false);
    pass->be->put_columns(pass->device, pass->scratch->k, shared, pass->rows, columns, &last, true);
}

void awq_forward_latent(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_scratch *scratch = pass->scratch;
    run_q(pass, rows);
    awq_forward_linear(pass, &attention->shared_k, scratch->shared_k, rows);
    awq_forward_turn(pass, scratch->shared_k, 1, attention->shared_k.count, 0, attention->k_rope);
    forward_rows inner = run_latent(pass, &attention->kv_latent, scratch->latent, rows);
    awq_forward_linear(pass, &attention->v, scratch->v, &inner);
    awq_forward_linear(pass, &attention->k, scratch->normed, &inner); /* the input is read */
    join_keys(pass, scratch->normed, scratch->shared_k);
    awq_forward_attend(pass);
}
