/* SPDX-License-Identifier: MIT
 * tests/unit/layers/cost.c - how much arithmetic a job is, worked out by hand: hidden 16,
 * intermediate 32, 2 heads of 8, 1 of keys, vocabulary 24. Weights of q, k, v, o, gate, up, down:
 * 256, 128, 128, 256, 512, 512, 512, together 2304. */
#include "layers/quantize/cost.h"

#include <stdio.h>

#include "layers/search/work.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/io/scratch.h"
#include "tests/unit/io/tiny_model.h"

static awq_model model;

static int describe(void **state)
{
    (void)state;
    model = tiny_describe();
    return 0;
}

static int forget(void **state)
{
    (void)state;
    awq_model_release(&model);
    return 0;
}

/* Of a sequence. */
enum { LENGTH = 4 };

static void expect(double value, double expected)
{
    if (value == expected) return;
    print_error("%.17g, expected %.17g\n", value, expected);
    fail();
}

static void forward_is_linears_and_half_a_square_of_attention(void **state)
{
    (void)state;
    expect(awq_work_forward(&model, 0, 4), 0);
    /* 4608 a token, and 2 products of 16 channels with 4 / 2 tokens each: 128 */
    expect(awq_work_forward(&model, 1, 4), 4608 + 128);
    expect(awq_work_forward(&model, 28, 4), 28 * 4736);
}

static void a_window_bounds_the_tokens_that_are_seen(void **state)
{
    (void)state;
    awq_attention_spec *attention = &model.kind[0].attention;
    attention->window = 2; /* of 4: 2 - 2 * 2 / (2 * 4) = 1.5 */
    expect(awq_work_forward(&model, 1, 4), 4608 + 4 * 16 * 1.5);
    attention->window = 100;
    expect(awq_work_forward(&model, 1, 4), 4608 + 128);
    attention->window = 0;
}

#define SIZES                                                                                      \
    " \"hidden_size\": 16, \"intermediate_size\": 32, \"num_hidden_layers\": 2,"                   \
    " \"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"vocab_size\": 24"

/* q_a 4 x 16, q_b 8 x 4, kv_a 6 x 16, kv_b 10 x 4, o 16 x 6, and the MLP's 1536; heads of 4
 * channels of keys and 3 of values. */
static void latent_attention_is_its_linears_and_heads_of_two_widths(void **state)
{
    (void)state;
    awq_model latent = model_of(
        "{\"model_type\": \"deepseek_v3\"," SIZES ", \"q_lora_rank\": 4, \"kv_lora_rank\": 4,"
        " \"qk_nope_head_dim\": 2, \"qk_rope_head_dim\": 2, \"v_head_dim\": 3,"
        " \"first_k_dense_replace\": 2, \"n_routed_experts\": 4, \"n_shared_experts\": 1,"
        " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 8, \"n_group\": 1,"
        " \"topk_group\": 1}");
    double linears = 64 + 32 + 96 + 40 + 96 + 1536;
    expect(awq_work_forward(&latent, 1, 4), 2 * linears + 2 * 2 * (4 + 3) * 2);
    expect(awq_work_gram(&latent, 1), 256 + 16 + 16 + 36 + 256 + 1024);
    awq_model_release(&latent);
}

/* in_proj_qkv 10 x 16, z 6 x 16, b and a 2 x 16, out_proj 16 x 6, and the MLP's 1536; a state of
 * two heads of 2 x 3, which is read, written and read. */
static void a_delta_net_is_as_much_for_each_token(void **state)
{
    (void)state;
    awq_model delta = model_of(
        "{\"model_type\": \"qwen3_5_text\"," SIZES ", \"full_attention_interval\": 3,"
        " \"linear_num_key_heads\": 1, \"linear_num_value_heads\": 2, \"linear_key_head_dim\": 2,"
        " \"linear_value_head_dim\": 3}");
    double linears = 160 + 96 + 32 + 32 + 96 + 1536;
    for (int64_t length = 1; length <= 1000; length *= 10)
        expect(awq_work_forward(&delta, 1, length), 2 * linears + 3 * 2 * 2 * 2 * 3);
    expect(awq_work_gram(&delta, 1), 256 + 36 + 256 + 1024);
    awq_model_release(&delta);
}

