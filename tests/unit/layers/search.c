/* SPDX-License-Identifier: MIT
 * tests/unit/layers/search.c - what is tried and what wins, in all combinations of options: refined
 * alphas, clips inside of candidates, the module objective. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

enum { ROWS = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH };

static synthetic s;

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

static void open_layer(void)
{
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .qkv_bias = true, .dtype = AWQ_BF16});
}

/* Plain scales, and weights written as candidates are tried. */
static awq_recipe plain_recipe(void)
{
    awq_recipe recipe = awq_recipe_default();
    recipe.duo = AWQ_DUO_OFF;
    recipe.rounding = AWQ_ROUNDING_NEAREST;
    return recipe;
}

/* The layer anew by this recipe; the caller releases the result and closes the layer. */
static awq_quantized_layer quantized(const awq_recipe *recipe)
{
    awq_error err;
    awq_quantized_layer layer;
    open_layer();
    s.recipe = *recipe;
    s.recipe.group_size = 16;
    must(synthetic_quantize(&s, &layer, &err));
    return layer;
}

static double sum_of_losses(const awq_quantized_layer *layer)
{
    double sum = 0;
    for (int i = 0; i < DENSE_LINEARS; i++) sum += layer->record.linear[i].loss;
    return sum;
}

static double sum_of_rounding(const awq_quantized_layer *layer)
{
    double sum = 0;
    for (int i = 0; i < DENSE_LINEARS; i++) sum += layer->record.linear[i].loss_rounding;
    return sum;
}

/* ---- refinement ---- */

static void refined_alphas_lie_between_the_best_and_its_better_neighbour(void **state)
{
    (void)state;
    awq_recipe recipe = plain_recipe();
    recipe.alpha_steps = 8;
    recipe.refine = 5;
    awq_quantized_layer layer = quantized(&recipe);
    for (int g = 0; g < DENSE_GROUPS; g++) {
        const awq_group_record *group = &layer.record.group[g];
        int best = 0;
        assert_int_equal(group->candidates, 9 + 5);
        for (int i = 1; i < 9; i++)
            if (group->loss[i] < group->loss[best]) best = i;
        int side =
            best == 8 || (best > 0 && group->loss[best - 1] < group->loss[best + 1]) ? -1 : 1;
        for (int i = 9; i < 14; i++) {
            double steps = (group->alpha[i] - group->alpha[best]) * 8 * side;
            assert_true(steps > 0 && steps < 1);
            assert_false(group->duo[i]);
        }
        assert_true(group->loss[group->chosen] <= group->loss[best]);
    }
    awq_quantized_layer_release(&layer);
}

static void a_refinement_stays_with_the_rule_that_won(void **state)
{
    (void)state;
    awq_recipe recipe = plain_recipe();
    recipe.alpha_steps = 4;
    recipe.refine = 3;
    recipe.duo = AWQ_DUO_BOTH;
    awq_quantized_layer layer = quantized(&recipe);
    int of_duo = 0;
    for (int g = 0; g < DENSE_GROUPS; g++) {
        const awq_group_record *group = &layer.record.group[g];
        int best = 0;
        assert_int_equal(group->candidates, 10 + 3);
        for (int i = 1; i < 10; i++)
            if (group->loss[i] < group->loss[best]) best = i;
        for (int i = 10; i < 13; i++) assert_int_equal(group->duo[i], group->duo[best]);
        of_duo += group->duo[best];
    }
    assert_in_range(of_duo, 1, DENSE_GROUPS); /* or the test shows nothing */
    awq_quantized_layer_release(&layer);
}

static void the_identity_alone_is_not_refined(void **state)
{
    (void)state;
    awq_recipe recipe = plain_recipe();
    recipe.alpha_steps = 0;
    recipe.refine = 3;
    awq_quantized_layer layer = quantized(&recipe);
    for (int g = 0; g < DENSE_GROUPS; g++) assert_int_equal(layer.record.group[g].candidates, 1);
    awq_quantized_layer_release(&layer);
}

/* ---- clip ---- */

static double chosen_loss(const awq_quantized_layer *layer, int group)
{
    const awq_group_record *record = &layer->record.group[group];
    return record->loss[record->chosen];
}

