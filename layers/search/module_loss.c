/* SPDX-License-Identifier: MIT */
#include "layers/search/module_loss.h"

#include <stdlib.h>
#include <string.h>

#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
#include "layers/forward/scratch.h"
#include "layers/search/quantizer.h"

/* Not o, behind a norm of what its heads put out: the error of its output is the module's. */
bool awq_module_has(const awq_layer_spec *spec, int group)
{
    const awq_producer *producer = &spec->group[group].producer;
    return producer->by == AWQ_BY_NORM && producer->norm != spec->attention.o_norm;
}

/* Whether a group's readers are in a half: of parallel halves, they may be in both. */
static bool reads(const awq_quantizer *quantizer, awq_half half, int index)
{
    const awq_layer_spec *spec = quantizer->spec;
    const awq_group_spec *group = &spec->group[index];
    for (int i = 0; i < group->count; i++)
        if (spec->linear[awq_group_reader(spec, group, i)].half == half) return true;
    return false;
}

/* Whether the module reads what attention has added to, not the layer's input. */
static bool is_second(const awq_quantizer *quantizer, int group)
{
    return !quantizer->spec->parallel && reads(quantizer, AWQ_HALF_MLP, group);
}

/* ---- memory ---- */

/* Gives a group's consumers their places, by linear; NULL: measures. */
static void place_weights(awq_arena *arena, const awq_layer_spec *spec, int group,
                          size_t compute_bytes, void **weight)
{
    for (int i = 0; i < spec->group[group].count; i++) {
        int linear = awq_group_reader(spec, &spec->group[group], i);
        awq_extent extent = awq_linear_extent(&spec->linear[linear]);
        void *place = awq_arena_take(arena, (uint64_t)awq_extent_elements(extent) * compute_bytes);
        if (weight) weight[linear] = place;
    }
}

/* Of the weights on trial, and of the norm: what the group that takes the most does. */
static void find_bytes(const awq_model *model, size_t compute_bytes, uint64_t *weights,
                       uint64_t *norm)
{
    *weights = *norm = 0;
    for (int kind = 0; kind < model->kinds; kind++)
        for (int group = 0; group < model->kind[kind].groups; group++) {
            awq_arena measure = {0};
            const awq_layer_spec *spec = &model->kind[kind];
            uint64_t vector = (uint64_t)spec->group[group].channels * sizeof(float);
            if (!awq_module_has(spec, group)) continue;
            place_weights(&measure, spec, group, compute_bytes, NULL);
            if (measure.used > *weights) *weights = measure.used;
            if (vector > *norm) *norm = vector;
        }
}

static void place(awq_arena *arena, const awq_model *model, int64_t kept, int64_t rows,
                  size_t compute_bytes, awq_module_loss *to)
{
    uint64_t row = (uint64_t)model->hidden * sizeof(float), weights, norm;
    find_bytes(model, compute_bytes, &weights, &norm);
    to->weights = awq_arena_take(arena, weights);
    for (int i = 0; i < AWQ_NORM_VECTORS; i++) to->norm[i] = awq_arena_take(arena, norm);
    to->input = awq_arena_take(arena, (uint64_t)(model->residual * kept) * sizeof(float));
    to->output = awq_arena_take(arena, row * (uint64_t)kept);
    to->trial = awq_arena_take(arena, row * (uint64_t)rows);
    to->mask = awq_arena_take(arena, (uint64_t)kept);
}

uint64_t awq_module_loss_bytes(const awq_model *model, int64_t kept, int64_t rows,
                               size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_module_loss module;
    place(&measure, model, kept, rows, compute_bytes, &module);
    return measure.used;
}

static int64_t kept_rows(const awq_quantizer *quantizer)
{
    return quantizer->kept->sequences * quantizer->kept->length;
}

static awq_status load_mask(awq_quantizer *quantizer, awq_error *err)
{
    awq_module_loss *module = &quantizer->module;
    const uint8_t *mask = quantizer->kept->mask;
    int64_t rows = kept_rows(quantizer);
    module->tokens = mask ? 0 : rows;
    for (int64_t i = 0; mask && i < rows; i++) module->tokens += mask[i] != 0;
    if (module->tokens <= 0)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "none of the %lld tokens of the module objective counts: the mask leaves "
                        "none",
                        (long long)rows);
    if (mask)
        quantizer->be->upload(quantizer->device, module->mask, mask, (size_t)rows);
    else
        module->mask = NULL;
    return AWQ_OK;
}

awq_status awq_module_loss_open(awq_quantizer *quantizer, awq_error *err)
{
    const awq_backend *be = quantizer->be;
    awq_module_loss *module = &quantizer->module;
    int64_t kept = kept_rows(quantizer), rows = quantizer->scratch->size.rows;
    uint64_t bytes = awq_module_loss_bytes(quantizer->model, kept, rows, be->compute_bytes);
    if (quantizer->kept->length != quantizer->scratch->size.length)
        return awq_fail(err, AWQ_ERR_INTERNAL, "kept sequences of another length than a tile's");
    if (be->alloc(quantizer->device, bytes, "the module objective", &module->arena, err))
        return err->status;
    place(&(awq_arena){.base = module->arena}, quantizer->model, kept, rows, be->compute_bytes,
          module);
    return load_mask(quantizer, err);
}

