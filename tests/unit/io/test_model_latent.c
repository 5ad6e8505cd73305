/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_latent.c - multi-head latent attention as config.json describes it: what
 * reads and produces which scales, which rows of kv_b_proj are whose, the indexer. Numbers of
 * scales are those that transformers 5.23 has in its attention (`scaling`). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "scratch.h"

enum { LAYERS = 4, HEADS = 4, Q_RANK = 24, KV_RANK = 12, NOPE = 8, ROPE = 4, VALUE = 6 };

#define EXPERTS                                                                                    \
    ", \"num_key_value_heads\": 4, \"n_routed_experts\": 4, \"n_shared_experts\": 1,"              \
    " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, \"n_group\": 1,"                  \
    " \"topk_group\": 1"
#define SMALL                                                                                      \
    EXPERTS ", \"q_lora_rank\": 24, \"kv_lora_rank\": 12, \"qk_nope_head_dim\": 8,"                \
            " \"qk_rope_head_dim\": 4, \"v_head_dim\": 6"

static const char *const families[] = {"deepseek_v2", "deepseek_v3",   "deepseek_v32",
                                       "glm_moe_dsa", "glm4_moe_lite", "mistral4"};
enum { FAMILIES = sizeof families / sizeof *families };

static const char *with(const char *family, const char *keys, const char *more)
{
    static char text[2048];
    snprintf(text, sizeof text, "%s%s", keys, more);
    return config_of(family, 64, text);
}

static awq_model of(const char *family, const char *more)
{
    return model_of(with(family, SMALL, more));
}

static void refuse(const char *family, const char *more, const char *part)
{
    expect_problem(with(family, SMALL, more), part);
}

static bool is_indexed(const char *family)
{
    return !strcmp(family, "deepseek_v32") || !strcmp(family, "glm_moe_dsa");
}

/* ---- linears and groups ---- */

static void expect_linear(const awq_layer_spec *layer, const char *name, int64_t out, int64_t in,
                          const char *group)
{
    const awq_linear_spec *linear = &layer->linear[linear_named(layer, name)];
    if (linear->out != out || linear->in != in) fail_msg("%s: %ld x %ld", name, out, in);
    if (linear->group != group_named(layer, group)) fail_msg("%s reads not %s", name, group);
}

static void linears_read_the_layers_input_or_a_latent_vector(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        awq_model model = of(families[i], "");
        const awq_layer_spec *layer = awq_model_layer(&model, 3);
        expect_linear(layer, "q_a_proj", Q_RANK, 64, "qkv");
        expect_linear(layer, "q_b_proj", HEADS * (NOPE + ROPE), Q_RANK, "q_b");
        expect_linear(layer, "kv_a_proj_with_mqa", KV_RANK + ROPE, 64, "qkv");
        expect_linear(layer, "kv_b_proj", HEADS * (NOPE + VALUE), KV_RANK, "kv_b");
        expect_linear(layer, "o_proj", 64, HEADS * VALUE, "o");
        assert_false(has_linear(layer, "q_proj"));
        assert_int_equal(has_linear(layer, "indexer.wk"), is_indexed(families[i]));
        assert_int_equal(layer->attention.kind, AWQ_ATTENTION_LATENT);
        assert_int_equal(awq_attention_channels(layer), HEADS * VALUE);
        awq_model_release(&model);
    }
}

static void a_query_without_a_rank_reads_the_layers_input(void **state)
{
    (void)state;
    awq_model model = of("deepseek_v2", ", \"q_lora_rank\": null");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    expect_linear(layer, "q_proj", HEADS * (NOPE + ROPE), 64, "qkv");
    assert_false(has_linear(layer, "q_a_proj") || has_group(layer, "q_b"));
    assert_int_equal(layer->attention.q_latent.rows.linear, -1);
    assert_null(layer->linear[linear_named(layer, "kv_a_proj_with_mqa")].fused);
    awq_model_release(&model);
}

