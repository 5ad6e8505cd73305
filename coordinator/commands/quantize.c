/* SPDX-License-Identifier: MIT
 * awqrun quantize: check, find what is done, plan, let the workers work, merge. Resuming is the
 * same: there is just less left to plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/assemble/merge.h"
#include "coordinator/commands/commands.h"
#include "coordinator/crew/assign.h"
#include "coordinator/crew/run.h"
#include "io/core/clock.h"
#include "io/core/fault.h"
#include "io/core/log.h"
#include "jobs/options/amounts.h"

static const double least_lock_wait = 3; /* seconds */

/* ---- before the work ---- */

static awq_status check_backends(const awq_run *run, awq_error *err)
{
    const awq_member *first = &run->crew->members[0];
    for (int i = 1; i < run->crew->count; i++) {
        const awq_member *member = &run->crew->members[i];
        if (!strcmp(first->hello.kind, member->hello.kind)) continue;
        return awq_fail(
            err, AWQ_ERR_INPUT,
            "worker 1 on %s computes by %s and worker %d on %s by %s, which do not give "
            "the same bytes; take nodes of one kind, with one version of each library, or "
            "give --backend (for OpenBLAS: set OPENBLAS_CORETYPE alike on all, or on none)",
            first->hello.host, first->hello.kind, i + 1, member->hello.host, member->hello.kind);
    }
    return AWQ_OK;
}

/* Workers read tokens from a file: those of --text lie in the run directory, written anew each time
 * (the same, or the fingerprint says so). */
static awq_status write_tokens(awq_run *run, awq_error *err)
{
    run->told = *run->options;
    if (!run->options->text.files) return AWQ_OK;
    if (awq_path_join(run->tokens, run->directory, "tokens.h5", err) ||
        awq_tokens_write(run->tokens, &run->inputs.tokens, err))
        return err->status;
    run->told.tokens = run->tokens;
    return AWQ_OK;
}

static awq_status hire(awq_run *run, awq_error *err)
{
    awq_job job = {.command = AWQ_COMMAND_QUANTIZE, .options = run->told};
    memcpy(job.run_directory, run->directory, sizeof job.run_directory);
    if (!run->options->restart) awq_run_kind(run->directory, job.kind);
    return awq_crew_hire(run->crew, &job, err) ? err->status : check_backends(run, err);
}

static awq_status prepare_directory(awq_run *run, awq_problems *problems, awq_error *err)
{
    json_t *fingerprint = awq_job_fingerprint(run->options, run->inputs.model, &run->inputs.tokens,
                                              run->crew->members[0].hello.kind);
    if (!fingerprint) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the job's fingerprint");
    awq_status status = awq_job_fingerprint_text(fingerprint, run->fingerprint, err);
    if (!status && run->options->restart) status = awq_run_discard(run->directory, err);
    if (!status) status = awq_run_prepare(run->directory, fingerprint, &run->told, problems, err);
    json_decref(fingerprint);
    if (!status && problems->count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' holds the run of another job (differences above); give its options "
                         "again, another --out, or --restart to discard it",
                         run->directory);
    return status;
}

/* What an earlier run left; layer by layer, since reading it all can take minutes and the crew
 * must not think that its coordinator hangs. */
static awq_status scan(awq_run *run, int64_t layers, bool *done, awq_error *err)
{
    awq_boundary_shape shape = {.sequences = run->inputs.tokens.sequences,
                                .tile_sequences =
                                    awq_job_tile_sequences(run->options, &run->inputs.tokens),
                                .length = run->inputs.tokens.length,
                                .hidden = awq_checkpoint_model(run->inputs.model)->residual};
    for (; shape.layer < layers; shape.layer++) {
        awq_letter *letter;
        if (awq_run_scan(run->directory, run->fingerprint, &shape, &done[shape.layer],
                         &run->boundary[shape.layer], err) ||
            awq_crew_next(run->crew, 0, &letter, NULL, err))
            return err->status;
        awq_letter_free(letter);
        awq_run_lock_touch(run->lock);
    }
    return AWQ_OK;
}

static awq_status plan(awq_run *run, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(run->inputs.model);
    int64_t layers = model->layers, left = 0;
    awq_plan_shape shape = {.stage_layers = 1, .workers = run->crew->count};
    bool *done = calloc((size_t)layers, sizeof *done);
    run->boundary = calloc((size_t)layers + 1, sizeof *run->boundary);
    run->workers = calloc((size_t)run->crew->count, sizeof *run->workers);
    awq_status status = AWQ_OK;
    if (!done || !run->boundary || !run->workers)
        status = awq_fail(err, AWQ_ERR_MEMORY, "no memory to plan");
    if (!status) status = scan(run, layers, done, err);
    for (int64_t i = 0; !status && i < layers; i++) left += !done[i];
    if (!status && left) status = awq_crew_shape(run->crew, run->options, model, left, &shape, err);
    if (!status) status = awq_plan_create(layers, done, run->boundary, &shape, &run->plan, err);
    free(done);
    return status;
}