void awq_module_loss_close(awq_quantizer *quantizer)
{
    quantizer->device->backend->release(quantizer->device, quantizer->module.arena);
    for (int i = 0; i < AWQ_NORM_VECTORS; i++) free(quantizer->module.original[i]);
    free(quantizer->module.weight);
    quantizer->module = (awq_module_loss){0};
}

/* ---- tiles of the kept tokens ---- */

typedef struct kept_tile {
    int64_t sequences, rows;
    int64_t row;    /* the first among the kept tokens */
    int64_t offset; /* of its first element in [kept tokens, hidden] .. */
    int64_t states; /* .. and in what comes with planes */
} kept_tile;

/* The tile that begins at sequence `first`; false: there is none. */
static bool tile_at(const awq_quantizer *quantizer, int64_t first, kept_tile *tile)
{
    int64_t length = quantizer->kept->length, most = quantizer->scratch->size.rows / length;
    int64_t left = quantizer->kept->sequences - first;
    tile->sequences = left < most ? left : most;
    tile->rows = tile->sequences * length;
    tile->row = first * length;
    tile->offset = tile->row * quantizer->model->hidden;
    tile->states = tile->row * quantizer->model->residual;
    return left > 0;
}

static size_t tile_bytes(const awq_quantizer *quantizer, const kept_tile *tile)
{
    return (size_t)(tile->rows * quantizer->model->hidden) * sizeof(float);
}

/* What the group's module reads of a tile. */
static const float *tile_input(const awq_quantizer *quantizer, int group, const kept_tile *tile)
{
    const float *input =
        is_second(quantizer, group) ? quantizer->module.input : quantizer->kept->input;
    return input + tile->states;
}

/* ---- the module as it is ---- */

static awq_status run_half(awq_quantizer *quantizer, const awq_decoder *decoder, awq_half half,
                           const float *input, float *sum, const kept_tile *tile, awq_error *err)
{
    return awq_decoder_half(&(awq_forward){.device = quantizer->device,
                                           .model = quantizer->model,
                                           .decoder = decoder,
                                           .scratch = quantizer->scratch,
                                           .sequences = tile->sequences},
                            half, input, sum, err);
}

/* sum += what the halves that read the group put out. */
static awq_status run_readers(awq_quantizer *quantizer, const awq_decoder *decoder, int group,
                              float *sum, const kept_tile *tile, awq_error *err)
{
    for (int half = 0; half < AWQ_HALVES; half++)
        if (reads(quantizer, half, group) &&
            run_half(quantizer, decoder, half, tile_input(quantizer, group, tile), sum, tile, err))
            return err->status;
    return AWQ_OK;
}

static awq_status run_module(awq_quantizer *quantizer, int group, const kept_tile *tile,
                             awq_error *err)
{
    const awq_decoder *decoder = quantizer->decoder;
    size_t bytes = tile_bytes(quantizer, tile);
    if (is_second(quantizer, group)) { /* it reads the attention's output added to its input */
        float *hidden = quantizer->module.input + tile->states;
        quantizer->be->copy(quantizer->device, hidden, quantizer->kept->input + tile->states,
                            (size_t)(tile->rows * quantizer->model->residual) * sizeof *hidden);
        if (run_half(quantizer, decoder, AWQ_HALF_ATTENTION, hidden, hidden, tile, err))
            return err->status;
    }
    float *output = quantizer->module.output + tile->offset;
    quantizer->be->zero(quantizer->device, output, bytes);
    return run_readers(quantizer, decoder, group, output, tile, err);
}

/* The weight and the bias of the norm whose output a group reads; -1: none. */
static void find_vectors(const awq_layer_spec *spec, int group, int vector[AWQ_NORM_VECTORS])
{
    const awq_norm_spec *norm = &spec->norm[spec->group[group].producer.norm];
    vector[0] = norm->weight;
    vector[1] = norm->bias;
}

/* The norm's place, and its vectors as they are. */
static awq_status try_norm(awq_quantizer *quantizer, int group, awq_error *err)
{
    awq_module_loss *module = &quantizer->module;
    int vector[AWQ_NORM_VECTORS];
    find_vectors(quantizer->spec, group, vector);
    for (int i = 0; i < AWQ_NORM_VECTORS; i++) {
        free(module->original[i]);
        module->original[i] = NULL;
        if (vector[i] < 0) continue;
        module->decoder.vector[vector[i]] = module->norm[i];
        module->original[i] =
            awq_vector_download(quantizer->device, quantizer->decoder->vector[vector[i]],
                                quantizer->spec->vector[vector[i]].width, err);
        if (!module->original[i]) return err->status;
    }
    return AWQ_OK;
}

