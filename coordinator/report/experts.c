/* SPDX-License-Identifier: MIT
 * What the page shows of routed experts: their linears as one, and a few numbers of each expert. A
 * layer may have hundreds, so they are whole numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/report/report.h"

/* "w1" of "experts.3.w1" */
static const char *type_of(const awq_linear_record *linear)
{
    return strrchr(linear->name, '.') + 1;
}

static void add(awq_linear_record *sum, const awq_linear_record *linear)
{
    sum->loss += linear->loss;
    sum->loss_rounding += linear->loss_rounding;
    sum->energy += linear->energy;
    sum->groups += linear->groups;
    sum->clipped_groups += linear->clipped_groups;
    sum->damp = fmax(sum->damp, linear->damp);
    if (linear->clip_shapes > sum->clip_shapes) sum->clip_shapes = linear->clip_shapes;
    for (int64_t shape = 0; shape < linear->clip_shapes; shape++)
        for (int step = 0; step < AWQ_CLIP_STEPS; step++)
            sum->clip_counts[shape][step] += linear->clip_counts[shape][step];
}

bool awq_report_sum_experts(const awq_layer_record *record, int which, awq_linear_record *out)
{
    const awq_linear_record *first = NULL; /* the which-th of the first expert */
    for (int i = 0; !first && i < record->linears; i++)
        if (record->linear[i].expert == 0 && !which--) first = &record->linear[i];
    *out = (awq_linear_record){0};
    if (!first) return false;
    snprintf(out->name, sizeof out->name, "experts.%.20s", type_of(first));
    for (int i = 0; i < record->linears; i++) {
        const awq_linear_record *linear = &record->linear[i];
        if (linear->expert >= 0 && !strcmp(type_of(linear), type_of(first))) add(out, linear);
    }
    return true;
}

/* Millionths; an expert that puts nothing out has no error. */
static json_t *millionths(double loss, double energy)
{
    double error = energy > 0 ? sqrt(loss / energy) : 0;
    return isfinite(error) ? json_integer((json_int_t)llround(1e6 * error)) : json_null();
}

json_t *awq_report_experts(const awq_layer_record *record)
{
    json_t *errors = json_array(), *rounding = json_array(), *alphas = json_array();
    json_t *tokens = json_array();
    int count = 0, next = 0;
    for (int i = 0; i < record->groups; i++) {
        const awq_group_record *group = &record->group[i];
        if (group->expert < 0) continue;
        awq_linear_record sum = {0}; /* of its linears, which follow one another */
        double alpha = group->chosen < 0 ? NAN : group->alpha[group->chosen];
        while (next < record->linears && record->linear[next].expert != group->expert) next++;
        while (next < record->linears && record->linear[next].expert == group->expert)
            add(&sum, &record->linear[next++]);
        json_array_append_new(errors, millionths(sum.loss, sum.energy));
        json_array_append_new(rounding, millionths(sum.loss_rounding, sum.energy));
        json_array_append_new(
            alphas, isfinite(alpha) ? json_integer((json_int_t)llround(1e3 * alpha)) : json_null());
        json_array_append_new(tokens, json_integer((json_int_t)group->tokens));
        count++;
    }
    json_t *object = json_pack("{s:o, s:o, s:o, s:o}", "error", errors, "rounding", rounding,
                               "alpha", alphas, "tokens", tokens);
    if (count) return object;
    json_decref(object);
    return NULL;
}
