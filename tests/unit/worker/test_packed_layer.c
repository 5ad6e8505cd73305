/* SPDX-License-Identifier: MIT
 * tests/unit/worker/test_packed_layer.c - a layer's tensors: the same bytes by any number of
 * threads, and an error of one thread is the layer's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/layers/check.h"
#include "worker/packed_layer.h"

enum { GROUP = 128 };

static awq_checkpoint *checkpoint;
static awq_quantization quantization;
static awq_quantized_layer layer;

/* Random codes; scales of one. */
static void make_linear(awq_quantized_linear *to, int64_t out, int64_t in)
{
    size_t weights = (size_t)(out * in), groups = weights / GROUP;
    to->codes = malloc(weights);
    to->scales = malloc(groups * sizeof *to->scales);
    to->zeros = malloc(groups);
    for (size_t i = 0; i < weights; i++) to->codes[i] = (uint8_t)(i * 2654435761u >> 24 & 15);
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
    const awq_model *model = awq_checkpoint_model(checkpoint);
    quantization = (awq_quantization){
        .format = AWQ_FORMAT_GEMM, .bits = 4, .group_size = GROUP, .scales = AWQ_F16};
    awq_quantized_layer_init(&layer);
    layer.record.layer = 1;
    layer.linears = awq_model_linears(model);
    layer.linear = calloc((size_t)layer.linears, sizeof *layer.linear);
    for (awq_linear linear = 0; linear < layer.linears; linear++) {
        int64_t out, in;
        awq_linear_shape(model, linear, &out, &in);
        make_linear(&layer.linear[linear], out, in);
    }
    return 0;
}

static int close_layer(void **state)
{
    (void)state;
    for (awq_linear linear = 0; linear < layer.linears; linear++) {
        free(layer.linear[linear].codes);
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
    assert_int_equal(one.count, 3 * 7);
    assert_int_equal(several.count, one.count);
    for (size_t i = 0; i < one.count; i++) {
        assert_string_equal(several.tensor[i].name, one.tensor[i].name);
        assert_int_equal(several.tensor[i].bytes, one.tensor[i].bytes);
        assert_memory_equal(several.data[i], one.data[i], one.tensor[i].bytes);
    }
    awq_packed_layer_release(&one);
    awq_packed_layer_release(&several);
}

static void a_scale_that_cannot_be_stored_names_its_linear(void **state)
{
    (void)state;
    awq_error err;
    awq_packed_layer packed;
    layer.linear[AWQ_UP].scales[3] = 0x7e00; /* not a number, and so not what was stored */
    for (int threads = 1; threads <= 5; threads += 4) {
        assert_true(awq_pack_layer(checkpoint, &quantization, &layer, threads, &packed, &err));
        if (!strstr(err.text, "up_proj")) fail_msg("'%s' does not say up_proj", err.text);
        awq_packed_layer_release(&packed);
    }
    layer.linear[AWQ_UP].scales[3] = 0x3c00;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(a_scale_that_cannot_be_stored_names_its_linear),
    };
    return cmocka_run_group_tests(tests, open_layer, close_layer);
}
