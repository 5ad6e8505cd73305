/* SPDX-License-Identifier: MIT */
#include "layers/search/candidates.h"

#include <math.h>

int awq_candidates_count(int alpha_steps, awq_duo duo)
{
    if (duo == AWQ_DUO_OFF || !alpha_steps) return alpha_steps + 1;
    return duo == AWQ_DUO_ON ? alpha_steps + 2 : 2 * (alpha_steps + 1);
}

int awq_candidates_list(int alpha_steps, awq_duo duo, awq_candidate *out)
{
    int count = 0, plain = duo == AWQ_DUO_ON ? 0 : alpha_steps;
    for (int i = 0; i <= plain; i++)
        out[count++] = (awq_candidate){i ? (double)i / alpha_steps : 0.0, false};
    if (duo == AWQ_DUO_OFF || !alpha_steps) return count;
    for (int i = 0; i <= alpha_steps; i++)
        out[count++] = (awq_candidate){(double)i / alpha_steps, true};
    return count;
}

/* x^power of log x. */
static double power_of(double log_x, double power)
{
    return power == 0 ? 1 : exp(power * log_x);
}

/* Before normalisation. NaN fails the comparison and stays. */
static double raw_scale(const awq_candidate *candidate, double log_m, const double *log_w,
                        int64_t channel)
{
    double scale = power_of(log_m, candidate->alpha);
    if (candidate->duo) scale /= power_of(log_w[channel], 1 - candidate->alpha) + 1e-4;
    return scale < 1e-4 ? 1e-4 : scale;
}

void awq_candidate_scales(const awq_candidate *candidate, const double *log_m, const double *log_w,
                          int64_t channels, double *raw, float *s)
{
    double largest = 0, least = INFINITY;
    for (int64_t i = 0; i < channels; i++) {
        double scale = raw[i] = raw_scale(candidate, log_m[i], log_w, i);
        if (!isfinite(scale)) continue;
        largest = fmax(largest, scale);
        least = fmin(least, scale);
    }
    double middle = sqrt(largest * least);
    for (int64_t i = 0; i < channels; i++) {
        float scale = (float)(raw[i] / middle);
        s[i] = isfinite(scale) && scale > 0 ? scale : 1;
    }
}

/* ---- between two alphas ---- */

static const double golden = 0.61803398874989485; /* (sqrt(5) - 1) / 2 */

/* Where inner point `index` lies. */
static double place(const awq_refine *refine, int index)
{
    double reach = golden * (refine->high - refine->low);
    return index ? refine->low + reach : refine->high - reach;
}

awq_refine awq_refine_between(double one, double other)
{
    awq_refine refine = {.low = fmin(one, other), .high = fmax(one, other)};
    for (int i = 0; i < 2; i++) refine.alpha[i] = place(&refine, i);
    return refine;
}

double awq_refine_next(const awq_refine *refine)
{
    return refine->alpha[refine->next];
}

void awq_refine_tell(awq_refine *refine, double loss)
{
    refine->loss[refine->next] = isfinite(loss) ? loss : INFINITY;
    if (++refine->told < 2) {
        refine->next = 1;
        return;
    }
    /* The part beyond the worse inner point is dropped, which becomes an end; the other inner point
     * takes its place, and a new one is asked for. */
    int better = refine->loss[1] < refine->loss[0], worse = !better;
    *(better ? &refine->low : &refine->high) = refine->alpha[worse];
    refine->alpha[worse] = refine->alpha[better];
    refine->loss[worse] = refine->loss[better];
    refine->alpha[better] = place(refine, better);
    refine->next = better;
}