/* down's scales are folded exactly, so that what the search saw is what is written. */
static void a_joint_clip_is_scored_as_it_is_written(void **state)
{
    (void)state;
    double written[3], seen[3];
    for (int mode = AWQ_CLIP_OFF; mode <= AWQ_CLIP_JOINT; mode++) {
        awq_recipe recipe = plain_recipe();
        recipe.clip = (awq_clip_mode)mode;
        awq_quantized_layer layer = quantized(&recipe);
        written[mode] = layer.record.linear[LINEAR_DOWN].loss / (double)(ROWS * s.model.hidden);
        seen[mode] = chosen_loss(&layer, GROUP_DOWN);
        awq_quantized_layer_release(&layer);
        if (mode < AWQ_CLIP_JOINT) synthetic_close(&s);
    }
    assert_true(fabs(seen[AWQ_CLIP_OFF] / written[AWQ_CLIP_OFF] - 1) < 1e-4);
    assert_true(written[AWQ_CLIP_AFTER] < 0.99 * seen[AWQ_CLIP_AFTER]);
    assert_true(fabs(seen[AWQ_CLIP_JOINT] / written[AWQ_CLIP_JOINT] - 1) < 1e-4);
    assert_true(written[AWQ_CLIP_JOINT] <= written[AWQ_CLIP_AFTER] * (1 + 1e-4));
}

static void a_joint_clip_leaves_what_rounding_costs_in_the_record(void **state)
{
    (void)state;
    double rounding[DENSE_LINEARS];
    awq_recipe recipe = plain_recipe();
    awq_quantized_layer layer = quantized(&recipe);
    for (int i = 0; i < DENSE_LINEARS; i++) rounding[i] = layer.record.linear[i].loss_rounding;
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
    recipe.clip = AWQ_CLIP_JOINT;
    recipe.objective = AWQ_OBJECTIVE_MODULE;
    layer = quantized(&recipe);
    for (int i = 0; i < DENSE_LINEARS; i++)
        assert_true(layer.record.linear[i].loss_rounding == rounding[i]);
    awq_quantized_layer_release(&layer);
}

static void an_asymmetric_clip_loses_less(void **state)
{
    (void)state;
    awq_recipe recipe = plain_recipe();
    awq_quantized_layer layer = quantized(&recipe);
    double symmetric = sum_of_losses(&layer);
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
    recipe.clip_shape = AWQ_CLIP_ASYMMETRIC;
    layer = quantized(&recipe);
    assert_true(sum_of_losses(&layer) < symmetric);
    awq_quantized_layer_release(&layer);
}

static int64_t row_sum(const int64_t *counts)
{
    int64_t sum = 0;
    for (int i = 0; i < AWQ_CLIP_STEPS; i++) sum += counts[i];
    return sum;
}

static void check_counts(const awq_linear_record *record, bool clipped, int64_t shapes)
{
    int64_t whole = record->clip_counts[0][0];
    assert_int_equal(record->clip_shapes, clipped ? shapes : 1);
    for (int i = 0; i < AWQ_CLIP_SHAPES; i++)
        assert_int_equal(row_sum(record->clip_counts[i]),
                         i < record->clip_shapes ? record->groups : 0);
    if (!clipped) assert_true(whole == record->groups && !record->clipped_groups);
    if (clipped && shapes == 1) assert_int_equal(record->clipped_groups, record->groups - whole);
    if (clipped && shapes == 2) assert_true(record->clipped_groups >= record->groups - whole);
    if (clipped) assert_true(record->clipped_groups > 0);
}

static void clip_counts_add_up_to_the_groups(void **state)
{
    (void)state;
    awq_recipe recipe = plain_recipe();
    for (int i = 0; i < 6; i++) {
        recipe.clip = (awq_clip_mode)(i / 2);
        recipe.clip_shape = (awq_clip_shape)(i % 2);
        awq_quantized_layer layer = quantized(&recipe);
        for (int l = 0; l < DENSE_LINEARS; l++)
            check_counts(&layer.record.linear[l],
                         recipe.clip != AWQ_CLIP_OFF && l != LINEAR_Q && l != LINEAR_K, i % 2 + 1);
        awq_quantized_layer_release(&layer);
        if (i < 5) synthetic_close(&s);
    }
}

