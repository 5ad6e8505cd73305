/* SPDX-License-Identifier: MIT
 * tests/unit/layers/accuracy.c - how exact a backend's search is, on every backend that opens here:
 * each candidate's loss beside float64 (docs/awq.md 2.3 to 2.5 written down once more), the choice
 * by its exact loss, and what is not finite. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/search/channel_means.h"
#include "tests/unit/kernels/reference.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static const double loss_tolerance = 1e-3, choice_tolerance = 1e-3;
enum { STEPS = 20, MOST = 128 };

static synthetic s;

static void open_layer(synthetic_shape shape)
{
    synthetic_open(&s, shape);
    s.recipe.alpha_steps = STEPS;
    s.recipe.clip = AWQ_CLIP_OFF;
}

/* ---- in float64 ---- */

static float *download(const float *from, int64_t count)
{
    awq_error err;
    float *host = malloc((size_t)count * sizeof *host);
    must(s.be->download(s.device, host, from, (size_t)count * sizeof *host, &err));
    return host;
}

/* m^alpha over the geometric middle of its extremes; m is a mean over the heads that are tied. */
static void reference_scales(const awq_group_record *record, int group, double alpha, float *scales)
{
    double m[MOST] = {0}, heads[MOST] = {0}, largest = 0, least = INFINITY;
    for (int64_t i = 0; i < record->channels; i++) {
        int64_t channel = awq_free_channel(&s.spec->group[group], i);
        m[channel] += (double)record->mean_abs[i];
        heads[channel]++;
    }
    for (int64_t i = 0; i < record->channels; i++) {
        int64_t channel = awq_free_channel(&s.spec->group[group], i);
        double scale = fmax(pow(m[channel] / heads[channel], alpha), 1e-4);
        scales[i] = (float)scale;
        largest = fmax(largest, scale);
        least = fmin(least, scale);
    }
    for (int64_t i = 0; i < record->channels; i++)
        scales[i] = (float)((double)scales[i] / sqrt(largest * least));
}

/* trace(D G D^T) of a linear, D = W - Q(W s) / s. */
static double reference_trace(int linear, const float *scales, const float *gram)
{
    awq_extent extent = awq_linear_extent(&s.spec->linear[linear]);
    const awq_grid resolved = awq_recipe_grid(&s.recipe, &s.model, extent.in), *grid = &resolved;
    double sum = 0, d[MOST];
    for (int64_t row = 0; row < extent.out; row++) {
        const float *w = s.original[linear] + row * extent.in;
        float scaled[MOST];
        for (int64_t i = 0; i < extent.in; i++) scaled[i] = w[i] * scales[i];
        for (int64_t i = 0; i < extent.in; i++) {
            const float *first = scaled + i / grid->group_size * grid->group_size;
            reference_group quantizer = reference_quantizer(first, grid);
            double value = (double)reference_value(scaled[i], quantizer, grid);
            d[i] = (double)w[i] - value / (double)scales[i];
        }
        for (int64_t i = 0; i < extent.in; i++)
            for (int64_t j = 0; j < extent.in; j++)
                sum += d[i] * (double)gram[i * extent.in + j] * d[j];
    }
    return sum;
}

static double reference_loss(const awq_quantized_layer *layer, int group, int64_t candidate,
                             const float *gram)
{
    const awq_group_record *record = &layer->record.group[group];
    float scales[MOST] = {0};
    double sum = 0, outputs = 0;
    reference_scales(record, group, record->alpha[candidate], scales);
    for (int linear = 0; linear < s.spec->linears; linear++) {
        if (s.spec->linear[linear].group != group) continue;
        sum += reference_trace(linear, scales, gram);
        outputs += (double)awq_linear_extent(&s.spec->linear[linear]).out;
    }
    return sum / (outputs * (double)layer->record.tokens);
}

/* ---- losses and choices ---- */

static void check_group(const awq_quantized_layer *layer, int group)
{
    const awq_group_record *record = &layer->record.group[group];
    float *gram = download(s.statistics.gram[group], record->channels * record->channels);
    double least = INFINITY, chosen = 0;
    assert_int_equal(record->candidates, STEPS + 1);
    assert_true(record->chosen > 0);
    for (int64_t i = 0; i < record->candidates; i++) {
        double exact = reference_loss(layer, group, i, gram);
        bool whole = record->measured[i] == 1; /* others are estimates: they were worse */
        if (whole && !(fabs(record->loss[i] / exact - 1) <= loss_tolerance))
            fail_msg("group '%s', alpha %g: loss %.9g, exactly %.9g", record->name,
                     record->alpha[i], record->loss[i], exact);
        least = fmin(least, exact);
        if (i == record->chosen) chosen = exact;
    }
    assert_true(chosen <= least * (1 + choice_tolerance));
    free(gram);
}

static void check_search(synthetic_shape shape)
{
    awq_error err;
    awq_quantized_layer layer;
    shape.qkv_bias = true;
    open_layer(shape);
    must(synthetic_quantize(&s, &layer, &err));
    for (int group = 0; group < DENSE_GROUPS; group++) check_group(&layer, group);
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
}

static void check_fused_search(synthetic_shape shape)
{
    shape.fused = true;
    check_search(shape);
}

static void losses_and_choices_are_those_of_float64(void **state)
{
    (void)state;
    synthetic_on_each(check_search);
    synthetic_on_each(check_fused_search);
}

/* ---- what is not finite ---- */

/* One element of the tile's input, after which the layer is refused. */
static void check_input(synthetic_shape shape, float value)
{
    awq_error err;
    awq_quantized_layer layer;
    open_layer(shape);
    int64_t count = SYNTHETIC_SEQUENCES * SYNTHETIC_LENGTH * s.model.hidden;
    float *input = download(s.input, count);
    input[count / 2 + 5] = value;
    s.be->upload(s.device, s.input, input, (size_t)count * sizeof *input);
    synthetic_measure(&s);
    awq_status status = synthetic_quantize(&s, &layer, &err);
    if (status != AWQ_ERR_NUMERIC || !strstr(err.text, "not finite"))
        fail_msg("%g passes: %s", (double)value, status ? err.text : "quantized");
    free(input);
    synthetic_close(&s);
}

static void check_inputs(synthetic_shape shape)
{
    check_input(shape, NAN);
    check_input(shape, -INFINITY);
}

static void nan_and_infinity_in_hidden_states_surface(void **state)
{
    (void)state;
    synthetic_on_each(check_inputs);
}

int main(void)
{
    const struct CMUnitTest accuracy[] = {
        cmocka_unit_test(losses_and_choices_are_those_of_float64),
        cmocka_unit_test(nan_and_infinity_in_hidden_states_surface),
    };
    return cmocka_run_group_tests(accuracy, NULL, NULL);
}
