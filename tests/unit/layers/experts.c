/* SPDX-License-Identifier: MIT
 * tests/unit/layers/experts.c - a sparse layer: what its statistics are of, what its losses are,
 * and a folding check that sees a router that is wrong and no ties. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/forward/scratch.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

enum { ROWS = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH, ACTIVE = 2 };

static synthetic s;
static const synthetic_shape shape = {.kv_heads = 2, .sparse = true, .dtype = AWQ_BF16};

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

/* The scale group of an expert's down; expert -1: of the shared one's. */
static int down_group(int expert)
{
    char name[AWQ_GROUP_NAME_BYTES] = "shared_expert.down";
    if (expert >= 0) snprintf(name, sizeof name, "experts.%d.down", expert);
    return group_named(s.spec, name);
}

/* ---- statistics ---- */

/* An expert's, as made from what it read: of the layer's own weights, so before it is quantized.
 * Host memory, which is the CPU's. */
static awq_expert_statistics made[SYNTHETIC_EXPERTS];

static awq_expert_statistics allocate_statistics(void)
{
    size_t hidden = (size_t)s.model.hidden, width = (size_t)s.spec->mlps.intermediate;
    return (awq_expert_statistics){.gram = test_malloc(hidden * hidden * sizeof(float)),
                                   .abs_sum = test_malloc(width * sizeof(double)),
                                   .down_gram = test_malloc(width * width * sizeof(float))};
}

static void free_statistics(awq_expert_statistics *statistics)
{
    test_free(statistics->gram);
    test_free(statistics->abs_sum);
    test_free(statistics->down_gram);
}

static void make(awq_statistics *seen, int expert, const awq_expert_statistics *to)
{
    awq_error err;
    must(awq_expert_statistics_make(&(awq_forward){.device = s.device,
                                                   .model = &s.model,
                                                   .decoder = &s.decoder,
                                                   .scratch = s.scratch,
                                                   .statistics = seen},
                                    &s.spec->mlps.mlp[expert], to, &err));
}

static void make_all(void)
{
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) {
        made[expert] = allocate_statistics();
        make(&s.statistics, expert, &made[expert]);
    }
}

static void free_all(void)
{
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) free_statistics(&made[expert]);
}

static awq_quantizer quantizer_of(awq_quantized_layer *out)
{
    awq_quantized_layer_init(out);
    return (awq_quantizer){.device = s.device,
                           .model = &s.model,
                           .decoder = &s.decoder,
                           .statistics = &s.statistics,
                           .scratch = s.scratch,
                           .recipe = &s.recipe,
                           .out = out};
}

/* Holds all experts in turn, and makes `made` what they are measured by: finished, shrunk. */
static void hold_all(void)
{
    awq_error err;
    awq_quantized_layer layer;
    awq_quantizer quantizer = quantizer_of(&layer);
    size_t hidden = (size_t)s.model.hidden, width = (size_t)s.spec->mlps.intermediate;
    must(awq_quantizer_open(&quantizer, &err));
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) {
        must(awq_quantizer_hold(&quantizer, expert, &err));
        memcpy(made[expert].gram, quantizer.own.gram, hidden * hidden * sizeof(float));
        memcpy(made[expert].down_gram, quantizer.own.down_gram, width * width * sizeof(float));
    }
    awq_quantizer_close(&quantizer);
    awq_quantized_layer_release(&layer);
}

static int64_t tokens_of(int expert)
{
    int64_t tokens = 0;
    for (int64_t i = 0; i < ROWS * ACTIVE; i++) tokens += s.statistics.choice[i] == expert;
    return tokens;
}

/* The trace of a Gram matrix is the sum of the rows' squares: of its own rows and no others. */
static double trace_of(int expert)
{
    int64_t channels = s.spec->mlps.intermediate;
    double sum = 0;
    for (int64_t i = 0; i < channels; i++) sum += (double)made[expert].down_gram[i * channels + i];
    return sum;
}

