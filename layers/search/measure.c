/* SPDX-License-Identifier: MIT
 * layers/search/measure.c - errors of pieces of linears, at several scales each, are put into `d`
 * one after the other until it is full; then one quadratic form has the losses of all its rows. On
 * a GPU a form of a few rows is mostly launches. The losses stay on the device until all is
 * measured, or their array is full: a round of a race waits once. */
#include "layers/search/measure.h"

#include <stdlib.h>

#include "layers/forward/extent.h"

/* ---- batches ---- */

awq_status awq_batch_open(awq_batch *batch, awq_quantizer *quantizer, int most, awq_error *err)
{
    *batch = (awq_batch){.quantizer = quantizer};
    batch->linear = malloc((size_t)most * sizeof *batch->linear + 1);
    batch->first = calloc((size_t)most + 1, sizeof *batch->first);
    if (batch->linear && batch->first) return AWQ_OK;
    awq_batch_close(batch);
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a list of linears");
}

void awq_batch_close(awq_batch *batch)
{
    free(batch->linear);
    free(batch->first);
    *batch = (awq_batch){0};
}

void awq_batch_add(awq_batch *batch, int linear)
{
    const awq_linear_spec *spec = &batch->quantizer->spec->linear[linear];
    batch->linear[batch->count++] = linear;
    batch->in = spec->in;
    batch->rows += spec->out;
    batch->first[batch->count] = batch->rows;
}

/* ---- pieces ---- */

enum { MOST_PIECES = 512 };

/* Losses that are on the device: of `count` candidates, from the at-th of the trials on, `rows` of
 * the trials' rows, from the first-th on. */
typedef struct piece {
    int at, count;
    int64_t first, rows;
} piece;

typedef struct measurement {
    const awq_batch *batch;
    awq_quantizer *quantizer;
    const awq_trials *trials;
    const float *gram;
    const void *form;
    double *loss;
    int at, count; /* candidates whose scales are on the device */
    int64_t used;  /* rows of d */
    int64_t sums;  /* losses on the device, of rows that are no longer in d */
    piece pieces[MOST_PIECES];
    int some; /* of these */
    bool begun;
    double flops; /* not told yet */
} measurement;

static int64_t row_at(const awq_trials *trials, int64_t index)
{
    return trials->row ? trials->row[index] : index;
}

/* The losses of the rows in d, on the device. */
static awq_status flush(measurement *m, awq_error *err)
{
    awq_quantizer *quantizer = m->quantizer;
    int64_t in = m->batch->in;
    if (!m->used) return AWQ_OK;
    quantizer->be->quadratic_form(quantizer->device, quantizer->forms + m->sums, quantizer->d,
                                  m->gram, m->form, m->used, in);
    m->flops += (double)m->used * (double)in * (double)in;
    m->sums += m->used;
    m->used = 0;
    if (!m->begun && m->trials->meanwhile) m->trials->meanwhile(m->trials->context);
    m->begun = true;
    awq_status status = awq_quantizer_spend(quantizer, m->flops, err);
    m->flops = 0;
    return status;
}

/* Those on the device to where they belong. */
static awq_status drain(measurement *m, awq_error *err)
{
    awq_quantizer *quantizer = m->quantizer;
    if (flush(m, err)) return err->status;
    size_t bytes = (size_t)m->sums * sizeof(double);
    double *sums = awq_allocate(bytes, "the losses of rows", err), *from = sums;
    if (!sums) return err->status;
    awq_status status =
        quantizer->be->download(quantizer->device, sums, quantizer->forms, bytes, err);
    for (int i = 0; !status && i < m->some; i++) {
        const piece *p = &m->pieces[i];
        for (int c = 0; c < p->count; c++) {
            double *to = m->loss + m->trials->candidate[p->at + c] * m->batch->rows;
            for (int64_t r = 0; r < p->rows; r++) to[row_at(m->trials, p->first + r)] = *from++;
        }
    }
    free(sums);
    m->sums = 0;
    m->some = 0;
    if (status) return status;
    return awq_quantizer_spend(quantizer, 0, err);
}

/* Room for a row at all candidates whose scales are there; for how many rows: *rows. */
static awq_status make_room(measurement *m, int64_t *rows, awq_error *err)
{
    int64_t all = m->quantizer->d_elements / m->batch->in;
    if (m->used + m->count > all && flush(m, err)) return err->status;
    if ((m->sums + all > m->quantizer->forms_room || m->some == MOST_PIECES) && drain(m, err))
        return err->status;
    *rows = (all - m->used) / m->count;
    return AWQ_OK;
}

