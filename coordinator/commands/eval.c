/* SPDX-License-Identifier: MIT
 * awqrun eval: perplexity of a checkpoint, full precision or AWQ, and its KL divergence from a
 * full-precision one. Tiles flow through stages as in a quantization; nothing is written. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/check/check.h"
#include "coordinator/commands/commands.h"
#include "coordinator/commands/eval_print.h"
#include "coordinator/crew/assign.h"
#include "coordinator/crew/progress.h"
#include "io/core/log.h"
#include "jobs/plan/plan.h"

typedef struct eval {
    const awq_options *options;
    awq_crew *crew;
    awq_inputs inputs;
    awq_plan plan;
    awq_progress_view view;
    awq_score *scores; /* [tiles] */
    int64_t tiles;
} eval;

static awq_status plan(eval *e, awq_error *err)
{
    int64_t layers = awq_checkpoint_model(e->inputs.model)->layers, count;
    if (awq_crew_stage_layers(e->crew, e->options, layers, &count, err)) return err->status;
    return awq_plan_create(layers, NULL, NULL, count, e->crew->count, &e->plan, err);
}

static awq_status begin_progress(eval *e, awq_error *err)
{
    awq_workload load;
    if (awq_workload_make(e->options, awq_checkpoint_model(e->inputs.model), &e->inputs.tokens,
                          &e->plan, e->crew->count, &load, err))
        return err->status;
    load.gram = load.search = 0;
    if (e->inputs.against) load.forward *= 2;
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

static awq_status run(eval *e, awq_error *err)
{
    awq_job job = {.command = AWQ_COMMAND_EVAL, .options = *e->options};
    e->tiles = awq_job_tiles(e->options, &e->inputs.tokens);
    e->scores = calloc((size_t)e->tiles, sizeof *e->scores);
    if (!e->scores) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the scores");
    if (awq_crew_hire(e->crew, &job, err) || plan(e, err)) return err->status;
    if (begin_progress(e, err)) return err->status;
    awq_crew_send_plan(e->crew, &e->plan, NULL);
    awq_status status = collect(e, err);
    awq_progress_end(&e->view);
    if (status) return status;
    awq_score sum = {0}; /* in tile order, whoever scored them and whenever */
    for (int64_t i = 0; i < e->tiles; i++) awq_score_add(&sum, &e->scores[i]);
    awq_eval_result result = {.model = e->options->model,
                              .against = e->options->against,
                              .length = e->inputs.tokens.length,
                              .score = &sum};
    if (e->options->json) return awq_eval_print_json(&result, err);
    awq_eval_print_text(&result);
    return AWQ_OK;
}

static void check_scorable(const eval *e, awq_problems *problems)
{
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
