/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_norms.c - where a layer's norms stand, of what kind they are, and who
 * absorbs the scales of what they feed. */
#include <string.h>

#include "config_of.h"
#include "scratch.h"

enum { ATTENTION = AWQ_HALF_ATTENTION, MLP = AWQ_HALF_MLP };

static awq_model of(const char *family, const char *extra)
{
    return model_of(config_of(family, 64, extra));
}

static const awq_vector_spec *weight_of(const awq_layer_spec *layer, int norm)
{
    return &layer->vector[layer->norm[norm].weight];
}

/* The norms of a layer's halves by name, NULL: there is none. */
static void expect_norms(const char *family, const char *const names[4])
{
    awq_model model = of(family, "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const int norms[4] = {layer->half[ATTENTION].norm, layer->half[ATTENTION].out_norm,
                          layer->half[MLP].norm, layer->half[MLP].out_norm};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(norms[i] >= 0, names[i] != NULL);
        if (!names[i]) continue;
        assert_int_equal(norms[i], norm_named(layer, names[i]));
        assert_int_equal(weight_of(layer, norms[i])->width, 64);
        assert_int_equal(layer->norm[norms[i]].cols, 64);
        /* behind an output is the residual, which takes no scales */
        int group = i == 0 ? GROUP_QKV : i == 2 ? GROUP_GATE_UP : -1;
        if (!layer->parallel) assert_int_equal(weight_of(layer, norms[i])->absorbs, group);
    }
    awq_model_release(&model);
}

static void norms_stand_in_front_of_halves_behind_them_or_both(void **state)
{
    (void)state;
    expect_norms("llama",
                 (const char *const[]){"input_layernorm", NULL, "post_attention_layernorm", NULL});
    expect_norms("gemma3_text",
                 (const char *const[]){"input_layernorm", "post_attention_layernorm",
                                       "pre_feedforward_layernorm", "post_feedforward_layernorm"});
    expect_norms("glm4", (const char *const[]){"input_layernorm", "post_self_attn_layernorm",
                                               "post_attention_layernorm", "post_mlp_layernorm"});
    expect_norms("internlm2", (const char *const[]){"attention_norm", NULL, "ffn_norm", NULL});
    static const char *const behind[] = {NULL, "post_attention_layernorm", NULL,
                                         "post_feedforward_layernorm"};
    expect_norms("olmo2", behind);
    expect_norms("exaone4", behind);
}

static void without_a_norm_in_front_no_one_absorbs_scales(void **state)
{
    (void)state;
    awq_model model = of("olmo2", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    assert_int_equal(layer->groups, DENSE_GROUPS);
    assert_int_equal(layer->group[GROUP_QKV].producer.by, AWQ_BY_NO_ONE);
    assert_int_equal(layer->group[GROUP_GATE_UP].producer.by, AWQ_BY_NO_ONE);
    assert_int_equal(layer->group[GROUP_O].producer.by, AWQ_BY_ROWS);
    assert_int_equal(layer->group[GROUP_DOWN].producer.by, AWQ_BY_ROWS);
    for (int i = 0; i < layer->vectors; i++) assert_int_equal(layer->vector[i].absorbs, -1);
    awq_model_release(&model);
}

/* Readers in front of both halves share scales: q, k, v, gate and up. */
static void parallel_halves_read_one_norm_in_one_group(void **state)
{
    (void)state;
    static const struct {
        const char *family, *extra;
    } parallel[] = {
        {"cohere", ""}, {"cohere2", ""}, {"stablelm", ", \"use_parallel_residual\": true"}};
    static const char *const readers[] = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"};
    for (int i = 0; i < 3; i++) {
        awq_model model = of(parallel[i].family, parallel[i].extra);
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        int group = group_named(layer, "qkv");
        assert_true(layer->parallel);
        assert_int_equal(layer->half[ATTENTION].norm, norm_named(layer, "input_layernorm"));
        assert_int_equal(layer->half[MLP].norm, layer->half[ATTENTION].norm);
        assert_true(layer->half[ATTENTION].out_norm < 0 && layer->half[MLP].out_norm < 0);
        assert_int_equal(layer->half[ATTENTION].group, group);
        assert_int_equal(layer->half[MLP].group, group);
        assert_false(has_group(layer, "gate_up"));
        assert_int_equal(layer->group[group].count, 5);
        for (int j = 0; j < 5; j++)
            assert_int_equal(layer->linear[linear_named(layer, readers[j])].group, group);
        awq_model_release(&model);
    }
    awq_model model = of("stablelm", "");
    assert_false(awq_model_layer(&model, 0)->parallel);
    assert_int_equal(awq_model_layer(&model, 0)->groups, DENSE_GROUPS);
    awq_model_release(&model);
}

static void kinds_of_norms_are_the_familys_last_one_included(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        bool offset, centered, bias;
        double eps; /* of its class in transformers */
    } kinds[] = {{"llama", false, false, false, 1e-6},    {"gemma3_text", true, false, false, 1e-6},
                 {"cohere", false, true, false, 1e-5},    {"starcoder2", false, true, true, 1e-5},
                 {"stablelm", false, true, true, 1e-5},   {"nemotron", true, true, true, 1e-5},
                 {"glm4", false, false, false, 1.5625e-7}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        awq_model model = of(kinds[i].family, "");
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        int norm = layer->half[ATTENTION].norm;
        assert_int_equal(weight_of(layer, norm)->offset, kinds[i].offset);
        assert_int_equal(layer->norm[norm].centered, kinds[i].centered);
        assert_int_equal(layer->norm[norm].bias >= 0, kinds[i].bias);
        assert_int_equal(model.final_norm.offset, kinds[i].offset);
        assert_int_equal(model.final_norm.centered, kinds[i].centered);
        assert_int_equal(model.final_norm.bias, kinds[i].bias);
        assert_int_equal(awq_model_stores(&model, AWQ_FINAL_NORM_BIAS), kinds[i].bias);
        assert_true(model.norm_eps == (float)kinds[i].eps);
        awq_model_release(&model);
    }
}

