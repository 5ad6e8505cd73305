/* SPDX-License-Identifier: MIT
 * tests/unit/layers/fold_traits.c - folding in layers that are not built as llama's: it loses
 * nothing, on every backend that opens here, and a reader that was forgotten is found. */
#include <math.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

/* No layer has a window or is without RoPE, so that all are of one kind. */
#define ROTATED ", \"no_rope_layers\": [1, 1, 1, 1, 1, 1]"
#define ALL_FULL                                                                                   \
    ", \"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\","              \
    " \"full_attention\", \"full_attention\", \"full_attention\"]"

#define DELTA_NETS                                                                                 \
    ", \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 8,"    \
    " \"linear_value_head_dim\": 12"
#define LATENT                                                                                     \
    ", \"num_key_value_heads\": 4, \"q_lora_rank\": 32, \"kv_lora_rank\": 16,"                     \
    " \"qk_nope_head_dim\": 8, \"qk_rope_head_dim\": 8, \"v_head_dim\": 12, \"n_group\": 1,"       \
    " \"topk_group\": 1, \"first_k_dense_replace\": 6, \"n_routed_experts\": 5,"                   \
    " \"n_shared_experts\": 1"
#define BARE ", \"hidden_size_per_layer_input\": 0"

typedef struct trait {
    const char *family, *keys;
    bool bias;
    int vectors;   /* that absorb scales */
    int without;   /* groups that no one absorbs the scales of */
    int forgotten; /* linears whose being forgotten can be found: the readers of the others */
} trait;

static const trait traits[] = {
    {"cohere", "", false, 1, 0, 7}, /* parallel halves, of one norm */
    {"cohere", ", \"use_qk_norm\": true", true, 1, 0, 7},
    {"stablelm", ", \"use_parallel_residual\": true", true, 2, 0, 7},
    {"stablelm", ", \"qk_layernorm\": true", false, 4, 0, 7}, /* norms with biases */
    {"starcoder2", "", true, 4, 1, 5},                        /* no gate: down is by no one */
    {"nemotron", "", true, 4, 1, 5},                          /* 1 + w, and a bias */
    {"olmo2", "", false, 0, 2, 2},                            /* no norms in front: o and down */
    {"internlm2", "", true, 2, 0, 5},                         /* q, k and v by head of keys */
    {"afmoe", ALL_FULL ", \"num_dense_layers\": 6, \"num_shared_experts\": 1", false, 2, 0, 8},
    {"qwen3_next",
     DELTA_NETS ", \"full_attention_interval\": 7, \"mlp_only_layers\": [0, 1, 2, 3, 4, 5]", false,
     3, 0, 6}, /* the gated norm's scales are tied over the heads; b and a are kept */
    {"qwen3_5_text", DELTA_NETS ", \"full_attention_interval\": 7", false, 3, 0, 8},
    {"qwen3_5_text", ", \"full_attention_interval\": 1", false, 2, 0, 7}, /* a gate in q_proj */
    {"deepseek_v3", LATENT, true, 4, 0, 8}, /* norms of latent vectors; v's rows of kv_b_proj */
    {"deepseek_v2", LATENT ", \"q_lora_rank\": null", false, 3, 0, 7},
    {"deepseek_v32", LATENT ", \"index_n_heads\": 2, \"index_head_dim\": 16", false, 4, 0, 8},
    {"gemma4_text", ALL_FULL BARE, false, 2, 1, 6}, /* values are normalized: o is by no one */
    {"gemma4_text", ALL_FULL BARE ", \"attention_k_eq_v\": true", false, 2, 1, 5},
    /* router, experts and the dense MLP have norms of their own; the router's is no producer */
    {"gemma4_text", ALL_FULL BARE ", \"enable_moe_block\": true, \"top_k_experts\": 2", false, 3, 2,
     3 + 3 * 5 + 3},
    {"llama4_text", ROTATED ", \"attention_chunk_size\": null, \"num_experts_per_tok\": 1", false,
     2, 0, 4 + 3 * 6 + 1}, /* weights of tokens multiply what experts read */
};
static const trait delta_net = {
    "qwen3_5_text", DELTA_NETS ", \"full_attention_interval\": 7", false, 3, 0, 8};
enum { TRAITS = sizeof traits / sizeof *traits, SPARSE = TRAITS - 2 /* from it on */ };