static void gram_is_one_triangle_for_each_group_of_inputs(void **state)
{
    (void)state;
    /* 16^2 for qkv, o and gate_up, 32^2 for down */
    expect(awq_work_gram(&model, 28), 28 * (3 * 256 + 1024));
}

/* Weights times inputs, of all linears. */
static const double triangle = 16 * (256 + 128 + 128 + 256 + 512 + 512) + 32 * 512;

/* Two layers, both with four experts of eight channels, two a token, and a shared one of 32, or the
 * second alone: attention 768 weights; a dense MLP 1536; an expert 384, router 64, the shared one
 * 1536, its gate 16. */
static awq_model mixture(const char *dense_layers)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 16, \"intermediate_size\": 32,"
             " \"num_hidden_layers\": 2, \"num_attention_heads\": 2,"
             " \"num_key_value_heads\": 1, \"vocab_size\": 24, \"num_experts\": 4,"
             " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 8,"
             " \"shared_expert_intermediate_size\": 32, \"mlp_only_layers\": [%s]}",
             dense_layers);
    return model_of(text);
}

static void experts_count_for_the_tokens_that_they_get(void **state)
{
    (void)state;
    awq_model made = mixture("0"), sparse_made = mixture("");
    double dense = 4608, sparse = 2 * (768 + 64 + 2 * 384 + 1536 + 16);
    expect(awq_work_forward(&made, 1, 4), (dense + sparse) / 2 + 128);
    /* 16^2 three times, 32^2 for a dense down and for the shared one's */
    expect(awq_work_gram(&made, 28), 28 * (3 * 256 + 1024));
    expect(awq_work_forward(&sparse_made, 1, 4), sparse + 128);
    expect(awq_work_gram(&sparse_made, 28), 28 * (3 * 256 + 1024));
    /* twice, of two experts: 16^2 for gate and up, which are run for 8^2 of the down */
    double experts = 2 * 2 * (256 + 64 + 2 * 256);
    expect(awq_work_experts(&made, 28), 28 * experts / 2);
    expect(awq_work_experts(&sparse_made, 28), 28 * experts);
    expect(awq_work_experts(&model, 28), 0);
    awq_model_release(&made);
    awq_model_release(&sparse_made);
}

static void experts_are_searched_whoever_comes(void **state)
{
    (void)state;
    awq_model made = mixture("");
    awq_recipe recipe = {
        .search = AWQ_SEARCH_EXHAUSTIVE, .alpha_steps = 20, .group_size = 8, .clip = AWQ_CLIP_OFF};
    double attention = 16 * (256 + 128 + 128 + 256);
    double experts = 4 * (2 * 128 * 16 + 128 * 8) + 2 * 512 * 16 + 512 * 32;
    expect(awq_work_search(&made, &recipe, 0, LENGTH), (attention + experts) * 23);
    recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    /* a factor for q, k, v, for o, for what the shared one reads, for each down, for each expert */
    double factors = 3 * 4096 + 4 * 512 + 32768 + 4 * 4096;
    expect(awq_work_search(&made, &recipe, 0, LENGTH), (attention + experts) * 24 + factors / 3);
    awq_model_release(&made);
}

static void search_counts_its_candidates(void **state)
{
    (void)state;
    awq_recipe recipe = {
        .search = AWQ_SEARCH_EXHAUSTIVE, .alpha_steps = 20, .group_size = 8, .clip = AWQ_CLIP_OFF};
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (21 + 2));
    recipe.duo = AWQ_DUO_ON;
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (22 + 2));
    recipe.duo = AWQ_DUO_BOTH;
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (42 + 2));
}

