/* SPDX-License-Identifier: MIT
 * tests/unit/layers/rope.c - the rotary table against docs/awq.md 4's formulas and transformers'
 * numbers. */
#include "layers/forward/rope.h"

#include <math.h>
#include <stdio.h>

#include "tests/unit/io/model_of.h"
#include "tests/unit/layers/check.h"

/* In sequences of any length: but for longrope it does not matter. */
static double frequency(const awq_rope *of, int64_t rope_dim, int64_t j)
{
    awq_rope rope = *of;
    rope.dim = rope_dim;
    double found = awq_rope_frequency(&rope, 1, j);
    assert_true(awq_rope_frequency(&rope, 1 << 20, j) == found);
    return found;
}

static void default_frequencies_are_powers_of_theta(void **state)
{
    (void)state;
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .theta = 10000};
    assert_true(frequency(&rope, 128, 0) == 1);
    assert_true(fabs(frequency(&rope, 128, 32) - 0.01) < 1e-15);
    assert_true(fabs(frequency(&rope, 4, 1) - 0.01) < 1e-15);
}

static void linear_scaling_divides_every_frequency(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope linear = {.type = AWQ_ROPE_LINEAR, .theta = 500000, .factor = 4};
    for (int64_t j = 0; j < 64; j++)
        assert_true(fabs(frequency(&linear, 128, j) * 4 / frequency(&plain, 128, j) - 1) < 1e-14);
}

/* transformers 5.23's of Gemma 4's full attention: heads of 512, a quarter of which turns,
 * factor 8. */
static void proportional_pairs_of_the_whole_head_turn_or_stand_still(void **state)
{
    (void)state;
    static const struct {
        int64_t j;
        double frequency;
    } expected[] = {{0, 0.125}, {1, 0.11843293905258179},   {32, 0.02222849242389202},
                    {64, 0.0},  {63, 0.004172030836343765}, {255, 0.0}};
    awq_rope rope = {.type = AWQ_ROPE_PROPORTIONAL, .theta = 1e6, .factor = 8, .turning = 64};
    for (int i = 0; i < 6; i++)
        assert_true(fabs(frequency(&rope, 512, expected[i].j) - expected[i].frequency) < 1e-8);
}

/* Llama 3.1's own numbers: factor 8, low 1, high 4, 8192 positions. */
static void llama3_stretches_long_waves_only(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope rope = {.type = AWQ_ROPE_LLAMA3,
                     .theta = 500000,
                     .factor = 8,
                     .low_freq_factor = 1,
                     .high_freq_factor = 4,
                     .original_positions = 8192};
    int kept = 0, stretched = 0, between = 0;
    for (int64_t j = 0; j < 64; j++) {
        double inverse = frequency(&plain, 128, j);
        double wavelength = 2 * 3.14159265358979323846 / inverse;
        double ratio = frequency(&rope, 128, j) / inverse, t = (8192 / wavelength - 1) / 3;
        double expected = wavelength > 8192 ? 0.125 : wavelength < 2048 ? 1 : (1 - t) / 8 + t;
        assert_true(fabs(ratio - expected) < 1e-12);
        kept += ratio == 1;
        stretched += ratio == 0.125;
        between += ratio > 0.1251 && ratio < 0.9999;
    }
    assert_true(kept > 20 && stretched > 20 && between > 3);
}

static void the_table_holds_cosines_and_sines_by_position(void **state)
{
    (void)state;
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .dim = 8, .theta = 10000};
    float cosine[600 * 4], sine[600 * 4];
    awq_rope_table(&rope, 600, cosine, sine);
    for (int position = 0; position < 600; position++)
        for (int j = 0; j < 4; j++) {
            double angle = position * pow(10000, -j / 4.0);
            assert_true(fabs((double)cosine[position * 4 + j] - cos(angle)) < 1e-7);
            assert_true(fabs((double)sine[position * 4 + j] - sin(angle)) < 1e-7);
        }
}

static const awq_rope longrope = {.type = AWQ_ROPE_LONGROPE,
                                  .dim = 8,
                                  .theta = 10000,
                                  .original_positions = 600,
                                  .attention_factor = 1.25,
                                  .long_attention_factor = 1.25,
                                  .short_factor = {1, 1.5, 2, 3},
                                  .long_factor = {2, 4, 8, 64}};

/* The original length itself is not longer. */
static void longrope_divides_by_other_factors_in_longer_sequences(void **state)
{
    (void)state;
    for (int64_t j = 0; j < 4; j++) {
        double plain = pow(10000, (double)-j / 4);
        double in_short = awq_rope_frequency(&longrope, 600, j);
        double in_long = awq_rope_frequency(&longrope, 601, j);
        assert_true(fabs(in_short * longrope.short_factor[j] / plain - 1) < 1e-14);
        assert_true(fabs(in_long * longrope.long_factor[j] / plain - 1) < 1e-14);
        assert_true(awq_rope_frequency(&longrope, 1, j) == in_short);
    }
}

