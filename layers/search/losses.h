/* SPDX-License-Identifier: MIT
 * layers/search/losses.h - the squared errors of candidates of a group, as measured or estimated
 * (docs/awq.md 2.5). Internal. */
#ifndef AWQ_LAYERS_SEARCH_LOSSES_H
#define AWQ_LAYERS_SEARCH_LOSSES_H

#include "layers/search/candidates.h"
#include "layers/search/measure.h"
#include "layers/search/race.h"

typedef struct awq_group_search {
    awq_quantizer *quantizer;
    int index; /* of the group */
    const awq_group_spec *group;
    int64_t tokens; /* that the input was measured on */
    awq_group_record *record;
    awq_candidate *candidates;
    int count;             /* of them, tried or to be tried */
    int most;              /* that there may be */
    bool module;           /* candidates are scored by a module's output */
    bool joint;            /* consumers are clipped in each candidate */
    bool mixed;            /* experts read the input: several batches */
    double *log_m, *log_w; /* [free channels]; log_w NULL without duo */
    float *s;              /* likewise: work space, as is .. */
    double *raw;
    float *scales;    /* [most, channels] of the candidates */
    double *errors;   /* [readers, most] sums of squares; a batch's are with its first reader */
    double *identity; /* [rows of all readers]: the first candidate's, of a mixed group */
    awq_batch batch;  /* of a group that is one, with .. */
    awq_race race;    /* .. its race */
    int first, end;   /* candidates that are tried now */
} awq_group_search;

/* For the candidates from search->first to search->end: their errors, what share of the rows they
 * were measured on (in the record), and before the first what plain rounding costs each reader. Of
 * a race the errors of those before too, which are estimated beside the winner's. Their scales are
 * made here; with the module objective plain rounding is all. */
awq_status awq_search_measure(awq_group_search *search, awq_error *err);

#endif
