/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_wrapper.c - text_config, which of its keys may stand at top level, and
 * how a model's tensors are named inside a wrapper and outside. */
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "scratch.h"

/* A wrapper with keys of its own and of its text model, of `family` (from the comma on). */
static const char *wrapper(const char *family, const char *text, const char *outer)
{
    static char config[2000];
    snprintf(config, sizeof config,
             "{\"model_type\": \"llava\", \"hidden_size\": 7, \"text_config\": "
             "{\"model_type\": \"%s\"%s}%s}",
             family, text, outer);
    return config;
}

static const char *small(const char *text, const char *outer)
{
    static char keys[1000];
    snprintf(keys, sizeof keys, SIZES ", \"hidden_size\": 64%s", text);
    return wrapper("llama", keys, outer);
}

static void the_text_model_is_what_text_config_says(void **state)
{
    (void)state;
    awq_model model = model_of(small("", ", \"num_hidden_layers\": 99"));
    assert_string_equal(model.family, "llama");
    assert_int_equal(model.hidden, 64);
    assert_int_equal(model.layers, 4);
    awq_model_release(&model);
    model = model_of(config_of("llama", 64, ", \"text_config\": null"));
    assert_int_equal(model.hidden, 64);
    awq_model_release(&model);
    expect_problem(wrapper("llava", "", ""), "text_config': model_type 'llava' is not supported");
    expect_problem(config_of("llama", 64, ", \"text_config\": 3"), "'text_config' is not an obj");
}

/* The defaults of transformers' LlamaConfig, MistralConfig, Qwen2Config, Qwen2VLTextConfig. */
static void a_text_config_that_is_silent_has_the_sizes_of_its_class(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        int64_t hidden, intermediate, layers, heads, kv_heads, vocab;
    } expected[] = {{"llama", 4096, 11008, 32, 32, 32, 32000},
                    {"mistral", 4096, 14336, 32, 32, 8, 32000},
                    {"qwen2", 4096, 22016, 32, 32, 32, 151936},
                    {"qwen2_5_vl_text", 8192, 29568, 80, 64, 8, 152064},
                    {"qwen3_vl_text", 4096, 22016, 32, 32, 32, 151936}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        awq_model model = model_of(wrapper(expected[i].family, "", ""));
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        assert_int_equal(model.hidden, expected[i].hidden);
        assert_int_equal(layer->mlps.intermediate, expected[i].intermediate);
        assert_int_equal(model.layers, expected[i].layers);
        assert_int_equal(layer->attention.heads, expected[i].heads);
        assert_int_equal(layer->attention.kv_heads, expected[i].kv_heads);
        assert_int_equal(layer->attention.head_dim, 128);
        assert_int_equal(model.vocab, expected[i].vocab);
        awq_model_release(&model);
    }
    expect_problem(
        "{\"model_type\": \"llama\", \"intermediate_size\": 96, \"num_hidden_layers\": 4,"
        " \"num_attention_heads\": 4, \"vocab_size\": 100}",
        "'hidden_size' is missing"); /* it is none of a wrapper's */
}

static void the_type_is_config_jsons_and_the_tie_is_the_texts(void **state)
{
    (void)state;
    awq_model model = model_of(small(", \"dtype\": \"float32\"", ", \"torch_dtype\": \"float16\""));
    assert_int_equal(model.dtype, AWQ_F32); /* the newer spelling, wherever */
    awq_model_release(&model);
    model = model_of(small(", \"dtype\": \"float32\"", ", \"dtype\": \"float16\""));
    assert_int_equal(model.dtype, AWQ_F16);
    assert_false(model.tied);
    awq_model_release(&model);
    model = model_of(small("", ", \"tie_word_embeddings\": true"));
    assert_true(model.tied);
    awq_model_release(&model);
    model = model_of(small(", \"tie_word_embeddings\": false", ", \"tie_word_embeddings\": true"));
    assert_false(model.tied);
    awq_model_release(&model);
}

static bool generates(const char *architectures)
{
    char extra[200];
    snprintf(extra, sizeof extra, ", \"architectures\": %s", architectures);
    awq_model model = model_of(small("", extra));
    bool result = model.generates;
    awq_model_release(&model);
    return result;
}

static void a_model_generates_unless_its_classes_do_not(void **state)
{
    (void)state;
    assert_true(generates("null"));
    assert_true(generates("[]"));
    assert_true(generates("[\"LlavaForConditionalGeneration\"]"));
    assert_true(generates("[\"LlamaModel\", \"LlamaForCausalLM\"]"));
    assert_false(generates("[\"LlamaForSequenceClassification\"]"));
    assert_false(generates("[\"LlamaModel\"]"));
}

/* ---- names ---- */