static void longropes_table_is_multiplied_by_its_attention_factor(void **state)
{
    (void)state;
    static const int64_t lengths[] = {600, 601};
    float cosine[601 * 4], sine[601 * 4];
    for (int i = 0; i < 2; i++) {
        awq_rope_table(&longrope, lengths[i], cosine, sine);
        for (int position = 0; position < lengths[i]; position++)
            for (int j = 0; j < 4; j++) {
                double factor = i ? longrope.long_factor[j] : longrope.short_factor[j];
                double angle = position * pow(10000, -j / 4.0) / factor;
                assert_true(fabs((double)cosine[position * 4 + j] - 1.25 * cos(angle)) < 1e-7);
                assert_true(fabs((double)sine[position * 4 + j] - 1.25 * sin(angle)) < 1e-7);
            }
    }
}

/* ---- as transformers 5.23 has it ---- */

/* A model with heads of 16 channels by its keys of RoPE. Release it. */
static awq_model model_with(const char *family, const char *keys)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": 64, \"intermediate_size\": 96,"
             " \"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"head_dim\": 16,"
             " \"vocab_size\": 100%s}",
             family, keys);
    return model_of(text);
}

static void expect_frequencies(const awq_rope *rope, int64_t length, const double expected[8])
{
    assert_int_equal(rope->dim, 16);
    for (int64_t j = 0; j < 8; j++)
        if (!(fabs(awq_rope_frequency(rope, length, j) / expected[j] - 1) < 1e-6))
            fail_msg("pair %d of %d: %g, expected %g", (int)j, (int)length,
                     awq_rope_frequency(rope, length, j), expected[j]);
}

/* ROPE_INIT_FUNCTIONS["yarn"] of a LlamaConfig with these keys, in float32: the frequencies and the
 * attention factor. */
static const struct {
    const char *keys;
    double attention_factor, frequency[8];
} yarns[] = {
    {", \"rope_theta\": 10000, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4,"
     " \"original_max_position_embeddings\": 512}",
     1.138629436111989,
     {1, 0.25693506, 0.0625, 0.0138349654, 0.0025, 0.000790569466, 0.00025, 7.90569466e-05}},
    {", \"rope_theta\": 150000, \"max_position_embeddings\": 131072, \"rope_scaling\":"
     " {\"rope_type\": \"yarn\", \"factor\": 32, \"beta_fast\": 32, \"beta_slow\": 1,"
     " \"original_max_position_embeddings\": 4096, \"truncate\": false}",
     1.3465735902799727,
     {1, 0.225418001, 0.0508132726, 0.00679495931, 0.000456483918, 1.8188337e-05, 4.09997847e-06,
      9.24208962e-07}},
    {", \"max_position_embeddings\": 163840, \"rope_scaling\": {\"type\": \"yarn\","
     " \"factor\": 40, \"beta_fast\": 16, \"beta_slow\": 2, \"mscale\": 1,"
     " \"mscale_all_dim\": 0.5, \"original_max_position_embeddings\": 4096}",
     1.1557219901962608,
     {1, 0.316227764, 0.1, 0.0316227786, 0.00674999924, 0.00110679714, 2.5e-05, 7.90569447e-06}},
    {", \"rope_parameters\": {\"rope_type\": \"yarn\", \"rope_theta\": 10000,"
     " \"original_max_position_embeddings\": 512, \"attention_factor\": 1.5}", /* factor: 4 */
     1.5,
     {1, 0.25693506, 0.0625, 0.0138349654, 0.0025, 0.000790569466, 0.00025, 7.90569466e-05}},
};

static void yarn_keeps_fast_pairs_and_slows_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof yarns / sizeof *yarns; i++) {
        awq_model model = model_with("llama", yarns[i].keys);
        const awq_rope *rope = &model.rope[0];
        float cosine[8], sine[8];
        assert_int_equal(rope->type, AWQ_ROPE_YARN);
        assert_true(fabs(rope->attention_factor / yarns[i].attention_factor - 1) < 1e-12);
        expect_frequencies(rope, 1, yarns[i].frequency);
        expect_frequencies(rope, 1 << 20, yarns[i].frequency); /* whatever the length */
        awq_rope_table(rope, 1, cosine, sine);
        for (int j = 0; j < 8; j++)
            assert_true(cosine[j] == (float)yarns[i].attention_factor && sine[j] == 0);
        awq_model_release(&model);
    }
}

/* ROPE_INIT_FUNCTIONS["dynamic"] with seq_len. */
static void dynamic_slows_all_pairs_beyond_the_models_length(void **state)
{
    (void)state;
    static const struct {
        int64_t length;
        double frequency[8];
    } lengths[] = {
        {1000, {1, 0.316227764, 0.1, 0.0316227786, 0.01, 0.00316227786, 0.001, 0.000316227786}},
        {2048, {1, 0.316227764, 0.1, 0.0316227786, 0.01, 0.00316227786, 0.001, 0.000316227786}},
        {3000,
         {1, 0.272156298, 0.0740690604, 0.0201583616, 0.00548622571, 0.0014931109, 0.000406359555,
          0.000110593319}},
        {8192,
         {1, 0.219212472, 0.0480541028, 0.0105340583, 0.00230919686, 0.000506204728, 0.000110966386,
          2.43252125e-05}}};
    awq_model model = model_with("llama", ", \"max_position_embeddings\": 2048, \"rope_scaling\":"
                                          " {\"rope_type\": \"dynamic\", \"factor\": 4}");
    assert_int_equal(model.rope[0].type, AWQ_ROPE_DYNAMIC);
    for (int i = 0; i < 4; i++)
        expect_frequencies(&model.rope[0], lengths[i].length, lengths[i].frequency);
    awq_model_release(&model);
}

