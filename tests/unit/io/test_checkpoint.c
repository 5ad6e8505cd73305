/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/checkpoint/checkpoint.h"
#include "io/files/file.h"
#include "model_of.h"
#include "scratch.h"
#include "tiny_model.h"

#define DEMO AWQ_TEST_DATA "/demo-llama-outliers"
#define A    "model-00001-of-00002.safetensors"
#define B    "model-00002-of-00002.safetensors"

static awq_checkpoint *open_good(const char *directory)
{
    awq_problems problems;
    awq_problems_init(&problems);
    awq_checkpoint *checkpoint = awq_checkpoint_open(directory, &problems);
    if (!checkpoint) fail_msg("%s", problems.items[0].text);
    assert_int_equal(problems.count, 0);
    return checkpoint;
}

/* Opening gives `count` problems, and one of them contains `part`. */
static void expect_problems(void **state, size_t count, const char *part)
{
    awq_problems problems;
    awq_problems_init(&problems);
    assert_null(awq_checkpoint_open(*state, &problems));
    if (problems.count != count)
        for (size_t i = 0; i < problems.count; i++) print_error("%s\n", problems.items[i].text);
    assert_int_equal(problems.count, count);
    size_t i = 0;
    while (i + 1 < count && !strstr(problems.items[i].text, part)) i++;
    assert_contains(problems.items[i].text, part);
    awq_problems_release(&problems);
}

/* A model in two shards, tensors before 5 in A. */
static void write_sharded(void **state, const tiny_model *model)
{
    tiny_write_config(*state, "");
    tiny_write_shard(model, *state, A, 0, 5);
    tiny_write_shard(model, *state, B, 5, model->count - 5);
    tiny_write_index(model, *state, 5, A, B);
}

static void a_real_model_opens(void **state)
{
    (void)state;
    awq_checkpoint *checkpoint = open_good(DEMO);
    const awq_model *model = awq_checkpoint_model(checkpoint);
    assert_int_equal(model->layers, 4);
    assert_int_equal(awq_checkpoint_bytes(checkpoint), 7344640);
    assert_int_equal(awq_model_parameters(model), 7344640 / 2);
    assert_string_equal(awq_checkpoint_directory(checkpoint), DEMO);
    assert_non_null(json_object_get(awq_checkpoint_config(checkpoint), "bos_token_id"));
    const awq_tensor *up = awq_checkpoint_linear(checkpoint, 3, LINEAR_UP, "weight");
    assert_non_null(up);
    assert_int_equal(up->shape[0], 768);
    assert_int_equal(awq_model_layer(model, 0)->norms, 2);
    assert_string_equal(awq_checkpoint_vector(checkpoint, 0, NORM_POST, 0)->name,
                        "model.layers.0.post_attention_layernorm.weight");
    assert_string_equal(awq_checkpoint_end(checkpoint, AWQ_HEAD)->name, TINY_HEAD);
    assert_null(awq_checkpoint_find(checkpoint, "model"));
    awq_checkpoint_close(checkpoint);
    awq_checkpoint_close(NULL);
}

static void the_fingerprint_names_files_sizes_and_checksums(void **state)
{
    (void)state;
    awq_checkpoint *checkpoint = open_good(DEMO);
    json_t *list = awq_checkpoint_fingerprint(checkpoint);
    assert_int_equal(json_array_size(list), 3);
    const char *file;
    json_int_t bytes, crc;
    assert_int_equal(json_unpack(json_array_get(list, 1), "{s:s, s:I, s:I}", "file", &file, "bytes",
                                 &bytes, "header_crc32", &crc),
                     0);
    assert_string_equal(file, B);
    assert_int_equal(bytes, 3543536);
    size_t config_bytes;
    char *config = scratch_read(DEMO "/config.json", &config_bytes);
    assert_int_equal(json_unpack(json_array_get(list, 2), "{s:s, s:I, s:I}", "file", &file, "bytes",
                                 &bytes, "crc32", &crc),
                     0);
    assert_string_equal(file, "config.json");
    assert_int_equal(crc, awq_crc32(0, config, config_bytes));
    free(config);
    json_decref(list);
    awq_checkpoint_close(checkpoint);
}

static void a_single_file_opens(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_write(&model, *state, "");
    awq_checkpoint_close(open_good(*state));
}

static void the_index_wins_over_a_single_file(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    scratch_write_text(scratch_path(state, "model.safetensors"), "not read");
    awq_checkpoint_close(open_good(*state));
}

