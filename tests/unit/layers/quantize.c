/* SPDX-License-Identifier: MIT
 * tests/unit/layers/quantize.c - one layer, quantized: losses that are what they say, memory that
 * is what was announced. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/search/channel_means.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static synthetic s;

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

/* ---- grouped-query attention ---- */

static void grouped_heads_share_o_scales(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    must(synthetic_quantize(&s, &layer, &err));
    const awq_group_record *o = &layer.record.group[GROUP_O];
    assert_int_equal(o->candidates, 21);
    assert_true(o->chosen > 0);
    for (int64_t i = 0; i < o->channels; i++) {
        int64_t head = i / 16, first = head / 2 * 2 * 16 + i % 16; /* two heads a group */
        assert_true(o->scales[i] == o->scales[first]);
    }
    assert_true(o->scales[0] != o->scales[2 * 16]);
    awq_quantized_layer_release(&layer);
}

static void tied_means_are_means_over_the_heads(void **state)
{
    (void)state;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    float from[64], to[32];
    for (int i = 0; i < 64; i++) from[i] = (float)(i / 16 * 100 + i % 16);
    assert_int_equal(awq_free_channels(&s.spec->group[GROUP_O]), 32);
    awq_tie_channels(&s.spec->group[GROUP_O], from, to);
    for (int i = 0; i < 16; i++) {
        assert_true(to[i] == (float)(50 + i));
        assert_true(to[16 + i] == (float)(250 + i));
    }
}

static void o_is_skipped_when_asked(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    s.recipe.o_proj = AWQ_O_PROJ_SKIP;
    must(synthetic_quantize(&s, &layer, &err));
    const awq_group_record *o = &layer.record.group[GROUP_O];
    assert_int_equal(o->candidates, 0);
    for (int64_t i = 0; i < o->channels; i++) assert_true(o->scales[i] == 1);
    assert_true(layer.record.linear[LINEAR_O].loss_rounding > 0);
    assert_true(layer.record.linear[LINEAR_O].loss <= layer.record.linear[LINEAR_O].loss_rounding);
    awq_quantized_layer_release(&layer);
}

static void o_is_not_skipped_without_groups(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    s.recipe.o_proj = AWQ_O_PROJ_SKIP;
    must(synthetic_quantize(&s, &layer, &err));
    assert_int_equal(layer.record.group[GROUP_O].candidates, 21);
    awq_quantized_layer_release(&layer);
}

/* ---- losses ---- */

/* What a row was divided by: v's by the scale of the first head of the group that reads it, up's by
 * that of its channel of down's input. Where they are fused, they come behind q's and k's 96 rows,
 * and behind gate's. */
static double row_scale(const awq_quantized_layer *layer, int linear, int64_t row)
{
    const awq_attention_spec *attention = &s.spec->attention;
    const char *name = awq_linear_short_name(&s.spec->linear[linear]);
    int64_t v = !strcmp(name, "v_proj") ? row : !strcmp(name, "qkv_proj") ? row - 96 : -1;
    int64_t up = !strcmp(name, "up_proj") ? row : !strcmp(name, "gate_up_proj") ? row - 96 : -1;
    int64_t first = v / 16 * (attention->heads / attention->kv_heads) * 16 + v % 16;
    if (v >= 0) return (double)layer->record.group[GROUP_O].scales[first];
    return up >= 0 ? (double)layer->record.group[GROUP_DOWN].scales[up] : 1;
}

/* What a code stands for, in the terms of the original weight. */
static double original_value(const awq_quantized_layer *layer, int linear, int64_t row,
                             int64_t column)
{
    awq_extent extent = awq_linear_extent(&s.spec->linear[linear]);
    int64_t group_size = s.recipe.group_size, groups = extent.in / group_size;
    const awq_quantized_linear *q = &layer->linear[linear];
    int64_t group = row * groups + column / group_size;
    double value = ((double)synthetic_code(q, extent.in, row, column) - (double)q->zeros[group]) *
                   (double)awq_float_from_f16(q->scales[group]);
    return value * row_scale(layer, linear, row) /
           (double)layer->record.group[s.spec->linear[linear].group].scales[column];
}

