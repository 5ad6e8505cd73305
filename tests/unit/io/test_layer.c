/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_layer.c - a decoder layer as data: its parts, and how they refer to one
 * another. */
#include <string.h>

#include "model_of.h"
#include "scratch.h"

/* Four heads of 16 channels on two of keys and values, and norms of heads. */
#define DENSE                                                                                      \
    "{\"model_type\": \"qwen3\", \"hidden_size\": 48, \"intermediate_size\": 96,"                  \
    " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"           \
    " \"head_dim\": 16, \"vocab_size\": 100}"

/* The second of two layers has three experts and a shared one. */
#define MIXTURE                                                                                    \
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 48, \"intermediate_size\": 96,"              \
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"           \
    " \"vocab_size\": 100, \"num_experts\": 3, \"num_experts_per_tok\": 2,"                        \
    " \"moe_intermediate_size\": 32, \"shared_expert_intermediate_size\": 64,"                     \
    " \"mlp_only_layers\": [0], \"head_dim\": 16}"
enum { SPARSE = 1 };

static void check_names(const awq_layer_spec *layer, const char *const linears[], int linear_count,
                        const char *const groups[], int group_count)
{
    assert_int_equal(layer->linears, linear_count);
    assert_int_equal(layer->groups, group_count);
    for (int i = 0; i < linear_count; i++) assert_string_equal(layer->linear[i].name, linears[i]);
    for (int i = 0; i < group_count; i++) assert_string_equal(layer->group[i].name, groups[i]);
}

/* The order is part of a job's bytes. */
static void a_dense_layer_is_in_the_order_of_the_forward_pass(void **state)
{
    (void)state;
    static const char *const linears[DENSE_LINEARS] = {
        [LINEAR_Q] = "self_attn.q_proj", [LINEAR_K] = "self_attn.k_proj",
        [LINEAR_V] = "self_attn.v_proj", [LINEAR_O] = "self_attn.o_proj",
        [LINEAR_GATE] = "mlp.gate_proj", [LINEAR_UP] = "mlp.up_proj",
        [LINEAR_DOWN] = "mlp.down_proj",
    };
    static const char *const groups[DENSE_GROUPS] = {
        [GROUP_QKV] = "qkv", [GROUP_O] = "o", [GROUP_GATE_UP] = "gate_up", [GROUP_DOWN] = "down"};
    awq_model model = model_of(DENSE);
    const awq_layer_spec *layer = awq_model_layer(&model, 2);
    check_names(layer, linears, DENSE_LINEARS, groups, DENSE_GROUPS);
    assert_int_equal(layer->norms, 4);
    assert_string_equal(layer->vector[layer->norm[NORM_INPUT].weight].name,
                        "input_layernorm.weight");
    assert_string_equal(layer->vector[layer->norm[NORM_POST].weight].name,
                        "post_attention_layernorm.weight");
    assert_string_equal(layer->vector[layer->norm[NORM_Q].weight].name, "self_attn.q_norm.weight");
    assert_string_equal(layer->vector[layer->norm[NORM_K].weight].name, "self_attn.k_norm.weight");
    awq_model_release(&model);
}

static void a_sparse_layer_has_its_experts_in_their_order(void **state)
{
    (void)state;
    static const char *const linears[] = {"self_attn.q_proj",
                                          "self_attn.k_proj",
                                          "self_attn.v_proj",
                                          "self_attn.o_proj",
                                          "mlp.experts.0.gate_proj",
                                          "mlp.experts.0.up_proj",
                                          "mlp.experts.0.down_proj",
                                          "mlp.experts.1.gate_proj",
                                          "mlp.experts.1.up_proj",
                                          "mlp.experts.1.down_proj",
                                          "mlp.experts.2.gate_proj",
                                          "mlp.experts.2.up_proj",
                                          "mlp.experts.2.down_proj",
                                          "mlp.shared_expert.gate_proj",
                                          "mlp.shared_expert.up_proj",
                                          "mlp.shared_expert.down_proj",
                                          "mlp.gate",
                                          "mlp.shared_expert_gate"};
    static const char *const groups[] = {"qkv",
                                         "o",
                                         "gate_up",
                                         "experts.0.down",
                                         "experts.1.down",
                                         "experts.2.down",
                                         "shared_expert.down"};
    awq_model model = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&model, SPARSE);
    check_names(layer, linears, 18, groups, 7);
    assert_int_equal(layer->mlps.router, 16);
    assert_int_equal(layer->mlps.shared_gate, 17);
    assert_string_equal(awq_linear_short_name(&layer->linear[8]), "experts.1.up_proj");
    assert_string_equal(awq_linear_type(&layer->linear[8]), "up_proj");
    assert_string_equal(awq_linear_type(&layer->linear[0]), "q_proj");
    awq_model_release(&model);
}

