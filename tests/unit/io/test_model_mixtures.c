/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_mixtures.c - which layers are sparse, how wide experts and shared ones
 * are, and how a token's experts are chosen, trait by trait. Four layers each. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

#define OF_4 ", \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32"
#define GLM4 OF_4 ", \"n_routed_experts\": 4, \"n_shared_experts\": 1"
#define DOTS OF_4 ", \"n_routed_experts\": 4, \"n_shared_experts\": 2"
#define HY3  OF_4 ", \"num_experts\": 4, \"num_shared_experts\": 1"
#define ERNIE                                                                                      \
    ", \"moe_num_experts\": 4, \"moe_k\": 2, \"moe_intermediate_size\": 32,"                       \
    " \"moe_num_shared_experts\": 2"
#define AFMOE   OF_4 ", \"num_experts\": 4, \"num_shared_experts\": 2"
#define LLAMA4  ", \"num_local_experts\": 4, \"intermediate_size_mlp\": 80"
#define QWEN3   OF_4 ", \"num_experts\": 4"
#define MIXTRAL ", \"num_local_experts\": 4, \"num_experts_per_tok\": 2"
#define GRANITE ", \"num_local_experts\": 4, \"num_experts_per_tok\": 2"

static const char *joined(const char *first, const char *second)
{
    static char text[2048];
    snprintf(text, sizeof text, "%s%s", first, second);
    return text;
}

static awq_model of(const char *family, const char *keys, const char *more)
{
    return model_of(config_of(family, 64, joined(keys, more)));
}

static void refuse(const char *family, const char *keys, const char *more, const char *part)
{
    expect_problem(config_of(family, 64, joined(keys, more)), part);
}

/* ---- which layers ---- */

static const struct {
    const char *family, *keys, *more, *sparse;
} layers[] = {
    {"mixtral", MIXTRAL, "", "1111"},
    {"qwen3_moe", QWEN3, "", "1111"},
    {"qwen3_moe", QWEN3, ", \"decoder_sparse_step\": 2", "0101"},
    {"qwen3_moe", QWEN3, ", \"mlp_only_layers\": [0, 3]", "0110"},
    {"glm4_moe", GLM4, "", "0111"}, /* first_k_dense_replace: 1 */
    {"glm4_moe", GLM4, ", \"first_k_dense_replace\": 3", "0001"},
    {"glm4_moe", GLM4, ", \"first_k_dense_replace\": 9", "0000"},
    {"dots1", DOTS, "", "1111"}, /* 0 */
    {"dots1", DOTS, ", \"first_k_dense_replace\": 2", "0011"},
    {"hy_v3", HY3, "", "0111"},
    {"hy_v3", HY3, ", \"first_k_dense_replace\": 2", "0011"},
    {"hy_v3", HY3, ", \"mlp_layer_types\": [\"sparse\", \"dense\", \"dense\", \"sparse\"]", "1001"},
    {"ernie4_5_moe", ERNIE, "", "0111"},
    {"ernie4_5_moe", ERNIE, ", \"moe_layer_start_index\": 0, \"moe_layer_end_index\": 2", "1110"},
    {"ernie4_5_moe", ERNIE, ", \"moe_layer_start_index\": 0, \"moe_layer_end_index\": -1", "1111"},
    {"ernie4_5_moe", ERNIE, ", \"moe_layer_start_index\": 2, \"moe_layer_interval\": 2", "0001"},
    {"afmoe", AFMOE, "", "0111"},
    {"afmoe", AFMOE, ", \"num_dense_layers\": 3", "0001"},
    {"llama4_text", LLAMA4, "", "1111"},
    {"llama4_text", LLAMA4, ", \"interleave_moe_layer_step\": 2", "0101"},
    {"llama4_text", LLAMA4, ", \"moe_layers\": [0, 1], \"interleave_moe_layer_step\": 2", "1100"},
};