static double brute_force_loss(const awq_quantized_layer *layer, int linear)
{
    awq_extent extent = awq_linear_extent(&s.spec->linear[linear]);
    const float *gram = s.statistics.gram[s.spec->linear[linear].group];
    double loss = 0, d[128];
    for (int64_t row = 0; row < extent.out; row++) {
        for (int64_t i = 0; i < extent.in; i++)
            d[i] = (double)s.original[linear][row * extent.in + i] -
                   original_value(layer, linear, row, i);
        for (int64_t i = 0; i < extent.in; i++)
            for (int64_t j = 0; j < extent.in; j++)
                loss += d[i] * (double)gram[i * extent.in + j] * d[j];
    }
    return loss;
}

static void check_losses(const awq_quantized_layer *layer)
{
    for (int linear = 0; linear < s.spec->linears; linear++) {
        const awq_linear_record *record = &layer->record.linear[linear];
        double loss = brute_force_loss(layer, linear);
        assert_true(fabs(record->loss / loss - 1) < 1e-3);
        assert_true(record->energy > record->loss_rounding);
        assert_int_equal(record->groups,
                         awq_extent_elements(awq_linear_extent(&s.spec->linear[linear])) / 16);
        assert_true((record->clipped_groups > 0) == s.spec->linear[linear].clipped);
    }
    assert_true(awq_layer_record_relative_error(&layer->record) <
                awq_layer_record_rounding_error(&layer->record));
}

static void losses_are_errors_of_the_original_outputs(void **state)
{
    (void)state;
    static const synthetic_shape shapes[] = {
        {.kv_heads = 2, .dtype = AWQ_BF16},
        {.kv_heads = 2, .fused = true, .dtype = AWQ_BF16},
        {.kv_heads = 2, .out_norms = true, .dtype = AWQ_BF16},
    };
    for (int i = 0; i < 3; i++) {
        awq_error err;
        awq_quantized_layer layer;
        synthetic_open(&s, shapes[i]);
        must(synthetic_quantize(&s, &layer, &err));
        check_losses(&layer);
        awq_quantized_layer_release(&layer);
        if (i < 2) synthetic_close(&s);
    }
}

/* Squared error of q, k, v by plain rounding is their part of the identity's loss. */
static void the_identity_is_plain_rounding(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    s.recipe.alpha_steps = 0;
    s.recipe.clip = AWQ_CLIP_OFF;
    must(synthetic_quantize(&s, &layer, &err));
    const awq_linear_record *linear = layer.record.linear;
    for (int i = 0; i < DENSE_LINEARS; i++)
        assert_true(fabs(linear[i].loss / linear[i].loss_rounding - 1) < 1e-5);
    double outputs = 64 + 32 + 32, tokens = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH;
    double sum = linear[LINEAR_Q].loss_rounding + linear[LINEAR_K].loss_rounding +
                 linear[LINEAR_V].loss_rounding;
    const awq_group_record *qkv = &layer.record.group[GROUP_QKV];
    assert_int_equal(qkv->candidates, 1);
    assert_true(fabs(qkv->loss[0] / (sum / (tokens * outputs)) - 1) < 1e-12);
    awq_quantized_layer_release(&layer);
}

static void duo_and_symmetric_and_whole_rows_work(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    s.recipe = (awq_recipe){.bits = 4,
                            .group_size = -1,
                            .symmetric = true,
                            .alpha_steps = 5,
                            .duo = AWQ_DUO_BOTH,
                            .smooth = 0.2,
                            .clip = AWQ_CLIP_AFTER};
    must(synthetic_quantize(&s, &layer, &err));
    assert_int_equal(layer.record.group[GROUP_DOWN].candidates, 12);
    assert_int_equal(layer.record.group[GROUP_DOWN].duo[6], 1);
    assert_int_equal(layer.record.linear[LINEAR_DOWN].groups, s.model.hidden);
    assert_int_equal(layer.linear[LINEAR_DOWN].zeros[0], 8);
    awq_quantized_layer_release(&layer);
}

