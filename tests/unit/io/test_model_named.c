/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_named.c - models that are llama under a name that is not known, and the
 * words that families are listed with. */
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "io/families/traits.h"
#include "scratch.h"

#define LLAMA                                                                                      \
    ", \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 2048"

static void a_llama_by_another_name_keeps_that_name(void **state)
{
    (void)state;
    awq_model model = model_of(config_of("some_llama-2.1", 64, LLAMA));
    assert_string_equal(model.family, "llama");
    assert_string_equal(model.unknown_type, "some_llama-2.1");
    awq_model_release(&model);
}

static void a_family_that_is_known_has_no_other_name(void **state)
{
    (void)state;
    awq_model model = model_of(config_of("llama", 64, LLAMA));
    assert_string_equal(model.unknown_type, "");
    awq_model_release(&model);
    model = model_of(config_of("qwen2_5_vl_text", 64, ""));
    assert_string_equal(model.unknown_type, "");
    awq_model_release(&model);
}

static void an_unknown_type_that_says_what_llama_says_is_llama(void **state)
{
    (void)state;
    awq_model model =
        model_of(config_of("mystery", 64,
                           LLAMA ", \"rope_theta\": 5000, \"_name_or_path\": \"x\","
                                 " \"attention_bias\": true, \"torch_dtype\": \"float16\""));
    assert_string_equal(model.family, "llama");
    assert_true(model.rope[0].theta == 5000);
    assert_int_equal(model.max_positions, 2048);
    assert_true(awq_model_layer(&model, 0)->linear[LINEAR_Q].bias);
    awq_model_release(&model);
}

static void an_unknown_type_is_refused_for_the_key_that_llama_has_not_or_lacks(void **state)
{
    (void)state;
    static const char *const foreign[] = {"sliding_window", "rotary_pct",     "use_qk_norm",
                                          "num_experts",    "layer_norm_eps", "scale_emb",
                                          "alibi",          "no_such_key"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char extra[256], expected[160];
        snprintf(extra, sizeof extra, LLAMA ", \"%s\": 4", foreign[i]);
        snprintf(expected, sizeof expected,
                 "model_type 'mystery' is not supported; 'awqrun version --models' lists what is "
                 "(nor is it llama under another name: its key '%s' is not llama's)",
                 foreign[i]);
        expect_problem(config_of("mystery", 64, extra), expected);
    }
    expect_problem(config_of("mystery", 64,
                             ", \"max_position_embeddings\": 512,"
                             " \"hidden_act\": \"silu\""),
                   "its key 'rms_norm_eps' is missing)");
    expect_problem(config_of("mystery", 64,
                             ", \"max_position_embeddings\": 512,"
                             " \"hidden_act\": null, \"rms_norm_eps\": 1e-5"),
                   "its key 'hidden_act' is missing)");
}

/* It would go into messages and JSON as it is. */
static void a_name_that_is_no_word_is_refused(void **state)
{
    (void)state;
    char longest[70], too_long[70];
    memset(longest, 'x', sizeof longest);
    memset(too_long, 'x', sizeof too_long);
    longest[AWQ_TYPE_BYTES - 1] = too_long[AWQ_TYPE_BYTES] = '\0';
    awq_model model = model_of(config_of(longest, 64, LLAMA));
    assert_string_equal(model.unknown_type, longest);
    awq_model_release(&model);
    const char *const refused[] = {too_long, "a llama", "\\u001b[2Jllama", "lla\xc3\xa4ma"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        expect_problem(config_of(refused[i], 64, LLAMA), "'model_type' is not llama's");
}

static void every_familys_words_have_room(void **state)
{
    (void)state;
    awq_traits traits;
    int count = 0;
    for (; awq_traits_at(count, &traits); count++) {
        assert_in_range(strlen(traits.text), 1, AWQ_TRAITS_BYTES - 2);
        assert_in_range(strlen(traits.kept), 1, AWQ_TRAITS_BYTES - 2);
    }
    assert_true(count > 40);
    assert_false(awq_traits_at(count, &traits));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_by_another_name_keeps_that_name),
        cmocka_unit_test(a_family_that_is_known_has_no_other_name),
        cmocka_unit_test(an_unknown_type_that_says_what_llama_says_is_llama),
        cmocka_unit_test(an_unknown_type_is_refused_for_the_key_that_llama_has_not_or_lacks),
        cmocka_unit_test(a_name_that_is_no_word_is_refused),
        cmocka_unit_test(every_familys_words_have_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
