/* SPDX-License-Identifier: MIT */
#include "tests/unit/layers/synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
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

static const char *dtype_name(awq_dtype dtype)
{
    return dtype == AWQ_F32 ? "float32" : dtype == AWQ_F16 ? "float16" : "bfloat16";
}

/* The family that has what the shape asks for. */
static const char *family_of(synthetic_shape shape)
{
    if (shape.family) return shape.family;
    if (shape.sparse) return "qwen2_moe";
    if (shape.fused) return "phi3";
    if (shape.out_norms) return "gemma2";
    if (shape.qk_norm) return "qwen3";
    return shape.qkv_bias ? "qwen2" : "llama";
}

static awq_model make_model(synthetic_shape shape)
{
    static const char window[] =
        ", \"sliding_window\": 10, \"layer_types\": [\"sliding_attention\", \"sliding_attention\","
        " \"sliding_attention\", \"sliding_attention\", \"sliding_attention\","
        " \"sliding_attention\"]";
    char text[1024];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"num_hidden_layers\": %d, \"hidden_size\": %d,"
             " \"intermediate_size\": %d, \"num_attention_heads\": %d,"
             " \"num_key_value_heads\": %d, \"head_dim\": %d, \"vocab_size\": 64,"
             " \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000, \"torch_dtype\": \"%s\","
             " \"num_experts\": %d, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32,"
             " \"shared_expert_intermediate_size\": 64, \"norm_topk_prob\": %s%s%s}",
             family_of(shape), SYNTHETIC_LAYERS, HIDDEN, INTERMEDIATE, HEADS,
             (int)(shape.kv_heads ? shape.kv_heads : HEADS), HEAD_DIM, dtype_name(shape.dtype),
             SYNTHETIC_EXPERTS, shape.normalized ? "true" : "false", shape.out_norms ? window : "",
             shape.keys ? shape.keys : "");
    awq_model model = model_of(text);
    assert_int_equal(model.kinds, 1);
    for (int i = 0; i < model.kind[0].linears; i++) { /* in combinations that no family has */
        awq_linear_spec *linear = &model.kind[0].linear[i];
        linear->bias = shape.all_bias || (shape.qkv_bias && linear->group == GROUP_QKV);
    }
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

/* Norms whose weight is of the model's type; those of the residual have some large channels. */
static void fill_norm(const synthetic *s, float *to, int64_t count, bool offset, uint64_t seed)
{
    unsigned char stored[sizeof(float)];
    float *norm = malloc((size_t)count * sizeof *norm);
    fill(norm, count, 0.3f, seed);
    for (int64_t i = 0; i < count; i++) {
        norm[i] = (1 + norm[i]) * (count == HIDDEN && i % 11 == 3 ? 40.0f : 1.0f);
        if (offset) norm[i] -= 1;
        awq_narrow(stored, &norm[i], s->model.dtype, 1);
        awq_widen(&norm[i], stored, s->model.dtype, 1);
        if (offset) norm[i] += 1;
    }
    s->be->upload(s->device, to, norm, (size_t)count * sizeof *norm);
    free(norm);
}

/* Columns that read an outlier are small, as trained models have it. */
static void fill_weight(synthetic *s, int linear, void *to)
{
    awq_extent extent = awq_linear_extent(&s->spec->linear[linear]);
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
    must(awq_decoder_init(&s->decoder, &s->model, SYNTHETIC_LAYER, &err));
    size_t element = s->be->compute_bytes;
    s->decoder.arena = allocate(s, awq_decoder_bytes(&s->model, element));
    awq_arena arena = {.base = s->decoder.arena};
    for (int i = 0; i < s->spec->linears; i++) {
        awq_extent extent = awq_linear_extent(&s->spec->linear[i]);
        s->decoder.weight[i] =
            awq_arena_take(&arena, (uint64_t)awq_extent_elements(extent) * element);
        fill_weight(s, i, s->decoder.weight[i]);
        if (!s->spec->linear[i].bias) continue;
        s->decoder.bias[i] = awq_arena_take(&arena, (uint64_t)extent.out * sizeof(float));
        upload_random(s, s->decoder.bias[i], extent.out, 0.5f, 91u + (uint64_t)i);
    }
    for (int i = 0; i < s->spec->vectors; i++) {
        int64_t count = s->spec->vector[i].width;
        s->decoder.vector[i] = awq_arena_take(&arena, (uint64_t)count * sizeof(float));
        s->decoder.vector_dtype[i] = s->model.dtype;
        fill_norm(s, s->decoder.vector[i], count, s->spec->vector[i].offset, 57u + (uint64_t)i);
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
    s->spec = awq_model_layer(&s->model, SYNTHETIC_LAYER);
    must(s->be->open(&options, &s->device, &err));
    int64_t rows = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH;
    make_decoder(s);
    awq_tile_size tile = awq_checked_tile(SYNTHETIC_SEQUENCES, SYNTHETIC_LENGTH);
    must(awq_scratch_create(s->device, &s->model, &tile, &s->scratch, &err));
    s->input = allocate(s, (size_t)(rows * HIDDEN) * sizeof(float));
    s->output = allocate(s, (size_t)(rows * HIDDEN) * sizeof(float));
    upload_random(s, s->input, rows * HIDDEN, 2, 3);
    s->recipe = awq_recipe_default();
    s->recipe.group_size = 16;
    s->recipe.duo = AWQ_DUO_OFF;
    s->recipe.rounding = AWQ_ROUNDING_NEAREST;
    s->check = (awq_kept_tokens){
        .input = s->input, .sequences = SYNTHETIC_SEQUENCES, .length = SYNTHETIC_LENGTH};
    synthetic_measure(s);
}

void synthetic_measure(synthetic *s)
{
    awq_error err;
    size_t bytes = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH * HIDDEN * sizeof(float);
    awq_statistics_release(s->device, &s->statistics);
    must(awq_statistics_init(s->device, &s->model, SYNTHETIC_LAYER, (awq_layer_part){0},
                             &(awq_routed_room){.rows = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH},
                             &s->statistics, &err));
    s->be->copy(s->device, s->output, s->input, bytes);
    must(awq_decoder_forward(&(awq_forward){.device = s->device,
                                            .model = &s->model,
                                            .decoder = &s->decoder,
                                            .scratch = s->scratch,
                                            .sequences = SYNTHETIC_SEQUENCES,
                                            .statistics = &s->statistics},
                             s->output, &err));
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
    awq_model_release(&s->model);
}

awq_status synthetic_watched(synthetic *s, const awq_quantize_watch *watch,
                             awq_quantized_layer *out, awq_error *err)
{
    return awq_quantize_layer(&(awq_layer_input){.device = s->device,
                                                 .model = &s->model,
                                                 .decoder = &s->decoder,
                                                 .statistics = &s->statistics,
                                                 .scratch = s->scratch,
                                                 .kept = &s->check,
                                                 .recipe = &s->recipe,
                                                 .watch = watch},
                              out, err);
}

awq_status synthetic_quantize(synthetic *s, awq_quantized_layer *out, awq_error *err)
{
    return synthetic_watched(s, NULL, out, err);
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

int synthetic_code(const awq_quantized_linear *linear, int64_t in, int64_t row, int64_t column)
{
    uint32_t word = linear->words[row * awq_words_count(in, 4) + column / 8];
    return (int)(word >> column % 8 * 4 & 15);
}
