/* SPDX-License-Identifier: MIT
 * Weights as sources store them: what small floats mean (tests/data/formats/small_floats.json, by
 * ml_dtypes), where a linear lies in a tensor of all experts, and blocks of rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/decode.h"
#include "io/checkpoint/stored.h"
#include "io/files/json.h"
#include "model_of.h"
#include "scratch.h"

/* ---- what codes mean ---- */

static json_t *table_of(const char *name)
{
    awq_error err;
    json_t *tables;
    const char *path = AWQ_TEST_DATA "/formats/small_floats.json";
    if (awq_json_read(path, 1 << 20, &tables, &err)) fail_msg("%s", err.text);
    json_t *table = json_incref(json_object_get(tables, name));
    json_decref(tables);
    return table;
}

/* The bits are those of float32(meaning) * scale; of NaN any. */
static void expect_meaning(const json_t *table, size_t code, float scale, float found)
{
    const json_t *meaning = json_array_get(table, code);
    float expected = (float)json_number_value(meaning) * scale;
    if (json_is_null(meaning))
        assert_true(isnan(found));
    else
        assert_memory_equal(&found, &expected, sizeof found);
}

static void each_float8_means_what_ml_dtypes_says(void **state)
{
    (void)state;
    static const float scales[] = {1, 0.7f, 3e-5f, 1e20f};
    json_t *table = table_of("e4m3");
    uint8_t codes[256];
    float found[256];
    assert_int_equal(json_array_size(table), 256);
    for (int i = 0; i < 256; i++) codes[i] = (uint8_t)i;
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        awq_float8_decode(found, codes, 256, scales[s]);
        for (size_t i = 0; i < 256; i++) expect_meaning(table, i, scales[s], found[i]);
    }
    json_decref(table);
}

static void each_float4_means_what_ml_dtypes_says(void **state)
{
    (void)state;
    json_t *table = table_of("e2m1");
    uint8_t bytes[256];
    float found[512];
    assert_int_equal(json_array_size(table), 16);
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    found[511] = -7;
    awq_float4_decode(found, bytes, 511, 0.7f);
    for (size_t i = 0; i < 511; i++)
        expect_meaning(table, i % 2 ? i / 2 / 16 : i / 2 % 16, 0.7f, found[i]);
    assert_true(found[511] == -7); /* an odd number writes no more */
    json_decref(table);
}

static void each_power_means_what_ml_dtypes_says(void **state)
{
    (void)state;
    json_t *table = table_of("e8m0");
    assert_int_equal(json_array_size(table), 256);
    for (size_t i = 0; i < 256; i++) expect_meaning(table, i, 1, awq_power_decode((uint8_t)i));
    json_decref(table);
}

/* ---- where linears lie ---- */

enum { EXPERTS = 3, WIDTH = 32, HIDDEN = 64 };

static awq_model mixture(void)
{
    return model_of("{\"model_type\": \"qwen3_moe\", \"hidden_size\": 64, \"head_dim\": 16,"
                    " \"intermediate_size\": 96, \"moe_intermediate_size\": 32,"
                    " \"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                    " \"num_experts\": 3, \"num_experts_per_tok\": 2}");
}

/* Gives the experts gpt-oss's stacks: gate's and up's rows in turn, and transposed. */
static void interleave(awq_model *model)
{
    awq_layer_spec *layer = &model->kind[0];
    for (int i = 0; i < layer->linears; i++) {
        awq_stack_spec *stack = &layer->linear[i].stack;
        if (!stack->name) continue;
        stack->transposed = true;
        if (stack->rows == layer->linear[i].out) continue;
        stack->step = 2;
        stack->first = stack->first > 0;
    }
}

/* A checkpoint of tensors in memory. */
typedef struct made {
    awq_tensor tensor[4];
    awq_checkpoint_tensor item[4];
    awq_checkpoint_tensors all;
} made;

/* In the order of their names. */
static void add(made *to, const char *name, awq_dtype dtype, const int64_t shape[4],
                const void *data)
{
    awq_tensor *tensor = &to->tensor[to->all.count];
    *tensor = (awq_tensor){.name = name, .dtype = dtype, .data = data};
    while (tensor->dims < 4 && shape[tensor->dims]) {
        tensor->shape[tensor->dims] = shape[tensor->dims];
        tensor->dims++;
    }
    tensor->bytes = (uint64_t)awq_tensor_elements(tensor) * awq_dtype_bytes(dtype);
    to->item[to->all.count++].tensor = tensor;
    to->all.items = to->item;
}

static awq_weight found(const made *tensors, const awq_model *model, const char *linear)
{
    awq_weight weight;
    const awq_layer_spec *layer = awq_model_layer(model, 0);
    if (!awq_weight_find(&tensors->all, model, 0, linear_named(layer, linear), &weight))
        fail_msg("%s is not found", linear);
    return weight;
}