static void a_quantized_model_opens(void **state)
{
    tiny_model model;
    tiny_fill(&model, true);
    tiny_write(&model, *state,
               ", \"quantization_config\": {\"quant_method\": \"awq\","
               " \"bits\": 4, \"group_size\": 8}");
    awq_checkpoint *checkpoint = open_good(*state);
    assert_true(awq_checkpoint_model(checkpoint)->quantized);
    assert_non_null(awq_checkpoint_linear(checkpoint, 1, LINEAR_O, "qzeros"));
    assert_null(awq_checkpoint_linear(checkpoint, 1, LINEAR_O, "weight"));
    awq_checkpoint_close(checkpoint);
    tiny_find(&model, "model.layers.1.mlp.up_proj.scales")->dtype = AWQ_BF16;
    tiny_write_shard(&model, *state, "model.safetensors", 0, model.count);
    expect_problems(state, 1, "is BF16 [2, 32], expected F16 [2, 32]");
}

static void a_tied_model_needs_no_head_and_ignores_one(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_write(&model, *state, ", \"tie_word_embeddings\": true");
    awq_checkpoint *checkpoint = open_good(*state);
    assert_string_equal(awq_checkpoint_end(checkpoint, AWQ_HEAD)->name, TINY_EMBEDDING);
    assert_null(awq_checkpoint_find(checkpoint, TINY_HEAD));
    awq_checkpoint_close(checkpoint);
    tiny_remove(&model, TINY_HEAD);
    tiny_write_shard(&model, *state, "model.safetensors", 0, model.count);
    awq_checkpoint_close(open_good(*state));
}

static void buffers_of_old_exporters_are_ignored(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    tiny_add(&model, "model.layers.0.self_attn.rotary_emb.inv_freq", AWQ_F32, 4, 0);
    tiny_add(&model, "model.layers.0.self_attn.rotary_emb.cos_cached", AWQ_F32, 4, 4);
    tiny_write_shard(&model, *state, B, 5, model.count - 5); /* not in the index either */
    awq_checkpoint *checkpoint = open_good(*state);
    assert_null(awq_checkpoint_find(checkpoint, "model.layers.0.self_attn.rotary_emb.inv_freq"));
    awq_checkpoint_close(checkpoint);
}

static void a_directory_that_is_no_model_is_one_problem(void **state)
{
    awq_problems problems;
    awq_problems_init(&problems);
    assert_null(awq_checkpoint_open(scratch_path(state, "none"), &problems));
    assert_contains(problems.items[0].text, "none': No such file or directory");
    scratch_write_text(scratch_path(state, "file"), "x");
    assert_null(awq_checkpoint_open(scratch_path(state, "file"), &problems));
    assert_contains(problems.items[1].text, "file': Not a directory");
    assert_int_equal(problems.count, 2);
    awq_problems_release(&problems);
    expect_problems(state, 1, "has no config.json");
}

static void missing_weights_are_one_problem(void **state)
{
    tiny_write_config(*state, "");
    expect_problems(state, 1, "has no weights: neither model.safetensors.index.json nor");
    scratch_write_text(scratch_path(state, "pytorch_model-00001-of-00002.bin"), "");
    expect_problems(state, 1,
                    "holds pickled weights ('pytorch_model-00001-of-00002.bin'); convert them");
}

static void a_bad_config_does_not_hide_a_bad_shard(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    scratch_write_text(scratch_path(state, "config.json"), "{\"model_type\": 3}");
    scratch_write_text(scratch_path(state, B), "short");
    expect_problems(state, 3, "config.json': key 'model_type' is an integer");
    scratch_write_text(scratch_path(state, "config.json"), "{");
    expect_problems(state, 2, "config.json' is not valid JSON");
}

static void a_missing_shard_is_one_line(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    unlink(scratch_path(state, B));
    expect_problems(state, 1, B "': No such file or directory");
}

static void a_torn_single_file_is_one_line(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_write(&model, *state, "");
    assert_int_equal(truncate(scratch_path(state, "model.safetensors"), 5000), 0);
    expect_problems(state, 1, "it is truncated");
}

static void an_index_may_name_only_files_of_its_directory(void **state)
{
    static const char *const names[] = {"../model.safetensors", "/etc/passwd", ".hidden", "",
                                        "a/b"};
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_write_index(&model, *state, 5, A, names[i]);
        /* the file with that name is not looked at; the tensors that it should hold are not
         * reported again */
        expect_problems(state, 1, "is not the name of a file in this directory");
    }
}