/* A copy of the layer, with places for what is on trial. */
static awq_status make_trial(awq_quantizer *quantizer, int group, awq_error *err)
{
    awq_module_loss *module = &quantizer->module;
    const awq_layer_spec *spec = quantizer->spec;
    size_t bytes = (size_t)spec->linears * sizeof *module->weight;
    if (!module->weight && !(module->weight = awq_allocate(bytes, "a list of weights", err)))
        return err->status;
    module->decoder = *quantizer->decoder;
    memcpy(module->weight, quantizer->decoder->weight, bytes);
    module->decoder.weight = module->weight;
    place_weights(&(awq_arena){.base = module->weights}, spec, group, quantizer->be->compute_bytes,
                  module->weight);
    return try_norm(quantizer, group, err);
}

/* Of one pass of the kept tokens through a module. */
static double pass_flops(const awq_quantizer *quantizer, int group)
{
    const awq_layer_spec *spec = quantizer->spec;
    double a_token = 0;
    for (int i = 0; i < spec->linears; i++)
        if (reads(quantizer, spec->linear[i].half, group))
            a_token += 2.0 * (double)awq_extent_elements(awq_linear_extent(&spec->linear[i]));
    if (reads(quantizer, AWQ_HALF_ATTENTION, group))
        a_token += 2.0 * (double)(awq_attention_channels(spec) * quantizer->kept->length);
    return a_token * (double)kept_rows(quantizer);
}

awq_status awq_module_loss_begin(awq_quantizer *quantizer, int group, awq_error *err)
{
    kept_tile tile;
    if (make_trial(quantizer, group, err)) return err->status;
    for (int64_t first = 0; tile_at(quantizer, first, &tile); first += tile.sequences)
        if (run_module(quantizer, group, &tile, err)) return err->status;
    return awq_quantizer_step(quantizer, AWQ_PHASE_SEARCH, pass_flops(quantizer, group), err);
}

/* ---- the module on trial ---- */

/* n / s, and a bias likewise: where the consumers' scales come from. */
static awq_status divide_norm(awq_quantizer *quantizer, const awq_group_record *group,
                              awq_error *err)
{
    awq_module_loss *module = &quantizer->module;
    size_t bytes = (size_t)group->channels * sizeof *group->scales;
    float *divided = awq_allocate(bytes, "a norm", err);
    if (!divided) return err->status;
    for (int v = 0; v < AWQ_NORM_VECTORS; v++) {
        if (!module->original[v]) continue;
        for (int64_t i = 0; i < group->channels; i++)
            divided[i] = module->original[v][i] / group->scales[i];
        quantizer->be->upload(quantizer->device, module->norm[v], divided, bytes);
    }
    free(divided);
    return AWQ_OK;
}

static void quantize_consumers(awq_quantizer *quantizer, const awq_group_spec *group, bool clipped,
                               double *flops)
{
    const awq_backend *be = quantizer->be;
    for (int i = 0; i < group->count; i++) {
        int linear = awq_group_reader(quantizer->spec, group, i);
        awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
        awq_grid grid = awq_quantizer_grid(quantizer, linear);
        void *weight = quantizer->module.decoder.weight[linear];
        if (awq_quantizer_keeps(quantizer, linear)) { /* W s, unquantized */
            be->fold(quantizer->device, quantizer->folded, quantizer->decoder->weight[linear],
                     quantizer->columns, NULL, extent);
            be->narrow(quantizer->device, weight, quantizer->folded,
                       (size_t)awq_extent_elements(extent));
            continue;
        }
        awq_trial_codes(quantizer, linear, quantizer->decoder->weight[linear], extent,
                        quantizer->columns, clipped && awq_is_clipped(quantizer, linear), flops);
        be->dequantize(quantizer->device, weight, quantizer->codes, quantizer->steps,
                       quantizer->zeros, extent, &grid);
    }
}

static awq_status tile_error(awq_quantizer *quantizer, int group, const kept_tile *tile,
                             double *error, awq_error *err)
{
    const awq_module_loss *module = &quantizer->module;
    const uint8_t *mask = module->mask ? module->mask + tile->row : NULL;
    quantizer->be->zero(quantizer->device, module->trial, tile_bytes(quantizer, tile));
    if (run_readers(quantizer, &module->decoder, group, module->trial, tile, err))
        return err->status;
    return quantizer->be->squared_error(quantizer->device, module->trial,
                                        module->output + tile->offset, mask, tile->rows,
                                        quantizer->model->hidden, error, err);
}

awq_status awq_module_loss_measure(awq_quantizer *quantizer, int group, bool clipped, double *loss,
                                   awq_error *err)
{
    double sum = 0, flops = pass_flops(quantizer, group);
    kept_tile tile;
    if (divide_norm(quantizer, &quantizer->out->record.group[group], err)) return err->status;
    quantize_consumers(quantizer, &quantizer->spec->group[group], clipped, &flops);
    for (int64_t first = 0; tile_at(quantizer, first, &tile); first += tile.sequences) {
        double error;
        if (tile_error(quantizer, group, &tile, &error, err)) return err->status;
        sum += error;
    }
    *loss = sum / ((double)quantizer->module.tokens * (double)quantizer->model->hidden);
    return awq_quantizer_step(quantizer, AWQ_PHASE_SEARCH, flops, err);
}
