/* SPDX-License-Identifier: MIT */
#include "tests/unit/layers/synthetic.h"

#include <stdlib.h>
#include <string.h>

#include "layers/arena.h"
#include "layers/extent.h"
#include "tests/unit/layers/check.h"

enum { HEADS = 4, HEAD_DIM = 16, HIDDEN = 48, INTERMEDIATE = 96 };

/* A linear congruential generator's high bits, to (-1, 1). */
static float next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 11) * 0x1p-52 - 1);
}

static void fill(float *to, int64_t count, float magnitude, uint64_t seed)
{
    for (int64_t i = 0; i < count; i++) to[i] = magnitude * next_random(&seed);
}

static awq_model make_model(synthetic_shape shape)
{
    awq_model model = {
        .layers = 1,
        .hidden = HIDDEN,
        .intermediate = INTERMEDIATE,
        .heads = HEADS,
        .kv_heads = shape.kv_heads ? shape.kv_heads : HEADS,
        .head_dim = HEAD_DIM,
        .vocab = 64,
        .norm_eps = 1e-5f,
        .rope = {.type = AWQ_ROPE_DEFAULT, .theta = 10000},
        .qk_norm = shape.qk_norm,
        .dtype = shape.dtype,
    };
    for (int linear = 0; linear < AWQ_DENSE_LINEARS; linear++)
        model.bias[linear] = shape.all_bias || (shape.qkv_bias && linear <= AWQ_V);
    if (!shape.sparse) return model;
    model.family = AWQ_QWEN2_MOE;
    model.experts = (awq_experts){SYNTHETIC_EXPERTS, 2, 32, 64, shape.normalized};
    for (int layer = 0; layer < 6; layer++) model.sparse[layer] = true;
    return model;
}

static void *allocate(synthetic *s, size_t bytes)
{
    awq_error err;
    void *array;
    must(s->be->alloc(s->device, bytes, "a test", &array, &err));
    return array;
}

static void upload_random(const synthetic *s, float *to, int64_t count, float magnitude,
                          uint64_t seed)
{
    float *host = malloc((size_t)count * sizeof *host);
    fill(host, count, magnitude, seed);
    s->be->upload(s->device, to, host, (size_t)count * sizeof *host);
    free(host);
}

/* Norms in the model's type; those of the residual have some large channels. */
static void fill_norm(const synthetic *s, float *to, int64_t count, uint64_t seed)
{
    unsigned char stored[sizeof(float)];
    float *norm = malloc((size_t)count * sizeof *norm);
    fill(norm, count, 0.3f, seed);
    for (int64_t i = 0; i < count; i++) {
        norm[i] = (1 + norm[i]) * (count == HIDDEN && i % 11 == 3 ? 40.0f : 1.0f);
        awq_narrow(stored, &norm[i], s->model.dtype, 1);
        awq_widen(&norm[i], stored, s->model.dtype, 1);
    }
    s->be->upload(s->device, to, norm, (size_t)count * sizeof *norm);
    free(norm);
}

/* Columns that read an outlier are small, as trained models have it. */
static void fill_weight(synthetic *s, awq_linear linear, void *to)
{
    awq_extent extent = awq_linear_extent(&s->model, linear);
    int64_t count = awq_extent_elements(extent);
    float *weight = malloc((size_t)count * sizeof *weight);
    fill(weight, count, 0.3f, 17u + (uint64_t)linear);
    for (int64_t i = 0; i < count; i++) {
        unsigned char stored[sizeof(float)];
        if (extent.in == HIDDEN && i % extent.in % 11 == 3) weight[i] /= 20;
        awq_narrow(stored, &weight[i], s->device->compute, 1);
        awq_widen(&weight[i], stored, s->device->compute, 1);
    }
    s->be->load(s->device, to, weight, AWQ_F32, (size_t)count);
    s->original[linear] = weight;
}

