/* SPDX-License-Identifier: MIT
 * layers/quantize/quantize_linear.c - one linear: fold, clip, quantize, and measure what it costs.
 *
 * Losses are in the units of the original output: the error is divided by the column scales, and
 * multiplied back by what the rows were divided by. */
#include <math.h>
#include <stdlib.h>

#include "layers/forward/extent.h"
#include "layers/quantize/steps.h"

/* ---- error feedback (docs/awq.md 2.9). Linears that read the same input share the factor of its
 * scaled Gram matrix: it is made for the first of them. What rows of producers are divided by
 * scales whole rows, targets and errors alike, and changes nothing here. ---- */

/* Starts at 1 % of the mean diagonal element, as GPTQ does, and grows to all of it. */
static const double damps[] = {0.01, 0.1, 1};
enum { DAMPS = sizeof damps / sizeof *damps };

/* The factor at the least damping that makes it; quantizer->damp is 0 where none does. */
static awq_status factor_gram(awq_quantizer *quantizer, int linear, awq_error *err)
{
    const float *gram = awq_quantizer_gram(quantizer, linear);
    double in = (double)quantizer->spec->linear[linear].in;
    bool positive = false;
    quantizer->factored = awq_quantizer_measure(quantizer, linear);
    quantizer->damp = 0;
    for (int i = 0; i < DAMPS && !positive; i++) {
        if (quantizer->be->feedback_factor(quantizer->device, quantizer->factor, quantizer->order,
                                           gram, quantizer->columns, (int64_t)in, damps[i],
                                           &positive, err) ||
            awq_quantizer_step(quantizer, AWQ_PHASE_FEEDBACK, in * in * in / 3, err))
            return err->status;
        if (positive) quantizer->damp = damps[i];
    }
    return AWQ_OK;
}

/* Codes once more, of a folded, quantized linear, and d, what they leave: `columns` are its input's
 * scales, and the group's other linears follow at once or not at all. record->damp says whether it
 * could be done; folded is then no more. */
static awq_status feed_back(awq_quantizer *quantizer, int linear, awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    awq_measure by = awq_quantizer_measure(quantizer, linear);
    if (awq_quantizer_step(quantizer, AWQ_PHASE_PACK, 0, err)) return err->status;
    bool made = by.group == quantizer->factored.group && by.expert == quantizer->factored.expert;
    if (!made && factor_gram(quantizer, linear, err)) return err->status;
    quantizer->out->record.linear[linear].damp = quantizer->damp;
    if (quantizer->damp == 0) return AWQ_OK;
    quantizer->be->feedback(quantizer->device, quantizer->codes, quantizer->d, quantizer->folded,
                            quantizer->factor, quantizer->order, quantizer->steps, quantizer->zeros,
                            quantizer->columns, extent, &grid);
    double flops = (double)awq_extent_elements(extent) * (double)extent.in;
    return awq_quantizer_step(quantizer, AWQ_PHASE_FEEDBACK, flops, err);
}

/* ---- the linear ---- */

typedef struct linear_job {
    awq_quantizer *quantizer;
    int linear;
    awq_extent extent;
    awq_grid grid;
    int64_t groups;       /* in all: rows times groups a row */
    const float *gram;    /* device */
    const float *columns; /* device */
    const float *rows;    /* device; NULL: ones */
    awq_linear_record *record;
    awq_quantized_linear *out;
} linear_job;

/* Of quantizer->outcome. */
typedef enum outcome { ENERGY, LOSS } outcome;

/* Where a linear's rows are. */
static double *outcome_of(const awq_quantizer *quantizer, double *all, int linear, outcome which)
{
    int64_t before = (int64_t)which * quantizer->outcome_rows;
    for (int i = 0; i < linear; i++) before += quantizer->spec->linear[i].out;
    return all + before;
}

/* d G d^T of each row, to stay on the device until the layer is through. */
static awq_status measure(const linear_job *job, const void *d, outcome which, awq_error *err)
{
    awq_quantizer *quantizer = job->quantizer;
    quantizer->be->quadratic_form(
        quantizer->device, outcome_of(quantizer, quantizer->outcome, job->linear, which), d,
        job->gram, awq_quantizer_form(quantizer, job->linear), job->extent.out, job->extent.in);
    double flops = (double)awq_extent_elements(job->extent) * (double)job->extent.in;
    return awq_quantizer_step(quantizer, AWQ_PHASE_PACK, flops, err);
}