/* q, k, v have 32 rows, of which a race begins with 16 heavy ones and each second other: 24, and a
 * quarter of what is left is expected to be needed; o and down have 16, which are measured all;
 * gate and up have 64: 16 and each fourth other. */
static void a_race_is_expected_to_need_a_quarter_of_what_its_first_rows_leave(void **state)
{
    (void)state;
    awq_recipe recipe = {.alpha_steps = 20, .group_size = 8, .clip = AWQ_CLIP_OFF};
    double qkv = 0.75 + 0.25 / 4, gate_up = 28 / 64.0 + (1 - 28 / 64.0) / 4;
    double passes =
        16 * (512 * (20 * qkv + 1) + 256 * 21 + 1024 * (20 * gate_up + 1)) + 32 * 512.0 * 21;
    expect(awq_work_search(&model, &recipe, 0, LENGTH), passes + triangle * 2);
}

/* Of an expert's 16 rows of gate and up all are measured, of the 64 of the shared one's half of the
 * heavy .. */
static void experts_are_measured_on_a_share_of_their_rows(void **state)
{
    (void)state;
    awq_model made = mixture("");
    awq_recipe recipe = {.alpha_steps = 20, .group_size = 8, .clip = AWQ_CLIP_OFF};
    awq_recipe all = recipe;
    all.search = AWQ_SEARCH_EXHAUSTIVE;
    double share = (4 * 16 + 28) / 128.0, weights = 16.0 * (4 * 2 * 128 + 2 * 512);
    double saved =
        awq_work_search(&made, &all, 0, LENGTH) - awq_work_search(&made, &recipe, 0, LENGTH);
    double attention = 16 * 512 * 20 * (0.25 - 0.25 / 4);
    expect(saved, weights * 20 * (1 - share) + attention);
    awq_model_release(&made);
}

/* A lone expert too is measured by what it reads. */
static void what_experts_read_is_searched_expert_by_expert(void **state)
{
    (void)state;
    awq_model made = mixture("");
    awq_layer_spec *layer = &made.kind[0];
    int shared = layer->half[AWQ_HALF_MLP].group, qkv = layer->half[AWQ_HALF_ATTENTION].group;
    assert_true(awq_search_is_mixed(layer, shared));
    assert_false(awq_search_is_mixed(layer, qkv));
    assert_false(awq_search_is_mixed(layer, layer->linear[layer->mlps.mlp[0].down].group));
    int alone = 0;
    awq_group_spec *group = &layer->group[shared];
    while (layer->linear[awq_group_reader(layer, group, alone)].expert == 0) alone++;
    assert_int_equal(alone, 2);
    group->count = alone;
    assert_true(awq_search_is_mixed(layer, shared));
    awq_model_release(&made);
}

static void plain_rounding_has_one_candidate_whatever_the_rule(void **state)
{
    (void)state;
    awq_recipe recipe = {.alpha_steps = 0, .group_size = 8, .clip = AWQ_CLIP_OFF};
    for (recipe.duo = AWQ_DUO_OFF; recipe.duo <= AWQ_DUO_BOTH; recipe.duo++)
        expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (1 + 2));
}

static void clip_adds_the_groups_of_all_but_q_and_k(void **state)
{
    (void)state;
    awq_recipe recipe = {.search = AWQ_SEARCH_EXHAUSTIVE,
                         .alpha_steps = 20,
                         .group_size = 8,
                         .clip = AWQ_CLIP_AFTER};
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * 23 + 20.0 * 1920 * 8);
    recipe.clip_shape = AWQ_CLIP_ASYMMETRIC; /* three sweeps */
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * 23 + 60.0 * 1920 * 8);
    recipe.clip_shape = AWQ_CLIP_SYMMETRIC;
    recipe.group_size = -1; /* rows of 16, in down of 32 */
    expect(awq_work_search(&model, &recipe, 0, LENGTH),
           triangle * 23 + 20.0 * (1408 * 16 + 512 * 32));
}