static synthetic s;

static void open_layer(synthetic_shape shape, const trait *of)
{
    shape.family = of->family;
    shape.keys = of->keys;
    shape.all_bias = of->bias;
    synthetic_open(&s, shape);
    s.recipe.clip = AWQ_CLIP_OFF;
    s.recipe.alpha_steps = 2;
}

/* ---- right ---- */

static void check_vectors(const trait *of, const awq_quantized_layer *layer)
{
    int folded = 0, without = 0;
    for (int i = 0; i < s.spec->vectors; i++) {
        bool absorbs = s.spec->vector[i].absorbs >= 0;
        if (!absorbs) assert_null(layer->vector[i]);
        folded += absorbs;
    }
    assert_int_equal(folded, of->vectors);
    for (int g = 0; g < s.spec->groups; g++) {
        const awq_group_record *record = &layer->record.group[g];
        if (s.spec->group[g].producer.by != AWQ_BY_NO_ONE) continue;
        for (int64_t i = 0; i < record->channels; i++) assert_true(record->scales[i] == 1);
        without++;
    }
    assert_int_equal(without, of->without);
}

/* The folded layer's error, over what it adds: none in bfloat16, in float16 that of subnormal
 * weights. */
static void check_trait(synthetic_shape shape, const trait *of, awq_objective objective)
{
    awq_error err;
    awq_quantized_layer layer;
    double most = shape.compute == AWQ_F32 ? 2e-6 : shape.compute == AWQ_F16 ? 1e-5 : 1e-7;
    open_layer(shape, of);
    s.recipe.objective = objective;
    if (synthetic_quantize(&s, &layer, &err)) fail_msg("%s%s: %s", of->family, of->keys, err.text);
    if (!(layer.record.fold_error <= most))
        fail_msg("%s%s: %g", of->family, of->keys, layer.record.fold_error);
    check_vectors(of, &layer);
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
}

static void check_all(synthetic_shape shape)
{
    for (int i = 0; i < TRAITS; i++) check_trait(shape, &traits[i], AWQ_OBJECTIVE_LINEAR);
}

static void folding_loses_nothing_in_layers_of_any_trait(void **state)
{
    (void)state;
    synthetic_on_each(check_all);
}

static void folding_loses_nothing_that_the_module_objective_chose(void **state)
{
    (void)state;
    synthetic_shape shape = {.kv_heads = 2, .dtype = AWQ_BF16, .compute = AWQ_F32};
    for (int i = 0; i < TRAITS; i++)
        if (i < SPARSE) check_trait(shape, &traits[i], AWQ_OBJECTIVE_MODULE);
}

/* Behind the gated norm of a delta net o's input is no module's. */
static void o_is_scored_by_its_own_error_whatever_the_objective(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer[2];
    synthetic_shape shape = {.kv_heads = 2, .dtype = AWQ_BF16, .compute = AWQ_F32};
    int o = -1;
    int64_t candidates = 0;
    for (int i = 0; i < 2; i++) {
        open_layer(shape, &delta_net);
        s.recipe.objective = i ? AWQ_OBJECTIVE_MODULE : AWQ_OBJECTIVE_LINEAR;
        must(synthetic_quantize(&s, &layer[i], &err));
        o = group_named(s.spec, "o");
        candidates = layer[i].record.group[o].candidates;
        synthetic_close(&s);
    }
    const awq_group_record *linear = &layer[0].record.group[o], *module = &layer[1].record.group[o];
    assert_true(candidates > 1 && linear->candidates == candidates);
    assert_memory_equal(linear->loss, module->loss, (size_t)candidates * sizeof *linear->loss);
    const awq_group_record *of_linear = &layer[0].record.group[0],
                           *of_module = &layer[1].record.group[0];
    assert_memory_not_equal(of_linear->loss, of_module->loss, sizeof *of_linear->loss);
    for (int i = 0; i < 2; i++) awq_quantized_layer_release(&layer[i]);
}