static void sparse_layers_are_those_that_the_familys_keys_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        awq_model model = of(layers[i].family, layers[i].keys, layers[i].more);
        for (int64_t j = 0; j < 4; j++) {
            const awq_mlps_spec *mlps = &awq_model_layer(&model, j)->mlps;
            if ((mlps->routing.experts == 4) != (layers[i].sparse[j] == '1'))
                fail_msg("%s%s: layer %d", layers[i].family, layers[i].more, (int)j);
            assert_int_equal(mlps->router >= 0, mlps->routing.experts > 0);
        }
        awq_model_release(&model);
    }
}

static void lists_of_layers_must_be_of_its_layers(void **state)
{
    (void)state;
    refuse("hy_v3", HY3, ", \"mlp_layer_types\": [\"dense\"]", "does not name a type for each");
    refuse("hy_v3", HY3, ", \"mlp_layer_types\": [\"dense\", \"sparse\", \"sparse\", \"moe\"]",
           "mlp_layer_types holds a type that is not supported: moe");
    refuse("qwen3_moe", QWEN3, ", \"mlp_only_layers\": [4]", "mlp_only_layers holds what is not");
    refuse("qwen3_moe", QWEN3, ", \"mlp_only_layers\": 1", "'mlp_only_layers' is not an array");
    refuse("llama4_text", LLAMA4, ", \"moe_layers\": [-1]", "moe_layers holds what is not");
    refuse("llama4_text", LLAMA4, ", \"interleave_moe_layer_step\": 0",
           "'interleave_moe_layer_step' is 0");
    refuse("ernie4_5_moe", ERNIE, ", \"moe_layer_interval\": 0", "'moe_layer_interval' is 0");
    refuse("glm4_moe", GLM4, ", \"first_k_dense_replace\": \"1\"", "'first_k_dense_replace' is a");
}

/* ---- widths ---- */

static const struct {
    const char *family, *keys;
    int64_t expert, shared, dense; /* dense 0: no layer is */
    const char *module;            /* of the shared one's down */
} widths[] = {
    {"mixtral", MIXTRAL, 96, 0, 0, NULL},
    {"glm4_moe", GLM4, 32, 32, 96, "mlp.shared_experts.down_proj"},
    {"dots1", DOTS ", \"first_k_dense_replace\": 1", 32, 64, 96, "mlp.shared_experts.down_proj"},
    {"hy_v3", HY3, 32, 32, 96, "mlp.shared_mlp.down_proj"},
    {"ernie4_5_moe", ERNIE, 32, 64, 96, "mlp.shared_experts.down_proj"},
    {"llama4_text", LLAMA4 ", \"interleave_moe_layer_step\": 2", 96, 96, 80,
     "feed_forward.shared_expert.down_proj"},
    {"granitemoeshared", GRANITE ", \"shared_intermediate_size\": 48", 96, 48, 0,
     "shared_mlp.output_linear"},
    {"granitemoeshared", GRANITE, 96, 0, 0, NULL},
    {"afmoe", AFMOE, 32, 64, 96, "mlp.shared_experts.down_proj"},
    {"hunyuan_v1_moe", ", \"num_experts\": 4", 96, 96, 0, "mlp.shared_mlp.down_proj"},
};

static void experts_and_what_they_share_have_widths_of_their_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        awq_model model = of(widths[i].family, widths[i].keys, "");
        const awq_mlps_spec *mlps = awq_model_experts(&model);
        const awq_layer_spec *layer = awq_model_layer(&model, 3),
                             *first = awq_model_layer(&model, 0);
        assert_int_equal(mlps->intermediate, widths[i].expert);
        assert_int_equal(mlps->shared, widths[i].shared);
        assert_int_equal(mlps->count, 4 + (widths[i].shared > 0));
        if (widths[i].dense) assert_int_equal(first->mlps.intermediate, widths[i].dense);
        if (widths[i].module) {
            const awq_linear_spec *down = &layer->linear[layer->mlps.mlp[4].down];
            assert_string_equal(down->name, widths[i].module);
            assert_int_equal(down->in, widths[i].shared);
            assert_int_equal(layer->mlps.mlp[4].expert, -1);
            assert_int_equal(layer->mlps.shared_gate, -1); /* it is added as it is */
        }
        awq_model_release(&model);
    }
}

