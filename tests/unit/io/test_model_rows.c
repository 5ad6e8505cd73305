/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_rows.c - which rows of which tensor a part of a layer is, and what that
 * tensor may be called: linears in one, stacks of experts, aliases. */
#include <string.h>

#include "config_of.h"
#include "scratch.h"

#define EXPERTS ", \"num_local_experts\": 3, \"num_experts_per_tok\": 2"

static awq_model of(const char *family, const char *extra)
{
    return model_of(config_of(family, 64, extra));
}

static const awq_linear_spec *linear_of(const awq_model *model, const char *short_name)
{
    const awq_layer_spec *layer = awq_model_layer(model, 0);
    return &layer->linear[linear_named(layer, short_name)];
}

/* ---- q, k and v in one ---- */

/* modeling_internlm2's rearrange "b q (h gs d) -> b q h gs d": each head of keys has its two heads
 * of queries in front of it, and its values behind. */
static void rows_of_q_k_and_v_may_be_by_head_of_keys(void **state)
{
    (void)state;
    awq_model model = of("internlm2", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_attention_spec *attention = &layer->attention;
    int wqkv = linear_named(layer, "wqkv");
    assert_int_equal(layer->linear[wqkv].out, 8 * HEAD_DIM);
    assert_true(attention->q.linear == wqkv && attention->k.linear == wqkv);
    assert_int_equal(awq_rows_count(&attention->q), 4 * HEAD_DIM);
    assert_int_equal(awq_rows_count(&attention->k), 2 * HEAD_DIM);
    static const int q_head[] = {0, 1, 4, 5}, k_head[] = {2, 6}, v_head[] = {3, 7};
    for (int64_t i = 0; i < 4 * HEAD_DIM; i++)
        assert_int_equal(awq_rows_at(&attention->q, i),
                         q_head[i / HEAD_DIM] * HEAD_DIM + i % HEAD_DIM);
    for (int64_t i = 0; i < 2 * HEAD_DIM; i++) {
        assert_int_equal(awq_rows_at(&attention->k, i),
                         k_head[i / HEAD_DIM] * HEAD_DIM + i % HEAD_DIM);
        assert_int_equal(awq_rows_at(&attention->v, i),
                         v_head[i / HEAD_DIM] * HEAD_DIM + i % HEAD_DIM);
    }
    awq_model_release(&model);
}

static void values_among_others_absorb_what_o_is_scaled_by(void **state)
{
    (void)state;
    awq_model model = of("internlm2", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_group_spec *o = &layer->group[group_named(layer, "o")];
    assert_int_equal(o->producer.by, AWQ_BY_ROWS);
    assert_int_equal(o->producer.rows.linear, layer->attention.v.linear);
    for (int64_t i = 0; i < 2 * HEAD_DIM; i++)
        assert_int_equal(awq_rows_at(&o->producer.rows, i), awq_rows_at(&layer->attention.v, i));
    assert_int_equal(awq_free_channels(o), awq_rows_count(&o->producer.rows));
    assert_false(linear_of(&model, "wqkv")->clipped);
    assert_string_equal(linear_of(&model, "wo")->name, "attention.wo");
    assert_string_equal(linear_of(&model, "w3")->name, "feed_forward.w3");
    assert_int_equal(layer->mlps.mlp[0].gate.linear, linear_named(layer, "w1"));
    assert_int_equal(layer->mlps.mlp[0].down, linear_named(layer, "w2"));
    awq_model_release(&model);
}

/* It reads what q, k and v do, and is as wide as what it multiplies. */
static void attentions_gate_is_a_reader_like_any(void **state)
{
    (void)state;
    awq_model model = of("afmoe", ", \"num_experts\": 2, \"num_experts_per_tok\": 1,"
                                  " \"moe_intermediate_size\": 32, \"num_shared_experts\": 1");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_rows *gate = &layer->attention.gate;
    const awq_linear_spec *linear = &layer->linear[gate->linear];
    assert_string_equal(linear->name, "self_attn.gate_proj");
    assert_int_equal(linear->group, group_named(layer, "qkv"));
    assert_int_equal(layer->group[linear->group].count, 4);
    assert_int_equal(awq_rows_count(gate), 4 * HEAD_DIM);
    assert_int_equal(layer->group[group_named(layer, "o")].producer.by, AWQ_BY_ROWS);
    /* of two linears that end alike each has a name of its own */
    assert_int_equal(linear_named(layer, "self_attn.gate_proj"), gate->linear);
    assert_int_equal(linear_named(layer, "gate_proj"), layer->mlps.mlp[0].gate.linear);
    awq_model_release(&model);
    model = of("llama", "");
    assert_int_equal(awq_model_layer(&model, 0)->attention.gate.linear, -1);
    awq_model_release(&model);
}

static void an_mlp_without_a_gate_has_no_one_to_absorb_downs_scales(void **state)
{
    (void)state;
    static const char *const names[][3] = {{"starcoder2", "c_fc", "c_proj"},
                                           {"nemotron", "up_proj", "down_proj"}};
    for (int i = 0; i < 2; i++) {
        awq_model model = of(names[i][0], "");
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        assert_int_equal(layer->linears, DENSE_LINEARS - 1);
        assert_int_equal(layer->mlps.mlp[0].gate.linear, -1);
        assert_int_equal(layer->mlps.mlp[0].up.linear, linear_named(layer, names[i][1]));
        assert_int_equal(layer->mlps.mlp[0].down, linear_named(layer, names[i][2]));
        assert_int_equal(layer->group[group_named(layer, "down")].producer.by, AWQ_BY_NO_ONE);
        assert_int_equal(layer->group[group_named(layer, "gate_up")].count, 1);
        assert_null(linear_of(&model, names[i][1])->fused);
        awq_model_release(&model);
    }
}

/* Nor have values that are cut, and an activation that is not linear in up. */
static void what_is_not_linear_absorbs_nothing(void **state)
{
    (void)state;
    awq_model model = of("olmoe", ", \"num_experts\": 8, \"clip_qkv\": 8.0");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    assert_true(layer->attention.clamp == 8);
    assert_int_equal(layer->group[group_named(layer, "o")].producer.by, AWQ_BY_NO_ONE);
    assert_int_equal(layer->group[group_named(layer, "experts.1.down")].producer.by, AWQ_BY_ROWS);
    awq_model_release(&model);
    model = of("gpt_oss", EXPERTS);
    layer = awq_model_layer(&model, 0);
    assert_int_equal(layer->mlps.activation, AWQ_SWIGLU_OAI);
    assert_true(layer->mlps.limit == 7);
    assert_int_equal(layer->group[group_named(layer, "o")].producer.by, AWQ_BY_ROWS);
    assert_int_equal(layer->group[group_named(layer, "experts.1.down")].producer.by, AWQ_BY_NO_ONE);
    awq_model_release(&model);
}

/* ---- experts in one ---- */

static const struct {
    const char *family, *extra;
    const char *gate_up, *down;
    int64_t up_first, step;
    bool transposed, either;
} stacks[] = {
    {"qwen3_moe", ", \"moe_intermediate_size\": 32" EXPERTS, "mlp.experts.gate_up_proj",
     "mlp.experts.down_proj", 32, 1, false, false},
    {"qwen3_vl_moe_text", ", \"moe_intermediate_size\": 32" EXPERTS, "mlp.experts.gate_up_proj",
     "mlp.experts.down_proj", 32, 1, true, true},
    {"llama4_text", ", \"intermediate_size_mlp\": 80" EXPERTS, "feed_forward.experts.gate_up_proj",
     "feed_forward.experts.down_proj", 96, 1, true, false},
    {"gpt_oss", EXPERTS, "mlp.experts.gate_up_proj", "mlp.experts.down_proj", 1, 2, true, false},
    {"granitemoe", EXPERTS, "block_sparse_moe.input_linear.weight",
     "block_sparse_moe.output_linear.weight", 96, 1, false, false},
};

static void check_stack(const awq_linear_spec *linear, const char *name, int64_t rows,
                        int64_t first, size_t i)
{
    bool down = first < 0;
    assert_string_equal(linear->stack.name, name);
    assert_int_equal(linear->stack.rows, rows);
    assert_int_equal(linear->stack.first, down ? 0 : first);
    assert_int_equal(linear->stack.step, down ? 1 : stacks[i].step);
    assert_int_equal(linear->stack.transposed, stacks[i].transposed);
    assert_int_equal(linear->stack.either, stacks[i].either);
}

/* Gate's rows in front of up's, or between them; each expert's weight as it is, or transposed. */
static void experts_may_be_rows_of_one_tensor(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        awq_model model = of(stacks[i].family, stacks[i].extra);
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        const awq_mlps_spec *mlps = &layer->mlps;
        int64_t width = mlps->intermediate;
        assert_int_equal(mlps->routing.experts, 3);
        for (int expert = 0; expert < 3; expert++) {
            const awq_mlp_spec *mlp = &mlps->mlp[expert];
            check_stack(&layer->linear[mlp->gate.linear], stacks[i].gate_up, 2 * width, 0, i);
            check_stack(&layer->linear[mlp->up.linear], stacks[i].gate_up, 2 * width,
                        stacks[i].up_first, i);
            check_stack(&layer->linear[mlp->down], stacks[i].down, 64, -1, i);
        }
        for (int linear = 0; linear < layer->linears; linear++)
            if (layer->linear[linear].expert < 0) assert_null(layer->linear[linear].stack.name);
        awq_model_release(&model);
    }
}

static void experts_have_biases_where_their_family_does(void **state)
{
    (void)state;
    awq_model model = of("gpt_oss", EXPERTS);
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    for (int i = 0; i < layer->linears; i++) assert_true(layer->linear[i].bias);
    awq_model_release(&model);
    model = of("ernie4_5_moe", ", \"use_bias\": true, \"moe_num_experts\": 2, \"moe_k\": 1,"
                               " \"moe_intermediate_size\": 32, \"moe_num_shared_experts\": 2");
    layer = awq_model_layer(&model, 1);
    assert_false(layer->linear[linear_named(layer, "experts.0.up_proj")].bias);
    assert_false(layer->linear[layer->mlps.router].bias);
    assert_true(layer->linear[linear_named(layer, "shared_experts.up_proj")].bias);
    assert_true(layer->linear[linear_named(layer, "o_proj")].bias);
    awq_model_release(&model);
}

/* ---- other names ---- */

static void a_router_may_stand_under_another_name(void **state)
{
    (void)state;
    static const struct {
        const char *family, *extra, *name, *alias;
    } routers[] = {
        {"mixtral", EXPERTS, "block_sparse_moe.gate", "mlp.gate"},
        {"minimax_m2", EXPERTS, "block_sparse_moe.gate", "mlp.gate"},
        {"phimoe", EXPERTS, "block_sparse_moe.gate", "mlp.router"},
        {"granitemoe", EXPERTS, "block_sparse_moe.router.layer", "block_sparse_moe.router"},
        {"gpt_oss", EXPERTS, "mlp.router", NULL},
    };
    for (size_t i = 0; i < sizeof routers / sizeof *routers; i++) {
        awq_model model = of(routers[i].family, routers[i].extra);
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        const awq_linear_spec *router = &layer->linear[layer->mlps.router];
        assert_string_equal(router->name, routers[i].name);
        assert_int_equal(router->out, 3);
        assert_true(router->exempt && !router->clipped);
        if (routers[i].alias)
            assert_string_equal(router->alias, routers[i].alias);
        else
            assert_null(router->alias);
        awq_model_release(&model);
    }
}

/* [1, experts] in ernie's; added to the scores in the choice alone, it takes no scales. */
static void a_correction_is_a_vector_that_may_be_a_row_and_have_two_names(void **state)
{
    (void)state;
    awq_model model = of("ernie4_5_moe", ", \"moe_num_experts\": 2, \"moe_k\": 1,"
                                         " \"moe_intermediate_size\": 32,"
                                         " \"moe_num_shared_experts\": 0");
    const awq_layer_spec *layer = awq_model_layer(&model, 1);
    const awq_vector_spec *correction = &layer->vector[layer->mlps.correction];
    assert_string_equal(correction->name, "mlp.moe_statics.e_score_correction_bias");
    assert_string_equal(correction->alias, "mlp.gate.moe_statics.e_score_correction_bias");
    assert_int_equal(correction->width, 2);
    assert_int_equal(correction->rows, 1);
    assert_int_equal(correction->absorbs, -1);
    assert_false(has_linear(layer, "shared_experts.up_proj")); /* none are shared */
    awq_model_release(&model);
    model = of("minimax_m2", EXPERTS);
    layer = awq_model_layer(&model, 0);
    correction = &layer->vector[layer->mlps.correction];
    assert_string_equal(correction->name, "block_sparse_moe.e_score_correction_bias");
    assert_string_equal(correction->alias, "mlp.e_score_correction_bias");
    assert_int_equal(correction->rows, 0);
    awq_model_release(&model);
}

static void sinks_are_a_vector_of_as_many_as_heads(void **state)
{
    (void)state;
    awq_model model = of("gpt_oss", EXPERTS), llama = of("llama", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 1);
    const awq_vector_spec *sinks = &layer->vector[layer->attention.sinks];
    assert_string_equal(sinks->name, "self_attn.sinks");
    assert_int_equal(sinks->width, 4);
    assert_int_equal(sinks->absorbs, -1);
    assert_int_equal(awq_model_layer(&llama, 0)->attention.sinks, -1);
    awq_model_release(&model);
    awq_model_release(&llama);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_q_k_and_v_may_be_by_head_of_keys),
        cmocka_unit_test(values_among_others_absorb_what_o_is_scaled_by),
        cmocka_unit_test(attentions_gate_is_a_reader_like_any),
        cmocka_unit_test(an_mlp_without_a_gate_has_no_one_to_absorb_downs_scales),
        cmocka_unit_test(what_is_not_linear_absorbs_nothing),
        cmocka_unit_test(experts_may_be_rows_of_one_tensor),
        cmocka_unit_test(experts_have_biases_where_their_family_does),
        cmocka_unit_test(a_router_may_stand_under_another_name),
        cmocka_unit_test(a_correction_is_a_vector_that_may_be_a_row_and_have_two_names),
        cmocka_unit_test(sinks_are_a_vector_of_as_many_as_heads),
    };
    return cmocka_run_group_tests_name("model_rows", tests, NULL, NULL);
}