/* w and b of a norm, and what its readers are multiplied by: the product of each is what it was. */
static void a_norms_bias_is_divided_by_the_scales_of_its_weight(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    float weight[64], bias[64];
    open_layer((synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16}, &traits[4]);
    const awq_norm_spec *norm = &s.spec->norm[s.spec->half[AWQ_HALF_ATTENTION].norm];
    memcpy(weight, s.decoder.vector[norm->weight], (size_t)s.model.hidden * sizeof *weight);
    memcpy(bias, s.decoder.vector[norm->bias], (size_t)s.model.hidden * sizeof *bias);
    must(synthetic_quantize(&s, &layer, &err));
    const float *scales = layer.record.group[s.spec->half[AWQ_HALF_ATTENTION].group].scales;
    int moved = 0;
    for (int64_t i = 0; i < s.model.hidden; i++) {
        double w = (double)layer.vector[norm->weight][i] * (double)scales[i];
        double b = (double)layer.vector[norm->bias][i] * (double)scales[i];
        assert_true(fabs(w / (double)weight[i] - 1) < 0x1p-22);
        assert_true(fabs(b / (double)bias[i] - 1) < 0x1p-22);
        moved += scales[i] != 1;
    }
    assert_true(moved > s.model.hidden / 2);
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
}

/* ---- wrong ---- */

/* Quantizes the layer but for one linear, which keeps its weight as it was. */
static awq_status quantize_but(int forgotten)
{
    awq_error err;
    awq_quantized_layer layer;
    awq_quantized_layer_init(&layer);
    awq_quantizer quantizer = {.device = s.device,
                               .model = &s.model,
                               .decoder = &s.decoder,
                               .statistics = &s.statistics,
                               .scratch = s.scratch,
                               .recipe = &s.recipe,
                               .out = &layer};
    must(awq_quantizer_open(&quantizer, &err));
    must(awq_fold_check_begin(&quantizer, &s.check, &err));
    for (int i = 0; i < s.spec->groups; i++) /* experts' are searched with the one that they read */
        if (s.spec->group[i].expert < 0) must(awq_search_group(&quantizer, i, &err));
    must(awq_fold_plan(&quantizer, &err));
    for (int i = 0; i < s.spec->linears; i++) must(awq_quantize_linear(&quantizer, i, &err));
    awq_extent extent = awq_linear_extent(&s.spec->linear[forgotten]);
    s.be->load(s.device, s.decoder.weight[forgotten], s.original[forgotten], AWQ_F32,
               (size_t)awq_extent_elements(extent));
    awq_status status = awq_fold_check_layer(&quantizer, &s.check, &err);
    awq_quantizer_close(&quantizer);
    awq_quantized_layer_release(&layer);
    return status;
}

/* Whether the layer's output depends on it: an indexer is not run (tests/cli/test_attentions.py
 * sees that its linears are multiplied). */
static bool is_run(const awq_linear_spec *linear)
{
    return !strstr(linear->name, "indexer.");
}

static void a_forgotten_reader_is_found_in_layers_of_any_trait(void **state)
{
    (void)state;
    synthetic_shape shape = {.kv_heads = 2, .dtype = AWQ_BF16, .compute = AWQ_F32};
    for (int i = 0; i < TRAITS; i++) {
        int found = 0, linears = 1;
        for (int linear = 0; linear < linears; linear++) {
            open_layer(shape, &traits[i]);
            linears = s.spec->linears;
            int group = s.spec->linear[linear].group;
            if (s.spec->group[group].producer.by != AWQ_BY_NO_ONE &&
                is_run(&s.spec->linear[linear])) {
                if (quantize_but(linear) != AWQ_ERR_NUMERIC)
                    fail_msg("%s%s: '%s' was not missed", traits[i].family, traits[i].keys,
                             s.spec->linear[linear].name);
                found++;
            }
            synthetic_close(&s);
        }
        assert_int_equal(found, traits[i].forgotten);
    }
}

int main(void)
{
    const struct CMUnitTest fold_traits[] = {
        cmocka_unit_test(folding_loses_nothing_in_layers_of_any_trait),
        cmocka_unit_test(folding_loses_nothing_that_the_module_objective_chose),
        cmocka_unit_test(o_is_scored_by_its_own_error_whatever_the_objective),
        cmocka_unit_test(a_norms_bias_is_divided_by_the_scales_of_its_weight),
        cmocka_unit_test(a_forgotten_reader_is_found_in_layers_of_any_trait),
    };
    return cmocka_run_group_tests(fold_traits, NULL, NULL);
}
