/* SPDX-License-Identifier: MIT
 * tests/unit/layers/load.c - a layer from a checkpoint: full precision, AWQ GEMM, and damaged. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/format.h"
#include "layers/forward/decoder.h"
#include "layers/forward/extent.h"
#include "layers/forward/head.h"
#include "layers/forward/states.h"
#include "layers/forward/tensor_load.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/io/scratch.h"
#include "tests/unit/io/tiny_model.h"
#include "tests/unit/layers/check.h"

enum { LAYER = 1 };

static const awq_backend *be;
static awq_device *device;

static int open_device(void **state)
{
    (void)state;
    awq_error err;
    be = awq_backend_find("cpu");
    return (int)be->open(&(awq_device_options){.threads = 2}, &device, &err);
}

static int close_device(void **state)
{
    (void)state;
    be->close(device);
    return 0;
}

static awq_checkpoint *open_checkpoint(const char *directory)
{
    awq_problems problems;
    awq_problems_init(&problems);
    awq_checkpoint *checkpoint = awq_checkpoint_open(directory, &problems);
    if (!checkpoint) fail_msg("%s", problems.items[0].text);
    awq_problems_release(&problems);
    return checkpoint;
}

/* A tiny model on disk; quantized with groups of 8. */
static void write_model(void **state, bool quantized)
{
    tiny_model model;
    tiny_fill(&model, quantized);
    tiny_write(&model, *state,
               quantized ? ", \"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4, "
                           "\"group_size\": 8, \"zero_point\": true, \"version\": \"gemm\"}"
                         : "");
}

