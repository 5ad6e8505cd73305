/* SPDX-License-Identifier: MIT */
#include "io/records/score.h"

static void add(awq_score_part *sum, const awq_score_part *part)
{
    sum->nll += part->nll;
    sum->other_nll += part->other_nll;
    sum->kl += part->kl;
    sum->predicted += part->predicted;
    sum->compared += part->compared;
    sum->agreed += part->agreed;
}

int awq_score_quarter(int64_t position, int64_t length)
{
    return (int)(position * AWQ_QUARTERS / length);
}

void awq_score_add(awq_score *sum, const awq_score *part)
{
    for (int i = 0; i < AWQ_QUARTERS; i++) add(&sum->quarter[i], &part->quarter[i]);
}

awq_score_part awq_score_total(const awq_score *score)
{
    awq_score_part sum = {0};
    for (int i = 0; i < AWQ_QUARTERS; i++) add(&sum, &score->quarter[i]);
    return sum;
}