/* Every linear is a reader of its group, and of no other. */
static void check_readers(const awq_layer_spec *layer)
{
    int readers = 0;
    for (int g = 0; g < layer->groups; g++) {
        const awq_group_spec *group = &layer->group[g];
        assert_true(group->count > 0);
        for (int i = 0; i < group->count; i++) {
            int linear = awq_group_reader(layer, group, i);
            assert_int_equal(layer->linear[linear].group, g);
            assert_int_equal(layer->linear[linear].in, group->channels);
            if (i) assert_true(linear > awq_group_reader(layer, group, i - 1));
        }
        readers += group->count;
    }
    assert_int_equal(readers, layer->linears);
}

static void groups_are_read_by_those_that_share_an_input(void **state)
{
    (void)state;
    awq_model dense = model_of(DENSE), mixture = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&dense, 0);
    static const int counts[DENSE_GROUPS] = {3, 1, 2, 1};
    check_readers(layer);
    for (int i = 0; i < DENSE_GROUPS; i++) assert_int_equal(layer->group[i].count, counts[i]);
    layer = awq_model_layer(&mixture, SPARSE);
    check_readers(layer);
    /* gate and up of four MLPs, the router and the shared one's gate */
    assert_int_equal(layer->group[group_named(layer, "gate_up")].count, 10);
    assert_int_equal(layer->group[group_named(layer, "shared_expert.down")].count, 1);
    awq_model_release(&dense);
    awq_model_release(&mixture);
}

/* Who absorbs a group's scales, as the group has it, and as norm or linear does. */
static void check_producers(const awq_layer_spec *layer)
{
    int fed = 0;
    for (int g = 0; g < layer->groups; g++) {
        const awq_producer *producer = &layer->group[g].producer;
        if (producer->by == AWQ_BY_NORM) {
            assert_int_equal(layer->vector[layer->norm[producer->norm].weight].absorbs, g);
            assert_int_equal(layer->vector[layer->norm[producer->norm].weight].width,
                             layer->group[g].channels);
        } else {
            assert_int_equal(producer->by, AWQ_BY_ROWS);
            assert_int_equal(layer->linear[producer->rows.linear].absorbs, g);
            assert_int_equal(awq_rows_count(&producer->rows), awq_free_channels(&layer->group[g]));
        }
    }
    for (int i = 0; i < layer->norms; i++) fed += layer->vector[layer->norm[i].weight].absorbs >= 0;
    for (int i = 0; i < layer->linears; i++) fed += layer->linear[i].absorbs >= 0;
    assert_int_equal(fed, layer->groups);
}

static void scales_are_absorbed_by_norms_v_and_up(void **state)
{
    (void)state;
    awq_model dense = model_of(DENSE), mixture = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&dense, 0);
    check_producers(layer);
    assert_int_equal(layer->vector[layer->norm[NORM_INPUT].weight].absorbs, GROUP_QKV);
    assert_int_equal(layer->vector[layer->norm[NORM_POST].weight].absorbs, GROUP_GATE_UP);
    assert_true(layer->vector[layer->norm[NORM_Q].weight].absorbs == -1 &&
                layer->vector[layer->norm[NORM_K].weight].absorbs == -1);
    assert_int_equal(layer->linear[LINEAR_V].absorbs, GROUP_O);
    assert_int_equal(layer->linear[LINEAR_UP].absorbs, GROUP_DOWN);
    layer = awq_model_layer(&mixture, SPARSE);
    check_producers(layer);
    assert_int_equal(layer->linear[linear_named(layer, "experts.2.up_proj")].absorbs,
                     group_named(layer, "experts.2.down"));
    assert_int_equal(layer->linear[linear_named(layer, "shared_expert.up_proj")].absorbs,
                     group_named(layer, "shared_expert.down"));
    awq_model_release(&dense);
    awq_model_release(&mixture);
}