/* folded = weight * columns / rows, which are uploaded for it. */
static void fold(linear_job *job)
{
    awq_quantizer *quantizer = job->quantizer;
    const awq_backend *be = quantizer->be;
    const awq_linear_spec *spec = &quantizer->spec->linear[job->linear];
    const float *scales = quantizer->out->record.group[spec->group].scales;
    const float *divisors = quantizer->row_divisors[job->linear];
    be->upload(quantizer->device, quantizer->columns, scales,
               (size_t)job->extent.in * sizeof *scales);
    job->columns = quantizer->columns;
    if (divisors) {
        be->upload(quantizer->device, quantizer->rows, divisors,
                   (size_t)job->extent.out * sizeof *divisors);
        job->rows = quantizer->rows;
    }
    be->fold(quantizer->device, quantizer->folded, quantizer->decoder->weight[job->linear],
             job->columns, job->rows, job->extent);
}

/* Searches the cuts of folded, and counts them. */
static awq_status clip(const linear_job *job, awq_error *err)
{
    awq_quantizer *quantizer = job->quantizer;
    const awq_backend *be = quantizer->be;
    be->clip_search(quantizer->device, &quantizer->clip, quantizer->folded, job->gram, job->columns,
                    job->extent, &job->grid);
    be->count_clips(quantizer->device, quantizer->clip_counts + job->linear * AWQ_CLIP_COUNTS,
                    &quantizer->clip, job->groups);
    return awq_quantizer_step(quantizer, AWQ_PHASE_CLIP,
                              awq_clip_flops(quantizer->clip.shape, job->extent, &job->grid), err);
}

/* The result on its way to the host, which has it when the layer is through. */
static void give(const linear_job *job)
{
    awq_quantizer *quantizer = job->quantizer;
    const awq_backend *be = quantizer->be;
    awq_quantized_linear *out = job->out;
    size_t groups = (size_t)job->groups;
    size_t words = (size_t)(job->extent.out * awq_words_count(job->extent.in, job->grid.bits));
    be->pack(quantizer->device, quantizer->words, quantizer->codes, job->extent, job->grid.bits);
    be->fetch(quantizer->device, out->words, quantizer->words, words * sizeof *out->words);
    be->fetch(quantizer->device, out->scales, quantizer->steps, groups * sizeof *out->scales);
    be->fetch(quantizer->device, out->zeros, quantizer->zeros, groups);
}

/* To the nearest. */
static awq_status quantize(const linear_job *job, bool clipped, awq_error *err)
{
    awq_quantizer *quantizer = job->quantizer;
    const awq_backend *be = quantizer->be;
    be->fetched(quantizer->device); /* the linear before */
    be->quantize(quantizer->device, quantizer->codes, quantizer->steps, quantizer->zeros,
                 quantizer->folded, clipped ? &quantizer->clip : NULL, job->extent, &job->grid);
    return awq_quantizer_step(quantizer, AWQ_PHASE_PACK, 0, err);
}

/* d *= the row divisors. Overwrites folded. */
static awq_status restore_rows(const linear_job *job, awq_error *err)
{
    awq_quantizer *quantizer = job->quantizer;
    const float *divisors = quantizer->row_divisors[job->linear];
    size_t bytes = (size_t)job->extent.out * sizeof(float);
    float *inverse = awq_allocate(bytes, "row divisors", err);
    if (!inverse) return err->status;
    for (int64_t i = 0; i < job->extent.out; i++) inverse[i] = 1 / divisors[i];
    quantizer->be->upload(quantizer->device, quantizer->rows, inverse, bytes);
    quantizer->be->fold(quantizer->device, quantizer->folded, quantizer->d, NULL, quantizer->rows,
                        job->extent);
    quantizer->be->narrow(quantizer->device, quantizer->d, quantizer->folded,
                          (size_t)awq_extent_elements(job->extent));
    free(inverse);
    return AWQ_OK;
}

static awq_status measure_loss(const linear_job *job, awq_error *err)
{
    awq_quantizer *quantizer = job->quantizer;
    if (!(job->record->damp > 0)) /* feedback leaves it there */
        quantizer->be->coded_error(quantizer->device, quantizer->d, quantizer->folded,
                                   quantizer->codes, quantizer->steps, quantizer->zeros,
                                   job->columns, job->extent, &job->grid);
    if (job->rows && restore_rows(job, err)) return err->status;
    return measure(job, quantizer->d, LOSS, err);
}

/* A linear that is kept in full precision: the folded weight as it is, with no error of its own. */
static awq_status keep(const linear_job *job, awq_error *err)
{
    job->out->weight = awq_vector_download(job->quantizer->device, job->quantizer->folded,
                                           awq_extent_elements(job->extent), err);
    if (!job->out->weight) return err->status;
    return awq_quantizer_step(job->quantizer, AWQ_PHASE_PACK, 0, err);
}

