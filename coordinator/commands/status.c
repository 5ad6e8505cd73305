/* SPDX-License-Identifier: MIT
 * awqrun status OUT: how a job is doing or how it ended, from any node, with or without it
 * running. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/commands/commands.h"
#include "coordinator/slurm/slurm.h"
#include "io/files/json.h"
#include "jobs/run/run_directory.h"
#include "jobs/run/run_status.h"

/* Takes the status over. */
static int print_json(json_t *status, const awq_slurm_job *job)
{
    if (job) json_object_set_new(status, "slurm", awq_slurm_job_json(job));
    char *text = json_dumps(status, JSON_INDENT(2));
    if (text) puts(text);
    free(text);
    json_decref(status);
    return AWQ_EXIT_DONE;
}

/* A job that was submitted and has not begun, or one that was begun. */
static int print_status(const awq_options *options, const char *run, json_t *status)
{
    char id[AWQ_SLURM_WORD_BYTES];
    awq_slurm_job job;
    awq_submission_find(run, status, id);
    bool found = awq_slurm_find_job(id, &job);
    if (options->json)
        return print_json(status ? status : json_pack("{s:s}", "state", "submitted"),
                          found ? &job : NULL);
    if (status)
        awq_run_status_print(stdout, options->out, status, (double)time(NULL));
    else
        printf("%s: submitted as SLURM job %s, not begun\n", options->out, id);
    if (found) awq_slurm_job_print(stdout, &job);
    json_decref(status);
    return AWQ_EXIT_DONE;
}

int awq_command_status(const awq_call *call)
{
    const awq_options *options = call->options;
    char run[AWQ_PATH_BYTES], foreign[256], id[AWQ_SLURM_WORD_BYTES];
    awq_out_state state;
    awq_error err;
    json_t *status = NULL;
    if (awq_out_require(options->out, &err) ||
        awq_out_inspect(options->out, &state, foreign, &err) ||
        awq_path_join(run, options->out, AWQ_RUN_DIRECTORY_NAME, &err))
        return awq_exit_failed(&err);
    if (state == AWQ_OUT_COMPLETE && options->json)
        return print_json(json_pack("{s:s}", "state", "complete"), NULL);
    if (state == AWQ_OUT_COMPLETE) {
        printf("%s: complete\n", options->out);
        return AWQ_EXIT_DONE;
    }
    awq_submission_find(run, NULL, id);
    if (state == AWQ_OUT_FREE && *id) return print_status(options, run, NULL);
    if (state != AWQ_OUT_STARTED) {
        awq_fail(&err, AWQ_ERR_INPUT, "'%s' holds no awqrun job", options->out);
        return awq_exit_failed(&err);
    }
    if (awq_run_status_read(run, &status, &err)) return awq_exit_failed(&err);
    return print_status(options, run, status);
}