static void expect_norm_producer(const awq_layer_spec *layer, const char *group, const char *norm)
{
    const awq_group_spec *spec = &layer->group[group_named(layer, group)];
    assert_int_equal(spec->producer.by, AWQ_BY_NORM);
    assert_int_equal(spec->producer.norm, norm_named(layer, norm));
    assert_int_equal(layer->vector[layer->norm[spec->producer.norm].weight].absorbs,
                     group_named(layer, group));
    assert_int_equal(spec->repeat, 1);
}

/* Those of latent vectors are 1e-6 in transformers, whatever rms_norm_eps says. */
static void norms_of_latent_vectors_are_producers_with_an_epsilon_of_their_own(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        awq_model model = of(families[i], ", \"rms_norm_eps\": 1e-3");
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        expect_norm_producer(layer, "qkv", "input_layernorm");
        expect_norm_producer(layer, "q_b", "self_attn.q_a_layernorm");
        expect_norm_producer(layer, "kv_b", "self_attn.kv_a_layernorm");
        const awq_norm_spec *q = &layer->norm[layer->attention.q_latent.norm];
        const awq_norm_spec *kv = &layer->norm[layer->attention.kv_latent.norm];
        assert_true(q->eps == 1e-6f && kv->eps == 1e-6f);
        assert_true(q->cols == Q_RANK && kv->cols == KV_RANK);
        assert_true(layer->norm[norm_named(layer, "input_layernorm")].eps == 1e-3f);
        awq_model_release(&model);
    }
}

/* kv_b_proj's rows are those of k, then of v, head by head: transformers' view and split. */
static void each_heads_values_have_rows_of_their_own_that_absorb_os_scales(void **state)
{
    (void)state;
    awq_model model = of("deepseek_v3", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_attention_spec *attention = &layer->attention;
    int kv_b = linear_named(layer, "kv_b_proj"), o = group_named(layer, "o");
    const awq_producer *producer = &layer->group[o].producer;
    assert_true(attention->k.linear == kv_b && attention->v.linear == kv_b);
    assert_int_equal(producer->by, AWQ_BY_ROWS);
    assert_int_equal(producer->rows.linear, kv_b);
    assert_int_equal(layer->linear[kv_b].absorbs, o);
    assert_int_equal(awq_free_channels(&layer->group[o]), HEADS * VALUE); /* nothing is tied */
    for (int64_t head = 0; head < HEADS; head++) {
        int64_t first = head * (NOPE + VALUE);
        for (int64_t i = 0; i < NOPE; i++)
            assert_int_equal(awq_rows_at(&attention->k, head * NOPE + i), first + i);
        for (int64_t i = 0; i < VALUE; i++) {
            assert_int_equal(awq_rows_at(&attention->v, head * VALUE + i), first + NOPE + i);
            assert_int_equal(awq_rows_at(&producer->rows, head * VALUE + i), first + NOPE + i);
        }
    }
    assert_int_equal(awq_rows_at(&attention->shared_k, 0), KV_RANK);
    assert_int_equal(awq_rows_count(&attention->shared_k), ROPE);
    awq_model_release(&model);
}

static void kv_b_proj_may_be_absorbed_and_is_not_clipped(void **state)
{
    (void)state;
    awq_model model = of("glm_moe_dsa", "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    static const char *const others[] = {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj"};
    const awq_linear_spec *kv_b = &layer->linear[linear_named(layer, "kv_b_proj")];
    assert_true(kv_b->absorbed && !kv_b->exempt && !kv_b->clipped);
    for (int i = 0; i < 4; i++)
        assert_false(layer->linear[linear_named(layer, others[i])].absorbed);
    const char *fused = layer->linear[linear_named(layer, "q_a_proj")].fused;
    assert_string_equal(fused, "q_a_proj and kv_a_proj_with_mqa");
    assert_ptr_equal(fused, layer->linear[linear_named(layer, "kv_a_proj_with_mqa")].fused);
    awq_model_release(&model);
}

static void attention_bias_is_of_both_inputs_and_of_o(void **state)
{
    (void)state;
    awq_model model = of("deepseek_v3", ", \"attention_bias\": true");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    static const char *const with_bias[] = {"q_a_proj", "kv_a_proj_with_mqa", "o_proj"};
    for (int i = 0; i < 3; i++) assert_true(layer->linear[linear_named(layer, with_bias[i])].bias);
    assert_false(layer->linear[linear_named(layer, "q_b_proj")].bias);
    assert_false(layer->linear[linear_named(layer, "kv_b_proj")].bias);
    awq_model_release(&model);
}

/* ---- RoPE and the scale of logits ---- */

static void only_the_end_of_a_head_turns(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        awq_model model = of(families[i], "");
        assert_int_equal(model.rope[0].dim, ROPE);
        assert_true(awq_model_layer(&model, 0)->attention.rope_interleaved);
        awq_model_release(&model);
    }
    awq_model halves = of("deepseek_v3", ", \"rope_interleave\": false");
    assert_false(awq_model_layer(&halves, 0)->attention.rope_interleaved);
    awq_model_release(&halves);
    halves = of("glm_moe_dsa", ", \"rope_interleave\": false"); /* which is not read there */
    assert_true(awq_model_layer(&halves, 0)->attention.rope_interleaved);
    awq_model_release(&halves);
}

