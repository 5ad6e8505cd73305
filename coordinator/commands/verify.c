/* SPDX-License-Identifier: MIT
 * awqrun verify: whether a checkpoint is what it should be. Headers, config and index are looked at
 * by the coordinator, the bytes layer by layer by the workers. Nothing is written. */
#include "coordinator/verify/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/commands/commands.h"
#include "coordinator/crew/assign.h"
#include "io/files/path.h"
#include "jobs/plan/job.h"
#include "jobs/run/run_directory.h"

/* ---- what can be refused ---- */

static void check_options(const awq_options *options, awq_problems *problems)
{
    if (options->verify_layer >= 0 && (!options->model || !options->tokens))
        awq_problems_add(problems, AWQ_ERR_USAGE,
                         "--layer needs --model and --tokens, which the checkpoint was made of");
    if (options->tokens && options->verify_layer < 0)
        awq_problems_add(problems, AWQ_ERR_USAGE,
                         "--tokens is for a --layer that is reproduced; give both or neither");
}

/* A job that is not finished has nothing to verify; whatever else lies there is looked at. */
static void check_finished(const char *out, awq_problems *problems)
{
    char foreign[256];
    awq_out_state state;
    awq_error err;
    if (awq_out_require(out, &err)) {
        awq_problems_add_error(problems, &err);
        return;
    }
    if (awq_out_inspect(out, &state, foreign, &err) || state != AWQ_OUT_STARTED) return;
    awq_problems_add(problems, AWQ_ERR_INPUT,
                     "'%s' is not finished ('awqrun status' says how far it is); run the same "
                     "'awqrun quantize' again first",
                     out);
}

/* ---- the bytes, by the workers ---- */

static void give_part(awq_verification *v, int worker, int64_t *next)
{
    if (*next < v->parts)
        awq_crew_send(v->crew, worker, awq_letter_create(AWQ_LETTER_VERIFY, (*next)++ - 1, 0, 0));
}

static void take_part(awq_verification *v, const awq_letter *letter)
{
    int64_t part = letter->a + 1;
    awq_layer_checks *checks = &v->checks[part];
    memcpy(checks, letter->payload, sizeof *checks);
    size_t distances = (size_t)checks->linears * sizeof **v->linears;
    const unsigned char *after = letter->payload + sizeof *checks;
    const awq_error *findings = (const awq_error *)(const void *)(after + distances);
    v->linears[part] = malloc(distances + 1);
    if (v->linears[part])
        memcpy(v->linears[part], after, distances);
    else
        checks->linears = 0;
    for (int64_t i = 0; i < letter->b; i++)
        awq_problems_add_error(&v->findings[part], &findings[i]);
}

static awq_status check_parts(awq_verification *v, awq_error *err)
{
    int64_t next = 0, done = 0;
    for (int i = 0; i < v->crew->count; i++) give_part(v, i, &next);
    while (done < v->parts) {
        awq_letter *letter;
        int worker;
        if (awq_crew_next(v->crew, 0.2, &letter, &worker, err)) return err->status;
        if (letter && letter->kind == AWQ_LETTER_VERIFIED) {
            take_part(v, letter);
            done++;
            give_part(v, worker, &next);
        }
        awq_letter_free(letter);
        awq_progress now = awq_progress_parts(done);
        awq_progress_show(&v->view, &(awq_count){"parts", done, v->parts}, 1, &now);
    }
    return AWQ_OK;
}

static awq_status work(awq_verification *v, awq_error *err)
{
    awq_job job = {.command = AWQ_COMMAND_VERIFY, .options = v->job_options};
    const char *kind = json_string_value(json_object_get(v->job, "backend"));
    snprintf(job.kind, sizeof job.kind, "%s", kind ? kind : "");
    if (!v->source) job.options.model = NULL; /* workers compare with none */
    v->findings = calloc((size_t)v->parts, sizeof *v->findings);
    v->checks = calloc((size_t)v->parts, sizeof *v->checks);
    v->linears = calloc((size_t)v->parts, sizeof *v->linears);
    if (!v->findings || !v->checks || !v->linears)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to verify");
    if (awq_path_join(job.run_directory, v->options->out, AWQ_RUN_DIRECTORY_NAME, err) ||
        awq_crew_hire(v->crew, &job, err))
        return err->status;
    awq_progress_begin_parts(&v->view, v->parts, v->options);
    awq_status status = check_parts(v, err);
    awq_progress_end(&v->view);
    if (status) return status;
    awq_verify_find_outliers(v);
    return v->layer >= 0 ? awq_verify_reproduce(v, err) : AWQ_OK;
}

/* ---- the whole ---- */

static void release(awq_verification *v)
{
    for (int64_t i = 0; v->findings && i < v->parts; i++) awq_problems_release(&v->findings[i]);
    free(v->findings);
    for (int64_t i = 0; v->linears && i < v->parts; i++) free(v->linears[i]);
    free(v->linears);
    free(v->checks);
    awq_problems_release(&v->structure);
    awq_problems_release(&v->outliers);
    awq_problems_release(&v->again);
    awq_problems_release(&v->unchecked);
    awq_tokens_release(&v->tokens);
    awq_options_release(&v->job_options);
    awq_checkpoint_close(v->made);
    awq_checkpoint_close(v->source);
    json_decref(v->job);
}

static int verify(awq_verification *v, awq_problems *problems)
{
    awq_error err;
    if (awq_options_copy(&v->job_options, v->options, &err)) return awq_exit_failed(&err);
    check_options(v->options, problems);
    check_finished(v->options->out, problems);
    if (problems->count || !awq_verify_structure(v, problems)) return awq_exit_problems(problems);
    if (work(v, &err) || awq_verify_print(v, &err)) {
        /* an interrupted one too: there is nothing to resume */
        return awq_exit_failed(&err) == AWQ_EXIT_USAGE ? AWQ_EXIT_USAGE : AWQ_EXIT_FAILED;
    }
    return awq_verify_count(v) ? AWQ_EXIT_FAILED : AWQ_EXIT_DONE;
}

int awq_command_verify(const awq_call *call)
{
    awq_verification v = {
        .options = call->options, .crew = call->crew, .layer = call->options->verify_layer};
    awq_problems problems;
    awq_problems_init(&problems);
    int code = verify(&v, &problems);
    awq_problems_release(&problems);
    release(&v);
    return code;
}
