/* SPDX-License-Identifier: MIT
 * tests/unit/layers/fused.c - q, k, v in one linear, gate and up in one: quantized as they are when
 * each is a linear of its own. */
#include <math.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static synthetic apart, fused;

/* Which linears of the one are rows of which of the other, in order. */
static const char *const parts[][4] = {{"qkv_proj", "q_proj", "k_proj", "v_proj"},
                                       {"o_proj", "o_proj"},
                                       {"gate_up_proj", "gate_proj", "up_proj"},
                                       {"down_proj", "down_proj"}};
enum { FUSED_LINEARS = 4 };

/* The weights of both layers are the same; so are norms and input. */
static void copy_weights(void)
{
    for (int i = 0; i < FUSED_LINEARS; i++) {
        int to = linear_named(fused.spec, parts[i][0]);
        float *weight = fused.decoder.weight[to];
        for (int part = 1; part < 4 && parts[i][part]; part++) {
            int from = linear_named(apart.spec, parts[i][part]);
            awq_extent extent = awq_linear_extent(&apart.spec->linear[from]);
            memcpy(weight, apart.decoder.weight[from],
                   (size_t)awq_extent_elements(extent) * sizeof *weight);
            weight += awq_extent_elements(extent);
        }
    }
    synthetic_measure(&fused);
}

/* Both quantized by a recipe that treats each row by itself: qkv_proj is not clipped, v_proj is. */
static void quantize_both(const awq_recipe *recipe, awq_quantized_layer layer[2])
{
    awq_error err;
    synthetic_open(&apart, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    synthetic_open(&fused, (synthetic_shape){.kv_heads = 2, .fused = true, .dtype = AWQ_BF16});
    copy_weights();
    apart.recipe = fused.recipe = *recipe;
    must(synthetic_quantize(&apart, &layer[0], &err));
    must(synthetic_quantize(&fused, &layer[1], &err));
}

static void close_both(awq_quantized_layer layer[2])
{
    awq_quantized_layer_release(&layer[0]);
    awq_quantized_layer_release(&layer[1]);
    synthetic_close(&apart);
    synthetic_close(&fused);
}

static void check_groups(const awq_quantized_layer layer[2])
{
    for (int g = 0; g < DENSE_GROUPS; g++) {
        const awq_group_record *a = &layer[0].record.group[g], *b = &layer[1].record.group[g];
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->chosen, b->chosen);
        assert_int_equal(a->candidates, b->candidates);
        assert_memory_equal(a->scales, b->scales, (size_t)a->channels * sizeof *a->scales);
        for (int64_t i = 0; i < a->candidates; i++)
            assert_true(fabs(a->loss[i] / b->loss[i] - 1) < 1e-5);
    }
    for (int norm = 0; norm < fused.spec->vectors; norm++)
        assert_memory_equal(layer[0].vector[norm], layer[1].vector[norm],
                            (size_t)fused.model.hidden * sizeof(float));
}

/* Packed codes, group scales and zero points one behind the other; losses added. */
static void check_linears(const awq_quantized_layer layer[2])
{
    for (int i = 0; i < FUSED_LINEARS; i++) {
        int to = linear_named(fused.spec, parts[i][0]);
        const awq_quantized_linear *all = &layer[1].linear[to];
        size_t words = 0, groups = 0;
        double loss = 0, energy = 0;
        for (int part = 1; part < 4 && parts[i][part]; part++) {
            int from = linear_named(apart.spec, parts[i][part]);
            const awq_quantized_linear *one = &layer[0].linear[from];
            const awq_linear_record *record = &layer[0].record.linear[from];
            size_t more = (size_t)awq_extent_elements(awq_linear_extent(&apart.spec->linear[from]));
            more /= 8; /* codes of 4 bits in a word */
            size_t more_groups = (size_t)record->groups;
            assert_memory_equal(all->words + words, one->words, more * sizeof *one->words);
            assert_memory_equal(all->scales + groups, one->scales,
                                more_groups * sizeof *one->scales);
            assert_memory_equal(all->zeros + groups, one->zeros, more_groups);
            words += more;
            groups += more_groups;
            loss += record->loss;
            energy += record->energy;
        }
        assert_int_equal(layer[1].record.linear[to].groups, groups);
        assert_true(fabs(layer[1].record.linear[to].loss / loss - 1) < 1e-5);
        assert_true(fabs(layer[1].record.linear[to].energy / energy - 1) < 1e-5);
    }
}

static void fused_linears_get_the_codes_of_their_parts(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        awq_quantized_layer layer[2];
        awq_recipe recipe = awq_recipe_default();
        recipe.group_size = 16;
        recipe.alpha_steps = 6;
        recipe.clip = AWQ_CLIP_OFF;
        recipe.duo = i & 1 ? AWQ_DUO_BOTH : AWQ_DUO_OFF;
        recipe.rounding = i & 2 ? AWQ_ROUNDING_FEEDBACK : AWQ_ROUNDING_NEAREST;
        recipe.objective = i & 4 ? AWQ_OBJECTIVE_MODULE : AWQ_OBJECTIVE_LINEAR;
        quantize_both(&recipe, layer);
        check_groups(layer);
        check_linears(layer);
        close_both(layer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_linears_get_the_codes_of_their_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