static void each_expert_has_statistics_of_its_tokens(void **state)
{
    (void)state;
    synthetic_open(&s, shape);
    make_all();
    int64_t sum = 0;
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) {
        int group = down_group(expert);
        int64_t tokens = awq_statistics_tokens(&s.statistics, group);
        assert_int_equal(tokens, tokens_of(expert));
        assert_true((tokens > 0) == (trace_of(expert) > 0));
        sum += tokens;
    }
    assert_int_equal(sum, ROWS * ACTIVE);
    assert_int_equal(awq_statistics_tokens(&s.statistics, down_group(-1)), ROWS);
    assert_false(has_group(s.spec, "down"));
    free_all();
}

/* Each row goes to two experts, so that theirs add up to twice that of all rows. */
static void experts_gram_matrices_add_up(void **state)
{
    (void)state;
    synthetic_open(&s, shape);
    make_all();
    int64_t hidden = s.model.hidden;
    const float *all = s.statistics.gram[GROUP_GATE_UP];
    for (int64_t i = 0; i < hidden; i++)
        for (int64_t j = i; j < hidden; j++) {
            double sum = 0, scale = sqrt((double)all[i * hidden + i] * (double)all[j * hidden + j]);
            for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++)
                sum += (double)made[expert].gram[i * hidden + j];
            assert_true(fabs(sum - ACTIVE * (double)all[i * hidden + j]) <= 1e-5 * scale);
        }
    free_all();
}

/* By as many of all tokens as there are channels. */
static void experts_are_shrunk_towards_all_tokens(void **state)
{
    (void)state;
    synthetic_open(&s, shape);
    make_all();
    int64_t hidden = s.model.hidden;
    double own[SYNTHETIC_EXPERTS];
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++)
        own[expert] = (double)made[expert].gram[hidden + 3];
    hold_all();
    double all = (double)s.statistics.gram[GROUP_GATE_UP][hidden + 3];
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) {
        double found = (double)made[expert].gram[hidden + 3];
        double expected = own[expert] + (double)hidden / ROWS * all;
        assert_true(fabs(found - expected) <= 1e-5 * (fabs(own[expert]) + fabs(all)));
        assert_true(found == (double)made[expert].gram[3 * hidden + 1]);
    }
    free_all();
}

/* Made again, in another order: the same bytes. */
static void statistics_of_experts_do_not_tell_when_they_were_made(void **state)
{
    (void)state;
    synthetic_open(&s, shape);
    size_t hidden = (size_t)s.model.hidden, width = (size_t)s.spec->mlps.intermediate;
    awq_expert_statistics again = allocate_statistics();
    make_all();
    for (int expert = SYNTHETIC_EXPERTS - 1; expert >= 0; expert--) {
        make(&s.statistics, expert, &again);
        assert_memory_equal(again.gram, made[expert].gram, hidden * hidden * sizeof(float));
        assert_memory_equal(again.abs_sum, made[expert].abs_sum, width * sizeof(double));
        assert_memory_equal(again.down_gram, made[expert].down_gram, width * width * sizeof(float));
    }
    free_statistics(&again);
    free_all();
}

/* Masked out are the first half of the rows, which comes to the same as a tile of the other half.
 */
