/* SPDX-License-Identifier: MIT */
#include "coordinator/commands/eval_print.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* The mean of nothing is no number. */
static double mean(double sum, int64_t count)
{
    return count ? sum / (double)count : NAN;
}

/* Positions first..end-1 lie in a quarter; none where the window is shorter than four. */
static void quarter_range(int quarter, int64_t length, int64_t *first, int64_t *end)
{
    *first = (quarter * length + AWQ_QUARTERS - 1) / AWQ_QUARTERS;
    *end = ((quarter + 1) * length + AWQ_QUARTERS - 1) / AWQ_QUARTERS;
}

/* ---- text ---- */

static void print_number(int width, int digits, double value)
{
    if (isfinite(value))
        printf("  %*.*f", width, digits, value);
    else
        printf("  %*s", width, "-");
}

static void print_quarter(const awq_eval_result *result, int quarter)
{
    const awq_score_part *part = &result->score->quarter[quarter];
    char range[48];
    int64_t first, end;
    quarter_range(quarter, result->length, &first, &end);
    if (first == end) return;
    snprintf(range, sizeof range, "%lld-%lld", (long long)first, (long long)end - 1);
    printf("  %-13s", range);
    print_number(11, 6, exp(mean(part->nll, part->predicted)));
    if (result->against) {
        print_number(11, 6, exp(mean(part->other_nll, part->predicted)));
        print_number(13, 8, mean(part->kl, part->compared));
        print_number(7, 2, 100 * mean((double)part->agreed, part->compared));
        printf("%%");
    }
    printf("\n");
}

static void print_quarters(const awq_eval_result *result)
{
    printf("by quarter of the window:\n  positions       perplexity");
    if (result->against) printf("      against  KL divergence    top-1");
    printf("\n");
    for (int quarter = 0; quarter < AWQ_QUARTERS; quarter++) print_quarter(result, quarter);
}

static void print_comparison(const awq_eval_result *result, const awq_score_part *all)
{
    double nll = mean(all->other_nll, all->predicted);
    printf("%s: perplexity %.6f, mean negative log likelihood %.6f\n", result->against, exp(nll),
           nll);
    printf("KL divergence %.8f, mean over %lld positions, natural log\n",
           mean(all->kl, all->compared), (long long)all->compared);
    printf("top-1 agreement %.2f%%, %lld of %lld positions\n",
           100 * mean((double)all->agreed, all->compared), (long long)all->agreed,
           (long long)all->compared);
}

void awq_eval_print_text(const awq_eval_result *result)
{
    awq_score_part all = awq_score_total(result->score);
    double nll = mean(all.nll, all.predicted);
    printf("%s: perplexity %.6f, mean negative log likelihood %.6f over %lld tokens\n",
           result->model, exp(nll), nll, (long long)all.predicted);
    if (result->against) print_comparison(result, &all);
    print_quarters(result);
}

/* ---- JSON ---- */

/* JSON has no NaN. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *likelihood(double nll)
{
    return json_pack("{s:o, s:o}", "perplexity", number(exp(nll)), "mean_nll", number(nll));
}

/* What all positions and each quarter have alike, added to `object`. */
static bool add_part(const awq_eval_result *result, const awq_score_part *part, json_t *object)
{
    json_t *own = likelihood(mean(part->nll, part->predicted));
    bool ok = !json_object_update(object, own) &&
              !json_object_set_new(object, "tokens", json_integer(part->predicted));
    json_decref(own);
    if (!ok || !result->against) return ok;
    json_t *other = likelihood(mean(part->other_nll, part->predicted));
    json_t *agreement = number(mean((double)part->agreed, part->compared));
    return !json_object_set_new(object, "against", other) &&
           !json_object_set_new(object, "kl", number(mean(part->kl, part->compared))) &&
           !json_object_set_new(object, "top1_agreement", agreement) &&
           !json_object_set_new(object, "positions", json_integer(part->compared));
}

static bool add_quarters(const awq_eval_result *result, json_t *object)
{
    json_t *list = json_array();
    bool ok = !json_object_set_new(object, "quarters", list);
    for (int quarter = 0; ok && quarter < AWQ_QUARTERS; quarter++) {
        int64_t first, end;
        quarter_range(quarter, result->length, &first, &end);
        json_t *item =
            json_pack("{s:I, s:I}", "first", (json_int_t)first, "last", (json_int_t)(end - 1));
        ok = item && add_part(result, &result->score->quarter[quarter], item);
        ok = !json_array_append_new(list, item) && ok; /* takes the reference */
    }
    return ok;
}

awq_status awq_eval_print_json(const awq_eval_result *result, awq_error *err)
{
    awq_score_part all = awq_score_total(result->score);
    json_t *object = json_pack("{s:s}", "model", result->model);
    bool ok = object && add_part(result, &all, object);
    if (ok && result->against)
        ok = !json_object_set_new(json_object_get(object, "against"), "model",
                                  json_string(result->against));
    if (ok) ok = add_quarters(result, object);
    char *text = ok ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return AWQ_OK;
}
