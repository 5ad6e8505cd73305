/* SPDX-License-Identifier: MIT
 * io/records/score.h - what an evaluation adds up: sums over positions, so that sequences, tiles
 * and quarters of the window can be added in a fixed order, whoever made them.
 *
 * Position p of a window of `length` tokens is where the logits are that predict token p + 1. It
 * counts when that token does (/mask); the last one, whose token lies beyond the window, counts
 * when its own does. A position that does not count is in no sum. */
#ifndef AWQ_IO_RECORDS_SCORE_H
#define AWQ_IO_RECORDS_SCORE_H

#include <stdint.h>

enum { AWQ_QUARTERS = 4 };

typedef struct awq_score_part {
    double nll;        /* of the model, natural log; positions 0..length-2 */
    double other_nll;  /* of the model it is compared with, likewise */
    double kl;         /* KL(other || model), positions 0..length-1 */
    int64_t predicted; /* terms in nll */
    int64_t compared;  /* terms in kl; 0: nothing to compare with */
    int64_t agreed;    /* of them, those where both find the same token likeliest */
} awq_score_part;

typedef struct awq_score {
    awq_score_part quarter[AWQ_QUARTERS]; /* of the window that the positions lie in */
} awq_score;

/* The quarter of a position: 4 p / length, rounded down. */
int awq_score_quarter(int64_t position, int64_t length);
/* Adds quarter by quarter. */
void awq_score_add(awq_score *sum, const awq_score *part);
/* All quarters. */
awq_score_part awq_score_total(const awq_score *score);

#endif
