/* SPDX-License-Identifier: MIT
 * layers/quantize/work_space.c - what quantizing a layer takes beside its weights and statistics,
 * on the device and here; and statistics made ready for it. */
#include <stdlib.h>

#include "kernels/gram.h"
#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
#include "layers/quantize/quantize.h"
#include "layers/quantize/steps.h"
#include "layers/search/module_loss.h"

static uint64_t larger(uint64_t a, int64_t b)
{
    return a > (uint64_t)b ? a : (uint64_t)b;
}

/* The most of each that a linear takes, and the fewest columns. */
typedef struct extremes {
    uint64_t weights, groups, columns, rows, narrowest;
    uint64_t words;                 /* of codes */
    uint64_t linears, linears_rows; /* of a layer, and the rows of all of them */
} extremes;

static extremes find_extremes(const awq_model *model, const awq_recipe *recipe)
{
    extremes most = {.narrowest = UINT64_MAX};
    for (int kind = 0; kind < model->kinds; kind++) {
        const awq_layer_spec *spec = &model->kind[kind];
        most.linears = larger(most.linears, spec->linears);
        int64_t rows = 0;
        for (int linear = 0; linear < spec->linears; linear++) {
            awq_extent extent = awq_linear_extent(&spec->linear[linear]);
            int64_t elements = awq_extent_elements(extent);
            int64_t size = awq_recipe_grid(recipe, model, extent.in).group_size;
            most.weights = larger(most.weights, elements);
            most.groups = larger(most.groups, elements / size);
            most.words =
                larger(most.words, extent.out * awq_words_count(extent.in, (int)recipe->bits));
            most.columns = larger(most.columns, extent.in);
            most.rows = larger(most.rows, extent.out);
            rows += extent.out;
            if ((uint64_t)extent.in < most.narrowest) most.narrowest = (uint64_t)extent.in;
        }
        most.linears_rows = larger(most.linears_rows, rows);
    }
    return most;
}

/* Weights whose errors are measured at a time. A GPU is not busy with those of an expert: there are
 * to be more, of as many candidates as it takes. */
static uint64_t measured_together(const awq_model *model, uint64_t largest, size_t compute_bytes)
{
    enum { ENOUGH = 1 << 26 };
    bool small = awq_model_experts(model) && compute_bytes < sizeof(float) && largest < ENOUGH;
    return small ? (uint64_t)ENOUGH : largest;
}

/* Of the search alone: rows out of their order, an eighth of the largest linear's at a time; scales
 * of candidates; losses, of what `d` holds at least. */
static void place_search(awq_arena *arena, const extremes *most, size_t compute_bytes,
                         awq_quantizer *to)
{
    enum { PART = 8, LOSSES = 1 << 18 };
    to->panel_elements = (int64_t)larger(most->columns, (int64_t)(most->weights / PART));
    to->panel = awq_arena_take(arena, (uint64_t)to->panel_elements * compute_bytes);
    to->picked = awq_arena_take(arena, AWQ_PANEL_ROWS * sizeof *to->picked);
    to->scales = awq_arena_take(arena, AWQ_TRIALS * most->columns * sizeof *to->scales);
    to->forms_room = to->d_elements / (int64_t)most->narrowest + LOSSES;
    to->forms = awq_arena_take(arena, (uint64_t)to->forms_room * sizeof *to->forms);
    to->form = awq_arena_take(arena, awq_form_bytes((int64_t)most->columns, compute_bytes));
}

