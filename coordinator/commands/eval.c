/* SPDX-License-Identifier: MIT
 * awqrun eval: perplexity of a checkpoint, full precision or AWQ, and its KL divergence from a
 * full-precision one. Tiles flow through stages as in a quantization; nothing is written. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/check/check.h"
#include "coordinator/commands/commands.h"
#include "coordinator/crew/assign.h"
#include "coordinator/crew/progress.h"
#include "jobs/plan/plan.h"

typedef struct eval_result {
    const char *model;
    const char *against; /* NULL: not compared */
    int64_t length;      /* tokens of a window */
    const awq_score *score;
} eval_result;

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

/* ---- the result as text ---- */

static void print_number(int width, int digits, double value)
{
    if (isfinite(value))
        printf("  %*.*f", width, digits, value);
    else
        printf("  %*s", width, "-");
}

static void print_quarters(const eval_result *result)
{
    printf("by quarter of the window:\n  positions       perplexity");
    if (result->against) printf("      against  KL divergence    top-1");
    printf("\n");
    for (int quarter = 0; quarter < AWQ_QUARTERS; quarter++) {
        const awq_score_part *part = &result->score->quarter[quarter];
        char range[48];
        int64_t first, end;
        quarter_range(quarter, result->length, &first, &end);
        if (first == end) continue;
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
}

static void print_text(const eval_result *result)
{
    awq_score_part all = awq_score_total(result->score);
    double nll = mean(all.nll, all.predicted);
    printf("%s: perplexity %.6f, mean negative log likelihood %.6f over %lld tokens\n",
           result->model, exp(nll), nll, (long long)all.predicted);
    if (result->against) {
        nll = mean(all.other_nll, all.predicted);
        printf("%s: perplexity %.6f, mean negative log likelihood %.6f\n", result->against,
               exp(nll), nll);
        printf("KL divergence %.8f, mean over %lld positions, natural log\n",
               mean(all.kl, all.compared), (long long)all.compared);
        printf("top-1 agreement %.2f%%, %lld of %lld positions\n",
               100 * mean((double)all.agreed, all.compared), (long long)all.agreed,
               (long long)all.compared);
    }
    print_quarters(result);
}

/* ---- the result as JSON ---- */

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
static bool add_part(const eval_result *result, const awq_score_part *part, json_t *object)
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

static bool add_quarters(const eval_result *result, json_t *object)
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

static awq_status print_json(const eval_result *result, awq_error *err)
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

/* ---- the work ---- */

typedef struct eval {
    const awq_options *options;
    awq_crew *crew;
    awq_inputs inputs;
    awq_plan plan;
    awq_progress_view view;
    awq_score *scores; /* [tiles] */
    int64_t tiles;
} eval;

static awq_status collect(eval *e, awq_error *err)
{
    for (int64_t scored = 0; scored < e->tiles;) {
        awq_letter *letter;
        if (awq_crew_next(e->crew, 0.2, &letter, NULL, err)) return err->status;
        if (letter && letter->kind == AWQ_LETTER_SCORE) {
            memcpy(&e->scores[letter->a], letter->payload, sizeof *e->scores);
            scored++;
        }
        awq_letter_free(letter);
        awq_progress now = awq_crew_progress(e->crew);
        awq_progress_show(&e->view, &(awq_count){"tiles", scored, e->tiles}, 1, &now);
    }
    return AWQ_OK;
}

static awq_status check_finite(const char *model, double nll, awq_error *err)
{
    if (isfinite(nll)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "'%s': its logits are not finite, so these tokens have no likelihood", model);
}

static awq_status run(eval *e, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(e->inputs.model);
    awq_job job = {.command = AWQ_COMMAND_EVAL, .options = *e->options};
    awq_workload load;
    awq_plan_shape shape;
    e->tiles = awq_job_tiles(e->options, &e->inputs.tokens);
    e->scores = calloc((size_t)e->tiles, sizeof *e->scores);
    if (!e->scores) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the scores");
    if (awq_crew_hire(e->crew, &job, err) ||
        awq_crew_shape(e->crew, e->options, model, model->layers, &shape, err) ||
        awq_plan_create(model->layers, NULL, NULL, &shape, &e->plan, err) ||
        awq_workload_make(e->options, model, &e->inputs.tokens, &e->plan, e->crew->count, &load,
                          err))
        return err->status;
    load.gram = load.search = 0;
    if (e->inputs.against) load.forward *= 2;
    awq_progress_begin(&e->view, &load, 0, e->options);
    awq_crew_send_plan(e->crew, &e->plan, NULL);
    awq_status status = collect(e, err);
    awq_progress_end(&e->view);
    if (status) return status;
    awq_score sum = {0}; /* in tile order, whoever scored them and whenever */
    for (int64_t i = 0; i < e->tiles; i++) awq_score_add(&sum, &e->scores[i]);
    eval_result result = {.model = e->options->model,
                          .against = e->options->against,
                          .length = e->inputs.tokens.length,
                          .score = &sum};
    awq_score_part all = awq_score_total(&sum);
    if (check_finite(e->options->model, all.nll, err) ||
        (e->options->against && check_finite(e->options->against, all.other_nll, err)))
        return err->status;
    if (e->options->json) return print_json(&result, err);
    print_text(&result);
    return AWQ_OK;
}

/* Both must predict tokens. */
static void check_heads(const eval *e, awq_problems *problems)
{
    const awq_checkpoint *const models[] = {e->inputs.model, e->inputs.against};
    for (int i = 0; i < 2; i++)
        if (models[i] && awq_checkpoint_model(models[i])->headless)
            awq_problems_add(problems, AWQ_ERR_INPUT,
                             "'%s' has no head that predicts tokens, and so no perplexity: it is a "
                             "model that embeds or classifies",
                             awq_checkpoint_directory(models[i]));
}

static void check_scorable(const eval *e, awq_problems *problems)
{
    check_heads(e, problems);
    const awq_tokens *tokens = &e->inputs.tokens;
    bool counts = !tokens->mask; /* a token that another one predicts */
    for (int64_t i = 0; !counts && i < tokens->sequences * tokens->length; i++)
        counts = i % tokens->length && tokens->mask[i];
    if (tokens->ids && tokens->length >= 2 && !counts)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s': /mask leaves no token but the first of a sequence, which nothing "
                         "predicts",
                         e->options->tokens);
    if (tokens->ids && tokens->length < 2)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "sequences in '%s' have one token; perplexity needs two at least",
                         e->options->tokens);
    if (e->inputs.against && awq_checkpoint_model(e->inputs.against)->quantized)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--against '%s' is quantized; give the full-precision model",
                         e->options->against);
}

int awq_command_eval(const awq_call *call)
{
    eval e = {.options = call->options, .crew = call->crew};
    awq_problems problems;
    awq_error err;
    int code = AWQ_EXIT_DONE;
    awq_problems_init(&problems);
    awq_check_inputs(e.options, &e.inputs, &problems);
    check_scorable(&e, &problems);
    if (!problems.count)
        awq_warn_of_unknown(e.options->model, awq_checkpoint_model(e.inputs.model));
    if (problems.count)
        code = awq_exit_problems(&problems);
    else if (run(&e, &err)) /* an interrupted one too: there is nothing to resume */
        code = awq_exit_failed(&err) == AWQ_EXIT_USAGE ? AWQ_EXIT_USAGE : AWQ_EXIT_FAILED;
    awq_problems_release(&problems);
    awq_inputs_release(&e.inputs);
    awq_plan_release(&e.plan);
    free(e.scores);
    return code;
}