static void refinement_adds_candidates_to_a_grid(void **state)
{
    (void)state;
    awq_recipe recipe = {
        .search = AWQ_SEARCH_EXHAUSTIVE, .alpha_steps = 20, .refine = 4, .group_size = 8};
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (25 + 2));
    recipe.alpha_steps = 0;
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (1 + 2));
}

static void a_joint_clip_is_searched_for_each_candidate_and_once_more(void **state)
{
    (void)state;
    awq_recipe recipe = {.search = AWQ_SEARCH_EXHAUSTIVE,
                         .alpha_steps = 20,
                         .group_size = 8,
                         .clip = AWQ_CLIP_JOINT};
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * (22 + 2) + 22 * 20.0 * 1920 * 8);
}

static void the_module_objective_runs_the_layer_for_each_candidate(void **state)
{
    (void)state;
    awq_recipe recipe = {.search = AWQ_SEARCH_EXHAUSTIVE,
                         .objective = AWQ_OBJECTIVE_MODULE,
                         .alpha_steps = 20,
                         .group_size = 8};
    double linears = 3 * triangle + 20 * (16.0 * 256 + 32.0 * 512); /* all of them in o and down */
    expect(awq_work_search(&model, &recipe, 8, LENGTH), linears + 22 * 8 * 4736.0);
    expect(awq_work_search(&model, &recipe, 28, LENGTH), linears + 22 * 28 * 4736.0);
    expect(awq_work_search(&model, &recipe, 4, LENGTH), linears + 22 * 4 * 4736.0);
}

static void feedback_adds_a_triangle_and_a_factorization_a_group(void **state)
{
    (void)state;
    awq_recipe recipe = {.search = AWQ_SEARCH_EXHAUSTIVE,
                         .alpha_steps = 20,
                         .group_size = 8,
                         .clip = AWQ_CLIP_OFF,
                         .rounding = AWQ_ROUNDING_FEEDBACK};
    /* a third of 16^3 for qkv, o and gate_up, of 32^3 for down */
    expect(awq_work_search(&model, &recipe, 0, LENGTH), triangle * 24 + (3 * 4096 + 32768) / 3.0);
}

static void head_is_one_product_with_the_vocabulary(void **state)
{
    (void)state;
    expect(awq_work_head(&model, 28), 2.0 * 28 * 24 * 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_linears_and_half_a_square_of_attention),
        cmocka_unit_test(a_window_bounds_the_tokens_that_are_seen),
        cmocka_unit_test(latent_attention_is_its_linears_and_heads_of_two_widths),
        cmocka_unit_test(a_delta_net_is_as_much_for_each_token),
        cmocka_unit_test(gram_is_one_triangle_for_each_group_of_inputs),
        cmocka_unit_test(experts_count_for_the_tokens_that_they_get),
        cmocka_unit_test(experts_are_searched_whoever_comes),
        cmocka_unit_test(search_counts_its_candidates),
        cmocka_unit_test(a_race_is_expected_to_need_a_quarter_of_what_its_first_rows_leave),
        cmocka_unit_test(experts_are_measured_on_a_share_of_their_rows),
        cmocka_unit_test(what_experts_read_is_searched_expert_by_expert),
        cmocka_unit_test(plain_rounding_has_one_candidate_whatever_the_rule),
        cmocka_unit_test(clip_adds_the_groups_of_all_but_q_and_k),
        cmocka_unit_test(refinement_adds_candidates_to_a_grid),
        cmocka_unit_test(a_joint_clip_is_searched_for_each_candidate_and_once_more),
        cmocka_unit_test(the_module_objective_runs_the_layer_for_each_candidate),
        cmocka_unit_test(feedback_adds_a_triangle_and_a_factorization_a_group),
        cmocka_unit_test(head_is_one_product_with_the_vocabulary),
    };
    return cmocka_run_group_tests(tests, describe, forget);
}