#define STACKS  "model.layers.0.mlp.experts."
#define GATE_UP STACKS "gate_up_proj"

static void a_linear_of_a_stack_is_read_in_place(void **state)
{
    (void)state;
    static float values[EXPERTS * 2 * WIDTH * HIDDEN];
    awq_model model = mixture();
    made tensors = {.all = {0}};
    add(&tensors, GATE_UP, AWQ_F32, (int64_t[4]){EXPERTS, 2 * WIDTH, HIDDEN}, values);
    awq_weight gate = found(&tensors, &model, "experts.2.gate_proj");
    awq_weight up = found(&tensors, &model, "experts.1.up_proj");
    assert_ptr_equal(awq_weight_data(&gate), values + 2 * 2 * WIDTH * HIDDEN);
    assert_ptr_equal(awq_weight_data(&up), values + 3 * WIDTH * HIDDEN);
    assert_int_equal(gate.rows, WIDTH);
    assert_int_equal(gate.cols, HIDDEN);
    awq_model_release(&model);
}

/* What lies at expert e, column c, row r of [experts, columns, rows] is 10000 e + 100 c + r. */
static void fill(float *values, int64_t columns, int64_t rows)
{
    for (int64_t i = 0; i < EXPERTS * columns * rows; i++)
        values[i] = (float)(10000 * (i / columns / rows) + 100 * (i / rows % columns) + i % rows);
}

static void a_transposed_and_interleaved_linear_is_read_by_strides(void **state)
{
    (void)state;
    static float gate_up[EXPERTS * HIDDEN * 2 * WIDTH], down[EXPERTS * WIDTH * HIDDEN];
    static float read[WIDTH * HIDDEN];
    static const char *const names[] = {"experts.2.gate_proj", "experts.2.up_proj"};
    awq_error err;
    awq_model model = mixture();
    interleave(&model);
    made tensors = {.all = {0}};
    add(&tensors, STACKS "down_proj", AWQ_F32, (int64_t[4]){EXPERTS, WIDTH, HIDDEN}, down);
    add(&tensors, GATE_UP, AWQ_F32, (int64_t[4]){EXPERTS, HIDDEN, 2 * WIDTH}, gate_up);
    fill(gate_up, HIDDEN, 2 * WIDTH);
    fill(down, WIDTH, HIDDEN);
    for (int odd = 0; odd < 2; odd++) {
        awq_weight weight = found(&tensors, &model, names[odd]);
        assert_null(awq_weight_data(&weight));
        assert_int_equal(awq_weight_read(&weight, 0, WIDTH, read, &err), AWQ_OK);
        for (int r = 0; r < WIDTH; r++)
            for (int c = 0; c < HIDDEN; c++)
                assert_true(read[r * HIDDEN + c] == (float)(20000 + 100 * c + 2 * r + odd));
    }
    awq_weight weight = found(&tensors, &model, "experts.1.down_proj");
    assert_int_equal(awq_weight_read(&weight, 0, HIDDEN, read, &err), AWQ_OK);
    for (int r = 0; r < HIDDEN; r++)
        for (int c = 0; c < WIDTH; c++)
            assert_true(read[r * WIDTH + c] == (float)(10000 + 100 * c + r));
    awq_model_release(&model);
}

static void an_interleaved_bias_is_read_by_strides(void **state)
{
    (void)state;
    static float biases[EXPERTS * 2 * WIDTH], read[WIDTH];
    awq_error err;
    awq_weight bias;
    awq_model model = mixture();
    interleave(&model);
    made tensors = {.all = {0}};
    add(&tensors, GATE_UP "_bias", AWQ_F32, (int64_t[4]){EXPERTS, 2 * WIDTH}, biases);
    for (int i = 0; i < EXPERTS * 2 * WIDTH; i++) biases[i] = (float)i;
    int up = linear_named(awq_model_layer(&model, 0), "experts.1.up_proj");
    assert_true(awq_bias_find(&tensors.all, &model, 0, up, &bias));
    assert_int_equal(bias.rows, WIDTH);
    assert_int_equal(awq_weight_read(&bias, 0, WIDTH, read, &err), AWQ_OK);
    for (int i = 0; i < WIDTH; i++) assert_true(read[i] == (float)(2 * WIDTH + 2 * i + 1));
    awq_model_release(&model);
}