/* Overwrites a tensor's bytes from `at` on in the model's only shard. */
static void patch(void **state, const char *name, size_t at, const void *bytes, size_t count)
{
    awq_error err;
    awq_safetensors *file;
    uint64_t header;
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", (const char *)*state);
    must(awq_safetensors_open(path, &file, &err));
    const awq_tensor *tensor = awq_safetensors_find(file, name);
    assert_non_null(tensor);
    assert_true(at + count <= tensor->bytes);
    FILE *f = fopen(path, "r+b");
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    assert_int_equal(fseek(f, (long)(8 + header + tensor->offset + at), SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
    awq_safetensors_close(file);
}

/* One element of a bfloat16 tensor. */
static void patch_bf16(void **state, const char *name, size_t element, float value)
{
    uint16_t half = awq_bf16_from_float(value);
    patch(state, name, 2 * element, &half, sizeof half);
}

static void expect_damage(void **state, const char *sentence)
{
    awq_error err;
    awq_decoder decoder;
    awq_checkpoint *checkpoint = open_checkpoint(*state);
    assert_int_equal(
        awq_decoder_load(device, checkpoint, LAYER, (awq_layer_part){0}, &decoder, &err),
        AWQ_ERR_NUMERIC);
    assert_string_equal(err.text, sentence);
    awq_checkpoint_close(checkpoint);
}

static void weights_arrive_as_stored(void **state)
{
    awq_error err;
    awq_decoder decoder;
    write_model(state, false);
    patch_bf16(state, "model.layers.1.mlp.up_proj.weight", 3 * 16 + 5, 0.375f);
    patch_bf16(state, "model.layers.1.post_attention_layernorm.weight", 7, -2.5f);
    awq_checkpoint *checkpoint = open_checkpoint(*state);
    must(awq_decoder_load(device, checkpoint, LAYER, (awq_layer_part){0}, &decoder, &err));
    const float *up = decoder.weight[LINEAR_UP];
    assert_true(up[3 * 16 + 5] == 0.375f && up[0] == 0);
    assert_true(decoder.vector[decoder.spec->norm[NORM_POST].weight][7] == -2.5f);
    assert_int_equal(decoder.spec->norms, 2); /* none of heads */
    assert_null(decoder.bias[LINEAR_Q]);
    awq_decoder_release(device, &decoder);
    awq_checkpoint_close(checkpoint);
}

static void a_nan_weight_is_named_by_row_and_column(void **state)
{
    write_model(state, false);
    patch_bf16(state, "model.layers.1.mlp.up_proj.weight", 17 * 16 + 11, NAN);
    expect_damage(state, "'model.layers.1.mlp.up_proj.weight' holds nan at row 17, column 11; the "
                         "checkpoint is damaged");
}

static void an_infinite_weight_is_named_by_row_and_column(void **state)
{
    write_model(state, false);
    patch_bf16(state, "model.layers.1.self_attn.q_proj.weight", 16, -INFINITY);
    expect_damage(state, "'model.layers.1.self_attn.q_proj.weight' holds infinity at row 1, column "
                         "0; the checkpoint is damaged");
}

static void a_nan_norm_is_named_by_element(void **state)
{
    write_model(state, false);
    patch_bf16(state, "model.layers.1.input_layernorm.weight", 5, NAN);
    expect_damage(state, "'model.layers.1.input_layernorm.weight' holds nan at element 5; the "
                         "checkpoint is damaged");
}

/* Random codes, zeros and scales of down_proj [16, 32], groups of 8, put into the checkpoint. */
static void patch_down(void **state, uint8_t *codes, uint8_t *zeros, uint16_t *scales)
{
    uint32_t words[32 * 2], zero_words[4 * 2];
    uint16_t turned[16 * 4];
    float wide[16 * 4];
    for (int i = 0; i < 16 * 32; i++) codes[i] = (uint8_t)(i * 7 % 16);
    for (int i = 0; i < 16 * 4; i++) zeros[i] = (uint8_t)(i * 5 % 16);
    for (int i = 0; i < 16 * 4; i++) scales[i] = awq_f16_from_float(0.01f * (float)(i + 1));
    awq_widen(wide, scales, AWQ_F16, 16 * 4);
    awq_quantization quantization = {.bits = 4, .group_size = 8, .scales = AWQ_F16};
    awq_linear_codes plain = {16, 32, 4, codes, zeros, wide};
    uint32_t *rows = awq_linear_codes_words(&plain, 4);
    awq_linear_words linear = {16, 32, 4, rows, zeros, wide};
    void *parts[AWQ_MAX_PARTS] = {words, zero_words, turned};
    awq_error err;
    must(awq_format_pack(&quantization, &linear, parts, &err));
    free(rows);
    patch(state, "model.layers.1.mlp.down_proj.qweight", 0, words, sizeof words);
    patch(state, "model.layers.1.mlp.down_proj.qzeros", 0, zero_words, sizeof zero_words);
    patch(state, "model.layers.1.mlp.down_proj.scales", 0, turned, sizeof turned);
}

static void an_awq_checkpoint_is_dequantized(void **state)
{
    awq_error err;
    awq_decoder decoder;
    uint8_t codes[16 * 32], zeros[16 * 4];
    uint16_t scales[16 * 4];
    write_model(state, true);
    patch_down(state, codes, zeros, scales);
    awq_checkpoint *checkpoint = open_checkpoint(*state);
    must(awq_decoder_load(device, checkpoint, LAYER, (awq_layer_part){0}, &decoder, &err));
    const float *down = decoder.weight[LINEAR_DOWN];
    for (int i = 0; i < 16 * 32; i++) {
        float scale = awq_float_from_f16(scales[i / 8]);
        assert_true(down[i] == ((float)codes[i] - (float)zeros[i / 8]) * scale);
    }
    awq_decoder_release(device, &decoder);
    awq_checkpoint_close(checkpoint);
}

static void a_nan_group_scale_is_named(void **state)
{
    uint16_t nan = 0x7e00;
    write_model(state, true);
    patch(state, "model.layers.1.mlp.down_proj.scales", 2 * (2 * 16 + 3), &nan, sizeof nan);
    expect_damage(state, "'model.layers.1.mlp.down_proj.scales' holds nan at row 2, column 3; the "
                         "checkpoint is damaged");
}

static uint64_t allocated;

static awq_status counting_alloc(awq_device *self, size_t bytes, const char *what, void **out,
                                 awq_error *err)
{
    allocated += bytes;
    return be->alloc(self, bytes, what, out, err);
}

static void announced_bytes_are_allocated(void **state)
{
    awq_error err;
    awq_backend counting = *be;
    counting.alloc = counting_alloc;
    device->backend = &counting;
    for (int quantized = 0; quantized < 2; quantized++) {
        awq_decoder decoder;
        awq_head *head;
        write_model(state, quantized);
        awq_checkpoint *checkpoint = open_checkpoint(*state);
        const awq_model *model = awq_checkpoint_model(checkpoint);
        allocated = 0;
        must(awq_decoder_load(device, checkpoint, LAYER, (awq_layer_part){0}, &decoder, &err));
        assert_int_equal(allocated, awq_decoder_bytes(model, sizeof(float)));
        allocated = 0;
        must(awq_head_load(device, checkpoint, &head, &err));
        assert_int_equal(allocated, awq_head_bytes(model, sizeof(float)));
        awq_head_free(head);
        awq_decoder_release(device, &decoder);
        awq_checkpoint_close(checkpoint);
    }
    device->backend = be;
}

/* A matrix of float8 whose values fill several of the buffers that it goes through. */
static void float8_arrives_through_a_small_buffer(void **state)
{
    (void)state;
    enum { ROWS = 1500, COLS = 1100, BLOCK = 128, TALL = 12, WIDE = 9 };
    awq_error err;
    float scales[TALL * WIDE];
    unsigned char *codes = malloc(ROWS * COLS);
    uint16_t *values = malloc(ROWS * COLS * sizeof *values);
    awq_tensor tensors[] = {{.name = "w", .bytes = ROWS * COLS, .data = codes},
                            {.name = "s", .dtype = AWQ_F32, .data = scales}};
    awq_weight weight = {.stored = AWQ_STORED_FLOAT8,
                         .dtype = AWQ_BF16,
                         .rows = ROWS,
                         .cols = COLS,
                         .part = {&tensors[0], &tensors[1]},
                         .tensor_rows = ROWS,
                         .step = 1,
                         .block_rows = BLOCK,
                         .block_cols = BLOCK};
    void *loaded;
    assert_true(codes && values);
    must(be->alloc(device, ROWS * COLS * be->compute_bytes, "a matrix", &loaded, &err));
    for (int i = 0; i < ROWS * COLS; i++) codes[i] = (unsigned char)(i * 31 % 127);
    for (int i = 0; i < TALL * WIDE; i++) scales[i] = 1e-3f * (float)(i + 1);
    assert_true(awq_weight_read_rows(&weight) < ROWS);
    must(awq_weight_load(device, &weight, loaded, &err));
    must(awq_weight_read(&weight, 0, ROWS, values, &err));
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(((float *)loaded)[i] == awq_float_from_bf16(values[i]));
    codes[1402 * COLS + 77] = 0xff;
    assert_int_equal(awq_weight_load(device, &weight, loaded, &err), AWQ_ERR_NUMERIC);
    assert_string_equal(err.text,
                        "'w' holds nan at row 1402, column 77; the checkpoint is damaged");
    be->release(device, loaded);
    free(values);
    free(codes);
}

static void embedding_rows_are_widened(void **state)
{
    awq_error err;
    const int32_t ids[] = {3, 0, 3};
    float hidden[3 * 16];
    write_model(state, false);
    patch_bf16(state, "model.embed_tokens.weight", 3 * 16 + 2, 1.5f);
    awq_checkpoint *checkpoint = open_checkpoint(*state);
    awq_embedding *embedding;
    must(awq_embedding_load(device, checkpoint, &embedding, &err));
    must(awq_embed(embedding, ids, 3, hidden, &err));
    awq_embedding_free(embedding);
    for (int i = 0; i < 3 * 16; i++) assert_true(hidden[i] == (i == 2 || i == 34 ? 1.5f : 0));
    awq_checkpoint_close(checkpoint);
}

/* Hidden states of 4 channels, one plane of 2 and two of 3 each, of five rows; of which the first
 * three are taken. Each float tells where it stood. */
static void some_rows_of_a_tile_are_some_rows_of_each_plane(void **state)
{
    (void)state;
    enum { ALL = 5, SOME = 3, FLOATS = 4 + 2 + 3 + 3 };
    static const int64_t widths[] = {4, 2, 3, 3};
    const awq_model model = {
        .hidden = 4, .residual = FLOATS, .planes = 2, .plane = {{4, 2, 1}, {6, 3, 2}}};
    awq_error err;
    float from[ALL * FLOATS], to[SOME * FLOATS];
    float *device_from, *device_to;
    for (int i = 0; i < ALL * FLOATS; i++) from[i] = (float)i;
    must(be->alloc(device, sizeof from, "states", (void **)&device_from, &err));
    must(be->alloc(device, sizeof to, "some of them", (void **)&device_to, &err));
    be->upload(device, device_from, from, sizeof from);
    awq_states_take(device, &model, device_to, SOME, device_from, ALL);
    must(be->download(device, to, device_to, sizeof to, &err));
    const float *found = to, *whole = from;
    for (int plane = 0; plane < 4; plane++) {
        for (int64_t i = 0; i < SOME * widths[plane]; i++) assert_true(found[i] == whole[i]);
        found += SOME * widths[plane];
        whole += ALL * widths[plane];
    }
    assert_int_equal(awq_states_plane(&model, ALL, 1, 1), ALL * 9);
    be->release(device, device_from);
    be->release(device, device_to);
}

int main(void)
{
    const struct CMUnitTest load[] = {
        scratch_test(weights_arrive_as_stored),
        scratch_test(a_nan_weight_is_named_by_row_and_column),
        scratch_test(an_infinite_weight_is_named_by_row_and_column),
        scratch_test(a_nan_norm_is_named_by_element),
        scratch_test(an_awq_checkpoint_is_dequantized),
        scratch_test(a_nan_group_scale_is_named),
        scratch_test(announced_bytes_are_allocated),
        cmocka_unit_test(float8_arrives_through_a_small_buffer),
        scratch_test(embedding_rows_are_widened),
        cmocka_unit_test(some_rows_of_a_tile_are_some_rows_of_each_plane),
    };
    return cmocka_run_group_tests(load, open_device, close_device);
}