/* HunYuanDenseV1RotaryEmbedding's inv_freq. */
static void dynamic_by_alpha_is_the_same_in_any_length(void **state)
{
    (void)state;
    static const double expected[] = {1,
                                      0.117876865,
                                      0.0138949547,
                                      0.00163789373,
                                      0.000193069776,
                                      2.27584587e-05,
                                      2.68269582e-06,
                                      3.16227755e-07};
    awq_model model =
        model_with("hunyuan_v1_dense", ", \"rope_theta\": 10000, \"rope_scaling\":"
                                       " {\"type\": \"dynamic\", \"alpha\": 1000, \"factor\": 1}");
    expect_frequencies(&model.rope[0], 1, expected);
    expect_frequencies(&model.rope[0], 1 << 20, expected);
    awq_model_release(&model);
}

/* At position 0, 7, ..: what both cos and sin are multiplied by. */
static void expect_growth(const awq_rope *rope, const int positions[6], const double expected[6])
{
    float cosine[41 * 8], sine[41 * 8];
    awq_rope_table(rope, 41, cosine, sine);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 8; j++) {
            int at = positions[i] * 8 + j;
            double angle = positions[i] * awq_rope_frequency(rope, 41, j);
            assert_true(fabs((double)cosine[at] - expected[i] * cos(angle)) < 1e-6);
            assert_true(fabs((double)sine[at] - expected[i] * sin(angle)) < 1e-6);
        }
}

/* Ministral 3's get_llama_4_attn_scale, of queries alone. */
static void queries_may_grow_with_their_position(void **state)
{
    (void)state;
    static const int positions[] = {0, 7, 8, 15, 16, 40};
    static const double expected[] = {1, 1, 1.06931472, 1.06931472, 1.10986125, 1.17917597};
    awq_model model =
        model_with("ministral3", ", \"rope_parameters\": {\"rope_type\": \"default\","
                                 " \"rope_theta\": 10000, \"llama_4_scaling_beta\": 0.1,"
                                 " \"original_max_position_embeddings\": 8}");
    const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
    static const double none[] = {1, 1, 1, 1, 1, 1};
    assert_true(attention->q_rope == 1 && attention->k_rope == 0);
    expect_growth(&model.rope[1], positions, expected);
    expect_growth(&model.rope[0], positions, none);
    awq_model_release(&model);
}

/* Llama 4's attn_scales: of layers that are not rotated, whose keys have no table at all. */
static void a_still_table_multiplies_and_turns_nothing(void **state)
{
    (void)state;
    static const int positions[] = {0, 6, 7, 14, 15, 40};
    static const double expected[] = {1, 1, 1.06931472, 1.06931472, 1.10986125, 1.17917597};
    awq_model model = model_with("llama4_text", ", \"num_local_experts\": 2, \"floor_scale\": 8,"
                                                " \"attn_scale\": 0.1");
    const awq_attention_spec *still = &awq_model_layer(&model, 3)->attention;
    assert_true(still->q_rope == 1 && still->k_rope == -1);
    assert_int_equal(awq_model_layer(&model, 0)->attention.q_rope, 0);
    for (int64_t j = 0; j < 8; j++) assert_true(awq_rope_frequency(&model.rope[1], 41, j) == 0);
    expect_growth(&model.rope[1], positions, expected);
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest rope[] = {
        cmocka_unit_test(default_frequencies_are_powers_of_theta),
        cmocka_unit_test(linear_scaling_divides_every_frequency),
        cmocka_unit_test(proportional_pairs_of_the_whole_head_turn_or_stand_still),
        cmocka_unit_test(llama3_stretches_long_waves_only),
        cmocka_unit_test(the_table_holds_cosines_and_sines_by_position),
        cmocka_unit_test(longrope_divides_by_other_factors_in_longer_sequences),
        cmocka_unit_test(longropes_table_is_multiplied_by_its_attention_factor),
        cmocka_unit_test(yarn_keeps_fast_pairs_and_slows_others),
        cmocka_unit_test(dynamic_slows_all_pairs_beyond_the_models_length),
        cmocka_unit_test(dynamic_by_alpha_is_the_same_in_any_length),
        cmocka_unit_test(queries_may_grow_with_their_position),
        cmocka_unit_test(a_still_table_multiplies_and_turns_nothing),
    };
    return cmocka_run_group_tests(rope, NULL, NULL);
}