/* gpt-oss: [experts, rows, groups, 16], of which rows are interleaved, but not transposed. */
static void blocks_of_mxfp4_are_read_by_rows(void **state)
{
    (void)state;
    enum { GROUPS = HIDDEN / 32 };
    static uint8_t blocks[EXPERTS * 2 * WIDTH * GROUPS * 16], powers[EXPERTS * 2 * WIDTH * GROUPS];
    static uint16_t read[WIDTH * HIDDEN];
    json_t *table = table_of("e2m1");
    awq_error err;
    awq_model model = mixture();
    interleave(&model);
    made tensors = {.all = {0}};
    add(&tensors, GATE_UP "_blocks", AWQ_U8, (int64_t[4]){EXPERTS, 2 * WIDTH, GROUPS, 16}, blocks);
    add(&tensors, GATE_UP "_scales", AWQ_U8, (int64_t[4]){EXPERTS, 2 * WIDTH, GROUPS}, powers);
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)(i * 37 + i / 251);
    for (size_t i = 0; i < sizeof powers; i++) powers[i] = (uint8_t)(120 + i % 11);
    awq_weight weight = found(&tensors, &model, "experts.2.up_proj");
    assert_int_equal(weight.stored, AWQ_STORED_FLOAT4);
    assert_int_equal(awq_weight_check(&weight, &err), AWQ_OK);
    assert_int_equal(awq_weight_read(&weight, 0, WIDTH, read, &err), AWQ_OK);
    for (size_t r = 0; r < WIDTH; r++)
        for (size_t c = 0; c < HIDDEN; c++) {
            size_t row = 2 * 2 * WIDTH + 2 * r + 1; /* of all */
            uint8_t byte = blocks[row * GROUPS * 16 + c / 2];
            double code = json_number_value(json_array_get(table, c % 2 ? byte >> 4 : byte & 15));
            double value = ldexp(code, powers[row * GROUPS + c / 32] - 127);
            assert_true((double)awq_float_from_bf16(read[r * HIDDEN + c]) == value);
        }
    json_decref(table);
    awq_model_release(&model);
}

/* ---- blocks of rows ---- */

/* Zero points lie along the rows, those of 32 rows in whole words. */
static void integers_are_the_same_in_blocks_of_rows(void **state)
{
    (void)state;
    enum { ROWS = 70, COLS = 48, GROUP = 16, GROUPS = COLS / GROUP, WORDS = COLS * 3 / 32 + 1 };
    static uint32_t packed[ROWS * WORDS], zeros[8 * GROUPS];
    static float scales[ROWS * GROUPS], whole[ROWS * COLS], part[ROWS * COLS];
    static int64_t shape[2] = {ROWS, COLS};
    awq_error err;
    awq_quantization how = {AWQ_FORMAT_COMPRESSED, 3, GROUP, false, AWQ_F32};
    awq_part parts[AWQ_MAX_PARTS];
    awq_tensor tensors[AWQ_MAX_PARTS];
    const void *const data[] = {packed, scales, shape, zeros};
    awq_weight weight = {.stored = AWQ_STORED_INTEGERS,
                         .dtype = AWQ_F32,
                         .rows = ROWS,
                         .cols = COLS,
                         .tensor_rows = ROWS,
                         .step = 1,
                         .block_rows = 1,
                         .block_cols = GROUP,
                         .integers = &how};
    assert_int_equal(awq_format_parts(&how, ROWS, COLS, parts), 4);
    for (size_t i = 0; i < ROWS * WORDS; i++) packed[i] = (uint32_t)i * 2654435761u;
    for (size_t i = 0; i < 8 * GROUPS; i++) zeros[i] = (uint32_t)i * 40503u * 65537u;
    for (size_t i = 0; i < ROWS * GROUPS; i++) scales[i] = 0.01f * (float)(i + 1);
    for (int i = 0; i < 4; i++) {
        tensors[i] = (awq_tensor){.name = parts[i].suffix,
                                  .dtype = parts[i].dtype,
                                  .dims = parts[i].dims,
                                  .data = data[i],
                                  .shape = {parts[i].shape[0], parts[i].shape[1]}};
        weight.part[i] = &tensors[i];
    }
    assert_int_equal(tensors[0].shape[1], WORDS);
    assert_int_equal(tensors[3].shape[0], 7);
    assert_int_equal(awq_weight_check(&weight, &err), AWQ_OK);
    assert_int_equal(awq_weight_read_rows(&weight) % 32, 0);
    assert_int_equal(awq_weight_read(&weight, 0, ROWS, whole, &err), AWQ_OK);
    for (int first = 0; first < ROWS; first += 32)
        assert_int_equal(awq_weight_read(&weight, first, first + 32 < ROWS ? 32 : ROWS - first,
                                         part + first * COLS, &err),
                         AWQ_OK);
    assert_memory_equal(part, whole, sizeof whole);
    for (int row = 0; row < ROWS; row++) /* one bit at a time */
        for (int col = 0; col < COLS; col++) {
            int code = 0, zero = 0;
            for (int bit = 0; bit < 3; bit++) {
                int at = 3 * col + bit, of = 3 * row + bit;
                code |= (int)(packed[row * WORDS + at / 32] >> at % 32 & 1) << bit;
                zero |= (int)(zeros[of / 32 * GROUPS + col / GROUP] >> of % 32 & 1) << bit;
            }
            float scale = scales[row * GROUPS + col / GROUP];
            assert_true(whole[row * COLS + col] == (float)(code - zero) * scale);
        }
}

