/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "io/files/path.h"
#include "jobs/run/output.h"
#include "jobs/run/run_directory.h"
#include "tests/unit/io/tiny_model.h"

enum { RECORD_BYTES = 512 };

/* A run directory with the records of both layers. */
static const char *finished_run(void **state)
{
    awq_error err;
    const char *run = scratch_path(state, "run");
    must(awq_path_make_directory(scratch_path(state, "run/layers"), &err));
    for (int64_t layer = 0; layer < 2; layer++)
        fixture_write_record(run, layer, "job", RECORD_BYTES);
    return run;
}

static void tensors_are_listed_as_the_model_runs(void **state)
{
    static const char *const names[] = {TINY_EMBEDDING,
                                        "model.layers.0.self_attn.q_proj.qweight",
                                        "model.layers.0.input_layernorm.weight",
                                        "model.layers.1.self_attn.q_proj.qweight",
                                        "model.layers.1.input_layernorm.weight",
                                        TINY_FINAL_NORM,
                                        TINY_HEAD};
    static const int64_t layers[] = {-1, 0, 0, 1, 1, -1, -1};
    awq_error err;
    awq_output output;
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    must(awq_output_open(finished_run(state), model, 1 << 20, &output, &err));
    assert_int_equal(output.count, 7);
    for (size_t i = 0; i < output.count; i++) {
        assert_string_equal(output.tensors[i].name, names[i]);
        assert_int_equal(output.layer[i], layers[i]);
    }
    const char *data = output.tensors[3].data;
    assert_int_equal(output.tensors[3].bytes, RECORD_BYTES);
    assert_true(data[0] == 'b' && data[RECORD_BYTES - 1] == 'b');
    assert_int_equal(output.shards.count, 1);
    assert_string_equal(output.shards.items[0].name, "model.safetensors");
    awq_output_release(&output);
    awq_output_release(&output);
    awq_checkpoint_close(model);
}

static void a_tied_model_has_no_head(void **state)
{
    awq_error err;
    awq_output output;
    awq_checkpoint *model = fixture_model(state, "m", true, "");
    must(awq_output_open(finished_run(state), model, 1 << 20, &output, &err));
    assert_int_equal(output.count, 6);
    assert_string_equal(output.tensors[5].name, TINY_FINAL_NORM);
    awq_output_release(&output);
    awq_checkpoint_close(model);
}

static void shards_are_cut_in_the_same_order(void **state)
{
    awq_error err;
    awq_output output;
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    must(awq_output_open(finished_run(state), model, 1500, &output, &err));
    assert_true(output.shards.count > 1);
    size_t next = 0;
    for (size_t i = 0; i < output.shards.count; i++) {
        assert_int_equal(output.shards.items[i].first, next);
        next += output.shards.items[i].count;
        assert_true(output.shards.items[i].bytes <= 1500);
    }
    assert_int_equal(next, output.count);
    awq_output_release(&output);
    awq_checkpoint_close(model);
}

static void a_missing_record_is_an_error_that_names_it(void **state)
{
    awq_error err;
    awq_output output;
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    const char *run = finished_run(state);
    assert_int_equal(unlink(scratch_path(state, "run/layers/00001.safetensors")), 0);
    assert_int_equal(awq_output_open(run, model, 1 << 20, &output, &err), AWQ_ERR_IO);
    assert_contains(err.text, "00001.safetensors");
    awq_checkpoint_close(model);
}

static void a_damaged_record_is_an_error_that_names_it(void **state)
{
    awq_error err;
    awq_output output;
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    const char *run = finished_run(state);
    assert_int_equal(truncate(scratch_path(state, "run/layers/00000.safetensors"), 700), 0);
    assert_int_equal(awq_output_open(run, model, 1 << 20, &output, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "00000.safetensors");
    awq_checkpoint_close(model);
}

static void companions_are_what_a_tokenizer_needs(void **state)
{
    (void)state;
    static const char *const yes[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer.model",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      NULL};
    static const char *const no[] = {"config.json",
                                     "model.safetensors",
                                     "pytorch_model.bin",
                                     "README.md",
                                     "model.safetensors.index.json",
                                     "old_tokenizer.json",
                                     "",
                                     NULL};
    for (int i = 0; yes[i]; i++) assert_true(awq_output_is_companion(yes[i]));
    for (int i = 0; no[i]; i++) assert_false(awq_output_is_companion(no[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(tensors_are_listed_as_the_model_runs),
        scratch_test(a_tied_model_has_no_head),
        scratch_test(shards_are_cut_in_the_same_order),
        scratch_test(a_missing_record_is_an_error_that_names_it),
        scratch_test(a_damaged_record_is_an_error_that_names_it),
        cmocka_unit_test(companions_are_what_a_tokenizer_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
