/* SPDX-License-Identifier: MIT */
#include "layers/search/refine.h"

#include <math.h>

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

/* Drops the part beyond the worse inner point, which becomes an end; the other inner point takes
 * its place, and a new one is asked for. */
static void shorten(awq_refine *refine)
{
    int better = refine->loss[1] < refine->loss[0], worse = !better;
    *(better ? &refine->low : &refine->high) = refine->alpha[worse];
    refine->alpha[worse] = refine->alpha[better];
    refine->loss[worse] = refine->loss[better];
    refine->alpha[better] = place(refine, better);
    refine->next = better;
}

void awq_refine_tell(awq_refine *refine, double loss)
{
    refine->loss[refine->next] = isfinite(loss) ? loss : INFINITY;
    if (++refine->told < 2)
        refine->next = 1;
    else
        shorten(refine);
}