static void place(awq_arena *arena, const awq_model *model, const awq_recipe *recipe,
                  size_t compute_bytes, awq_quantizer *to)
{
    const extremes extreme = find_extremes(model, recipe), *most = &extreme;
    uint64_t together = measured_together(model, most->weights, compute_bytes);
    to->d_elements = (int64_t)together;
    to->d = awq_arena_take(arena, together * compute_bytes);
    place_search(arena, most, compute_bytes, to);
    to->folded = awq_arena_take(arena, most->weights * sizeof *to->folded);
    to->codes = awq_arena_take(arena, most->weights);
    to->words = awq_arena_take(arena, most->words * sizeof *to->words);
    to->zeros = awq_arena_take(arena, most->groups);
    to->steps = awq_arena_take(arena, most->groups * sizeof *to->steps);
    to->clip.steps = awq_arena_take(arena, AWQ_CLIP_SHAPES * most->groups);
    to->outcome_rows = (int64_t)most->linears_rows;
    to->outcome = awq_arena_take(arena, 2 * most->linears_rows * sizeof *to->outcome);
    to->clip_counts =
        awq_arena_take(arena, most->linears * AWQ_CLIP_COUNTS * sizeof *to->clip_counts);
    to->columns = awq_arena_take(arena, most->columns * sizeof *to->columns);
    to->rows = awq_arena_take(arena, most->rows * sizeof *to->rows);
    to->excess_columns = awq_arena_take(arena, most->columns * sizeof *to->excess_columns);
    to->excess_rows = awq_arena_take(arena, most->rows * sizeof *to->excess_rows);
    to->sums = awq_arena_take(arena, most->columns * sizeof *to->sums);
    awq_expert_statistics_place(arena, model, &to->own);
    if (recipe->rounding != AWQ_ROUNDING_FEEDBACK) return;
    to->factor = awq_arena_take(arena, most->columns * most->columns * sizeof *to->factor);
    to->order = awq_arena_take(arena, most->columns * sizeof *to->order);
}

static uint64_t work_bytes(const awq_model *model, const awq_recipe *recipe, size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_quantizer quantizer;
    place(&measure, model, recipe, compute_bytes, &quantizer);
    return measure.used;
}

uint64_t awq_quantize_bytes(const awq_model *model, const awq_recipe *recipe, int64_t kept,
                            int64_t rows, size_t compute_bytes)
{
    uint64_t bytes = work_bytes(model, recipe, compute_bytes);
    if (recipe->objective == AWQ_OBJECTIVE_MODULE)
        bytes += awq_module_loss_bytes(model, kept, rows, compute_bytes);
    return bytes;
}

static awq_status check_request(const awq_quantizer *quantizer, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    if (quantizer->statistics->tokens <= 0)
        return awq_fail(err, AWQ_ERR_INPUT, "no calibration token counts: the mask leaves none");
    if (quantizer->recipe->objective == AWQ_OBJECTIVE_MODULE && spec->mlps.routing.experts)
        return awq_fail(err, AWQ_ERR_INPUT, "the module objective is for dense layers only");
    for (int i = 0; i < spec->linears; i++) {
        const awq_linear_spec *linear = &spec->linear[i];
        int64_t size = awq_quantizer_grid(quantizer, i).group_size;
        if (awq_quantizer_keeps(quantizer, i) || (size >= 1 && linear->in % size == 0)) continue;
        return awq_fail(err, AWQ_ERR_INPUT,
                        "group size %lld does not divide the %lld columns of '%s'", (long long)size,
                        (long long)linear->in, awq_linear_short_name(linear));
    }
    return AWQ_OK;
}

/* Words, group scales and zero points of each linear that is quantized, and here; returns their
 * bytes. to NULL: measures. */
static uint64_t place_codes(awq_arena arena, const awq_model *model, int64_t layer,
                            awq_layer_part part, const awq_recipe *recipe, awq_quantized_linear *to)
{
    const awq_layer_spec *spec = awq_model_layer(model, layer);
    for (int linear = 0; linear < spec->linears; linear++) {
        awq_quantized_linear unused, *place = to ? &to[linear] : &unused;
        if (awq_model_keeps(model, layer, linear) || !awq_layer_part_has_linear(spec, part, linear))
            continue;
        awq_extent extent = awq_linear_extent(&spec->linear[linear]);
        awq_grid grid = awq_recipe_grid(recipe, model, extent.in);
        uint64_t groups = (uint64_t)(awq_extent_elements(extent) / grid.group_size);
        uint64_t words = (uint64_t)(extent.out * awq_words_count(extent.in, grid.bits));
        place->words = awq_arena_take(&arena, words * sizeof *place->words);
        place->scales = awq_arena_take(&arena, groups * sizeof *place->scales);
        place->zeros = awq_arena_take(&arena, groups);
    }
    return arena.used;
}

/* Of a layer's clips. */
static size_t counts_bytes(const awq_layer_spec *spec)
{
    return (size_t)spec->linears * AWQ_CLIP_COUNTS * sizeof(int64_t);
}

size_t awq_quantized_codes_bytes(const awq_model *model, int64_t layer, awq_layer_part part,
                                 const awq_recipe *recipe)
{
    uint64_t codes = place_codes((awq_arena){0}, model, layer, part, recipe, NULL);
    return codes ? codes + counts_bytes(awq_model_layer(model, layer)) : 0;
}

