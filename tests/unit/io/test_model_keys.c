/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_keys.c - keys of any family: RoPE, numbers that are none of float32, and
 * those that a family does not have. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

static const char *llama(const char *extra)
{
    return config_of("llama", 64, extra);
}

/* ---- RoPE ---- */

static void both_spellings_of_rope_are_read(void **state)
{
    (void)state;
    awq_model model =
        model_of(llama(", \"rope_theta\": 500000, \"rope_scaling\": {\"rope_type\": \"llama3\","
                       " \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4.0,"
                       " \"original_max_position_embeddings\": 8192}"));
    assert_int_equal(model.rope[0].type, AWQ_ROPE_LLAMA3);
    assert_true(model.rope[0].theta == 500000 && model.rope[0].factor == 8);
    assert_true(model.rope[0].low_freq_factor == 1 && model.rope[0].high_freq_factor == 4);
    assert_true(model.rope[0].original_positions == 8192);
    awq_model_release(&model);
    model = model_of(llama(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}"));
    assert_int_equal(model.rope[0].type, AWQ_ROPE_LINEAR);
    assert_true(model.rope[0].factor == 2 && model.rope[0].theta == 10000);
    awq_model_release(&model);
    model = model_of(llama(", \"rope_parameters\": {\"rope_type\": \"default\","
                           " \"rope_theta\": 1e6}, \"rope_scaling\": null"));
    assert_int_equal(model.rope[0].type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope[0].theta == 1e6);
    awq_model_release(&model);
    model = model_of(llama(", \"rope_parameters\": {\"rope_theta\": 1e6}"));
    assert_true(model.rope[0].theta == 1e6);
    awq_model_release(&model);
}

static void other_ropes_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const types[] = {"longrope", "mrope", "proportional"};
    for (size_t i = 0; i < 3; i++) {
        char extra[200];
        snprintf(extra, sizeof extra, ", \"rope_scaling\": {\"type\": \"%s\", \"factor\": 2}",
                 types[i]);
        expect_problem(llama(extra), types[i]);
    }
    expect_problem(llama(", \"rope_scaling\": {\"factor\": 2}"), "does not say one rope_type");
    expect_problem(llama(", \"rope_scaling\": 3"), "'rope_scaling' is not an object");
    expect_problem(llama(", \"rope_scaling\": {\"type\": \"linear\"}"), "'factor' must be");
    expect_problem(llama(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": \"2\"}"),
                   "'factor' is a string");
    expect_problem(llama(", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2,"
                         " \"low_freq_factor\": 4, \"high_freq_factor\": 4,"
                         " \"original_max_position_embeddings\": 64}"),
                   "high_freq_factor must be above");
    expect_problem(llama(", \"rope_theta\": 0"), "'rope_theta' must be a number above zero");
    expect_problem(llama(", \"partial_rotary_factor\": 0.5"), "partial_rotary_factor 0.5");
    expect_problem(llama(", \"rope_parameters\": {\"rope_theta\": 1e6},"
                         " \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}"),
                   "rope_parameters and rope_scaling say different things");
    expect_problem(llama(", \"rope_parameters\": {\"full_attention\": {}}"),
                   "does not say one rope_type");
}

/* ---- numbers that are not numbers of float32 ---- */

static void factors_must_be_above_zero_in_float32(void **state)
{
    (void)state;
    static const struct {
        const char *family, *key;
    } cases[] = {{"granite", "attention_multiplier"},  {"granite", "embedding_multiplier"},
                 {"granite", "residual_multiplier"},   {"granite", "logits_scaling"},
                 {"gemma2", "attn_logit_softcapping"}, {"gemma2", "final_logit_softcapping"},
                 {"gemma2", "query_pre_attn_scalar"},  {"llama", "rope_theta"}};
    static const char *const values[] = {"0", "-1", "1e-60", "1e308"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int j = 0; j < 4; j++) {
            char extra[64], expected[80];
            snprintf(extra, sizeof extra, ", \"%s\": %s", cases[i].key, values[j]);
            snprintf(expected, sizeof expected, "key '%s' must be a number above zero%s",
                     cases[i].key, j < 2 ? "" : ", and one that float32 holds");
            expect_problem(config_of(cases[i].family, 64, extra), expected);
        }
    expect_problem(config_of("llama", 64, ", \"rms_norm_eps\": 1e-60"), "rms_norm_eps is not");
}

/* ---- keys of other families ---- */

static void keys_that_a_family_does_not_compute_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {"attn_logit_softcapping",
                                       "final_logit_softcapping",
                                       "query_pre_attn_scalar",
                                       "attention_chunk_size",
                                       "no_rope_layers",
                                       "no_rope_layer_interval",
                                       "attention_multiplier",
                                       "embedding_multiplier",
                                       "residual_multiplier",
                                       "logits_scaling",
                                       "clip_qkv",
                                       "n_group",
                                       "topk_group",
                                       "topk_method",
                                       "scoring_func",
                                       "n_shared_experts",
                                       "routed_scaling_factor",
                                       "moe_layer_freq",
                                       "first_k_dense_replace",
                                       "use_bidirectional_attention"};
    static const char *const families[] = {"llama", "phi3"};
    for (size_t i = 0; i < 2 * sizeof keys / sizeof *keys; i++) {
        char extra[64], expected[128];
        snprintf(extra, sizeof extra, ", \"%s\": 2", keys[i / 2]);
        snprintf(expected, sizeof expected, "key '%s' is not supported for model_type '%s'",
                 keys[i / 2], families[i % 2]);
        expect_problem(config_of(families[i % 2], 64, extra), expected);
    }
    expect_problem(config_of("gemma2", 64, ", \"logits_scaling\": 8"),
                   "key 'logits_scaling' is not supported for model_type 'gemma2'");
    expect_problem(config_of("qwen3_moe", 64,
                             ", \"num_experts\": 4, \"num_experts_per_tok\": 2,"
                             " \"moe_intermediate_size\": 32, \"n_group\": 2"),
                   "key 'n_group' is not supported for model_type 'qwen3_moe'");
    expect_problem(config_of("llama", 64, ", \"topk_method\": \"noaux_tc\""), "key 'topk_method'");
    expect_problem(config_of("llama", 64, ", \"use_bidirectional_attention\": true"),
                   "key 'use_bidirectional_attention'");
}

static void keys_that_say_nothing_are_not_refused(void **state)
{
    (void)state;
    awq_model model = model_of(
        config_of("llama", 64,
                  ", \"attn_logit_softcapping\": null, \"n_group\": null, \"clip_qkv\": null,"
                  " \"embedding_multiplier\": 1, \"residual_multiplier\": 1.0,"
                  " \"logits_scaling\": 1, \"use_bidirectional_attention\": false"));
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_of_rope_are_read),
        cmocka_unit_test(other_ropes_are_refused_by_name),
        cmocka_unit_test(factors_must_be_above_zero_in_float32),
        cmocka_unit_test(keys_that_a_family_does_not_compute_are_refused_by_name),
        cmocka_unit_test(keys_that_say_nothing_are_not_refused),
    };
    return cmocka_run_group_tests_name("model_keys", tests, NULL, NULL);
}