static void a_bad_index_is_one_problem(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    const char *index = scratch_path(state, "model.safetensors.index.json");
    scratch_write_text(index, "{\"weight_map\": {}}");
    expect_problems(state, 1, "weight_map is missing or empty");
    scratch_write_text(index, "{\"weight_map\": []}");
    expect_problems(state, 1, "weight_map is missing or empty");
    scratch_write_text(index, "{\"weight_map\": {\"x\": 3}}");
    expect_problems(state, 1, "the shard of 'x' is not a string");
    scratch_write_text(index, "{");
    expect_problems(state, 1, "index.json' is not valid JSON");
}

static void a_tensor_in_another_shard_than_the_index_says_is_named(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    tiny_write_index(&model, *state, 6, A, B);
    expect_problems(state, 1,
                    A "' lacks tensor 'model.layers.0.mlp.gate_proj.weight', which "
                      "model.safetensors.index.json says it holds; it is in " B);
}

static void a_tensor_that_its_shard_lacks_is_named_once(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    tiny_write_shard(&model, *state, B, 6, model.count - 6);
    expect_problems(state, 1, B "' lacks tensor 'model.layers.0.mlp.gate_proj.weight'");
    tiny_write_shard(&model, *state, B, model.count - 1, 1);
    expect_problems(state, 6, B "' lacks tensor"); /* five lines, and one that counts */
}

static void a_tensor_that_the_index_does_not_list_is_named(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    tiny_add(&model, "extra", AWQ_F32, 4, 0);
    tiny_write_shard(&model, *state, B, 5, model.count - 5);
    expect_problems(state, 1,
                    B "' holds tensor 'extra', which model.safetensors.index.json "
                      "does not list");
}

static void a_tensor_in_two_shards_is_named(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    write_sharded(state, &model);
    tiny_write_shard(&model, *state, A, 0, 6);
    expect_problems(state, 1,
                    "tensor 'model.layers.0.mlp.gate_proj.weight' is in both '" A "' and '" B "'");
}

static void a_missing_tensor_is_named(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_remove(&model, "model.norm.weight");
    tiny_write(&model, *state, "");
    expect_problems(state, 1, "lacks tensors that its config.json calls for: 'model.norm.weight'");
}

static void a_model_of_another_kind_gives_few_lines(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    for (size_t i = 0; i < model.count; i++) model.names[i][0] = 'x';
    tiny_write(&model, *state, "");
    expect_problems(state, 1, "and 16 more"); /* what it holds may stand beside a model */
    tiny_fill(&model, false);
    for (size_t i = 0; i < model.count; i++) model.tensors[i].shape[0]++;
    tiny_write(&model, *state, "");
    expect_problems(state, 6, "expected F32, F16 or BF16 [24, 16]");
}

static void an_unknown_tensor_is_named(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_add(&model, "model.layers.2.mlp.up_proj.weight", AWQ_BF16, 32, 16);
    tiny_write(&model, *state, "");
    expect_problems(state, 1,
                    "holds tensors that its config.json does not call for: "
                    "'model.layers.2.mlp.up_proj.weight'");
}

static void a_wrong_shape_or_dtype_names_both(void **state)
{
    tiny_model model;
    tiny_fill(&model, false);
    tiny_find(&model, "model.norm.weight")->dtype = AWQ_F64;
    tiny_write(&model, *state, "");
    expect_problems(state, 1,
                    "model.safetensors': tensor 'model.norm.weight' is F64 [16], "
                    "expected F32, F16 or BF16 [16]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_model_opens),
        cmocka_unit_test(the_fingerprint_names_files_sizes_and_checksums),
        scratch_test(a_single_file_opens),
        scratch_test(the_index_wins_over_a_single_file),
        scratch_test(a_quantized_model_opens),
        scratch_test(a_tied_model_needs_no_head_and_ignores_one),
        scratch_test(buffers_of_old_exporters_are_ignored),
        scratch_test(a_directory_that_is_no_model_is_one_problem),
        scratch_test(missing_weights_are_one_problem),
        scratch_test(a_bad_config_does_not_hide_a_bad_shard),
        scratch_test(a_missing_shard_is_one_line),
        scratch_test(a_torn_single_file_is_one_line),
        scratch_test(an_index_may_name_only_files_of_its_directory),
        scratch_test(a_bad_index_is_one_problem),
        scratch_test(a_tensor_in_another_shard_than_the_index_says_is_named),
        scratch_test(a_tensor_that_its_shard_lacks_is_named_once),
        scratch_test(a_tensor_that_the_index_does_not_list_is_named),
        scratch_test(a_tensor_in_two_shards_is_named),
        scratch_test(a_missing_tensor_is_named),
        scratch_test(a_model_of_another_kind_gives_few_lines),
        scratch_test(an_unknown_tensor_is_named),
        scratch_test(a_wrong_shape_or_dtype_names_both),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
