/* SPDX-License-Identifier: MIT
 * Linears that are further from their source than quantizing it leaves them.
 *
 * The measure is the error of the folded weight in steps of the grid that it was rounded to
 * (layers/fold/unfold.h). A step is what bits, group size and the group's range make it, so one
 * bound serves all of them: rounding leaves 1 / sqrt(12) = 0.29 on average, cut ranges and error
 * feedback somewhat more, and any other weight several steps. Below the bound, a linear stands out
 * when it is far above its kind in all layers and experts, by a robust z-score: the distance from
 * the median of the logarithms over their median absolute deviation. The relative error is looked
 * at in that way only: where activations have outliers, a good quantization may leave the columns
 * that they hardly use far off, in all layers alike. Closer than rounding no linear is too far off,
 * be others closer still: those whose source lay on a grid itself.
 *
 * Error feedback moves the weights of an expert that had few tokens further than those of others:
 * most, by half as far again, where it had one for each channel. So such experts are held to the
 * bound alone, and are no part of what others are compared with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/verify/verify.h"

static const double least_steps = 0.28; /* plain rounding's, and a little less */
static const double most_steps = 1;
static const double most_z = 6;
static const double enough_fed = 4;      /* tokens for each channel: docs/verify.md */
enum { MOST_TYPES = 24 };                /* of linears in a model */
static const double normal_mad = 1.4826; /* standard deviations in a median absolute deviation */

/* A distance over the layers. */
typedef struct spread {
    double *logarithms; /* [count], sorted in place by median() */
    size_t count;
} spread;

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The lower one of two: one bad layer of two must not pull it up. */
static double median(spread *s)
{
    qsort(s->logarithms, s->count, sizeof *s->logarithms, compare_doubles);
    return s->logarithms[(s->count - 1) / 2];
}

static const awq_linear_spec *linear_at(const awq_verification *v, int64_t part, int64_t linear)
{
    return &awq_model_layer(v->model, part - 1)->linear[linear];
}

/* The value from which on one stands out among the linears of a type, in all layers and experts:
 * `least` times the median at the least. `offset` says which distance. logarithms: room for one of
 * each linear. */
static double find_limit(const awq_verification *v, const char *type, size_t offset, double least,
                         double *logarithms, double *middle)
{
    spread s = {.logarithms = logarithms};
    for (int64_t part = 1; part < v->parts; part++)
        for (int64_t i = 0; i < v->checks[part].linears; i++) {
            const char *checks = (const char *)&v->linears[part][i];
            double distance = *(const double *)(const void *)(checks + offset);
            if (!strcmp(awq_linear_type(linear_at(v, part, i)), type) && isfinite(distance) &&
                distance > 0 && v->linears[part][i].fed >= enough_fed)
                s.logarithms[s.count++] = log(distance);
        }
    *middle = 0;
    if (!s.count) return INFINITY;
    double center = median(&s);
    for (size_t i = 0; i < s.count; i++) s.logarithms[i] = fabs(s.logarithms[i] - center);
    *middle = exp(center);
    return exp(center + fmax(most_z * normal_mad * median(&s), log(least)));
}

/* What the distances of linears of a type are held to. */
typedef struct limits {
    const char *type;
    double steps, median_steps, relative, median_relative;
} limits;

static void check_linear(awq_verification *v, int64_t layer, int64_t linear, const limits *limit)
{
    const awq_linear_checks *checks = &v->linears[layer + 1][linear];
    double steps = checks->steps, relative = checks->relative;
    const char *name = linear_at(v, layer + 1, linear)->name;
    if (steps == -1) return;
    if (!isfinite(steps) || !isfinite(relative))
        awq_problems_add(&v->outliers, AWQ_ERR_NUMERIC,
                         "layer %lld: %s cannot be compared with the source: not all numbers are "
                         "finite",
                         (long long)layer, name);
    else if (steps < least_steps)
        return;
    else if (steps > most_steps)
        awq_problems_add(&v->outliers, AWQ_ERR_NUMERIC,
                         "layer %lld: %s is not the source's weight: it is %.2f steps of its grid "
                         "away from it, where rounding leaves 0.29 (relative error %.1f%%)",
                         (long long)layer, name, steps, 100 * relative);
    else if (checks->fed < enough_fed)
        return;
    else if (steps > limit->steps)
        awq_problems_add(
            &v->outliers, AWQ_ERR_NUMERIC,
            "layer %lld: %s stands out: it is %.2f steps of its grid away from the "
            "source's weight, %.2f in the median of all layers (relative error %.1f%%)",
            (long long)layer, name, steps, limit->median_steps, 100 * relative);
    else if (relative > limit->relative)
        awq_problems_add(&v->outliers, AWQ_ERR_NUMERIC,
                         "layer %lld: %s stands out: its relative error is %.1f%%, %.1f%% in the "
                         "median of all layers",
                         (long long)layer, name, 100 * relative, 100 * limit->median_relative);
}

/* Linears of all layers; 0: there is no model to have any. */
static size_t count_linears(const awq_verification *v)
{
    size_t count = 0;
    for (int64_t part = 1; part < v->parts; part++) count += (size_t)v->checks[part].linears;
    return count;
}

/* The limits of a type: those that are known already, or new ones. */
static const limits *limits_of(const awq_verification *v, const char *type, limits *known,
                               int *count, double *logarithms)
{
    int at = 0;
    while (at < *count && strcmp(known[at].type, type) != 0) at++;
    limits *limit = &known[at];
    if (at < *count) return limit;
    *limit = (limits){.type = type};
    limit->steps = find_limit(v, type, offsetof(awq_linear_checks, steps), 1.5, logarithms,
                              &limit->median_steps);
    limit->relative = find_limit(v, type, offsetof(awq_linear_checks, relative), 3, logarithms,
                                 &limit->median_relative);
    if (*count + 1 < MOST_TYPES) ++*count; /* the last one is found anew each time */
    return limit;
}

void awq_verify_find_outliers(awq_verification *v)
{
    limits known[MOST_TYPES];
    int count = 0;
    double *logarithms = malloc((count_linears(v) + 1) * sizeof *logarithms);
    if (!logarithms) return;
    for (int64_t part = 1; part < v->parts; part++)
        for (int64_t i = 0; i < v->checks[part].linears; i++) {
            const char *type = awq_linear_type(linear_at(v, part, i));
            check_linear(v, part - 1, i, limits_of(v, type, known, &count, logarithms));
        }
    free(logarithms);
}
