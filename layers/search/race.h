/* SPDX-License-Identifier: MIT
 * layers/search/race.h - which candidates are worth measuring on which rows (docs/awq.md 2.5). Pure
 * arithmetic.
 *
 * A loss is a sum over output rows, and few rows have most of it. The first candidate is measured
 * on all of them, which puts the rows in an order: by falling loss. The others are measured on the
 * heaviest rows and on some that are spread over the rest; those that are clearly worse than the
 * best so far drop out; then on as many rows again, until one is left or all rows are measured.
 * Nothing is measured twice. At level l, of the n rows in their order, the one at place p is in if
 *
 *   p < n / 2^(LEVELS - l), rounded down,  or  p is a multiple of 2^(LEVELS - l)
 *
 * so that each level has all rows of the one before, and the last all there are. A candidate's
 * difference to another is estimated from the rows of a level: the heavy ones count as they are,
 * the mean of the spread ones for all of the rest, with its standard error. */
#ifndef AWQ_LAYERS_SEARCH_RACE_H
#define AWQ_LAYERS_SEARCH_RACE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"

/* MIXED: the one level at which candidates of a mixed group are measured. */
enum { AWQ_RACE_LEVELS = 5, AWQ_RACE_MIXED = 3 };

typedef struct awq_race {
    int64_t rows;
    int most;        /* candidates that there may be */
    double *loss;    /* [most, rows], in the rows' own order, owned; of what is not measured: any */
    int64_t *order;  /* [rows]: by falling loss of the first candidate, owned */
    int64_t *picked; /* [rows]: awq_race_pick's, owned */
    int *measured;   /* [most]: the level that a candidate is measured to; -1: none; owned */
    bool *running;   /* [most]: not out yet; owned */
    int level;       /* that those that run are measured to, but those measured on all rows */
} awq_race;

awq_status awq_race_open(awq_race *race, int64_t rows, int most, awq_error *err);
void awq_race_close(awq_race *race); /* of an empty one, too */

/* The level to begin at, `least` or above: enough rows to tell a standard error by. */
int awq_race_first_level(int64_t rows, int least);
/* The rows that a level has, as a share of `rows`; -1: 0. */
double awq_race_share(int64_t rows, int level);
/* The first candidate is measured on all rows: puts them in order. */
awq_status awq_race_order(awq_race *race, awq_error *err);
/* The rows of a level that are not of another below it, `from` (-1: none), ascending, to `picked`;
 * returns how many. */
int64_t awq_race_pick(awq_race *race, int from, int level);

/* All that run are measured to race->level, or on all rows. Stops those that are not finite, or
 * worse than the best of them by more than three standard errors (of few rows more); returns the
 * level that those who run are to be measured to next: the last, if one is left; -1: all that are
 * left are. */
int awq_race_judge(awq_race *race);
/* Of the candidates that are measured on all rows, the one of the least sum, of equals the first;
 * -1: none is finite. */
int awq_race_winner(const awq_race *race);

/* A candidate's sum over all rows; of one that is not measured on all, an estimate. */
double awq_race_sum(const awq_race *race, int candidate);
/* The same by its difference to one that is measured on all rows; not below that one's. */
double awq_race_sum_beside(const awq_race *race, int candidate, int whole);

#endif