/* ---- the same bytes ---- */

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer[3];
    for (int i = 0; i < 3; i++) {
        synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16, .threads = i + 1});
        must(synthetic_quantize(&s, &layer[i], &err));
        for (int k = 0; k < DENSE_LINEARS; k++) {
            size_t weights = (size_t)awq_extent_elements(awq_linear_extent(&s.spec->linear[k]));
            assert_memory_equal(layer[0].linear[k].words, layer[i].linear[k].words, weights / 2);
            assert_memory_equal(&layer[0].record.linear[k], &layer[i].record.linear[k],
                                sizeof layer[0].record.linear[k]);
        }
        if (i < 2) synthetic_close(&s);
    }
    for (int i = 0; i < 3; i++) awq_quantized_layer_release(&layer[i]);
}

/* ---- memory ---- */

static uint64_t allocated;

static awq_status counting_alloc(awq_device *device, size_t bytes, const char *what, void **out,
                                 awq_error *err)
{
    allocated += bytes;
    return awq_backend_find("cpu")->alloc(device, bytes, what, out, err);
}

static void announced_bytes_are_allocated(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    awq_statistics statistics;
    awq_scratch *scratch;
    const awq_tile_size tile = awq_checked_tile(4, 25);
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    awq_backend counting = *s.be;
    counting.alloc = counting_alloc;
    s.device->backend = &counting;

    allocated = 0;
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0},
                             &(awq_routed_room){0}, &statistics, &err));
    assert_int_equal(allocated, awq_statistics_bytes(&s.model));
    allocated = 0;
    must(awq_scratch_create(s.device, &s.model, &tile, &scratch, &err));
    assert_int_equal(allocated, awq_scratch_bytes(&s.model, &tile, 4));
    allocated = 0;
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    must(synthetic_quantize(&s, &layer, &err));
    assert_int_equal(allocated,
                     awq_quantize_bytes(&s.model, &s.recipe, SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH,
                                        SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH, 4));

    awq_quantized_layer_release(&layer);
    awq_scratch_free(scratch);
    awq_statistics_release(s.device, &statistics);
    s.device->backend = s.be;
}

/* ---- masks ---- */

static void masked_rows_do_not_count(void **state)
{
    (void)state;
    awq_error err;
    awq_statistics all, half;
    int64_t rows = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    uint8_t mask[SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH];
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0},
                             &(awq_routed_room){0}, &all, &err));
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0},
                             &(awq_routed_room){0}, &half, &err));
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < rows; i++) mask[i] = i % 2 == pass;
        memcpy(s.output, s.input, (size_t)(rows * s.model.hidden) * sizeof *s.input);
        must(awq_decoder_forward(&(awq_forward){.device = s.device,
                                                .model = &s.model,
                                                .decoder = &s.decoder,
                                                .scratch = s.scratch,
                                                .sequences = SYNTHETIC_SEQUENCES,
                                                .statistics = &half,
                                                .mask = mask},
                                 s.output, &err));
        assert_int_equal(half.tokens, rows / 2 * (pass + 1));
    }
    memcpy(s.output, s.input, (size_t)(rows * s.model.hidden) * sizeof *s.input);
    must(awq_decoder_forward(&(awq_forward){.device = s.device,
                                            .model = &s.model,
                                            .decoder = &s.decoder,
                                            .scratch = s.scratch,
                                            .sequences = SYNTHETIC_SEQUENCES,
                                            .statistics = &all},
                             s.output, &err));
    for (int group = 0; group < DENSE_GROUPS; group++)
        for (int64_t i = 0; i < s.spec->group[group].channels; i++)
            assert_true(fabs(all.abs_sum[group][i] - half.abs_sum[group][i]) <=
                        1e-9 * all.abs_sum[group][i]);
    awq_statistics_release(s.device, &all);
    awq_statistics_release(s.device, &half);
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_teardown(name, close_layer)
    const struct CMUnitTest quantize[] = {
        LAYER_TEST(grouped_heads_share_o_scales),
        LAYER_TEST(tied_means_are_means_over_the_heads),
        LAYER_TEST(o_is_skipped_when_asked),
        LAYER_TEST(o_is_not_skipped_without_groups),
        LAYER_TEST(losses_are_errors_of_the_original_outputs),
        LAYER_TEST(the_identity_is_plain_rounding),
        LAYER_TEST(duo_and_symmetric_and_whole_rows_work),
        LAYER_TEST(the_number_of_threads_changes_nothing),
        LAYER_TEST(announced_bytes_are_allocated),
        LAYER_TEST(masked_rows_do_not_count),
    };
    return cmocka_run_group_tests(quantize, NULL, NULL);
}
