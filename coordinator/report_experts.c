/* SPDX-License-Identifier: MIT
 * What the page shows of routed experts: their linears as one, and a few numbers of each expert. A
 * layer may have hundreds, so they are whole numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/report.h"

static const char prefix[] = "experts.";

int awq_report_expert(const char *name)
{
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return -1;
    return atoi(name + sizeof prefix - 1);
}

/* "w1" of "experts.3.w1" */
static const char *own_name(const char *name)
{
    return strchr(name + sizeof prefix - 1, '.') + 1;
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
        for (int step = 0; step < AWQ_RECORD_CLIP_STEPS; step++)
            sum->clip_counts[shape][step] += linear->clip_counts[shape][step];
}

bool awq_report_sum_experts(const awq_layer_record *record, int which, awq_linear_record *out)
{
    *out = (awq_linear_record){0};
    for (awq_linear i = AWQ_DENSE_LINEARS + which; i < record->linears; i += AWQ_MLP_LINEARS) {
        const awq_linear_record *linear = &record->linear[i];
        if (awq_report_expert(linear->name) < 0) continue;
        snprintf(out->name, sizeof out->name, "experts.%.20s", own_name(linear->name));
        add(out, linear);
    }
    return *out->name != '\0';
}

/* Millionths; an expert that puts nothing out has no error. */
static json_t *millionths(double loss, double energy)
{
    double error = energy > 0 ? sqrt(loss / energy) : 0;
    return isfinite(error) ? json_integer((json_int_t)llround(1e6 * error)) : json_null();
}

/* Thousandths of the alpha that was chosen for its down. */
static json_t *alpha_json(const awq_group_record *group)
{
    if (group->chosen < 0) return json_null();
    return json_integer((json_int_t)llround(1e3 * group->alpha[group->chosen]));
}

typedef struct expert_lists {
    json_t *error, *rounding, *alpha, *tokens;
} expert_lists;

static void append(const expert_lists *lists, const awq_layer_record *record, int expert)
{
    awq_linear_record sum = {0};
    awq_linear gate = awq_mlp_linear(1 + expert, AWQ_GATE);
    awq_group group = awq_mlp_down_group(1 + expert);
    for (int i = 0; i < AWQ_MLP_LINEARS && gate + i < record->linears; i++)
        add(&sum, &record->linear[gate + i]);
    json_array_append_new(lists->error, millionths(sum.loss, sum.energy));
    json_array_append_new(lists->rounding, millionths(sum.loss_rounding, sum.energy));
    json_array_append_new(lists->alpha, alpha_json(&record->group[group]));
    json_array_append_new(lists->tokens, json_integer((json_int_t)record->group[group].tokens));
}

json_t *awq_report_experts(const awq_layer_record *record)
{
    expert_lists lists = {json_array(), json_array(), json_array(), json_array()};
    int count = 0;
    for (awq_group group = AWQ_DENSE_GROUPS; group < record->groups; group++)
        count += awq_report_expert(record->group[group].name) >= 0;
    for (int expert = 0; expert < count; expert++) append(&lists, record, expert);
    json_t *object = json_pack("{s:o, s:o, s:o, s:o}", "error", lists.error, "rounding",
                               lists.rounding, "alpha", lists.alpha, "tokens", lists.tokens);
    if (count) return object;
    json_decref(object);
    return NULL;
}