#define YARN(mscale, all)                                                                          \
    ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40, \"mscale\": " mscale                 \
    ", \"mscale_all_dim\": " all ", \"original_max_position_embeddings\": 4096}"

/* `scaling` of DeepseekV3Attention and Glm4MoeLiteAttention, `attention_scaling` of the tables;
 * heads of 192 and of 256 channels, as they are where config.json is silent. */
static const struct {
    const char *family, *rope;
    double scale, table;
} scales[] = {
    {"deepseek_v3", "", 0.07216878364870322, 1},
    {"deepseek_v3", YARN("1.0", "1.0"), 0.1352337788608801, 1},
    {"deepseek_v2", YARN("0.707", "0.707"), 0.1147213867929261, 1},
    {"deepseek_v32", YARN("1.0", "0.5"), 0.10124612961325218, 1.1557219901962608},
    {"glm4_moe_lite", "", 0.0625, 1},
    {"glm_moe_dsa", YARN("1.0", "1.0"), 0.11711588794328916, 1},
    {"glm4_moe_lite", YARN("1.0", "0.5"), 0.08768172027992834, 1.1557219901962608},
};

static void logits_grow_with_what_stretches_rope(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        awq_model model = model_of(with(scales[i].family, EXPERTS, scales[i].rope));
        double scale = (double)awq_model_layer(&model, 0)->attention.scale;
        double table = model.rope[0].type == AWQ_ROPE_YARN ? model.rope[0].attention_factor : 1;
        if (fabs(scale / scales[i].scale - 1) > 2e-7)
            fail_msg("%s%s: %.9g", scales[i].family, scales[i].rope, scale);
        assert_true(fabs(table / scales[i].table - 1) < 1e-12);
        awq_model_release(&model);
    }
}

/* transformers' Mistral4Config, where rope_parameters are silent. */
static void mistral4s_whole_queries_grow_with_their_position(void **state)
{
    (void)state;
    awq_model model = model_of(with("mistral4", EXPERTS, ""));
    const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
    const awq_rope *turned = &model.rope[attention->q_rope];
    const awq_rope *still = &model.rope[attention->q_still];
    assert_true(turned->growth == 0.1 && turned->growth_span == 8192 && turned->factor == 128);
    assert_true(still->growth == 0.1 && still->growth_span == 8192);
    assert_true(turned->dim == 64 && still->type == AWQ_ROPE_STILL && still->dim == 64);
    assert_true(model.rope[attention->k_rope].growth == 0);
    awq_model_release(&model);
}

/* ---- the indexer ---- */