static void make_decoder(synthetic *s)
{
    awq_error err;
    must(awq_decoder_init(&s->decoder, &s->model, 5, &err));
    size_t element = s->be->compute_bytes;
    s->decoder.arena = allocate(s, awq_decoder_bytes(&s->model, element));
    awq_arena arena = {.base = s->decoder.arena};
    for (awq_linear i = 0; i < awq_model_linears(&s->model); i++) {
        if (!awq_layer_has(&s->model, 5, i)) continue;
        awq_extent extent = awq_linear_extent(&s->model, i);
        s->decoder.weight[i] =
            awq_arena_take(&arena, (uint64_t)awq_extent_elements(extent) * element);
        fill_weight(s, (awq_linear)i, s->decoder.weight[i]);
        if (!s->model.bias[awq_linear_kind(&s->model, i)]) continue;
        s->decoder.bias[i] = awq_arena_take(&arena, (uint64_t)extent.out * sizeof(float));
        upload_random(s, s->decoder.bias[i], extent.out, 0.5f, 91u + (uint64_t)i);
    }
    for (int i = 0; i < AWQ_NORMS; i++) {
        if (!awq_model_has_norm(&s->model, (awq_norm)i)) continue;
        int64_t count = awq_norm_elements(&s->model, (awq_norm)i);
        s->decoder.norm[i] = awq_arena_take(&arena, (uint64_t)count * sizeof(float));
        s->decoder.norm_dtype[i] = s->model.dtype;
        fill_norm(s, s->decoder.norm[i], count, 57u + (uint64_t)i);
    }
    assert_int_equal(arena.used, awq_decoder_bytes(&s->model, element));
}

void synthetic_open(synthetic *s, synthetic_shape shape)
{
    awq_error err;
    awq_device_options options = {.threads = shape.threads ? shape.threads : 2,
                                  .compute = shape.compute};
    *s = (synthetic){.be = shape.backend ? shape.backend : awq_backend_find("cpu"),
                     .model = make_model(shape)};
    must(s->be->open(&options, &s->device, &err));
    int64_t rows = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH;
    make_decoder(s);
    must(awq_scratch_create(s->device, &s->model, rows, SYNTHETIC_LENGTH, &s->scratch, &err));
    must(awq_statistics_init(s->device, &s->model, 5, &s->statistics, &err));
    s->input = allocate(s, (size_t)(rows * HIDDEN) * sizeof(float));
    s->output = allocate(s, (size_t)(rows * HIDDEN) * sizeof(float));
    upload_random(s, s->input, rows * HIDDEN, 2, 3);
    s->options = awq_quantize_options_default();
    s->options.grid.group_size = 16;
    s->options.duo = AWQ_DUO_OFF;
    s->options.rounding = AWQ_ROUNDING_NEAREST;
    s->check = (awq_kept_tokens){s->input, SYNTHETIC_SEQUENCES, SYNTHETIC_LENGTH, NULL};
    synthetic_measure(s);
}

void synthetic_measure(synthetic *s)
{
    awq_error err;
    size_t bytes = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH * HIDDEN * sizeof(float);
    s->be->zero(s->device, s->statistics.arena, awq_statistics_bytes(&s->model));
    s->statistics.tokens = 0;
    memset(s->statistics.group_tokens, 0,
           (size_t)awq_model_groups(&s->model) * sizeof *s->statistics.group_tokens);
    free(s->statistics.choice);
    s->statistics.choice = NULL;
    s->be->copy(s->device, s->output, s->input, bytes);
    must(awq_decoder_forward(s->device, &s->model, &s->decoder, s->scratch, s->output,
                             SYNTHETIC_SEQUENCES, &s->statistics, NULL, NULL, &err));
}

void synthetic_close(synthetic *s)
{
    for (int linear = 0; linear < SYNTHETIC_LINEARS; linear++) free(s->original[linear]);
    s->be->release(s->device, s->input);
    s->be->release(s->device, s->output);
    awq_statistics_release(s->device, &s->statistics);
    awq_scratch_free(s->scratch);
    awq_decoder_release(s->device, &s->decoder);
    s->be->close(s->device);
}

awq_status synthetic_quantize(synthetic *s, awq_quantized_layer *out, awq_error *err)
{
    return awq_quantize_layer(s->device, &s->model, &s->decoder, &s->statistics, s->scratch, NULL,
                              &s->check, &s->options, NULL, out, err);
}

static void run_on(const awq_backend *backend, awq_dtype compute, void (*test)(synthetic_shape))
{
    awq_error err;
    awq_device *device;
    awq_device_options options = {.threads = 1, .compute = compute};
    if (backend->open(&options, &device, &err)) {
        print_message("%s does not open here: skipped\n", backend->name);
        return;
    }
    backend->close(device);
    print_message("%s, %s\n", backend->name, awq_dtype_name(compute));
    awq_dtype dtype = compute == AWQ_F32 ? AWQ_BF16 : compute;
    test((synthetic_shape){.kv_heads = 2, .dtype = dtype, .backend = backend, .compute = compute});
}

void synthetic_on_each(void (*test)(synthetic_shape shape))
{
    for (const awq_backend *const *backend = awq_backends(); *backend; backend++) {
        if ((*backend)->compute_bytes == 4) {
            run_on(*backend, AWQ_F32, test);
            continue;
        }
        run_on(*backend, AWQ_F16, test);
        run_on(*backend, AWQ_BF16, test);
    }
}