/* 1/s of what w x + b puts out is (w/s) x + b/s. */
static void a_norms_bias_absorbs_what_its_weight_does(void **state)
{
    (void)state;
    awq_model model = of("starcoder2", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    static const char *const names[] = {"input_layernorm.bias", "post_attention_layernorm.bias"};
    static const int groups[] = {GROUP_QKV, GROUP_GATE_UP};
    for (int half = 0; half < 2; half++) {
        const awq_norm_spec *norm = &layer->norm[layer->half[half].norm];
        int group = layer->half[half].group;
        assert_string_equal(layer->group[group].name,
                            groups[half] == GROUP_QKV ? "qkv" : "gate_up");
        assert_string_equal(layer->vector[norm->bias].name, names[half]);
        assert_int_equal(layer->vector[norm->weight].absorbs, group);
        assert_int_equal(layer->vector[norm->bias].absorbs, group);
        assert_false(layer->vector[norm->bias].offset); /* 1 + it would be no bias */
    }
    awq_model_release(&model);
    model = of("nemotron", "");
    layer = awq_model_layer(&model, 0);
    const awq_norm_spec *norm = &layer->norm[layer->half[0].norm];
    assert_true(layer->vector[norm->weight].offset && !layer->vector[norm->bias].offset);
    awq_model_release(&model);
}

static void a_norms_eps_stands_under_its_familys_key(void **state)
{
    (void)state;
    static const char *const keys[][2] = {{"llama", ", \"rms_norm_eps\": 0.25"},
                                          {"cohere", ", \"layer_norm_eps\": 0.25"},
                                          {"starcoder2", ", \"norm_epsilon\": 0.25"},
                                          {"nemotron", ", \"norm_eps\": 0.25"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        awq_model model = of(keys[i][0], keys[i][1]);
        assert_true(model.norm_eps == 0.25f);
        awq_model_release(&model);
    }
}

/* ---- of queries and keys ---- */

static const struct {
    const char *family, *extra;
    const char *q, *k;     /* vectors */
    int64_t cols;          /* that are normalized together */
    int64_t q_width, rows; /* of the weights; in how many rows they are stored, 0: they are not */
    int pieces;
    bool last;
} head_norms[] = {
    {"qwen3", "", "self_attn.q_norm.weight", "self_attn.k_norm.weight", 16, 16, 0, 0, false},
    {"exaone4", "", "self_attn.q_norm.weight", "self_attn.k_norm.weight", 16, 16, 0, 0, false},
    {"olmo2", "", "self_attn.q_norm.weight", "self_attn.k_norm.weight", 64, 64, 0, 0, false},
    {"cohere", ", \"use_qk_norm\": true", "self_attn.q_norm.weight", "self_attn.k_norm.weight", 16,
     64, 4, 0, false},
    {"stablelm", ", \"qk_layernorm\": true", "self_attn.q_layernorm.norms.%d.weight",
     "self_attn.k_layernorm.norms.%d.weight", 16, 64, 0, 4, false},
    {"hunyuan_v1_dense", "", "self_attn.query_layernorm.weight", "self_attn.key_layernorm.weight",
     16, 16, 0, 0, true},
};

static void queries_and_keys_are_normalized_by_head_or_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof head_norms / sizeof *head_norms; i++) {
        awq_model model = of(head_norms[i].family, head_norms[i].extra);
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        const awq_attention_spec *attention = &layer->attention;
        const awq_vector_spec *q = weight_of(layer, attention->q_norm);
        const awq_vector_spec *k = weight_of(layer, attention->k_norm);
        bool each = head_norms[i].q_width != 16; /* two heads of keys, four of queries */
        assert_string_equal(q->name, head_norms[i].q);
        assert_string_equal(k->name, head_norms[i].k);
        assert_int_equal(layer->norm[attention->q_norm].cols, head_norms[i].cols);
        assert_int_equal(layer->norm[attention->k_norm].cols,
                         head_norms[i].cols == 64 ? 32 : head_norms[i].cols);
        assert_int_equal(q->width, head_norms[i].q_width);
        assert_int_equal(k->width, each ? head_norms[i].q_width / 2 : 16);
        assert_int_equal(q->rows, head_norms[i].rows);
        assert_int_equal(k->rows, head_norms[i].rows / 2);
        assert_int_equal(q->pieces, head_norms[i].pieces);
        assert_int_equal(k->pieces, head_norms[i].pieces / 2);
        assert_int_equal(attention->norms_last, head_norms[i].last);
        assert_true(q->absorbs == -1 && k->absorbs == -1);
        awq_model_release(&model);
    }
}