static void names_begin_as_the_root_says(void **state)
{
    (void)state;
    static const struct {
        const char *embedding, *norm, *head, *linear;
    } expected[] = {
        {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
         "model.layers.3.mlp.down_proj"},
        {"model.tok_embeddings.weight", "model.norm.weight", "output.weight",
         "model.layers.3.mlp.down_proj"},
        {"model.language_model.embed_tokens.weight", "model.language_model.norm.weight",
         "lm_head.weight", "model.language_model.layers.3.mlp.down_proj"},
        {"language_model.model.embed_tokens.weight", "language_model.model.norm.weight",
         "language_model.lm_head.weight", "language_model.model.layers.3.mlp.down_proj"},
        {"model.text_model.embed_tokens.weight", "model.text_model.norm.weight", "lm_head.weight",
         "model.text_model.layers.3.mlp.down_proj"},
        {"language_model.embed_tokens.weight", "language_model.norm.weight", "lm_head.weight",
         "language_model.layers.3.mlp.down_proj"},
        {"embed_tokens.weight", "norm.weight", "lm_head.weight", "layers.3.mlp.down_proj"},
    };
    char name[AWQ_NAME_BYTES];
    awq_model model = model_of(config_of("llama", 64, ""));
    int roots = 0;
    for (; awq_root_at(roots); roots++) {
        model.root = awq_root_at(roots);
        assert_string_equal(awq_end_tensor_name(name, &model, AWQ_EMBEDDING),
                            expected[roots].embedding);
        assert_string_equal(awq_end_tensor_name(name, &model, AWQ_FINAL_NORM),
                            expected[roots].norm);
        assert_string_equal(awq_end_tensor_name(name, &model, AWQ_HEAD), expected[roots].head);
        assert_string_equal(awq_linear_full_name(name, &model, 3, LINEAR_DOWN),
                            expected[roots].linear);
        assert_string_equal(awq_linear_plain_name(name, &model, 3, LINEAR_DOWN),
                            expected[0].linear);
        for (int other = 0; awq_root_at(other); other++)
            assert_int_equal(awq_root_layer_of(awq_root_at(other), expected[roots].linear),
                             !strcmp(expected[other].linear, expected[roots].linear) ? 3 : -1);
    }
    assert_int_equal(roots, sizeof expected / sizeof *expected);
    awq_model_release(&model);
}

static void the_number_of_a_layer_is_a_number(void **state)
{
    (void)state;
    const awq_root *plain = awq_root_at(0);
    assert_int_equal(awq_root_layer_of(plain, "model.layers.12.mlp.gate"), 12);
    static const char *const none[] = {
        "model.layers.x.mlp", "model.layers.-1.mlp", "model.layers. 1.mlp",
        "model.layers.1",     "model.layers.1x.mlp", "model.layers.",
        "model.norm.weight",  "mtp.layers.0.mlp.up", ""};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(awq_root_layer_of(plain, none[i]), -1);
    assert_true(awq_root_layer_of(plain, "model.layers.99999999999999999999.a") > 1000000);
}

static void layers_that_predict_further_tokens_are_a_number(void **state)
{
    (void)state;
    awq_model model = model_of(small(", \"num_nextn_predict_layers\": 3", ""));
    assert_int_equal(model.further, 3);
    awq_model_release(&model);
    expect_problem(small(", \"num_nextn_predict_layers\": -1", ""), "is no number of layers");
    expect_problem(small(", \"num_nextn_predict_layers\": 9223372036854775807", ""),
                   "is no number of layers");
    expect_problem(small(", \"num_nextn_predict_layers\": true", ""), "num_nextn_predict_layers'");
}

static void a_model_owns_its_modules_and_no_others(void **state)
{
    (void)state;
    static const char *const own[] = {"model.layers.0.any.thing", "model.layers.3.x",
                                      "model.embed_tokens.scales", "model.norm.bias",
                                      "lm_head.bias"};
    static const char *const others[] = {
        "model.layers.4.x", "model.visual.norm.weight", "mtp.norm.weight", "score.weight",
        "lm_head2.weight",  "model.norm2.weight",       "lm_head",         ""};
    awq_model model = model_of(config_of("llama", 64, ""));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_true(awq_model_owns(&model, own[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(awq_model_owns(&model, others[i]));
    awq_model_release(&model);
}

static void a_part_is_the_first_word_that_tells_one(void **state)
{
    (void)state;
    static const char *const parts[][2] = {
        {"mtp", ".layers.0.x"},        {"model.visual", ".blocks.0.x"},
        {"model.layers.61", ".mlp.x"}, {"layers.2", ".mlp.x"},
        {"score", ".weight"},          {"alone", ""},
        {"model.image_newline", ""}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[100];
        snprintf(name, sizeof name, "%s%s", parts[i][0], parts[i][1]);
        assert_int_equal(awq_name_part_length(name), strlen(parts[i][0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_model_is_what_text_config_says),
        cmocka_unit_test(a_text_config_that_is_silent_has_the_sizes_of_its_class),
        cmocka_unit_test(the_type_is_config_jsons_and_the_tie_is_the_texts),
        cmocka_unit_test(a_model_generates_unless_its_classes_do_not),
        cmocka_unit_test(names_begin_as_the_root_says),
        cmocka_unit_test(the_number_of_a_layer_is_a_number),
        cmocka_unit_test(layers_that_predict_further_tokens_are_a_number),
        cmocka_unit_test(a_model_owns_its_modules_and_no_others),
        cmocka_unit_test(a_part_is_the_first_word_that_tells_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