/* ---- the module objective ---- */

/* Losses of the groups that have a module, all candidates after another. */
static double *module_losses(const awq_quantized_layer *layer)
{
    const awq_group_record *qkv = &layer->record.group[GROUP_QKV];
    const awq_group_record *gate_up = &layer->record.group[GROUP_GATE_UP];
    size_t count = (size_t)qkv->candidates;
    double *losses = malloc(2 * count * sizeof *losses);
    memcpy(losses, qkv->loss, count * sizeof *losses);
    memcpy(losses + count, gate_up->loss, count * sizeof *losses);
    return losses;
}

/* Runs the module objective, alphas 0, 1/4 .. 1, on the layer as the test has made it. */
static double *score_modules(void)
{
    awq_error err;
    awq_quantized_layer layer;
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    s.recipe.alpha_steps = 4;
    must(synthetic_quantize(&s, &layer, &err));
    double *losses = module_losses(&layer);
    awq_quantized_layer_release(&layer);
    return losses;
}

static void assert_losses(double *found, double *expected, double tolerance)
{
    for (int i = 0; i < 10; i++) assert_true(fabs(found[i] / expected[i] - 1) < tolerance);
    free(found);
    free(expected);
}

static void masked_tokens_do_not_count_in_a_module(void **state)
{
    (void)state;
    uint8_t mask[ROWS];
    for (int i = 0; i < ROWS; i++) mask[i] = i < SYNTHETIC_LENGTH;
    open_layer();
    s.check.sequences = 1;
    double *first = score_modules();
    synthetic_close(&s);
    open_layer();
    double *all = score_modules();
    assert_true(fabs(all[0] / first[0] - 1) > 1e-3);
    free(all);
    synthetic_close(&s);
    open_layer();
    s.check.mask = mask;
    assert_losses(score_modules(), first, 1e-6);
}

static void modules_run_in_tiles(void **state)
{
    (void)state;
    awq_error err;
    open_layer();
    double *whole = score_modules();
    synthetic_close(&s);
    open_layer();
    awq_scratch_free(s.scratch);
    awq_tile_size tile = awq_checked_tile(2, SYNTHETIC_LENGTH);
    must(awq_scratch_create(s.device, &s.model, &tile, &s.scratch, &err));
    assert_losses(score_modules(), whole, 1e-5);
}

static void expect(awq_status status, awq_status expected, const awq_error *err, const char *text)
{
    assert_int_equal(status, expected);
    if (!strstr(err->text, text)) fail_msg("'%s' does not say '%s'", err->text, text);
}

static void a_mask_that_leaves_a_module_no_token_is_refused(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    static const uint8_t mask[ROWS];
    open_layer();
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    s.check.mask = mask;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_INPUT, &err,
           "none of the 72 tokens of the module objective counts");
}

static void a_module_that_overflows_is_named(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    open_layer();
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    float *weight = s.decoder.weight[LINEAR_O];
    for (int i = 0; i < 64; i++) weight[i] = 3e38f;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "scale group 'qkv': the output of its module is not finite");
}

/* ---- all together ---- */

static void check_choice(const awq_group_record *group)
{
    int best = 0;
    for (int i = 0; i < group->candidates; i++) {
        assert_true(isfinite(group->loss[i]));
        if (group->loss[i] < group->loss[best]) best = i;
    }
    assert_int_equal(group->chosen, best);
}

/* Option set `i` of all combinations. */
static awq_recipe combination(int i)
{
    awq_recipe recipe = plain_recipe();
    recipe.objective = (awq_objective)(i % 2);
    recipe.clip = (awq_clip_mode)(i / 2 % 3);
    recipe.clip_shape = (awq_clip_shape)(i / 6 % 2);
    recipe.duo = (awq_duo)(i / 12 % 3);
    recipe.symmetric = !(i / 36 % 2);
    recipe.alpha_steps = i / 72 % 2 ? 3 : 0;
    recipe.refine = i % 3;
    return recipe;
}