static void a_shared_ones_gate_and_up_may_be_one_linear(void **state)
{
    (void)state;
    awq_model model = of("granitemoeshared", GRANITE, ", \"shared_intermediate_size\": 48");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_mlp_spec *shared = &layer->mlps.mlp[4];
    int linear = linear_named(layer, "input_linear");
    assert_true(shared->gate.linear == linear && shared->up.linear == linear);
    assert_int_equal(layer->linear[linear].out, 96);
    assert_int_equal(awq_rows_at(&shared->gate, 0), 0);
    assert_int_equal(awq_rows_at(&shared->up, 0), 48);
    awq_model_release(&model);
}

/* ---- the choice ---- */

static const struct {
    const char *family, *keys;
    awq_router_score score;
    bool normalized;
    double factor;
    bool corrected, weighs_inputs;
} choices[] = {
    {"mixtral", MIXTRAL, AWQ_SCORE_SOFTMAX, true, 1, false, false},
    {"qwen3_moe", QWEN3, AWQ_SCORE_SOFTMAX, false, 1, false, false},
    {"qwen3_moe", QWEN3 ", \"norm_topk_prob\": true", AWQ_SCORE_SOFTMAX, true, 1, false, false},
    {"phimoe", MIXTRAL, AWQ_SCORE_SPARSEMIXER, false, 1, false, false},
    {"minimax_m2", MIXTRAL, AWQ_SCORE_SIGMOID, true, 1, true, false},
    {"glm4_moe", GLM4, AWQ_SCORE_SIGMOID, true, 1, true, false},
    {"glm4_moe", GLM4 ", \"routed_scaling_factor\": 2.5, \"norm_topk_prob\": false",
     AWQ_SCORE_SIGMOID, false, 2.5, true, false},
    {"dots1", DOTS, AWQ_SCORE_SIGMOID, false, 1, true, false},
    {"hy_v3", HY3, AWQ_SCORE_SIGMOID, true, 2.826, true, false},
    {"hy_v3", HY3 ", \"router_scaling_factor\": 3", AWQ_SCORE_SIGMOID, true, 3, true, false},
    {"ernie4_5_moe", ERNIE, AWQ_SCORE_SOFTMAX, true, 1, true, false},
    {"afmoe", AFMOE ", \"route_scale\": 2", AWQ_SCORE_SIGMOID, true, 2, true, false},
    {"llama4_text", LLAMA4, AWQ_SCORE_SIGMOID, false, 1, false, true},
    {"gpt_oss", ", \"num_local_experts\": 4", AWQ_SCORE_SOFTMAX, true, 1, false, false},
};

static void tokens_choose_by_the_familys_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        awq_model model = of(choices[i].family, choices[i].keys, "");
        const awq_mlps_spec *mlps = awq_model_experts(&model);
        const awq_routing_rule *rule = &mlps->routing;
        if (rule->score != choices[i].score || rule->normalized != choices[i].normalized ||
            rule->factor != (float)choices[i].factor ||
            (mlps->correction >= 0) != choices[i].corrected ||
            mlps->weighs_inputs != choices[i].weighs_inputs)
            fail_msg("%s%s", choices[i].family, choices[i].keys);
        assert_true(rule->groups == 1 && rule->active_groups == 1);
        awq_model_release(&model);
    }
}

#define SIXTEEN                                                                                    \
    ", \"n_routed_experts\": 16, \"moe_intermediate_size\": 32, \"n_shared_experts\": 1,"          \
    " \"num_experts_per_tok\": 4"