static awq_status code(linear_job *job, awq_error *err)
{
    bool clipped = awq_is_clipped(job->quantizer, job->linear);
    job->groups = awq_extent_elements(job->extent) / job->grid.group_size;
    job->record->groups = job->groups;
    if (clipped && clip(job, err)) return err->status;
    return quantize(job, clipped, err);
}

/* What follows once nothing more is made of folded. */
static awq_status finish(const linear_job *job, awq_error *err)
{
    if (job->quantizer->recipe->rounding == AWQ_ROUNDING_FEEDBACK &&
        feed_back(job->quantizer, job->linear, err))
        return err->status;
    give(job);
    return measure_loss(job, err);
}

awq_status awq_quantize_linear(awq_quantizer *quantizer, int linear, awq_error *err)
{
    if (awq_quantizer_hold(quantizer, quantizer->spec->linear[linear].expert, err))
        return err->status;
    linear_job job = {.quantizer = quantizer,
                      .linear = linear,
                      .extent = awq_linear_extent(&quantizer->spec->linear[linear]),
                      .grid = awq_quantizer_grid(quantizer, linear),
                      .gram = awq_quantizer_gram(quantizer, linear),
                      .record = &quantizer->out->record.linear[linear],
                      .out = &quantizer->out->linear[linear]};
    void *weight = quantizer->decoder->weight[linear];
    bool kept = awq_quantizer_keeps(quantizer, linear);
    /* a router's outputs are no part of the error that people read */
    if (!quantizer->spec->linear[linear].exempt && measure(&job, weight, ENERGY, err))
        return err->status;
    fold(&job);
    if (kept ? keep(&job, err) : code(&job, err)) return err->status;
    if (awq_fold_proof_linear(quantizer, linear, err)) return err->status;
    return kept ? AWQ_OK : finish(&job, err);
}

/* ---- what was left on its way ---- */

static void record_clips(awq_linear_record *record, const int64_t *count)
{
    if (!count) { /* no clip was searched */
        record->clip_shapes = 1;
        record->clip_counts[0][0] = record->groups;
        return;
    }
    for (int shape = 0; shape < record->clip_shapes; shape++)
        for (int step = 0; step < AWQ_CLIP_STEPS; step++)
            record->clip_counts[shape][step] = count[shape * AWQ_CLIP_STEPS + step];
    record->clipped_groups = count[AWQ_CLIP_COUNTS - 1];
}

static double sum_of(const double *rows, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += rows[i];
    return sum;
}

/* Energies and losses of all linears. */
static awq_status fetch_outcome(awq_quantizer *quantizer, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    size_t bytes = 2 * (size_t)quantizer->outcome_rows * sizeof(double);
    double *rows = awq_allocate(bytes, "the losses of rows", err);
    if (!rows) return err->status;
    awq_status status =
        quantizer->be->download(quantizer->device, rows, quantizer->outcome, bytes, err);
    for (int linear = 0; !status && linear < spec->linears; linear++) {
        awq_linear_record *record = &quantizer->out->record.linear[linear];
        int64_t count = spec->linear[linear].out;
        record->energy = sum_of(outcome_of(quantizer, rows, linear, ENERGY), count);
        record->loss = sum_of(outcome_of(quantizer, rows, linear, LOSS), count);
    }
    free(rows);
    return status;
}

awq_status awq_quantize_finish(awq_quantizer *quantizer, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    const awq_backend *be = quantizer->be;
    int64_t *counts = quantizer->host_clip_counts;
    size_t all = (size_t)spec->linears * AWQ_CLIP_COUNTS;
    if (counts) be->fetch(quantizer->device, counts, quantizer->clip_counts, all * sizeof *counts);
    if (fetch_outcome(quantizer, err) || be->sync(quantizer->device, err)) return err->status;
    for (int linear = 0; linear < spec->linears; linear++) {
        awq_linear_record *record = &quantizer->out->record.linear[linear];
        if (!quantizer->out->linear[linear].words) continue;
        bool clipped = awq_is_clipped(quantizer, linear);
        if (clipped) record->clip_shapes = quantizer->clip.shape == AWQ_CLIP_ASYMMETRIC ? 2 : 1;
        record_clips(record, clipped ? counts + linear * AWQ_CLIP_COUNTS : NULL);
        if (isfinite(record->loss)) continue;
        awq_blame_scales(quantizer, linear, err);
        return awq_error_wrap(err, "with the scales folded in");
    }
    return AWQ_OK;
}
