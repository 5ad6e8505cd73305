/* SPDX-License-Identifier: MIT
 * Hand-computed: hidden 16, intermediate 32, 2 heads of 8, 1 of keys, vocabulary 24. Weights of
 * q, k, v, o, gate, up, down: 256, 128, 128, 256, 512, 512, 512, together 2304. */
#include "jobs/work.h"
#include "tests/unit/io/scratch.h"

static const awq_model model = {.layers = 2,
                                .hidden = 16,
                                .intermediate = 32,
                                .heads = 2,
                                .kv_heads = 1,
                                .head_dim = 8,
                                .vocab = 24};

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

static void gram_is_one_triangle_for_each_group_of_inputs(void **state)
{
    (void)state;
    /* 16^2 for qkv, o and gate_up, 32^2 for down */
    expect(awq_work_gram(&model, 28), 28 * (3 * 256 + 1024));
}

static const awq_tokens tokens = {.sequences = 7, .length = 4};

/* Weights times inputs, of all linears. */
static const double triangle = 16 * (256 + 128 + 128 + 256 + 512 + 512) + 32 * 512;

static void search_counts_its_candidates(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 20, .group_size = 8, .clip = AWQ_OPTION_CLIP_OFF};
    expect(awq_work_search(&model, &options, &tokens), triangle * (21 + 2));
    options.duo = AWQ_OPTION_DUO_ON;
    expect(awq_work_search(&model, &options, &tokens), triangle * (22 + 2));
    options.duo = AWQ_OPTION_DUO_BOTH;
    expect(awq_work_search(&model, &options, &tokens), triangle * (42 + 2));
}

static void plain_rounding_has_one_candidate_whatever_the_rule(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 0, .group_size = 8, .clip = AWQ_OPTION_CLIP_OFF};
    for (options.duo = AWQ_OPTION_DUO_OFF; options.duo <= AWQ_OPTION_DUO_BOTH; options.duo++)
        expect(awq_work_search(&model, &options, &tokens), triangle * (1 + 2));
}

static void clip_adds_the_groups_of_all_but_q_and_k(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 20, .group_size = 8, .clip = AWQ_OPTION_CLIP_AFTER};
    expect(awq_work_search(&model, &options, &tokens), triangle * 23 + 20.0 * 1920 * 8);
    options.clip_shape = AWQ_OPTION_CLIP_ASYMMETRIC; /* three sweeps */
    expect(awq_work_search(&model, &options, &tokens), triangle * 23 + 60.0 * 1920 * 8);
    options.clip_shape = AWQ_OPTION_CLIP_SYMMETRIC;
    options.group_size = -1; /* rows of 16, in down of 32 */
    expect(awq_work_search(&model, &options, &tokens),
           triangle * 23 + 20.0 * (1408 * 16 + 512 * 32));
}

static void refinement_adds_candidates_to_a_grid(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 20, .refine = 4, .group_size = 8};
    expect(awq_work_search(&model, &options, &tokens), triangle * (25 + 2));
    options.alpha_steps = 0;
    expect(awq_work_search(&model, &options, &tokens), triangle * (1 + 2));
}

static void a_joint_clip_is_searched_for_each_candidate_and_once_more(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 20, .group_size = 8, .clip = AWQ_OPTION_CLIP_JOINT};
    expect(awq_work_search(&model, &options, &tokens), triangle * (22 + 2) + 22 * 20.0 * 1920 * 8);
}

static void the_module_objective_runs_the_layer_for_each_candidate(void **state)
{
    (void)state;
    awq_options options = {.objective = AWQ_OPTION_OBJECTIVE_MODULE,
                           .objective_tokens = 11, /* two sequences of 4 */
                           .alpha_steps = 20,
                           .group_size = 8};
    double linears = 3 * triangle + 20 * (16.0 * 256 + 32.0 * 512); /* all of them in o and down */
    expect(awq_work_search(&model, &options, &tokens), linears + 22 * 8 * 4736.0);
    options.objective_tokens = 0;
    expect(awq_work_search(&model, &options, &tokens), linears + 22 * 28 * 4736.0);
    options.objective_tokens = 1;
    expect(awq_work_search(&model, &options, &tokens), linears + 22 * 4 * 4736.0);
}

static void feedback_adds_a_triangle_and_a_factorization_a_group(void **state)
{
    (void)state;
    awq_options options = {.alpha_steps = 20,
                           .group_size = 8,
                           .clip = AWQ_OPTION_CLIP_OFF,
                           .rounding = AWQ_OPTION_ROUNDING_FEEDBACK};
    /* a third of 16^3 for qkv, o and gate_up, of 32^3 for down */
    expect(awq_work_search(&model, &options, &tokens), triangle * 24 + (3 * 4096 + 32768) / 3.0);
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
        cmocka_unit_test(gram_is_one_triangle_for_each_group_of_inputs),
        cmocka_unit_test(search_counts_its_candidates),
        cmocka_unit_test(plain_rounding_has_one_candidate_whatever_the_rule),
        cmocka_unit_test(clip_adds_the_groups_of_all_but_q_and_k),
        cmocka_unit_test(refinement_adds_candidates_to_a_grid),
        cmocka_unit_test(a_joint_clip_is_searched_for_each_candidate_and_once_more),
        cmocka_unit_test(the_module_objective_runs_the_layer_for_each_candidate),
        cmocka_unit_test(feedback_adds_a_triangle_and_a_factorization_a_group),
        cmocka_unit_test(head_is_one_product_with_the_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
