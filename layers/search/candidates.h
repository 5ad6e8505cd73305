/* SPDX-License-Identifier: MIT
 * layers/search/candidates.h - the channel scales that the search tries (docs/awq.md 2.3). */
#ifndef AWQ_LAYERS_SEARCH_CANDIDATES_H
#define AWQ_LAYERS_SEARCH_CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/model/recipe.h"

typedef struct awq_candidate {
    double alpha;
    bool duo; /* s = m^alpha / w^(1 - alpha); otherwise s = m^alpha */
} awq_candidate;

enum { AWQ_MAX_ALPHA_STEPS = 1000, AWQ_MAX_CANDIDATES = 2 * (AWQ_MAX_ALPHA_STEPS + 1) + 1 };

/* How many awq_candidates_list lists. */
int awq_candidates_count(int alpha_steps, awq_duo duo);

/* Fills `out` in the order of the search; returns how many. Entry 0 is the identity (alpha 0 of
 * the plain rule). Order: plain alphas 0, 1/steps .. 1 (only 0 with duo on), then duo alphas. */
int awq_candidates_list(int alpha_steps, awq_duo duo, awq_candidate *out);

/* s [channels] of a candidate from the logarithms of m = mean|x| and of w (mean over the consumers'
 * rows of |W| / (max|W| of its group + 1e-6); read only for duo). Normalised by sqrt(max s * min
 * s); what is not finite or not above zero becomes 1. raw [channels]: work space. */
void awq_candidate_scales(const awq_candidate *candidate, const double *log_m, const double *log_w,
                          int64_t channels, double *raw, float *s);

/* ---- golden section search for the alpha of least loss between two alphas (docs/awq.md 2.3). Pure
 * arithmetic: ask for the next alpha, tell its loss, as often as wanted. Each step but the first
 * shortens the interval by 0.618; where the loss has one minimum in it, it stays inside. A loss
 * that is not finite counts as the largest. ---- */

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
