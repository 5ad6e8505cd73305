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

/* s [channels] of a candidate from m = mean|x| and w (mean over the consumers' rows of
 * |W| / (max|W| of its group + 1e-6); read only for duo). Normalised by sqrt(max s * min s); what
 * is not finite or not above zero becomes 1. raw [channels]: work space. */
void awq_candidate_scales(const awq_candidate *candidate, const float *m, const float *w,
                          int64_t channels, double *raw, float *s);

#endif
