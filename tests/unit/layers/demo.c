/* SPDX-License-Identifier: MIT */
#include "tests/unit/layers/demo.h"

#include <stdlib.h>
#include <string.h>

#include "layers/fold/fold_check.h"
#include "layers/forward/extent.h"
#include "layers/forward/tensor_load.h"
#include "tests/unit/layers/check.h"

#define DEMO_PATH AWQ_TEST_DATA "/demo-llama-outliers"

static float *allocate(demo *d, int64_t elements)
{
    awq_error err;
    void *array;
    must(d->be->alloc(d->device, (size_t)elements * sizeof(float), "a test", &array, &err));
    return array;
}

void demo_open(demo *d, int threads)
{
    awq_error err;
    awq_problems problems;
    awq_problems_init(&problems);
    *d = (demo){.be = awq_backend_find("cpu")};
    must(d->be->open(&(awq_device_options){.threads = threads}, &d->device, &err));
    d->checkpoint = awq_checkpoint_open(DEMO_PATH, &problems);
    if (!d->checkpoint) fail_msg("%s", problems.items[0].text);
    awq_problems_release(&problems);
    d->model = awq_checkpoint_model(d->checkpoint);
    must(awq_tokens_read(DEMO_PATH "/eval.h5", DEMO_EVAL, &d->eval, &err));
    d->length = d->eval.length;
    awq_tile_size tile = awq_checked_tile(DEMO_TILE, d->length);
    must(awq_scratch_create(d->device, d->model, &tile, &d->scratch, &err));
    must(awq_head_load(d->device, d->checkpoint, &d->head, &err));
    must(awq_head_load(d->device, d->checkpoint, &d->other, &err));
    awq_decoder layers[DEMO_LAYERS];
    demo_load(d, layers);
    d->original = demo_forward(d, layers);
    demo_release(d, layers);
}

void demo_close(demo *d)
{
    d->be->release(d->device, d->original);
    awq_head_free(d->head);
    awq_head_free(d->other);
    awq_scratch_free(d->scratch);
    awq_tokens_release(&d->eval);
    awq_checkpoint_close(d->checkpoint);
    d->be->close(d->device);
}

double demo_golden(const char *path)
{
    json_error_t problem;
    json_t *root = json_load_file(DEMO_PATH "/golden.json", 0, &problem);
    char copy[128], *rest = copy;
    assert_non_null(root);
    strcpy(copy, path);
    const json_t *at = root;
    for (char *key; (key = strtok_r(rest, ".", &rest));)
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(key)) : json_object_get(at, key);
    assert_true(json_is_number(at));
    double value = json_number_value(at);
    json_decref(root);
    return value;
}

static void embed(demo *d, const awq_tokens *tokens, int64_t first, int64_t sequences, float *to)
{
    awq_error err;
    awq_embedding *embedding;
    must(awq_embedding_load(d->device, d->checkpoint, &embedding, &err));
    must(awq_embed(embedding, tokens->ids + first * d->length, sequences * d->length, to, &err));
    awq_embedding_free(embedding);
}

float *demo_forward(demo *d, const awq_decoder *layers)
{
    awq_error err;
    float *hidden = allocate(d, DEMO_EVAL * d->length * d->model->hidden);
    embed(d, &d->eval, 0, DEMO_EVAL, hidden);
    for (int64_t first = 0; first < DEMO_EVAL; first += DEMO_TILE)
        for (int layer = 0; layer < DEMO_LAYERS; layer++)
            must(awq_decoder_forward(&(awq_forward){.device = d->device,
                                                    .model = d->model,
                                                    .decoder = &layers[layer],
                                                    .scratch = d->scratch,
                                                    .sequences = DEMO_TILE},
                                     hidden + first * d->length * d->model->hidden, &err));
    return hidden;
}

void demo_load(demo *d, awq_decoder *layers)
{
    awq_error err;
    for (int layer = 0; layer < DEMO_LAYERS; layer++)
        must(awq_decoder_load(d->device, d->checkpoint, layer, (awq_layer_part){0}, &layers[layer],
                              &err));
}

void demo_release(demo *d, awq_decoder *layers)
{
    for (int layer = 0; layer < DEMO_LAYERS; layer++)
        awq_decoder_release(d->device, &layers[layer]);
}

/* One tile through all layers; the first one's boundaries are kept. */
static void calibrate_tile(demo *d, demo_calibration *c, const awq_decoder *layers,
                           const awq_tokens *tokens, int64_t first)
{
    awq_error err;
    int64_t elements = DEMO_TILE * d->length * d->model->hidden;
    float *hidden = allocate(d, elements);
    embed(d, tokens, first, DEMO_TILE, hidden);
    for (int layer = 0; layer <= DEMO_LAYERS; layer++) {
        if (!first) memcpy(c->boundary[layer], hidden, (size_t)elements * sizeof *hidden);
        if (layer < DEMO_LAYERS)
            must(awq_decoder_forward(&(awq_forward){.device = d->device,
                                                    .model = d->model,
                                                    .decoder = &layers[layer],
                                                    .scratch = d->scratch,
                                                    .sequences = DEMO_TILE,
                                                    .statistics = &c->statistics[layer]},
                                     hidden, &err));
    }
    d->be->release(d->device, hidden);
}