static void pieces_are_tensors_with_numbers(void **state)
{
    (void)state;
    char name[AWQ_NAME_BYTES];
    awq_model model = of("stablelm", ", \"qk_layernorm\": true");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    int vector = layer->norm[layer->attention.q_norm].weight;
    assert_int_equal(awq_vector_pieces(&layer->vector[vector]), 4);
    assert_string_equal(awq_vector_tensor_name(name, &model, 2, vector, 3),
                        "model.layers.2.self_attn.q_layernorm.norms.3.weight");
    assert_int_equal(awq_vector_pieces(weight_of(layer, layer->half[0].norm)), 1);
    awq_model_release(&model);
}

static void norms_of_queries_and_keys_are_there_where_config_says_so(void **state)
{
    (void)state;
    static const char *const off[][2] = {
        {"llama", ""}, {"cohere", ""}, {"stablelm", ""}, {"cohere", ", \"use_qk_norm\": false"}};
    for (int i = 0; i < 4; i++) {
        awq_model model = of(off[i][0], off[i][1]);
        const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
        assert_true(attention->q_norm == -1 && attention->k_norm == -1);
        awq_model_release(&model);
    }
    expect_problem(config_of("llama", 64, ", \"qk_layernorm\": true"), "key 'qk_layernorm'");
    expect_problem(config_of("llama", 64, ", \"qk_norm_type\": \"per_layer\""), "qk_norm_type");
    expect_problem(config_of("cohere", 64, ", \"use_qk_norm\": 1"), "'use_qk_norm' is");
}

/* Of layers that are not rotated they are not there either. */
static void norms_without_weights_are_of_rotated_layers(void **state)
{
    (void)state;
    awq_model model = of("llama4_text", ", \"num_local_experts\": 2");
    for (int64_t i = 0; i < 4; i++) {
        const awq_layer_spec *layer = awq_model_layer(&model, i);
        const awq_attention_spec *attention = &layer->attention;
        assert_int_equal(attention->k_rope, i < 3 ? 0 : -1);
        assert_int_equal(attention->q_norm >= 0, i < 3);
        assert_int_equal(attention->k_norm >= 0, i < 3);
        assert_true(attention->norms_last);
        if (i == 3) continue;
        assert_int_equal(layer->norm[attention->q_norm].weight, -1);
        assert_int_equal(layer->norm[attention->k_norm].bias, -1);
        assert_int_equal(layer->norm[attention->k_norm].cols, 16);
    }
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_stand_in_front_of_halves_behind_them_or_both),
        cmocka_unit_test(without_a_norm_in_front_no_one_absorbs_scales),
        cmocka_unit_test(parallel_halves_read_one_norm_in_one_group),
        cmocka_unit_test(kinds_of_norms_are_the_familys_last_one_included),
        cmocka_unit_test(a_norms_bias_absorbs_what_its_weight_does),
        cmocka_unit_test(a_norms_eps_stands_under_its_familys_key),
        cmocka_unit_test(queries_and_keys_are_normalized_by_head_or_together),
        cmocka_unit_test(pieces_are_tensors_with_numbers),
        cmocka_unit_test(norms_of_queries_and_keys_are_there_where_config_says_so),
        cmocka_unit_test(norms_without_weights_are_of_rotated_layers),
    };
    return cmocka_run_group_tests_name("model_norms", tests, NULL, NULL);
}
