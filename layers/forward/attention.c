/* SPDX-License-Identifier: MIT
 * layers/forward/attention.c - attention of all kinds (docs/awq.md 4): o(what the heads put out);
 * and of the grouped-query kind: attention(rope(q), rope(k), v), q, k, v linears of the input, of
 * which q and k may be normalized, before or after they are turned, and multiplied by the sigmoid
 * of a gate. Keys and values may be those of an earlier layer, which came with the tile. */
#include "layers/forward/extent.h"
#include "layers/forward/forward.h"
#include "layers/forward/states.h"

void awq_forward_norm_heads(const forward_pass *pass, void *x, int64_t width, int norm)
{
    if (norm < 0) return;
    const awq_norm_spec *spec = &pass->spec->norm[norm];
    int64_t count = width / spec->cols;
    int64_t weights = spec->weight < 0 ? spec->cols : pass->spec->vector[spec->weight].width;
    awq_norm_shape shape = {pass->rows * count, spec->cols, weights / spec->cols, spec->eps,
                            spec->centered};
    pass->be->norm_heads(pass->device, x, awq_forward_vector(pass, spec->weight),
                         awq_forward_vector(pass, spec->bias), &shape);
}

void awq_forward_turn(const forward_pass *pass, void *x, int64_t heads, int64_t head_dim,
                      int64_t first, int rope)
{
    if (rope < 0) return;
    awq_rope_shape shape = {.heads = heads,
                            .head_dim = head_dim,
                            .first = first,
                            .rope_dim = pass->model->rope[rope].dim,
                            .length = pass->scratch->size.length,
                            .interleaved = pass->spec->attention.rope_interleaved};
    pass->be->rope(pass->device, x, pass->scratch->cos[rope], pass->scratch->sin[rope], pass->rows,
                   &shape);
}

static void clamp_heads(const forward_pass *pass, void *x, int64_t width)
{
    float clamp = pass->spec->attention.clamp;
    if (clamp > 0)
        pass->be->gated(pass->device, x, x, NULL, (size_t)(pass->rows * width), AWQ_CLAMP, clamp);
}

static void prepare_heads(const forward_pass *pass, void *x, int64_t heads, int norm, int rope)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    int64_t head_dim = attention->head_dim, width = heads * head_dim;
    if (!attention->norms_last) awq_forward_norm_heads(pass, x, width, norm);
    clamp_heads(pass, x, width);
    awq_forward_turn(pass, x, heads, head_dim, 0, rope);
    if (attention->norms_last) awq_forward_norm_heads(pass, x, width, norm);
}

void awq_forward_attend(const forward_pass *pass)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    const awq_scratch *scratch = pass->scratch;
    int64_t length = scratch->size.length;
    bool narrow = attention->window < length;
    awq_attention_shape shape = {.heads = attention->heads,
                                 .kv_heads = attention->kv_heads,
                                 .head_dim = attention->head_dim,
                                 .value_dim = attention->value_dim,
                                 .scale = attention->scale,
                                 .softcap = attention->softcap,
                                 .window = narrow ? attention->window : 0,
                                 .chunked = narrow && attention->chunked,
                                 .sinks = awq_forward_vector(pass, attention->sinks)};
    pass->be->attention(pass->device, scratch->normed, scratch->q, scratch->k, scratch->v,
                        pass->sequences, length, &shape);
}

/* float32 holds the compute type exactly, so that what is taken is what was given. */
static void give(const forward_pass *pass, int plane, const void *x)
{
    size_t at = awq_states_plane(pass->model, pass->rows, plane, 0);
    if (pass->given)
        pass->be->fold(pass->device, pass->given + at, x, NULL, NULL,
                       (awq_extent){pass->rows, pass->model->plane[plane].width});
}

static void take(const forward_pass *pass, int plane, void *x)
{
    size_t at = awq_states_plane(pass->model, pass->rows, plane, 0);
    pass->be->narrow(pass->device, x, pass->states + at,
                     (size_t)(pass->rows * pass->model->plane[plane].width));
}

/* scratch->k and v: this layer's, which later ones may read, or an earlier one's. */
static void make_keys(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    const awq_scratch *scratch = pass->scratch;
    int64_t values = attention->kv_heads * attention->value_dim;
    if (attention->k.linear < 0) {
        take(pass, attention->k_plane, scratch->k);
        take(pass, attention->v_plane, scratch->v);
        return;
    }
    awq_forward_linear(pass, &attention->k, scratch->k, rows);
    if (awq_rows_are(&attention->v, &attention->k))
        pass->be->copy(pass->device, scratch->v, scratch->k,
                       (size_t)(pass->rows * values) * pass->be->compute_bytes);
    else
        awq_forward_linear(pass, &attention->v, scratch->v, rows);
    prepare_heads(pass, scratch->k, attention->kv_heads, attention->k_norm, attention->k_rope);
    awq_forward_norm_heads(pass, scratch->v, values, attention->v_norm);
    clamp_heads(pass, scratch->v, values);
    if (attention->k_plane < 0) return;
    give(pass, attention->k_plane, scratch->k);
    give(pass, attention->v_plane, scratch->v);
}

static void run_grouped(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    awq_scratch *scratch = pass->scratch;
    awq_forward_linear(pass, &attention->q, scratch->q, rows);
    if (attention->gate.linear >= 0) /* next to q, whose linear it may share */
        awq_forward_linear(pass, &attention->gate, scratch->gates, rows);
    make_keys(pass, rows);
    prepare_heads(pass, scratch->q, attention->heads, attention->q_norm, attention->q_rope);
    awq_forward_attend(pass);
    if (attention->gate.linear >= 0)
        pass->be->gated(pass->device, scratch->normed, scratch->gates, scratch->normed,
                        (size_t)(pass->rows * awq_attention_channels(pass->spec)), AWQ_SIGMOID, 0);
}

void awq_forward_attention(forward_pass *pass, const forward_rows *rows)
{
    const awq_attention_spec *attention = &pass->spec->attention;
    forward_rows values = {pass->scratch->normed, rows->mask, rows->count};
    switch (attention->kind) {
    case AWQ_ATTENTION_GROUPED:
        run_grouped(pass, rows);
        break;
    case AWQ_ATTENTION_LATENT:
        awq_forward_latent(pass, rows);
        break;
    case AWQ_ATTENTION_DELTA:
        awq_forward_delta(pass, rows);
        break;
    }
    awq_forward_gather(pass, pass->spec->linear[attention->o].group, &values);
    awq_forward_linear_add(pass, attention->o, pass->sum, &values);
}