static void half_norms_are_read_by_their_halves(void **state)
{
    (void)state;
    awq_model model = model_of(MIXTURE);
    for (int64_t i = 0; i < model.layers; i++) {
        const awq_layer_spec *layer = awq_model_layer(&model, i);
        const awq_half_spec *attention = &layer->half[AWQ_HALF_ATTENTION];
        const awq_half_spec *mlp = &layer->half[AWQ_HALF_MLP];
        assert_int_equal(attention->norm, norm_named(layer, "input_layernorm"));
        assert_int_equal(mlp->norm, norm_named(layer, "post_attention_layernorm"));
        assert_int_equal(attention->group, group_named(layer, "qkv"));
        assert_int_equal(mlp->group, group_named(layer, "gate_up"));
        assert_true(attention->out_norm == -1 && mlp->out_norm == -1);
        for (int linear = 0; linear < layer->linears; linear++)
            assert_int_equal(layer->linear[linear].half,
                             strncmp(layer->linear[linear].name, "self_attn.", 10)
                                 ? AWQ_HALF_MLP
                                 : AWQ_HALF_ATTENTION);
    }
    awq_model_release(&model);
}

/* Heads 0 and 1 read one head of values, heads 2 and 3 the other. */
static void heads_of_a_group_share_their_free_channels(void **state)
{
    (void)state;
    awq_model model = model_of(DENSE);
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_group_spec *o = &layer->group[GROUP_O];
    assert_int_equal(o->channels, 64);
    assert_int_equal(awq_free_channels(o), 32);
    assert_int_equal(awq_attention_channels(layer), 64);
    for (int64_t i = 0; i < 64; i++) assert_int_equal(awq_free_channel(o, i), i / 32 * 16 + i % 16);
    for (int g = 0; g < DENSE_GROUPS; g++) {
        const awq_group_spec *group = &layer->group[g];
        if (g == GROUP_O) continue;
        assert_int_equal(awq_free_channels(group), group->channels);
        for (int64_t i = 0; i < group->channels; i++)
            assert_int_equal(awq_free_channel(group, i), i);
    }
    awq_model_release(&model);
}

static void rows_may_come_in_runs(void **state)
{
    (void)state;
    static const int64_t expected[] = {10, 11, 12, 18, 19, 20};
    const awq_rows rows = {.first = 10, .count = 3, .period = 8, .times = 2};
    assert_int_equal(awq_rows_count(&rows), 6);
    for (int64_t i = 0; i < 6; i++) assert_int_equal(awq_rows_at(&rows, i), expected[i]);
}

static void check_rows(const awq_layer_spec *layer, const awq_rows *rows, int linear)
{
    assert_int_equal(rows->linear, linear);
    assert_int_equal(awq_rows_count(rows), layer->linear[linear].out);
    for (int64_t i = 0; i < awq_rows_count(rows); i++) assert_int_equal(awq_rows_at(rows, i), i);
}

static void attention_and_mlps_take_all_rows_of_linears_of_their_own(void **state)
{
    (void)state;
    awq_model dense = model_of(DENSE), mixture = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&dense, 0);
    const awq_attention_spec *attention = &layer->attention;
    check_rows(layer, &attention->q, LINEAR_Q);
    check_rows(layer, &attention->k, LINEAR_K);
    check_rows(layer, &attention->v, LINEAR_V);
    assert_int_equal(attention->o, LINEAR_O);
    assert_int_equal(layer->mlps.count, 1);
    check_rows(layer, &layer->mlps.mlp[0].gate, LINEAR_GATE);
    check_rows(layer, &layer->mlps.mlp[0].up, LINEAR_UP);
    assert_int_equal(layer->mlps.mlp[0].down, LINEAR_DOWN);
    assert_int_equal(layer->mlps.mlp[0].expert, -1);
    layer = awq_model_layer(&mixture, SPARSE);
    assert_int_equal(layer->mlps.count, 4);
    check_rows(layer, &layer->mlps.mlp[1].up, linear_named(layer, "experts.1.up_proj"));
    check_rows(layer, &layer->mlps.mlp[3].gate, linear_named(layer, "shared_expert.gate_proj"));
    assert_int_equal(layer->mlps.mlp[2].down, linear_named(layer, "experts.2.down_proj"));
    for (int i = 0; i < 4; i++) assert_int_equal(layer->mlps.mlp[i].expert, i < 3 ? i : -1);
    awq_model_release(&dense);
    awq_model_release(&mixture);
}