static void rows_that_do_not_count_are_in_no_experts_statistics(void **state)
{
    (void)state;
    awq_error err;
    uint8_t mask[ROWS];
    for (int i = 0; i < ROWS; i++) mask[i] = i >= SYNTHETIC_LENGTH;
    synthetic_open(&s, shape);
    awq_statistics masked, half;
    const awq_routed_room room = {.rows = ROWS}, in_file = {.directory = "/tmp", .rows = ROWS};
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0}, &room,
                             &masked, &err));
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0}, &in_file,
                             &half, &err));
    int64_t hidden = s.model.hidden;
    size_t bytes = (size_t)(ROWS * hidden) * sizeof(float);
    memcpy(s.output, s.input, bytes);
    must(awq_decoder_forward(&(awq_forward){.device = s.device,
                                            .model = &s.model,
                                            .decoder = &s.decoder,
                                            .scratch = s.scratch,
                                            .sequences = SYNTHETIC_SEQUENCES,
                                            .statistics = &masked,
                                            .mask = mask},
                             s.output, &err));
    memcpy(s.output, s.input + SYNTHETIC_LENGTH * hidden, bytes * 2 / 3);
    must(awq_decoder_forward(&(awq_forward){.device = s.device,
                                            .model = &s.model,
                                            .decoder = &s.decoder,
                                            .scratch = s.scratch,
                                            .sequences = SYNTHETIC_SEQUENCES - 1,
                                            .statistics = &half},
                             s.output, &err));
    awq_expert_statistics of_masked = allocate_statistics(), of_half = allocate_statistics();
    for (int expert = 0; expert < SYNTHETIC_EXPERTS; expert++) {
        int group = down_group(expert);
        make(&masked, expert, &of_masked);
        make(&half, expert, &of_half);
        assert_int_equal(masked.group_tokens[group], half.group_tokens[group]);
        for (int64_t i = 0; i < s.spec->group[group].channels; i++)
            assert_true(fabs(of_masked.abs_sum[i] - of_half.abs_sum[i]) <=
                        1e-6 * fabs(of_half.abs_sum[i]));
        for (int64_t i = 0; i < hidden; i++) {
            double a = (double)of_masked.gram[i * hidden + i];
            assert_true(fabs(a - (double)of_half.gram[i * hidden + i]) <= 1e-5 * a);
        }
    }
    free_statistics(&of_masked);
    free_statistics(&of_half);
    awq_statistics_release(s.device, &masked);
    awq_statistics_release(s.device, &half);
}

/* ---- losses ---- */

static double value_of(const awq_quantized_layer *layer, int linear, int64_t row, int64_t in,
                       int64_t column)
{
    const awq_quantized_linear *q = &layer->linear[linear];
    int64_t group = (row * in + column) / s.recipe.group_size;
    double value = ((double)synthetic_code(q, in, row, column) - (double)q->zeros[group]) *
                   (double)awq_float_from_f16(q->scales[group]);
    int absorbs = s.spec->linear[linear].absorbs;
    if (absorbs >= 0) value *= (double)layer->record.group[absorbs].scales[row];
    return value / (double)layer->record.group[s.spec->linear[linear].group].scales[column];
}

static double brute_force_loss(const awq_quantized_layer *layer, int linear)
{
    const awq_linear_spec *spec = &s.spec->linear[linear];
    awq_extent extent = awq_linear_extent(spec);
    const float *gram = s.statistics.gram[spec->group];
    if (spec->expert >= 0) gram = gram ? made[spec->expert].gram : made[spec->expert].down_gram;
    double loss = 0, d[128];
    for (int64_t row = 0; row < extent.out; row++) {
        for (int64_t i = 0; i < extent.in; i++)
            d[i] = (double)s.original[linear][row * extent.in + i] -
                   value_of(layer, linear, row, extent.in, i);
        for (int64_t i = 0; i < extent.in; i++)
            for (int64_t j = 0; j < extent.in; j++)
                loss += d[i] * (double)gram[i * extent.in + j] * d[j];
    }
    return loss;
}

static void losses_are_errors_of_each_experts_outputs(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, shape);
    make_all();
    hold_all();
    must(synthetic_quantize(&s, &layer, &err));
    for (int linear = 0; linear < s.spec->linears; linear++) {
        const awq_linear_record *record = &layer.record.linear[linear];
        if (s.spec->linear[linear].half == AWQ_HALF_ATTENTION) continue;
        if (s.spec->linear[linear].exempt) {
            assert_non_null(layer.linear[linear].weight);
            assert_true(record->energy == 0 && record->groups == 0);
            continue;
        }
        assert_true(fabs(record->loss / brute_force_loss(&layer, linear) - 1) < 1e-3);
        assert_true(record->energy > record->loss_rounding);
    }
    assert_true(layer.record.fold_error < 1e-5);
    assert_false(has_linear(s.spec, "gate_proj"));
    awq_quantized_layer_release(&layer);
    free_all();
}

/* ---- the folding check ---- */

/* Something to do to a layer that is quantized, before it is checked. */
typedef void spoil(awq_quantizer *quantizer, int which);