void demo_calibrate(demo *d, demo_calibration *c)
{
    awq_error err;
    awq_tokens tokens;
    awq_decoder layers[DEMO_LAYERS];
    must(awq_tokens_read(DEMO_PATH "/calib.h5", DEMO_CALIBRATION, &tokens, &err));
    assert_int_equal(tokens.length, d->length);
    demo_load(d, layers);
    for (int layer = 0; layer <= DEMO_LAYERS; layer++)
        c->boundary[layer] = allocate(d, DEMO_TILE * d->length * d->model->hidden);
    for (int layer = 0; layer < DEMO_LAYERS; layer++)
        must(awq_statistics_init(d->device, d->model, layer, (awq_layer_part){0},
                                 &(awq_routed_room){0}, &c->statistics[layer], &err));
    for (int64_t first = 0; first < DEMO_CALIBRATION; first += DEMO_TILE)
        calibrate_tile(d, c, layers, &tokens, first);
    demo_release(d, layers);
    awq_tokens_release(&tokens);
}

void demo_calibration_release(demo *d, demo_calibration *c)
{
    for (int layer = 0; layer < DEMO_LAYERS; layer++)
        awq_statistics_release(d->device, &c->statistics[layer]);
    for (int layer = 0; layer <= DEMO_LAYERS; layer++)
        d->be->release(d->device, c->boundary[layer]);
}

void demo_quantize(demo *d, demo_calibration *c, awq_decoder *layer, const awq_recipe *recipe,
                   awq_quantized_layer *out)
{
    awq_error err;
    awq_kept_tokens check = {
        .input = c->boundary[layer->index], .sequences = DEMO_TILE, .length = d->length};
    must(awq_quantize_layer(&(awq_layer_input){.device = d->device,
                                               .model = d->model,
                                               .decoder = layer,
                                               .statistics = &c->statistics[layer->index],
                                               .scratch = d->scratch,
                                               .kept = &check,
                                               .recipe = recipe},
                            out, &err));
}

/* As it is stored, be it by the quantization or, unchanged, in the checkpoint. */
static void restore_norm(demo *d, awq_decoder *layer, int norm, const float *folded)
{
    awq_error err;
    const awq_tensor *source = awq_checkpoint_vector(d->checkpoint, layer->index, norm, 0);
    size_t bytes = (size_t)layer->spec->vector[norm].width * sizeof *folded;
    if (folded)
        d->be->upload(d->device, layer->vector[norm], folded, bytes);
    else
        must(awq_vector_load(d->device, source, 0, layer->vector[norm], &err));
}

/* Words to codes [out, in], on the heap. */
static uint8_t *unpack(const uint32_t *words, awq_extent extent, int bits)
{
    uint8_t *codes = malloc((size_t)awq_extent_elements(extent));
    for (int64_t row = 0; row < extent.out; row++)
        for (int64_t i = 0; i < extent.in; i++) {
            const uint32_t *at = words + row * awq_words_count(extent.in, bits) + i * bits / 32;
            int64_t shift = i * bits % 32;
            uint64_t pair = at[0] | (shift + bits > 32 ? (uint64_t)at[1] << 32 : 0);
            codes[row * extent.in + i] = (uint8_t)(pair >> shift & ((1u << bits) - 1));
        }
    return codes;
}

void demo_dequantize(demo *d, awq_decoder *layer, const awq_quantized_layer *quantized,
                     const awq_recipe *recipe)
{
    for (int i = 0; i < layer->spec->linears; i++) {
        const awq_quantized_linear *linear = &quantized->linear[i];
        awq_extent extent = awq_linear_extent(&layer->spec->linear[i]);
        awq_grid grid = awq_recipe_grid(recipe, d->model, extent.in);
        uint8_t *codes = unpack(linear->words, extent, grid.bits);
        d->be->dequantize(d->device, layer->weight[i], codes, linear->scales, linear->zeros, extent,
                          &grid);
        free(codes);
        if (linear->bias)
            d->be->upload(d->device, layer->bias[i], linear->bias,
                          (size_t)extent.out * sizeof(float));
    }
    for (int i = 0; i < layer->spec->vectors; i++) restore_norm(d, layer, i, quantized->vector[i]);
}

awq_score_part demo_score(demo *d, const float *hidden)
{
    awq_error err;
    awq_score score = {0};
    awq_scored_tokens tokens = {.ids = d->eval.ids, .sequences = DEMO_EVAL, .length = d->length};
    must(awq_head_score(d->head, hidden, d->other, d->original, &tokens, &score, &err));
    return awq_score_total(&score);
}