static void groups_of_experts_must_hold_those_that_are_chosen(void **state)
{
    (void)state;
    awq_model model = of("glm4_moe", SIXTEEN, ", \"n_group\": 4, \"topk_group\": 2");
    const awq_routing_rule *rule = &awq_model_experts(&model)->routing;
    assert_int_equal(rule->groups, 4);
    assert_int_equal(rule->active_groups, 2);
    assert_int_equal(rule->group_best, 2);
    awq_model_release(&model);
    static const char *const wrong[] = {
        ", \"n_group\": 3, \"topk_group\": 1",  /* 16 / 3 */
        ", \"n_group\": 4, \"topk_group\": 5",  /* of four */
        ", \"n_group\": 16, \"topk_group\": 8", /* no second best */
    };
    for (int i = 0; i < 3; i++)
        refuse("glm4_moe", SIXTEEN, wrong[i], "n_group and topk_group do not fit");
    refuse("glm4_moe", SIXTEEN, ", \"n_group\": 8, \"topk_group\": 1", /* two experts for four */
           "num_experts_per_tok is above the experts of topk_group groups");
    refuse("glm4_moe", SIXTEEN, ", \"score_func\": \"softmax\"", "score_func 'softmax' is not");
    refuse("glm4_moe", SIXTEEN, ", \"route_norm\": false", "a route_norm that is not");
    refuse("glm4_moe", SIXTEEN, ", \"rotary_dim\": 8", "'rotary_dim' is not supported for");
    refuse("glm4_moe", SIXTEEN, ", \"n_group\": 0", "'n_group' is 0");
    refuse("glm4_moe", SIXTEEN, ", \"topk_group\": -1", "'topk_group' is -1");
}

/* Hunyuan's moe_topk, a list: layers of other numbers are of other kinds. */
static void layers_may_send_tokens_to_more_experts_or_fewer(void **state)
{
    (void)state;
    awq_model model = of("hunyuan_v1_moe", ", \"num_experts\": 4", ", \"moe_topk\": [1, 3, 1, 2]");
    static const int64_t active[] = {1, 3, 1, 2};
    assert_int_equal(model.kinds, 3);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(awq_model_layer(&model, i)->mlps.routing.active, active[i]);
    awq_model_release(&model);
    refuse("hunyuan_v1_moe", ", \"num_experts\": 4", ", \"moe_topk\": [1, 5, 1, 2]",
           "moe_topk 5 is above num_experts 4");
    refuse("hunyuan_v1_moe", ", \"num_experts\": 4", ", \"moe_topk\": [1, 0, 1, 2]",
           "what is no number of experts stands in moe_topk");
    refuse("hunyuan_v1_moe", ", \"num_experts\": 4", ", \"moe_topk\": [1, \"x\", 1, 2]",
           "what is no number of experts stands in moe_topk");
    refuse("hunyuan_v1_moe", ", \"num_experts\": [4, 4, 4, 5]", "", "its layers differ");
}

/* As transformers 5 writes it for every family; the family's own must agree. */
static void a_mixtures_size_stands_under_two_keys(void **state)
{
    (void)state;
    awq_model model =
        of("glm4_moe", OF_4 ", \"num_local_experts\": 4, \"n_shared_experts\": 1", "");
    assert_int_equal(awq_model_experts(&model)->routing.experts, 4);
    awq_model_release(&model);
    model = of("ernie4_5_moe", OF_4 ", \"num_experts\": 4, \"moe_num_shared_experts\": 0", "");
    assert_int_equal(awq_model_experts(&model)->routing.experts, 4);
    assert_int_equal(awq_model_experts(&model)->routing.active, 2);
    awq_model_release(&model);
    refuse("glm4_moe", GLM4, ", \"num_local_experts\": 5", "which is right is not known");
    refuse("qwen3_moe", OF_4, "", "key 'num_experts' is missing");
}

/* ---- words and keys of others ---- */