static awq_status check_spoiled(spoil *before_linears, spoil *after, int which, awq_error *out)
{
    awq_error err;
    awq_quantized_layer layer;
    awq_quantizer quantizer = quantizer_of(&layer);
    must(awq_quantizer_open(&quantizer, &err));
    must(awq_fold_check_begin(&quantizer, &s.check, &err));
    for (int i = 0; i < s.spec->groups; i++) /* experts' are searched with the one that they read */
        if (s.spec->group[i].expert < 0) must(awq_search_group(&quantizer, i, &err));
    must(awq_fold_plan(&quantizer, &err));
    if (before_linears) before_linears(&quantizer, which);
    for (int i = 0; i < s.spec->linears; i++) must(awq_quantize_linear(&quantizer, i, &err));
    if (after) after(&quantizer, which);
    awq_status status = awq_fold_check_layer(&quantizer, &s.check, out);
    awq_quantizer_close(&quantizer);
    awq_quantized_layer_release(&layer);
    return status;
}

static void spoil_group(awq_quantizer *quantizer, int group)
{
    for (int64_t i = 0; i < 16; i++) quantizer->out->record.group[group].scales[i] *= 1.05f;
}

static void a_spoiled_scale_of_an_expert_names_its_group(void **state)
{
    (void)state;
    for (int expert = -1; expert < SYNTHETIC_EXPERTS; expert++) { /* -1: the shared one's */
        char expected[AWQ_GROUP_NAME_BYTES + 40];
        awq_error err = {0};
        synthetic_open(&s, shape);
        int group = down_group(expert);
        snprintf(expected, sizeof expected, "scale group '%s': folding changes",
                 s.spec->group[group].name);
        assert_int_equal(check_spoiled(spoil_group, NULL, group, &err), AWQ_ERR_NUMERIC);
        if (!strstr(err.text, expected)) fail_msg("'%s' does not say '%s'", err.text, expected);
        if (expert + 1 < SYNTHETIC_EXPERTS) synthetic_close(&s);
    }
}

/* The router or the shared expert's gate as it was, among folded readers of the same input. */
static void unfold_reader(awq_quantizer *quantizer, int linear)
{
    awq_extent extent = awq_linear_extent(&s.spec->linear[linear]);
    memcpy(quantizer->decoder->weight[linear], s.original[linear],
           (size_t)awq_extent_elements(extent) * sizeof(float));
}

static void a_router_that_was_not_folded_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"gate", "shared_expert_gate"};
    static const char *const said[] = {"the router may not have been folded", "differs by"};
    for (int i = 0; i < 2; i++) {
        awq_error err = {0};
        synthetic_open(&s, shape);
        int linear = linear_named(s.spec, names[i]);
        assert_int_equal(check_spoiled(NULL, unfold_reader, linear, &err), AWQ_ERR_NUMERIC);
        if (!strstr(err.text, said[i])) fail_msg("'%s'", err.text);
        if (!i) synthetic_close(&s);
    }
}

/* A logit that asks for an expert that it did not ask for; with weights that add up to one and the
 * choice held, nothing else tells. */
static void raise_least(awq_quantizer *quantizer, int which)
{
    (void)which;
    float *row = quantizer->decoder->weight[s.spec->mlps.router];
    int64_t hidden = s.model.hidden;
    int expert = 0;
    while (s.statistics.choice[0] == expert || s.statistics.choice[1] == expert) expert++;
    for (int64_t i = 0; i < hidden; i++) /* as the first token's best, but for a little */
        row[expert * hidden + i] = 1.05f * row[s.statistics.choice[0] * hidden + i];
}

static void an_expert_that_was_not_asked_for_is_noticed(void **state)
{
    (void)state;
    awq_error err = {0};
    synthetic_open(&s, (synthetic_shape){.sparse = true, .normalized = true, .dtype = AWQ_BF16});
    assert_int_equal(check_spoiled(NULL, raise_least, 0, &err), AWQ_ERR_NUMERIC);
    if (!strstr(err.text, "scale group 'gate_up': folding changes a logit of token"))
        fail_msg("'%s'", err.text);
}