/* ---- shapes that do not fit ---- */

static bool fits(const made *tensors, const awq_model *model, const char *linear)
{
    awq_weight weight = found(tensors, model, linear);
    awq_expected expected;
    char name[AWQ_NAME_BYTES];
    for (int64_t i = 0; awq_weight_expected(&weight, i, &expected, name); i++) {
        const awq_tensor *is = weight.part[i];
        if (!is || is->dims != expected.tensor.dims ||
            memcmp(is->shape, expected.tensor.shape, sizeof is->shape[0] * (size_t)is->dims) != 0)
            return false;
    }
    return true;
}

/* Two linears of `rows` rows in each expert's part of the stack: [2, 2 rows, 64], blocks of 128. */
static awq_status check_stack(int64_t rows, awq_error *err)
{
    float scale[16];
    for (int i = 0; i < 16; i++) scale[i] = 1;
    const awq_tensor values = {.name = "stack", .dtype = AWQ_F8_E4M3};
    const awq_tensor scales = {.name = "stack_scale_inv", .dtype = AWQ_F32, .data = scale};
    return awq_weight_check(&(awq_weight){.stored = AWQ_STORED_FLOAT8,
                                          .dtype = AWQ_BF16,
                                          .rows = rows,
                                          .cols = 64,
                                          .part = {&values, &scales},
                                          .experts = 2,
                                          .tensor_rows = 2 * rows,
                                          .first = rows,
                                          .step = 1,
                                          .block_rows = 128,
                                          .block_cols = 128},
                            err);
}

static void blocks_that_may_be_of_all_rows_or_of_each_linears_are_refused(void **state)
{
    (void)state;
    awq_error err;
    assert_int_equal(check_stack(96, &err), AWQ_ERR_INPUT); /* two scales either way */
    assert_contains(err.text, "'stack_scale_inv': blocks of 128 rows do not divide the 96");
    assert_int_equal(check_stack(160, &err), AWQ_OK); /* three, or four */
    assert_int_equal(check_stack(256, &err), AWQ_OK);
}

/* A tensor with more dimensions, fewer, empty ones or none fits only where it means the same. */
static void shapes_of_scales_that_mean_nothing_are_not_taken(void **state)
{
    (void)state;
    static const struct {
        int64_t shape[4];
        bool fits;
    } cases[] = {{{EXPERTS, 4, 4}, true},
                 {{EXPERTS, 2 * WIDTH, 1}, true},
                 {{EXPERTS, 2 * WIDTH}, true},
                 {{EXPERTS, 1, 1}, true},
                 {{EXPERTS}, true},
                 {{EXPERTS, 1}, true},
                 {{EXPERTS, 4}, false},
                 {{0}, false},
                 {{1}, false},
                 {{EXPERTS, 4, 3}, false},
                 {{4, EXPERTS, 4}, false},
                 {{2 * WIDTH, 1}, false},
                 {{EXPERTS, 4, 4, 1}, false},
                 {{EXPERTS, 1, 1, 1}, false},
                 {{EXPERTS, 2 * WIDTH, 2}, false}};
    awq_model model = mixture();
    model.block[0] = model.block[1] = 16;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made tensors = {.all = {0}};
        add(&tensors, GATE_UP, AWQ_F8_E4M3, (int64_t[4]){EXPERTS, 2 * WIDTH, HIDDEN}, NULL);
        add(&tensors, GATE_UP "_scale_inv", AWQ_F32, cases[i].shape, NULL);
        if (fits(&tensors, &model, "experts.0.gate_proj") != cases[i].fits)
            fail_msg("scales of shape %zu", i);
    }
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_float8_means_what_ml_dtypes_says),
        cmocka_unit_test(each_float4_means_what_ml_dtypes_says),
        cmocka_unit_test(each_power_means_what_ml_dtypes_says),
        cmocka_unit_test(a_linear_of_a_stack_is_read_in_place),
        cmocka_unit_test(blocks_that_may_be_of_all_rows_or_of_each_linears_are_refused),
        cmocka_unit_test(a_transposed_and_interleaved_linear_is_read_by_strides),
        cmocka_unit_test(an_interleaved_bias_is_read_by_strides),
        cmocka_unit_test(blocks_of_mxfp4_are_read_by_rows),
        cmocka_unit_test(integers_are_the_same_in_blocks_of_rows),
        cmocka_unit_test(shapes_of_scales_that_mean_nothing_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