static void words_of_a_router_must_be_what_it_does(void **state)
{
    (void)state;
    awq_model model =
        of("dots1", DOTS, ", \"topk_method\": \"noaux_tc\", \"scoring_func\": \"noaux_tc\"");
    awq_model_release(&model);
    model =
        of("minimax_m2", MIXTRAL, ", \"scoring_func\": \"sigmoid\", \"use_routing_bias\": true");
    awq_model_release(&model);
    refuse("minimax_m2", MIXTRAL, ", \"scoring_func\": \"softmax\"",
           "scoring_func 'softmax' is not supported");
    refuse("dots1", DOTS, ", \"topk_method\": \"greedy\"", "topk_method 'greedy' is not supported");
    refuse("minimax_m2", MIXTRAL, ", \"use_routing_bias\": false", "a router without correction");
    refuse("qwen3_moe", QWEN3, ", \"scoring_func\": \"sigmoid\"", "scoring_func 'sigmoid'");
}

static void keys_of_other_mixtures_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {"n_group",
                                       "topk_group",
                                       "n_shared_experts",
                                       "moe_num_shared_experts",
                                       "routed_scaling_factor",
                                       "router_scaling_factor",
                                       "moe_layer_freq",
                                       "first_k_dense_replace",
                                       "shared_intermediate_size",
                                       "num_shared_experts",
                                       "route_scale",
                                       "num_dense_layers"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char more[64], expected[128];
        snprintf(more, sizeof more, ", \"%s\": 2", keys[i]);
        snprintf(expected, sizeof expected, "key '%s' is not supported for model_type 'qwen3_moe'",
                 keys[i]);
        refuse("qwen3_moe", QWEN3, more, expected);
    }
    awq_model model = of("qwen3_moe", QWEN3,
                         ", \"n_group\": 1, \"routed_scaling_factor\": 1.0,"
                         " \"first_k_dense_replace\": 0, \"moe_layer_freq\": 1");
    awq_model_release(&model);
    refuse("hy_v3", HY3, ", \"moe_norm_min\": 0.5", "key 'moe_norm_min' is not supported");
    refuse("hunyuan_v1_moe", ", \"num_experts\": 4", ", \"use_cla\": true", "key 'use_cla'");
    refuse("minimax_m2", MIXTRAL, ", \"n_group\": 2", "key 'n_group'");
}

static void a_sparse_mixer_chooses_two(void **state)
{
    (void)state;
    awq_model model = of("phimoe", MIXTRAL, ", \"router_jitter_noise\": 0.125");
    assert_true(awq_model_experts(&model)->routing.margin == 0.125f);
    awq_model_release(&model);
    model = of("phimoe", MIXTRAL, "");
    assert_true(awq_model_experts(&model)->routing.margin == 0.01f);
    awq_model_release(&model);
    refuse("phimoe", ", \"num_local_experts\": 4, \"num_experts_per_tok\": 3", "",
           "its router chooses two experts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_layers_are_those_that_the_familys_keys_say),
        cmocka_unit_test(lists_of_layers_must_be_of_its_layers),
        cmocka_unit_test(experts_and_what_they_share_have_widths_of_their_own),
        cmocka_unit_test(a_shared_ones_gate_and_up_may_be_one_linear),
        cmocka_unit_test(tokens_choose_by_the_familys_rule),
        cmocka_unit_test(groups_of_experts_must_hold_those_that_are_chosen),
        cmocka_unit_test(layers_may_send_tokens_to_more_experts_or_fewer),
        cmocka_unit_test(a_mixtures_size_stands_under_two_keys),
        cmocka_unit_test(words_of_a_router_must_be_what_it_does),
        cmocka_unit_test(keys_of_other_mixtures_are_refused_by_name),
        cmocka_unit_test(a_sparse_mixer_chooses_two),
    };
    return cmocka_run_group_tests_name("model_mixtures", tests, NULL, NULL);
}
