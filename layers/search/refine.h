/* SPDX-License-Identifier: MIT
 * layers/search/refine.h - golden section search for the alpha of least loss between two alphas
 * (docs/awq.md 2.3). Pure arithmetic: ask for the next alpha, tell its loss, as often as wanted.
 *
 * Each step but the first shortens the interval by 0.618; where the loss has one minimum in it, it
 * stays inside. A loss that is not finite counts as the largest. */
#ifndef AWQ_LAYERS_SEARCH_REFINE_H
#define AWQ_LAYERS_SEARCH_REFINE_H

typedef struct awq_refine {
    double low, high; /* the interval */
    double alpha[2];  /* inside of it, ascending */
    double loss[2];   /* at these */
    int next;         /* which of the two is asked for */
    int told;         /* losses so far */
} awq_refine;

/* The ends may be given in either order. */
awq_refine awq_refine_between(double one, double other);
/* The alpha to try next; the same until its loss is told. */
double awq_refine_next(const awq_refine *refine);
void awq_refine_tell(awq_refine *refine, double loss);

#endif