/* A group is of an expert where all of its input's tokens are. */
static void experts_see_their_own_tokens(void **state)
{
    (void)state;
    awq_model model = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&model, SPARSE);
    for (int i = 0; i < layer->linears; i++) {
        const char *at = strstr(layer->linear[i].name, "experts.");
        assert_int_equal(layer->linear[i].expert, at ? at[8] - '0' : -1);
    }
    for (int i = 0; i < layer->groups; i++) {
        const char *at = strstr(layer->group[i].name, "experts.");
        assert_int_equal(layer->group[i].expert, at ? at[8] - '0' : -1);
    }
    awq_model_release(&model);
}

static void ranges_of_q_k_and_routers_are_not_cut(void **state)
{
    (void)state;
    awq_model model = model_of(MIXTURE);
    for (int64_t i = 0; i < model.layers; i++) {
        const awq_layer_spec *layer = awq_model_layer(&model, i);
        for (int linear = 0; linear < layer->linears; linear++) {
            const awq_linear_spec *spec = &layer->linear[linear];
            bool router = linear == layer->mlps.router || linear == layer->mlps.shared_gate;
            assert_int_equal(spec->exempt, router);
            assert_int_equal(spec->clipped, linear != LINEAR_Q && linear != LINEAR_K && !router);
        }
    }
    awq_model_release(&model);
}

/* What engines load as one, in words for messages. */
static void what_is_fused_when_served_says_so(void **state)
{
    (void)state;
    awq_model dense = model_of(DENSE), mixture = model_of(MIXTURE);
    const awq_layer_spec *layer = awq_model_layer(&dense, 0);
    for (int i = LINEAR_Q; i <= LINEAR_V; i++)
        assert_string_equal(layer->linear[i].fused, "q_proj, k_proj and v_proj");
    for (int i = LINEAR_GATE; i <= LINEAR_UP; i++)
        assert_string_equal(layer->linear[i].fused, "gate_proj and up_proj");
    assert_null(layer->linear[LINEAR_O].fused);
    assert_null(layer->linear[LINEAR_DOWN].fused);
    layer = awq_model_layer(&mixture, SPARSE);
    assert_string_equal(layer->linear[linear_named(layer, "experts.0.down_proj")].fused,
                        "the experts");
    assert_string_equal(layer->linear[linear_named(layer, "experts.2.up_proj")].fused,
                        "the experts");
    assert_string_equal(layer->linear[linear_named(layer, "shared_expert.up_proj")].fused,
                        "gate_proj and up_proj");
    assert_null(layer->linear[linear_named(layer, "shared_expert.down_proj")].fused);
    awq_model_release(&dense);
    awq_model_release(&mixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_layer_is_in_the_order_of_the_forward_pass),
        cmocka_unit_test(a_sparse_layer_has_its_experts_in_their_order),
        cmocka_unit_test(groups_are_read_by_those_that_share_an_input),
        cmocka_unit_test(scales_are_absorbed_by_norms_v_and_up),
        cmocka_unit_test(half_norms_are_read_by_their_halves),
        cmocka_unit_test(heads_of_a_group_share_their_free_channels),
        cmocka_unit_test(rows_may_come_in_runs),
        cmocka_unit_test(attention_and_mlps_take_all_rows_of_linears_of_their_own),
        cmocka_unit_test(experts_see_their_own_tokens),
        cmocka_unit_test(ranges_of_q_k_and_routers_are_not_cut),
        cmocka_unit_test(what_is_fused_when_served_says_so),
    };
    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
