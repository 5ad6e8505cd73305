/* SPDX-License-Identifier: MIT
 * awqrun status OUT: how a job is doing or how it ended, from any node, with or without it
 * running. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/commands/commands.h"
#include "coordinator/slurm/slurm.h"
#include "coordinator/slurm/submission.h"
#include "io/core/log.h"
#include "io/files/json.h"
#include "jobs/run/run_directory.h"
#include "jobs/run/run_status.h"

/* What SLURM knows of the job of a run directory; false: nothing. */
static bool find_slurm_job(const char *run, const json_t *status, awq_slurm_job *job)
{
    char id[AWQ_SLURM_WORD_BYTES];
    awq_submission_find(run, status, id);
    return awq_slurm_find_job(id, job);
}

static void print_json(const json_t *status)
{
    char *text = json_dumps(status, JSON_INDENT(2));
    if (text) puts(text);
    free(text);
}

static int print_status(const awq_options *options, const char *run, json_t *status)
{
    awq_slurm_job job;
    bool found = find_slurm_job(run, status, &job);
    if (options->json) {
        if (found) json_object_set_new(status, "slurm", awq_slurm_job_json(&job));
        print_json(status);
    } else {
        awq_run_status_print(stdout, options->out, status, (double)time(NULL));
        if (found) awq_slurm_job_print(stdout, &job);
    }
    return AWQ_EXIT_DONE;
}

/* A job that was submitted and has not begun. */
static int print_submitted(const awq_options *options, const char *run)
{
    awq_slurm_job job;
    bool found = find_slurm_job(run, NULL, &job);
    if (options->json) {
        json_t *status = json_pack("{s:s}", "state", "submitted");
        if (found) json_object_set_new(status, "slurm", awq_slurm_job_json(&job));
        print_json(status);
        json_decref(status);
    } else {
        char id[AWQ_SLURM_WORD_BYTES];
        awq_submission_find(run, NULL, id);
        printf("%s: submitted as SLURM job %s, not begun\n", options->out, id);
        if (found) awq_slurm_job_print(stdout, &job);
    }
    return AWQ_EXIT_DONE;
}

static int print_complete(const awq_options *options)
{
    if (options->json)
        puts("{\n  \"state\": \"complete\"\n}");
    else
        printf("%s: complete\n", options->out);
    return AWQ_EXIT_DONE;
}

static bool is_submitted(const char *run)
{
    char id[AWQ_SLURM_WORD_BYTES];
    awq_submission_find(run, NULL, id);
    return *id;
}

int awq_command_status(const awq_call *call)
{
    const awq_options *options = call->options;
    char run[AWQ_PATH_BYTES], foreign[256];
    awq_out_state state;
    awq_error err;
    json_t *status = NULL;
    if (awq_out_require(options->out, &err) ||
        awq_out_inspect(options->out, &state, foreign, &err) ||
        awq_path_join(run, options->out, AWQ_RUN_DIRECTORY_NAME, &err))
        return awq_exit_failed(&err);
    if (state == AWQ_OUT_COMPLETE) return print_complete(options);
    if (state == AWQ_OUT_FREE && is_submitted(run)) return print_submitted(options, run);
    if (state != AWQ_OUT_STARTED) {
        awq_fail(&err, AWQ_ERR_INPUT, "'%s' holds no awqrun job", options->out);
        return awq_exit_failed(&err);
    }
    if (awq_run_status_read(run, &status, &err)) return awq_exit_failed(&err);
    int code = print_status(options, run, status);
    json_decref(status);
    return code;
}
