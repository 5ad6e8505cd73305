/* SPDX-License-Identifier: MIT
 * verify --layer: one layer of a finished checkpoint reproduced, by the same plan and the same code
 * as a quantization in which all other layers are done; from a boundary that --keep-run has kept,
 * or from the embedding. Nothing is written: the worker compares in place of publishing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/crew/assign.h"
#include "coordinator/verify/verify.h"
#include "jobs/plan/job.h"
#include "jobs/run/run_directory.h"

/* Options as the recorded job had them: those that change the result, the backend, and how many of
 * the token file's sequences. */
static awq_status set_options(awq_verification *v, awq_error *err)
{
    const json_t *tokens = json_object_get(v->job, "tokens");
    const char *backend = json_string_value(json_object_get(v->job, "backend"));
    awq_options *options = &v->job_options;
    if (awq_options_from_json(options, json_object_get(v->job, "options"), err)) return err->status;
    options->sequences = json_integer_value(json_object_get(tokens, "sequences"));
    char *copy = backend ? strndup(backend, strcspn(backend, " ")) : NULL;
    if (!copy)
        return awq_fail(err, AWQ_ERR_CORRUPT,
                        "'%s/" AWQ_STATISTICS_NAME "' does not say which backend made it",
                        v->options->out);
    free(options->backend);
    options->backend = copy;
    return AWQ_OK;
}

static void compare_jobs(const awq_verification *v, awq_problems *problems)
{
    size_t before = problems->count;
    const char *kind = json_string_value(json_object_get(v->job, "backend"));
    json_t *now = awq_job_fingerprint(&v->job_options, v->source, &v->tokens, kind);
    if (now)
        awq_job_fingerprint_compare(v->job, now, problems);
    else
        awq_problems_add(problems, AWQ_ERR_MEMORY, "no memory for the job's fingerprint");
    json_decref(now);
    if (problems->count > before)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "layer %lld cannot be reproduced: '%s' was made of other inputs "
                         "(differences above)",
                         (long long)v->layer, v->options->out);
}

void awq_verify_check_reproducible(awq_verification *v, awq_problems *problems)
{
    awq_error err;
    if (!v->source || !v->recorded) {
        awq_problems_add(
            &v->unchecked, AWQ_OK, "layer %lld, by reproducing it: %s", (long long)v->layer,
            v->recorded ? "there is no source to make it of"
                        : "there is no sound " AWQ_STATISTICS_NAME " to say which options made it");
        v->layer = -1;
        return;
    }
    if (v->layer >= v->model->layers) {
        awq_problems_add(problems, AWQ_ERR_USAGE, "--layer %lld: the layers are 0 to %lld",
                         (long long)v->layer, (long long)v->model->layers - 1);
        return;
    }
    if (set_options(v, &err) ||
        awq_tokens_read(v->options->tokens, v->job_options.sequences, &v->tokens, &err))
        awq_problems_add_error(problems, &err);
    else
        compare_jobs(v, problems);
}

/* ---- the work ---- */

/* The nearest boundary at or below the layer that --keep-run has left and that belongs to the job;
 * 0: the embedding. */
static int64_t find_start(const awq_verification *v, const char *run, const char *fingerprint)
{
    awq_boundary_shape shape = {.layer = v->layer,
                                .sequences = v->tokens.sequences,
                                .tile_sequences =
                                    awq_job_tile_sequences(&v->job_options, &v->tokens),
                                .length = v->tokens.length,
                                .hidden = v->model->residual};
    for (; shape.layer > 0; shape.layer--) {
        char path[AWQ_PATH_BYTES];
        awq_boundary *boundary;
        awq_error ignored;
        if (awq_run_boundary_path(path, run, shape.layer, &ignored) || !awq_path_exists(path) ||
            awq_boundary_open(path, &shape, fingerprint, &boundary, &ignored))
            continue;
        awq_boundary_close(boundary);
        break;
    }
    return shape.layer;
}

static awq_status plan(const awq_verification *v, int64_t start, awq_plan *out, awq_error *err)
{
    awq_plan_shape shape;
    int64_t layer = v->layer, layers = v->model->layers;
    bool *done = calloc((size_t)layers, sizeof *done);
    bool *boundary = calloc((size_t)layers, sizeof *boundary);
    awq_status status = AWQ_OK;
    if (!done || !boundary) status = awq_fail(err, AWQ_ERR_MEMORY, "no memory to plan");
    for (int64_t i = 0; !status && i < layers; i++) done[i] = i != layer;
    if (!status) boundary[start] = true;
    if (!status)
        status = awq_crew_shape(v->crew, v->options, v->model, layer - start + 1, &shape, err);
    if (!status) status = awq_plan_create(layers, done, boundary, &shape, out, err);
    free(done);
    free(boundary);
    return status;
}

static void take(awq_verification *v, const awq_letter *letter)
{
    const awq_error *findings =
        (const awq_error *)(const void *)(letter->payload + sizeof v->reproduced);
    memcpy(&v->reproduced, letter->payload, sizeof v->reproduced);
    for (int64_t i = 0; i < letter->b; i++) awq_problems_add_error(&v->again, &findings[i]);
}

static awq_status collect(awq_verification *v, awq_error *err)
{
    for (bool done = false; !done;) {
        awq_letter *letter;
        if (awq_crew_next(v->crew, 0.2, &letter, NULL, err)) return err->status;
        done = letter && letter->kind == AWQ_LETTER_REPRODUCED;
        if (done) take(v, letter);
        awq_letter_free(letter);
        awq_progress now = awq_crew_progress(v->crew);
        awq_progress_show(&v->view, &(awq_count){"layers", done, 1}, 1, &now);
    }
    return AWQ_OK;
}

static awq_status carry_out(awq_verification *v, const awq_plan *p, const char *fingerprint,
                            awq_error *err)
{
    awq_workload load;
    if (awq_workload_make(&v->job_options, v->model, &v->tokens, p, v->crew->count, &load, err))
        return err->status;
    awq_progress_begin(&v->view, &load, p->layers - p->layers_left, v->options);
    v->view.flops_total -= v->view.flops_done; /* the other layers are no part of this */
    v->view.flops_done = 0;
    awq_crew_send_plan(v->crew, p, fingerprint);
    awq_status status = collect(v, err);
    awq_progress_end(&v->view);
    return status;
}

/* Another type of GPU, or another OpenBLAS or kernels of it, rounds sums otherwise: that would be
 * told as damage. */
static bool is_kind(awq_verification *v)
{
    const char *kind = json_string_value(json_object_get(v->job, "backend"));
    const awq_hello *here = &v->crew->members[0].hello;
    if (!strcmp(kind, here->kind)) return true;
    awq_problems_add(&v->unchecked, AWQ_OK,
                     "layer %lld, by reproducing it: it was made by %s, and here is %s",
                     (long long)v->layer, kind, here->kind);
    v->layer = -1;
    return false;
}

awq_status awq_verify_reproduce(awq_verification *v, awq_error *err)
{
    if (!is_kind(v)) return AWQ_OK;
    char run[AWQ_PATH_BYTES], fingerprint[AWQ_FINGERPRINT_BYTES];
    awq_plan p;
    if (awq_path_join(run, v->options->out, AWQ_RUN_DIRECTORY_NAME, err) ||
        awq_job_fingerprint_text(v->job, fingerprint, err))
        return err->status;
    if (plan(v, find_start(v, run, fingerprint), &p, err)) return err->status;
    awq_status status = carry_out(v, &p, fingerprint, err);
    awq_plan_release(&p);
    return status;
}