/* Rows of a linear, from the batch's row `row` on: as they lie, or gathered. */
static const void *gather(measurement *m, int linear, int64_t first, int64_t rows, int64_t begin,
                          awq_error *err)
{
    awq_quantizer *quantizer = m->quantizer;
    int64_t in = m->batch->in;
    const char *weight = quantizer->decoder->weight[linear];
    if (!m->trials->row)
        return weight + (size_t)((first - begin) * in) * quantizer->be->compute_bytes;
    int32_t *picked = awq_allocate((size_t)rows * sizeof *picked, "a list of rows", err);
    if (!picked) return NULL;
    for (int64_t i = 0; i < rows; i++) picked[i] = (int32_t)(m->trials->row[first + i] - begin);
    quantizer->be->upload(quantizer->device, quantizer->picked, picked,
                          (size_t)rows * sizeof *picked);
    free(picked);
    quantizer->be->gather_rows(quantizer->device, quantizer->panel, weight, quantizer->picked, NULL,
                               rows, in);
    return quantizer->panel;
}

/* d [count, rows, in] of some rows of a linear, clipped at each scale. */
static void clipped_errors(measurement *m, int linear, const void *weight, int64_t rows, char *d)
{
    awq_quantizer *quantizer = m->quantizer;
    awq_extent extent = {rows, m->batch->in};
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    size_t bytes = (size_t)awq_extent_elements(extent) * quantizer->be->compute_bytes;
    for (int c = 0; c < m->count; c++) {
        const float *scales = quantizer->scales + c * m->batch->in;
        awq_trial_codes(quantizer, linear, weight, extent, scales, true, &m->flops);
        quantizer->be->coded_error(quantizer->device, d + (size_t)c * bytes, quantizer->folded,
                                   quantizer->codes, quantizer->steps, quantizer->zeros, scales,
                                   extent, &grid);
    }
}

static awq_status add_piece(measurement *m, int which, int64_t first, int64_t rows, awq_error *err)
{
    awq_quantizer *quantizer = m->quantizer;
    int linear = m->batch->linear[which];
    const void *weight = gather(m, linear, first, rows, m->batch->first[which], err);
    if (!weight) return err->status;
    char *d =
        (char *)quantizer->d + (size_t)(m->used * m->batch->in) * quantizer->be->compute_bytes;
    if (m->trials->clipped && awq_is_clipped(quantizer, linear)) {
        clipped_errors(m, linear, weight, rows, d);
    } else {
        awq_grid grid = awq_quantizer_grid(quantizer, linear);
        quantizer->be->rounding_error(quantizer->device, d, weight, quantizer->scales, m->count,
                                      (awq_extent){rows, m->batch->in}, &grid);
    }
    m->pieces[m->some++] = (piece){m->at, m->count, first, rows};
    m->used += m->count * rows;
    return AWQ_OK;
}

/* ---- all of it ---- */

static void send_scales(const measurement *m)
{
    awq_quantizer *quantizer = m->quantizer;
    int64_t in = m->batch->in;
    for (int c = 0; c < m->count; c++)
        quantizer->be->upload(quantizer->device, quantizer->scales + c * in,
                              m->trials->scales + m->trials->candidate[m->at + c] * in,
                              (size_t)in * sizeof *quantizer->scales);
}

/* The trials' rows that a linear has end before the index `end`. */
static awq_status measure_linear(measurement *m, int which, int64_t first, int64_t end,
                                 awq_error *err)
{
    int64_t in = m->batch->in, gathered = m->quantizer->panel_elements / in, rows = 0;
    if (gathered > AWQ_PANEL_ROWS) gathered = AWQ_PANEL_ROWS;
    for (; first < end; first += rows) {
        if (make_room(m, &rows, err)) return err->status;
        if (m->trials->row && rows > gathered) rows = gathered;
        if (rows > end - first) rows = end - first;
        if (add_piece(m, which, first, rows, err)) return err->status;
    }
    return AWQ_OK;
}

static awq_status measure_all(measurement *m, awq_error *err)
{
    const awq_batch *batch = m->batch;
    int64_t first = 0, end;
    for (int i = 0; i < batch->count; i++, first = end) {
        end = first;
        while (end < m->trials->rows && row_at(m->trials, end) < batch->first[i + 1]) end++;
        if (measure_linear(m, i, first, end, err)) return err->status;
    }
    return AWQ_OK;
}

awq_status awq_measure_rows(const awq_batch *batch, const awq_trials *trials, double *loss,
                            awq_error *err)
{
    measurement m = {.batch = batch, .quantizer = batch->quantizer, .trials = trials, .loss = loss};
    if (!batch->count) return AWQ_OK;
    m.gram = awq_quantizer_gram(batch->quantizer, batch->linear[0]);
    m.form = awq_quantizer_form(batch->quantizer, batch->linear[0]);
    for (; m.at < trials->count; m.at += m.count) {
        int64_t most = batch->quantizer->d_elements / batch->in;
        m.count = trials->count - m.at;
        if (m.count > AWQ_TRIALS) m.count = AWQ_TRIALS;
        if (m.count > most) m.count = (int)most;
        send_scales(&m);
        if (measure_all(&m, err)) return err->status;
    }
    return drain(&m, err);
}