static awq_status begin_progress(awq_run *run, awq_error *err)
{
    awq_workload load;
    if (awq_workload_make(run->options, awq_checkpoint_model(run->inputs.model),
                          &run->inputs.tokens, &run->plan, run->crew->count, &load, err))
        return err->status;
    run->layers_done = run->layers_at_start = run->plan.layers - run->plan.layers_left;
    awq_progress_begin(&run->view, &load, run->layers_done, run->options);
    return AWQ_OK;
}

/* A job that was ended by force could not say so itself; its status can. */
static void tell_of_last_run(const awq_run *run)
{
    json_t *status = NULL;
    awq_error err;
    if (awq_run_status_read(run->directory, &status, &err)) return;
    const char *error = json_string_value(json_object_get(status, "error"));
    if (error && *error) {
        awq_log(AWQ_LOG_INFO, "the last run ended: %s", error);
    } else if (awq_run_status_is_live(status)) {
        awq_log(AWQ_LOG_INFO, "the last run ended without a word; what it was at:");
        awq_run_status_print_workers(stderr, status);
    }
    json_decref(status);
}

static void announce(const awq_run *run)
{
    const awq_plan *p = &run->plan;
    AWQ_LOG(AWQ_LOG_INFO, "quantizing", AWQ_WHOLE("layers", p->layers),
            AWQ_WHOLE("done", p->layers - p->layers_left),
            AWQ_WHOLE("forward_only", p->forward_only), AWQ_WHOLE("stages", p->stage_count),
            AWQ_WHOLE("stage_layers", p->stage_layers), AWQ_WHOLE("expert_parts", p->parts),
            AWQ_WHOLE("workers", run->crew->count),
            AWQ_WHOLE("sequences", run->inputs.tokens.sequences),
            AWQ_WHOLE("length", run->inputs.tokens.length),
            AWQ_QUOTED("weights", awq_checkpoint_storage(run->inputs.model).text),
            AWQ_QUOTED("backend", run->crew->members[0].hello.kind));
}

static void announce_copied(const awq_checkpoint *model)
{
    if (awq_checkpoint_copies(model))
        AWQ_LOG(AWQ_LOG_INFO, "copying what stands beside the text model",
                AWQ_WHOLE("tensors", awq_checkpoint_copies(model)),
                AWQ_WHOLE("bytes", awq_checkpoint_copied_bytes(model)));
}

/* With the lock held: all but the work. Problems are found only where a job.json is of another job,
 * or the disk is too small. */
static awq_status begin(awq_run *run, awq_problems *problems, awq_error *err)
{
    tell_of_last_run(run);
    if (run->options->restart && awq_out_discard(run->options->out, err)) return err->status;
    if (write_tokens(run, err) || hire(run, err) || prepare_directory(run, problems, err))
        return err->status;
    if (problems->count) return AWQ_OK;
    if (plan(run, err)) return err->status;
    int64_t boundaries = awq_plan_boundaries(&run->plan, run->crew->count, run->options->keep_run);
    awq_check_disk(run->options, &run->inputs, boundaries,
                   awq_crew_file_bytes(run->crew, &run->plan), problems);
    if (problems->count || begin_progress(run, err)) return problems->count ? AWQ_OK : err->status;
    if (run->options->time_limit > 0)
        run->crew->deadline = awq_clock_seconds() + run->options->time_limit;
    announce(run);
    announce_copied(run->inputs.model);
    return AWQ_OK;
}

/* ---- the work ---- */

static awq_status quantize_layers(awq_run *run, awq_error *err)
{
    while (run->layers_done < run->plan.layers) {
        awq_letter *letter;
        if (awq_run_next(run, AWQ_RUN_RUNNING, &letter, NULL, err)) return err->status;
        awq_run_read(run, letter);
        awq_letter_free(letter);
    }
    return AWQ_OK;
}

static awq_status finish_directory(awq_run *run, awq_error *err)
{
    if (run->options->keep_run) {
        awq_run_tell(run, AWQ_RUN_COMPLETE, NULL);
        return AWQ_OK;
    }
    AWQ_FAULT_POINT("finish-before-removal");
    return awq_path_remove_tree(run->directory, err);
}

/* From the plan to the checkpoint, or to a run directory that says why not. */
static awq_status carry_out(awq_run *run, awq_error *err)
{
    awq_merged merged = {0};
    awq_run_tell(run, AWQ_RUN_RUNNING, NULL);
    awq_crew_send_plan(run->crew, &run->plan, run->fingerprint);
    awq_status status = quantize_layers(run, err) ? err->status : awq_run_merge(run, &merged, err);
    awq_progress_end(&run->view);
    if (!status) awq_run_summary(run, &merged);
    awq_merged_release(&merged);
    if (!status) return finish_directory(run, err);
    if (status == AWQ_ERR_INTERRUPTED) awq_run_drain(run, err);
    awq_run_tell(run, err->status == AWQ_ERR_INTERRUPTED ? AWQ_RUN_INTERRUPTED : AWQ_RUN_FAILED,
                 err->text);
    return err->status;
}