/* Logits of experts 1 and 2 that differ by rounding alone. */
static void make_ties(void)
{
    float *row = s.decoder.weight[s.spec->mlps.router];
    int64_t hidden = s.model.hidden;
    for (int64_t i = 0; i < hidden; i++)
        row[2 * hidden + i] = row[hidden + i] * (1 + (i % 3 ? 0x1p-22f : -0x1p-22f));
}

static void ties_that_fall_to_the_other_side_are_no_fault(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, shape);
    make_ties();
    synthetic_measure(&s);
    must(synthetic_quantize(&s, &layer, &err));
    assert_true(layer.record.fold_error < 1e-5);
    awq_quantized_layer_release(&layer);
    /* the folded layer, left to itself, does choose others: the check had to hold them */
    memcpy(s.output, s.input, (size_t)(ROWS * s.model.hidden) * sizeof(float));
    must(awq_decoder_forward(&(awq_forward){.device = s.device,
                                            .model = &s.model,
                                            .decoder = &s.decoder,
                                            .scratch = s.scratch,
                                            .sequences = SYNTHETIC_SEQUENCES},
                             s.output, &err));
    assert_memory_not_equal(s.scratch->routing.host->expert, s.statistics.choice,
                            ROWS * ACTIVE * sizeof(int32_t));
}

/* ---- memory ---- */

static size_t allocated;

static awq_status counting_alloc(awq_device *device, size_t bytes, const char *what, void **out,
                                 awq_error *err)
{
    allocated += bytes;
    return s.be->alloc(device, bytes, what, out, err);
}

static void what_is_announced_is_allocated(void **state)
{
    (void)state;
    awq_error err;
    synthetic_open(&s, shape);
    awq_backend counting = *s.be;
    counting.alloc = counting_alloc;
    s.device->backend = &counting;
    awq_scratch *scratch;
    awq_statistics statistics;
    allocated = 0;
    const awq_tile_size tile = awq_checked_tile(SYNTHETIC_SEQUENCES, SYNTHETIC_LENGTH);
    must(awq_scratch_create(s.device, &s.model, &tile, &scratch, &err));
    assert_int_equal(allocated, awq_scratch_bytes(&s.model, &tile, sizeof(float)));
    allocated = 0;
    must(awq_statistics_init(s.device, &s.model, SYNTHETIC_LAYER, (awq_layer_part){0},
                             &(awq_routed_room){.rows = tile.rows}, &statistics, &err));
    assert_int_equal(allocated, awq_statistics_bytes(&s.model));
    awq_scratch_free(scratch);
    awq_statistics_release(s.device, &statistics);
    s.device->backend = s.be;
}

static void the_module_objective_is_refused(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, shape);
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    assert_int_equal(synthetic_quantize(&s, &layer, &err), AWQ_ERR_INPUT);
    assert_non_null(strstr(err.text, "dense layers only"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_expert_has_statistics_of_its_tokens, close_layer),
        cmocka_unit_test_teardown(experts_gram_matrices_add_up, close_layer),
        cmocka_unit_test_teardown(experts_are_shrunk_towards_all_tokens, close_layer),
        cmocka_unit_test_teardown(statistics_of_experts_do_not_tell_when_they_were_made,
                                  close_layer),
        cmocka_unit_test_teardown(rows_that_do_not_count_are_in_no_experts_statistics, close_layer),
        cmocka_unit_test_teardown(losses_are_errors_of_each_experts_outputs, close_layer),
        cmocka_unit_test_teardown(a_spoiled_scale_of_an_expert_names_its_group, close_layer),
        cmocka_unit_test_teardown(a_router_that_was_not_folded_is_noticed, close_layer),
        cmocka_unit_test_teardown(an_expert_that_was_not_asked_for_is_noticed, close_layer),
        cmocka_unit_test_teardown(ties_that_fall_to_the_other_side_are_no_fault, close_layer),
        cmocka_unit_test_teardown(what_is_announced_is_allocated, close_layer),
        cmocka_unit_test_teardown(the_module_objective_is_refused, close_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
