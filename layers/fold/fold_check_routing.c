/* SPDX-License-Identifier: MIT
 * layers/fold/fold_check_routing.c - the folded router must ask for the experts that the original
 * one asked for. Rounding moves its logits a little, so that an expert may be passed by another
 * that is as good as equal; by more than that none may. */
#include <math.h>
#include <stdlib.h>

#include "layers/fold/fold_check.h"
#include "layers/forward/scratch.h"

/* Of the largest logit of a row, times the tolerance of the layer's output: what a single logit,
 * which is not averaged over channels and tokens as that is, may be off by. */
enum { LOGIT_SLACK = 10 };

static bool is_held(const awq_quantizer *quantizer, int64_t rows)
{
    const awq_statistics *statistics = quantizer->statistics;
    return quantizer->spec->mlps.experts && statistics->choice && statistics->choice_rows >= rows;
}

void awq_routing_hold(const awq_quantizer *quantizer, int64_t rows)
{
    if (is_held(quantizer, rows)) quantizer->scratch->routing.held = quantizer->statistics->choice;
}

/* By how much the largest logit that was not chosen is above the least that was. */
static float passed_by(const float *logits, int64_t experts, const int32_t *chosen, int64_t active)
{
    float least = INFINITY, largest = -INFINITY;
    for (int64_t k = 0; k < active; k++) least = fminf(least, logits[chosen[k]]);
    for (int64_t e = 0; e < experts; e++) {
        bool held = false;
        for (int64_t k = 0; k < active; k++) held = held || chosen[k] == e;
        if (!held) largest = fmaxf(largest, logits[e]);
    }
    return largest - least;
}

static float largest_logit(const float *logits, int64_t experts)
{
    float largest = 0;
    for (int64_t e = 0; e < experts; e++) largest = fmaxf(largest, fabsf(logits[e]));
    return largest;
}

static awq_status check_rows(const awq_quantizer *quantizer, const float *logits, int64_t rows,
                             double tolerance, awq_error *err)
{
    const awq_mlps_spec *mlps = &quantizer->spec->mlps;
    int group = quantizer->spec->linear[mlps->router].group;
    for (int64_t row = 0; row < rows; row++) {
        const float *of_row = logits + row * mlps->experts;
        const int32_t *chosen = quantizer->statistics->choice + row * mlps->active;
        double slack = LOGIT_SLACK * tolerance * (double)largest_logit(of_row, mlps->experts);
        double by = (double)passed_by(of_row, mlps->experts, chosen, mlps->active);
        if (by > slack)
            return awq_fail(err, AWQ_ERR_NUMERIC,
                            "scale group '%s': folding sends token %lld to another expert, "
                            "whose logit is larger by %.1e (at most %.0e); the router may not have "
                            "been folded",
                            quantizer->spec->group[group].name, (long long)row, by, slack);
    }
    return AWQ_OK;
}

awq_status awq_routing_check(const awq_quantizer *quantizer, int64_t rows, double tolerance,
                             awq_error *err)
{
    size_t bytes = (size_t)(rows * quantizer->spec->mlps.experts) * sizeof(float);
    if (!is_held(quantizer, rows)) return AWQ_OK;
    float *logits = awq_allocate(bytes, "router logits", err);
    if (!logits) return err->status;
    awq_status status = quantizer->be->download(quantizer->device, logits,
                                                quantizer->scratch->routing.logits, bytes, err);
    if (!status) status = check_rows(quantizer, logits, rows, tolerance, err);
    free(logits);
    return status;
}