static awq_status alloc_codes(awq_quantizer *quantizer, awq_error *err)
{
    awq_quantized_layer *out = quantizer->out;
    const awq_model *model = quantizer->model;
    int64_t layer = quantizer->decoder->index;
    awq_layer_part part = quantizer->decoder->part;
    const awq_recipe *recipe = quantizer->recipe;
    uint64_t bytes = awq_quantized_codes_bytes(model, layer, part, recipe);
    if (!bytes) return AWQ_OK; /* all of it is kept in full precision */
    if (out->from ? awq_result_memory_take(out->from, bytes, &out->memory, err)
                  : !(out->memory = awq_allocate(bytes, "a layer's codes", err)))
        return err->status;
    uint64_t codes =
        place_codes((awq_arena){.base = out->memory}, model, layer, part, recipe, out->linear);
    quantizer->host_clip_counts = (int64_t *)(void *)((char *)out->memory + codes);
    return AWQ_OK;
}

/* The result's linears and the lists beside them. */
static awq_status alloc_hosts(awq_quantizer *quantizer, awq_error *err)
{
    awq_quantized_layer *out = quantizer->out;
    size_t linears = (size_t)quantizer->spec->linears;
    quantizer->row_divisors = calloc(linears, sizeof *quantizer->row_divisors);
    quantizer->original_bias = calloc(linears, sizeof *quantizer->original_bias);
    out->linear = calloc(linears, sizeof *out->linear);
    if (!quantizer->row_divisors || !quantizer->original_bias || !out->linear)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a layer's result");
    out->linears = (int)linears;
    return awq_layer_record_shape(&out->record, quantizer->spec, err);
}

static void finish_statistics(const awq_quantizer *quantizer)
{
    const awq_layer_spec *spec = quantizer->spec;
    for (int group = 0; group < spec->groups; group++)
        if (quantizer->statistics->gram[group])
            quantizer->be->gram_finish(quantizer->device, quantizer->statistics->gram[group],
                                       spec->group[group].channels);
}

awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err)
{
    const awq_backend *be = quantizer->device->backend;
    const awq_model *model = quantizer->model;
    const awq_recipe *recipe = quantizer->recipe;
    quantizer->be = be;
    quantizer->spec = quantizer->decoder->spec;
    be->lap(quantizer->device, NULL);
    quantizer->held = AWQ_NOBODY;
    quantizer->factored = quantizer->formed = (awq_measure){AWQ_NOBODY, AWQ_NOBODY};
    quantizer->clip.shape = recipe->clip_shape;
    if (check_request(quantizer, err) || alloc_hosts(quantizer, err) || alloc_codes(quantizer, err))
        return err->status;
    uint64_t bytes = work_bytes(model, recipe, be->compute_bytes);
    if (be->alloc(quantizer->device, bytes, "quantizing a layer", &quantizer->arena, err))
        return err->status;
    place(&(awq_arena){.base = quantizer->arena}, model, recipe, be->compute_bytes, quantizer);
    size_t passed = (size_t)(2 * quantizer->scratch->size.checked * model->residual);
    if (quantizer->exchange && be->alloc(quantizer->device, passed * sizeof *quantizer->passed,
                                         "the folding check", (void **)&quantizer->passed, err))
        return err->status;
    be->zero(quantizer->device, quantizer->outcome,
             2 * (size_t)quantizer->outcome_rows * sizeof *quantizer->outcome);
    finish_statistics(quantizer);
    return recipe->objective == AWQ_OBJECTIVE_MODULE ? awq_module_loss_open(quantizer, err)
                                                     : AWQ_OK;
}

/* After a failure too, nothing is on its way to what the caller has. */
void awq_quantizer_close(awq_quantizer *quantizer)
{
    awq_error told;
    (void)quantizer->device->backend->sync(quantizer->device, &told);
    for (int linear = 0; linear < quantizer->out->linears; linear++) {
        free(quantizer->row_divisors[linear]);
        free(quantizer->original_bias[linear]);
    }
    free(quantizer->row_divisors);
    free(quantizer->original_bias);
    free(quantizer->router_logits);
    for (int i = 0; i < AWQ_MAX_VECTORS; i++) {
        free(quantizer->original_vector[i]);
        free(quantizer->folded_vector[i]);
    }
    awq_module_loss_close(quantizer);
    quantizer->device->backend->release(quantizer->device, quantizer->passed);
    quantizer->device->backend->release(quantizer->device, quantizer->arena);
}