/* ---- the output ---- */

/* A run directory beside a complete checkpoint is what a job killed at its very end has left,
 * unless --keep-run left it. */
static void remove_leftover(const char *run)
{
    awq_run_lock *lock;
    awq_error err;
    json_t *status = NULL;
    if (!awq_path_exists(run) || awq_run_status_read(run, &status, &err)) return;
    const char *state = json_string_value(json_object_get(status, "state"));
    bool kept = state && !strcmp(state, "complete");
    json_decref(status);
    if (kept || awq_run_lock_take(run, &lock, &err)) return;
    if (awq_path_remove_tree(run, &err)) awq_report_warning("%s", err.text);
    awq_run_lock_release(lock);
}

static int end_complete(const awq_run *run, awq_problems *problems)
{
    awq_check_complete(run->options, &run->inputs, problems);
    if (problems->count) return awq_exit_problems(problems);
    remove_leftover(run->directory);
    printf("%s: complete already; nothing to do (--restart quantizes it again)\n",
           run->options->out);
    return AWQ_EXIT_DONE;
}

/* Another job may hold the lock, for --lock-wait; at its end it removes the directory. A few
 * seconds in any case: the ranks of a job that was just ended may still be dying. */
static awq_status take_lock(awq_run *run, awq_error *err)
{
    double wait =
        run->options->lock_wait > least_lock_wait ? run->options->lock_wait : least_lock_wait;
    double end = awq_clock_seconds() + wait;
    bool said = false;
    for (;;) {
        awq_status status = awq_path_make_directory(run->directory, err);
        if (!status) status = awq_run_lock_take(run->directory, &run->lock, err);
        if (status != AWQ_ERR_BUSY || awq_clock_seconds() >= end) return status;
        if (!said && run->options->lock_wait > 0)
            awq_report_warning("%s; waiting for its end (--lock-wait)", err->text);
        said = true;
        awq_letter *letter;
        if (awq_crew_next(run->crew, 1, &letter, NULL, err)) return err->status;
        awq_letter_free(letter);
    }
}

/* Whether the job that was waited for has left nothing to do. */
static bool is_complete(const awq_options *options)
{
    char foreign[256];
    awq_out_state state;
    awq_error ignored;
    return !options->restart && !awq_out_inspect(options->out, &state, foreign, &ignored) &&
           state == AWQ_OUT_COMPLETE;
}

/* The exit code of a run that was not carried out, and what is left of it. */
static int end_unfinished(const awq_run *run, const awq_error *err)
{
    int code = err->status == AWQ_ERR_INTERRUPTED ? AWQ_EXIT_RESUMABLE : awq_exit_failed(err);
    if (run->plan.layers || code == AWQ_EXIT_RESUMABLE)
        awq_report_note("%lld of %lld layers are done and kept in '%s'; run the same command again "
                        "to resume",
                        (long long)run->layers_done,
                        (long long)awq_checkpoint_model(run->inputs.model)->layers, run->directory);
    if (code == AWQ_EXIT_RESUMABLE && run->layers_done == run->layers_at_start)
        awq_report_warning(
            "no layer was finished this time; if that repeats itself, allow more time, or "
            "give a smaller --stage-layers or more workers");
    return code;
}

static int quantize(awq_run *run, awq_problems *problems)
{
    awq_error err;
    awq_status status = take_lock(run, &err);
    bool complete = !status && is_complete(run->options);
    if (!status && !complete) status = begin(run, problems, &err);
    if (!status && !complete && !problems->count) status = carry_out(run, &err);
    awq_run_lock_release(run->lock);
    if (complete) return end_complete(run, problems);
    if (problems->count) return awq_exit_problems(problems);
    return status ? end_unfinished(run, &err) : AWQ_EXIT_DONE;
}

int awq_command_quantize(const awq_call *call)
{
    awq_run run = {.options = call->options, .crew = call->crew};
    awq_out_state state;
    awq_problems problems;
    awq_error err;
    int code;
    awq_problems_init(&problems);
    awq_check_inputs(run.options, &run.inputs, &problems);
    awq_check_quantizable(run.options, &run.inputs, &problems);
    awq_check_output(run.options, &run.inputs, &state, &problems);
    if (awq_path_join(run.directory, run.options->out, AWQ_RUN_DIRECTORY_NAME, &err))
        awq_problems_add_error(&problems, &err);
    if (problems.count)
        code = awq_exit_problems(&problems);
    else if (state == AWQ_OUT_COMPLETE && !run.options->restart)
        code = end_complete(&run, &problems);
    else
        code = quantize(&run, &problems);
    awq_problems_release(&problems);
    awq_inputs_release(&run.inputs);
    awq_plan_release(&run.plan);
    free(run.boundary);
    free(run.workers);
    return code;
}
