/* SPDX-License-Identifier: MIT
 * layers/fold/fold_error.c - by how much the layer's output may differ (docs/awq.md 1).
 *
 * The error is measured against what the layer adds to the residual, which would mask it; but the
 * sums are float32. Of a layer that adds little, a difference d before its addition is one of the
 * residual's last place L behind it in d / L of the elements: the squares sum to |d| L, not to d^2
 * (fold_proof.c's law). So many may differ as d = tolerance * what is added would turn, and a few.
 * A fault's d is larger, and turns as many times more. */
#include "layers/fold/fold_error.h"

#include <math.h>
#include <stdlib.h>

#include "layers/forward/scratch.h"

/* In bfloat16 what is right is exact, and what is not is soon 1e-3 (fold_proof.c); in float32 the
 * weights are off by their last bits, in float16 its subnormal ones, which may grow to 2e-4. */
double awq_fold_tolerance(awq_dtype compute)
{
    return compute == AWQ_F32 ? 1e-5 : compute == AWQ_F16 ? 1e-3 : 3e-4;
}

typedef struct difference {
    double error; /* sum of (new output - output)^2 */
    double added; /* sum of (output - input)^2 */
    double turns; /* sum of |output - input| times the element's last place */
    double place; /* the largest last place */
} difference;

/* Elements that may be another in the last place beside those that the tolerance turns: of so few
 * there may be one where 0.1 is the mean. */
enum { CHANCE = 4 };

/* What a float32's last place is at most. */
static double last_place(float a, float b)
{
    return 0x1p-23 * (double)fmaxf(fabsf(a), fabsf(b));
}

static awq_fold_error judge(const difference *sum, double tolerance)
{
    double last = tolerance * sum->turns + CHANCE * sum->place * sum->place;
    bool adds = sum->added > 0;
    return (awq_fold_error){sum->error == 0 ? 0 : sqrt(sum->error / sum->added),
                            adds ? sqrt(tolerance * tolerance + last / sum->added) : tolerance};
}

bool awq_fold_is_right(awq_fold_error found)
{
    return found.error <= found.most; /* not of a NaN */
}

/* Some rows of the layer's output as it was and as it is, and of its input; host, [count]. */
typedef struct outputs {
    float *before, *after, *input;
    int64_t row, count; /* the first row; elements */
} outputs;

enum { CHECK_ROWS = 512 }; /* at a time */

static awq_status add_up(const awq_quantizer *quantizer, const outputs *of, difference *sum,
                         awq_error *err)
{
    int64_t hidden = quantizer->model->hidden;
    for (int64_t i = 0; i < of->count; i++) {
        if (!isfinite(of->before[i]))
            return awq_fail(err, AWQ_ERR_NUMERIC,
                            "the layer's output is not finite at token %lld, channel %lld of the "
                            "first tile: the model overflows in the compute type",
                            (long long)(of->row + i / hidden), (long long)(i % hidden));
        double error = (double)of->after[i] - (double)of->before[i];
        double kept = (double)quantizer->decoder->scalar * (double)of->input[i];
        double added = (double)of->before[i] - kept;
        double place = last_place(of->before[i], (float)kept);
        sum->error += error * error;
        sum->added += added * added;
        sum->turns += fabs(added) * place;
        sum->place = fmax(sum->place, place);
    }
    return AWQ_OK;
}

static awq_status fetch(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                        const outputs *to, awq_error *err)
{
    const awq_backend *be = quantizer->be;
    const awq_scratch *scratch = quantizer->scratch;
    int64_t at = to->row * quantizer->model->hidden;
    size_t bytes = (size_t)to->count * sizeof(float);
    if (be->download(quantizer->device, to->before, scratch->untouched + at, bytes, err) ||
        be->download(quantizer->device, to->after, scratch->trial + at, bytes, err))
        return err->status;
    return be->download(quantizer->device, to->input, check->input + at, bytes, err);
}

static awq_status compare_rows(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                               awq_fold_error *found, awq_error *err)
{
    int64_t hidden = quantizer->model->hidden, rows = check->sequences * check->length;
    int64_t most = CHECK_ROWS * hidden;
    difference sum = {0};
    awq_status status = AWQ_OK;
    float *host = awq_allocate(3 * (size_t)most * sizeof *host, "the folding check", err);
    if (!host) return err->status;
    for (int64_t row = 0; !status && row < rows; row += CHECK_ROWS) {
        int64_t some = rows - row < CHECK_ROWS ? rows - row : CHECK_ROWS;
        outputs of = {host, host + most, host + 2 * most, row, some * hidden};
        status = fetch(quantizer, check, &of, err);
        if (!status) status = add_up(quantizer, &of, &sum, err);
    }
    free(host);
    if (!status) *found = judge(&sum, awq_fold_tolerance(quantizer->device->compute));
    return status;
}

/* What is the same to the bit, as in bfloat16, is not looked at here. */
awq_status awq_fold_compare(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                            awq_fold_error *found, awq_error *err)
{
    int64_t hidden = quantizer->model->hidden, rows = check->sequences * check->length;
    double error;
    if (quantizer->be->squared_error(quantizer->device, quantizer->scratch->trial,
                                     quantizer->scratch->untouched, NULL, rows, hidden, &error,
                                     err))
        return err->status;
    if (error != 0) return compare_rows(quantizer, check, found, err);
    *found = (awq_fold_error){0, awq_fold_tolerance(quantizer->device->compute)};
    return AWQ_OK;
}
