/* SPDX-License-Identifier: MIT
 * tests/unit/worker/test_packed_layer.c - a layer's tensors: the same bytes by any number of
 * threads, and an error of one thread is the layer's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/io/model_of.h"
#include "tests/unit/layers/check.h"
#include "worker/results/packed_layer.h"

enum { GROUP = 128 };

static awq_checkpoint *checkpoint;
static const awq_layer_spec *spec;
static awq_quantization quantization;
static awq_quantized_layer layer;

/* Random codes; scales of one. */
static void make_linear(awq_quantized_linear *to, int64_t out, int64_t in)
{
    size_t words = (size_t)(out * in / 8), groups = (size_t)(out * in / GROUP);
    to->words = malloc(words * sizeof *to->words);
    to->scales = malloc(groups * sizeof *to->scales);
    to->zeros = malloc(groups);
    for (size_t i = 0; i < words; i++) to->words[i] = (uint32_t)(i * 2654435761u);
    for (size_t i = 0; i < groups; i++) to->scales[i] = 0x3c00;
    for (size_t i = 0; i < groups; i++) to->zeros[i] = (uint8_t)(i % 16);
}

static int open_layer(void **state)
{
    (void)state;
    awq_problems problems;
    awq_problems_init(&problems);
    checkpoint = awq_checkpoint_open(AWQ_TEST_DATA "/demo-llama-outliers", &problems);
    awq_problems_release(&problems);
    if (!checkpoint) return 1;
    spec = awq_model_layer(awq_checkpoint_model(checkpoint), 1);
    quantization = (awq_quantization){
        .format = AWQ_FORMAT_GEMM, .bits = 4, .group_size = GROUP, .scales = AWQ_F16};
    awq_quantized_layer_init(&layer);
    layer.record.layer = 1;
    layer.linears = spec->linears;
    layer.linear = calloc((size_t)layer.linears, sizeof *layer.linear);
    for (int i = 0; i < spec->linears; i++)
        make_linear(&layer.linear[i], spec->linear[i].out, spec->linear[i].in);
    return 0;
}

static int close_layer(void **state)
{
    (void)state;
    for (int linear = 0; linear < layer.linears; linear++) {
        free(layer.linear[linear].words);
        free(layer.linear[linear].scales);
        free(layer.linear[linear].zeros);
    }
    awq_quantized_layer_release(&layer);
    awq_checkpoint_close(checkpoint);
    return 0;
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    awq_error err;
    awq_packed_layer one, several;
    must(awq_pack_layer(checkpoint, &quantization, &layer, 1, &one, &err));
    must(awq_pack_layer(checkpoint, &quantization, &layer, 5, &several, &err));
    assert_int_equal(one.count, 3 * DENSE_LINEARS + spec->vectors);
    assert_int_equal(several.count, one.count);
    for (size_t i = 0; i < one.count; i++) {
        assert_string_equal(several.tensor[i].name, one.tensor[i].name);
        assert_int_equal(several.tensor[i].bytes, one.tensor[i].bytes);
        assert_memory_equal(several.data[i], one.data[i], one.tensor[i].bytes);
    }
    awq_packed_layer_release(&one);
    awq_packed_layer_release(&several);
}

/* The others are the source's, bit for bit. */
static void norms_that_absorbed_scales_are_packed(void **state)
{
    (void)state;
    awq_error err;
    awq_packed_layer packed;
    int64_t width = spec->vector[NORM_INPUT].width;
    float *folded = layer.vector[NORM_INPUT] = malloc((size_t)width * sizeof *folded);
    for (int64_t i = 0; i < width; i++) folded[i] = (float)(i % 128) / 64; /* exact in 16 bits */
    must(awq_pack_layer(checkpoint, &quantization, &layer, 2, &packed, &err));
    for (int norm = 0; norm < spec->vectors; norm++) {
        const awq_tensor *source = awq_checkpoint_vector(checkpoint, 1, norm, 0);
        size_t at = 3 * DENSE_LINEARS + (size_t)norm;
        assert_string_equal(packed.tensor[at].name, source->name);
        assert_int_equal(packed.tensor[at].dtype, source->dtype);
        assert_int_equal(packed.tensor[at].bytes, source->bytes);
        if (norm != NORM_INPUT) assert_memory_equal(packed.data[at], source->data, source->bytes);
        for (int64_t i = 0; norm == NORM_INPUT && i < width; i++) {
            float stored;
            awq_widen(&stored, (const uint16_t *)packed.data[at] + i, source->dtype, 1);
            assert_true(stored == folded[i]);
        }
    }
    awq_packed_layer_release(&packed);
}

static void a_scale_that_cannot_be_stored_names_its_linear(void **state)
{
    (void)state;
    awq_error err;
    awq_packed_layer packed;
    layer.linear[LINEAR_UP].scales[3] = 0x7e00; /* not a number, and so not what was stored */
    for (int threads = 1; threads <= 5; threads += 4) {
        assert_true(awq_pack_layer(checkpoint, &quantization, &layer, threads, &packed, &err));
        if (!strstr(err.text, "up_proj")) fail_msg("'%s' does not say up_proj", err.text);
        awq_packed_layer_release(&packed);
    }
    layer.linear[LINEAR_UP].scales[3] = 0x3c00;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(norms_that_absorbed_scales_are_packed),
        cmocka_unit_test(a_scale_that_cannot_be_stored_names_its_linear),
    };
    return cmocka_run_group_tests(tests, open_layer, close_layer);
}
