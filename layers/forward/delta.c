/* SPDX-License-Identifier: MIT
 * layers/forward/delta.c - a gated delta net (docs/awq.md 4): norm(state q) silu(z), where k and v
 * write into the state and b and a say how much it learns and forgets, token by token. Sequences
 * begin with an empty state: nothing is carried from tile to tile. */
#include "layers/forward/forward.h"

/* In place, by the weights of its channels, which begin at `first`. */
static void convolve(const forward_pass *pass, void *x, int64_t first, int64_t channels)
{
    const awq_delta_spec *delta = &pass->spec->attention.delta;
    const float *weights = awq_forward_vector(pass, delta->convolution) + first * delta->taps;
    pass->be->convolve(pass->device, x, weights, pass->sequences, pass->scratch->size.length,
                       channels, delta->taps);
}

void awq_forward_delta(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    const awq_delta_spec *delta = &attention->delta;
    awq_scratch *scratch = pass->scratch;
    int64_t keys = awq_rows_count(&attention->k), values = awq_rows_count(&attention->v);
    awq_delta_shape shape = {.key_heads = attention->kv_heads,
                             .heads = attention->heads,
                             .key_dim = attention->head_dim,
                             .value_dim = attention->value_dim,
                             .decay = awq_forward_vector(pass, delta->rate),
                             .step = awq_forward_vector(pass, delta->step)};
    awq_forward_linear(pass, &attention->q, scratch->q, rows);
    awq_forward_linear(pass, &attention->k, scratch->k, rows);
    awq_forward_linear(pass, &attention->v, scratch->v, rows);
    awq_forward_linear(pass, &attention->gate, scratch->gates, rows);
    awq_forward_linear(pass, &delta->beta, scratch->beta, rows);
    awq_forward_linear(pass, &delta->a, scratch->a, rows);
    convolve(pass, scratch->q, 0, keys);
    convolve(pass, scratch->k, keys, keys);
    convolve(pass, scratch->v, 2 * keys, values);
    pass->be->gated_delta(pass->device, scratch->normed, scratch->q, scratch->k, scratch->v,
                          scratch->beta, scratch->a, pass->sequences, scratch->size.length, &shape);
    awq_forward_norm_heads(pass, scratch->normed, values, attention->o_norm);
    pass->be->gated(pass->device, scratch->normed, scratch->gates, scratch->normed,
                    (size_t)(pass->rows * values), AWQ_SILU, 0);
}
