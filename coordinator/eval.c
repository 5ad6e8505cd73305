/* SPDX-License-Identifier: MIT
 * awqrun eval: perplexity of a checkpoint, full precision or AWQ, and its KL divergence from a
 * full-precision one. Tiles flow through stages as in a quantization; nothing is written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/check.h"
#include "coordinator/commands.h"
#include "coordinator/progress.h"
#include "io/log.h"
#include "jobs/plan.h"
#include "jobs/work.h"

typedef struct eval {
    awq_options *options;
    awq_crew *crew;
    awq_inputs inputs;
    awq_plan plan;
    awq_progress_view view;
    awq_tile_score *scores; /* [tiles] */
    int64_t tiles;
} eval;

static awq_status plan(eval *e, awq_error *err)
{
    int64_t layers = awq_checkpoint_model(e->inputs.model)->layers, least = layers;
    for (int i = 0; i < e->crew->count; i++) {
        const awq_hello *hello = &e->crew->members[i].hello;
        int64_t fits;
        if (awq_plan_stage_layers(layers, e->crew->count, e->options->stage_layers,
                                  hello->budget_bytes, hello->layer_bytes, hello->fixed_bytes,
                                  &fits, err))
            return err->status;
        if (fits < least) least = fits;
    }
    return awq_plan_create(layers, NULL, NULL, least, e->crew->count, &e->plan, err);
}

static void send_plan(const eval *e)
{
    size_t stages = (size_t)e->plan.stage_count * sizeof *e->plan.stages;
    for (int i = 0; i < e->crew->count; i++) {
        awq_letter *letter = awq_letter_create(AWQ_LETTER_PLAN, e->plan.stage_count, 0,
                                               sizeof(awq_plan_head) + stages);
        if (letter) {
            memset(letter->payload, 0, sizeof(awq_plan_head));
            memcpy(letter->payload + sizeof(awq_plan_head), e->plan.stages, stages);
        }
        awq_crew_send(e->crew, i, letter);
    }
}

static awq_status begin_progress(eval *e, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(e->inputs.model);
    int64_t length = e->inputs.tokens.length, tokens = e->inputs.tokens.sequences * length;
    double models = e->inputs.against ? 2 : 1;
    awq_workload load = {.plan = &e->plan,
                         .done = calloc((size_t)model->layers, sizeof *load.done),
                         .workers = e->crew->count,
                         .tiles = e->tiles,
                         .tokens = tokens,
                         .forward = models * awq_work_forward(model, tokens, length)};
    if (!load.done) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to tell the progress");
    awq_progress_begin(&e->view, &load, 0, e->options);
    return AWQ_OK;
}

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

/* In tile order, whoever scored them and whenever. */
static awq_tile_score total(const eval *e)
{
    awq_tile_score sum = {0};
    for (int64_t i = 0; i < e->tiles; i++) {
        const awq_tile_score *score = &e->scores[i];
        sum.nll += score->nll;
        sum.other_nll += score->other_nll;
        sum.kl += score->kl;
        sum.predicted += score->predicted;
        sum.compared += score->compared;
    }
    return sum;
}

static void print_text(const eval *e, const awq_tile_score *sum)
{
    double nll = sum->nll / (double)sum->predicted;
    printf("%s: perplexity %.6f, mean negative log likelihood %.6f over %lld tokens\n",
           e->options->model, exp(nll), nll, (long long)sum->predicted);
    if (!e->inputs.against) return;
    nll = sum->other_nll / (double)sum->predicted;
    printf("%s: perplexity %.6f, mean negative log likelihood %.6f\n", e->options->against,
           exp(nll), nll);
    printf("KL divergence %.8f, mean over %lld positions, natural log\n",
           sum->kl / (double)sum->compared, (long long)sum->compared);
}

static awq_status print_json(const eval *e, const awq_tile_score *sum, awq_error *err)
{
    double nll = sum->nll / (double)sum->predicted;
    json_t *object = json_pack("{s:s, s:f, s:f, s:I}", "model", e->options->model, "perplexity",
                               exp(nll), "mean_nll", nll, "tokens", (json_int_t)sum->predicted);
    if (object && e->inputs.against) {
        double other = sum->other_nll / (double)sum->predicted;
        json_object_set_new(object, "against",
                            json_pack("{s:s, s:f, s:f}", "model", e->options->against, "perplexity",
                                      exp(other), "mean_nll", other));
        json_object_set_new(object, "kl", json_real(sum->kl / (double)sum->compared));
        json_object_set_new(object, "positions", json_integer(sum->compared));
    }
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return AWQ_OK;
}

static awq_status run(eval *e, awq_error *err)
{
    awq_job job = {.command = AWQ_COMMAND_EVAL, .options = *e->options};
    e->tiles = awq_job_tiles(e->options, &e->inputs.tokens);
    e->scores = calloc((size_t)e->tiles, sizeof *e->scores);
    if (!e->scores) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the scores");
    if (awq_crew_hire(e->crew, &job, err) || plan(e, err)) return err->status;
    if (begin_progress(e, err)) return err->status;
    send_plan(e);
    awq_status status = collect(e, err);
    awq_progress_end(&e->view);
    if (status) return status;
    awq_tile_score sum = total(e);
    if (e->options->json) return print_json(e, &sum, err);
    print_text(e, &sum);
    return AWQ_OK;
}

static void check_length(const eval *e, awq_problems *problems)
{
    if (e->inputs.tokens.ids && e->inputs.tokens.length < 2)
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
    check_length(&e, &problems);
    if (problems.count)
        code = awq_exit_problems(&problems);
    else if (run(&e, &err)) /* an interrupted one too: there is nothing to go on with */
        code = awq_exit_failed(&err) == AWQ_EXIT_USAGE ? AWQ_EXIT_USAGE : AWQ_EXIT_FAILED;
    awq_problems_release(&problems);
    awq_inputs_release(&e.inputs);
    awq_plan_release(&e.plan);
    free(e.scores);
    return code;
}