static void every_combination_of_options_chooses_the_least_loss(void **state)
{
    (void)state;
    for (int i = 0; i < 144; i++) {
        awq_recipe recipe = combination(i);
        awq_quantized_layer layer = quantized(&recipe);
        for (int g = 0; g < DENSE_GROUPS; g++) check_choice(&layer.record.group[g]);
        if (recipe.alpha_steps) assert_true(sum_of_losses(&layer) < sum_of_rounding(&layer));
        awq_quantized_layer_release(&layer);
        if (i < 143) synthetic_close(&s);
    }
}

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    awq_quantized_layer layer[2];
    for (int i = 0; i < 2; i++) {
        awq_error err;
        synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16, .threads = 1 + i});
        s.recipe.objective = AWQ_OBJECTIVE_MODULE;
        s.recipe.clip = AWQ_CLIP_JOINT;
        s.recipe.clip_shape = AWQ_CLIP_ASYMMETRIC;
        s.recipe.refine = 3;
        must(synthetic_quantize(&s, &layer[i], &err));
        for (int g = 0; i && g < DENSE_GROUPS; g++)
            assert_memory_equal(layer[0].record.group[g].loss, layer[1].record.group[g].loss,
                                24 * sizeof(double));
        for (int l = 0; i && l < DENSE_LINEARS; l++)
            assert_memory_equal(&layer[0].record.linear[l], &layer[1].record.linear[l],
                                sizeof layer[0].record.linear[l]);
        if (!i) synthetic_close(&s);
    }
    for (int i = 0; i < 2; i++) awq_quantized_layer_release(&layer[i]);
}

/* ---- progress ---- */

static bool add_flops(void *context, awq_phase phase, double flops)
{
    if (phase == AWQ_PHASE_SEARCH) *(double *)context += flops;
    return true;
}

/* For 5 candidates: q, k, v, gate and up once, o and down as candidates and once more for their
 * plain rounding, clips of v, o, gate, up and down, and 6 passes through the layer. */
static void progress_counts_modules_and_clips(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    double found = 0, expected = 0;
    awq_quantize_watch watch = {add_flops, &found};
    open_layer();
    s.recipe.objective = AWQ_OBJECTIVE_MODULE;
    s.recipe.clip = AWQ_CLIP_JOINT;
    s.recipe.alpha_steps = 4;
    s.recipe.search = AWQ_SEARCH_EXHAUSTIVE;
    must(synthetic_watched(&s, &watch, &layer, &err));
    for (int i = 0; i < DENSE_LINEARS; i++) {
        awq_extent extent = awq_linear_extent(&s.spec->linear[i]);
        double weights = (double)awq_extent_elements(extent);
        bool alone = i == LINEAR_O || i == LINEAR_DOWN;
        expected += weights * (double)extent.in * (alone ? 6 : 1) + 6 * 2 * ROWS * weights;
        if (i != LINEAR_Q && i != LINEAR_K) expected += 5 * 20.0 * 16 * weights;
    }
    expected += 6 * 2.0 * 64 * SYNTHETIC_LENGTH * ROWS; /* attention of 64 channels */
    assert_true(found == expected);
    awq_quantized_layer_release(&layer);
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_teardown(name, close_layer)
    const struct CMUnitTest search[] = {
        LAYER_TEST(refined_alphas_lie_between_the_best_and_its_better_neighbour),
        LAYER_TEST(a_refinement_stays_with_the_rule_that_won),
        LAYER_TEST(the_identity_alone_is_not_refined),
        LAYER_TEST(a_joint_clip_is_scored_as_it_is_written),
        LAYER_TEST(a_joint_clip_leaves_what_rounding_costs_in_the_record),
        LAYER_TEST(an_asymmetric_clip_loses_less),
        LAYER_TEST(clip_counts_add_up_to_the_groups),
        LAYER_TEST(masked_tokens_do_not_count_in_a_module),
        LAYER_TEST(modules_run_in_tiles),
        LAYER_TEST(a_mask_that_leaves_a_module_no_token_is_refused),
        LAYER_TEST(a_module_that_overflows_is_named),
        LAYER_TEST(every_combination_of_options_chooses_the_least_loss),
        LAYER_TEST(the_number_of_threads_changes_nothing),
        LAYER_TEST(progress_counts_modules_and_clips),
    };
    return cmocka_run_group_tests(search, NULL, NULL);
}