static void indexers_read_what_the_layer_and_q_read_and_are_never_quantized(void **state)
{
    (void)state;
    awq_model model = of("deepseek_v32", ", \"index_n_heads\": 2, \"index_head_dim\": 16");
    const awq_layer_spec *layer = awq_model_layer(&model, 1);
    static const char *const names[] = {"indexer.wq_b", "indexer.wk", "indexer.weights_proj"};
    expect_linear(layer, names[0], 32, Q_RANK, "q_b");
    expect_linear(layer, names[1], 16, 64, "qkv");
    expect_linear(layer, names[2], 2, 64, "qkv");
    for (int i = 0; i < 3; i++) {
        int linear = linear_named(layer, names[i]);
        assert_true(layer->linear[linear].exempt && awq_model_keeps(&model, 1, linear));
        assert_int_equal(layer->linear[linear].absorbs, -1);
    }
    assert_int_equal(model.most_attended, 2048);
    awq_model_release(&model);
    model = of("glm_moe_dsa", ", \"index_topk\": 100");
    assert_int_equal(model.most_attended, 100);
    awq_model_release(&model);
    model = of("deepseek_v3", "");
    assert_int_equal(model.most_attended, 0);
    awq_model_release(&model);
}

/* GlmMoeDsaConfig.indexer_types for these keys. */
static const struct {
    const char *keys, *types; /* full, shared */
} indexers[] = {
    {"", "FFFF"},
    {", \"index_topk_freq\": 2", "FFSF"},
    {", \"index_topk_freq\": 3, \"index_skip_topk_offset\": 1", "FSSF"},
    {", \"index_topk_freq\": 4", "FFSS"},
    {", \"index_topk_pattern\": \"FSFS\"", "FSFS"},
    {", \"index_topk_pattern\": \"FSSSFF\", \"index_topk_freq\": 2", "FSSS"},
    {", \"index_topk_pattern\": [\"full\", \"full\", \"shared\", \"full\"]", "FFSF"},
    {", \"indexer_types\": [\"full\", \"shared\", \"shared\", \"full\"]", "FSSF"},
};

static void layers_share_an_indexer_as_glm_moe_dsas_keys_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof indexers / sizeof *indexers; i++) {
        awq_model model = of("glm_moe_dsa", indexers[i].keys);
        for (int64_t layer = 0; layer < LAYERS; layer++)
            if (has_linear(awq_model_layer(&model, layer), "indexer.wk") !=
                (indexers[i].types[layer] == 'F'))
                fail_msg("%s: layer %d", indexers[i].keys, (int)layer);
        awq_model_release(&model);
    }
}

/* ---- what is refused ---- */

static void what_cannot_be_built_is_refused_by_name(void **state)
{
    (void)state;
    refuse("deepseek_v3", ", \"kv_lora_rank\": 0", "'kv_lora_rank' is 0, expected 1");
    refuse("deepseek_v3", ", \"q_lora_rank\": -1", "'q_lora_rank' is -1");
    refuse("deepseek_v3", ", \"v_head_dim\": \"6\"", "'v_head_dim' is a string");
    refuse("deepseek_v3", ", \"qk_rope_head_dim\": 3", "must be even");
    refuse("deepseek_v3", ", \"qk_nope_head_dim\": 7", "must be even");
    refuse("deepseek_v3", ", \"v_head_dim\": 1048576", "channels of a head is too large");
    refuse("deepseek_v3", ", \"num_key_value_heads\": 2", "num_key_value_heads");
    refuse("deepseek_v3", ", \"partial_rotary_factor\": 0.5", "partial_rotary_factor 0.5");
    refuse("deepseek_v3", ", \"n_group\": 3", "n_group and topk_group do not fit");
    refuse("deepseek_v3", ", \"index_topk\": 2048",
           "'index_topk' is not supported for model_type deepseek_v3");
    refuse("deepseek_v2", ", \"norm_topk_prob\": true", "norm_topk_prob");
    refuse("deepseek_v2", ", \"topk_method\": \"noaux_tc\"", "topk_method 'noaux_tc'");
    refuse("deepseek_v2", ", \"scoring_func\": \"sigmoid\"", "scoring_func 'sigmoid'");
    refuse("deepseek_v3", ", \"topk_method\": \"greedy\"", "topk_method 'greedy'");
    refuse("deepseek_v2", ", \"topk_method\": null", "'topk_method' is null");
    refuse("deepseek_v2", ", \"topk_method\": \"group_limited_greedy\", \"n_group\": null",
           "'n_group' is missing");
    refuse("mistral4", ", \"n_group\": null", "'n_group' is null");
    refuse("deepseek_v3", ", \"norm_topk_prob\": null", "'norm_topk_prob' is null");
    refuse("mistral4", ", \"rope_interleave\": null", "'rope_interleave' is null");
    refuse("mistral4", ", \"layer_types\": [\"sliding_attention\"]", "sliding_attention");
    expect_problem(config_of("llama", 64, ", \"kv_lora_rank\": 12"), "key 'kv_lora_rank'");
}

static void indexers_that_are_not_clear_are_refused_by_name(void **state)
{
    (void)state;
    refuse("deepseek_v32", ", \"q_lora_rank\": null", "q_lora_rank says is not there");
    refuse("deepseek_v32", ", \"index_topk\": 0", "'index_topk' is 0");
    refuse("deepseek_v32", ", \"index_n_heads\": 0", "'index_n_heads' is 0");
    refuse("deepseek_v32", ", \"index_n_heads\": 65536", "index_n_heads times index_head_dim");
    refuse("deepseek_v32", ", \"layer_types\": [\"sliding_attention\"]", "sliding_attention");
    static const char *const unclear[] = {
        ", \"indexer_types\": [\"full\", \"full\"]",
        ", \"indexer_types\": [\"shared\", \"full\", \"full\", \"full\"]",
        ", \"indexer_types\": [\"full\", \"half\", \"full\", \"full\"]",
        ", \"indexer_types\": [1, 2, 3, 4]",
        ", \"index_topk_pattern\": \"FF\"",
        ", \"index_topk_pattern\": \"SFFF\"",
        ", \"index_topk_pattern\": \"FXFF\"",
        ", \"index_topk_pattern\": 4",
    };
    for (size_t i = 0; i < sizeof unclear / sizeof *unclear; i++)
        refuse("glm_moe_dsa", unclear[i], "which layers have an indexer is not said");
    refuse("glm_moe_dsa", ", \"index_topk_freq\": 0", "'index_topk_freq' is 0");
    refuse("glm_moe_dsa", ", \"index_skip_topk_offset\": \"2\"", "'index_skip_topk_offset' is a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linears_read_the_layers_input_or_a_latent_vector),
        cmocka_unit_test(a_query_without_a_rank_reads_the_layers_input),
        cmocka_unit_test(norms_of_latent_vectors_are_producers_with_an_epsilon_of_their_own),
        cmocka_unit_test(each_heads_values_have_rows_of_their_own_that_absorb_os_scales),
        cmocka_unit_test(kv_b_proj_may_be_absorbed_and_is_not_clipped),
        cmocka_unit_test(attention_bias_is_of_both_inputs_and_of_o),
        cmocka_unit_test(only_the_end_of_a_head_turns),
        cmocka_unit_test(logits_grow_with_what_stretches_rope),
        cmocka_unit_test(mistral4s_whole_queries_grow_with_their_position),
        cmocka_unit_test(indexers_read_what_the_layer_and_q_read_and_are_never_quantized),
        cmocka_unit_test(layers_share_an_indexer_as_glm_moe_dsas_keys_say),
        cmocka_unit_test(what_cannot_be_built_is_refused_by_name),
        cmocka_unit_test(indexers_that_are_not_clear_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("model_latent", tests, NULL, NULL);
}
