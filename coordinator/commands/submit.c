/* SPDX-License-Identifier: MIT
 * awqrun submit: checks a job as quantize does, says what it would do and what is asked of SLURM,
 * writes the batch script into the run directory and hands it to sbatch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/commands/commands.h"
#include "coordinator/estimate/plan_facts.h"
#include "coordinator/slurm/slurm.h"
#include "coordinator/slurm/submit.h"
#include "coordinator/slurm/subprocess.h"
#include "io/core/log.h"
#include "io/files/json.h"
#include "io/files/publish.h"
#include "jobs/plan/job.h"
#include "worker/worker.h"

static const double sbatch_seconds = 60;
static const char script_name[] = "job.sbatch"; /* in the run directory */

/* ---- what quantize would only find in the job ---- */

/* The run directory of another job. Which backend nodes have is not known here: the earlier one. */
static void check_earlier(const awq_options *options, const awq_inputs *inputs, const char *run,
                          awq_problems *problems)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    json_t *earlier = NULL;
    if (options->restart || awq_path_join(path, run, "job.json", &ignored) ||
        !awq_path_exists(path) || awq_json_read(path, 64 << 20, &earlier, &ignored))
        return;
    const json_t *before = json_object_get(earlier, "fingerprint");
    const char *backend = json_string_value(json_object_get(before, "backend"));
    json_t *now =
        awq_job_fingerprint(options, inputs->model, &inputs->tokens, backend ? backend : "");
    if (now) awq_job_fingerprint_compare(before, now, problems);
    if (problems->count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' holds the run of another job (differences above); give its options "
                         "again, another --out, or --restart to discard it",
                         run);
    json_decref(now);
    json_decref(earlier);
}

/* Two jobs would wait for each other's lock, on nodes that others could use. */
static void check_queue(const awq_options *options, const char *run, awq_problems *problems)
{
    char id[AWQ_SLURM_WORD_BYTES], script[AWQ_PATH_BYTES];
    awq_slurm_job job;
    awq_error ignored;
    awq_submission_find(run, NULL, id);
    if (!*id || awq_path_join(script, run, script_name, &ignored) ||
        !awq_slurm_find_job(id, &job) || strcmp(job.script, script) || !awq_slurm_job_lives(&job))
        return;
    awq_problems_add(problems, AWQ_ERR_BUSY,
                     "SLURM job %s (%s) works on '%s' already; 'scancel %s' ends it", id, job.state,
                     options->out, id);
}

/* ---- what is written ---- */

static awq_status run_sbatch(const char *script, char id[AWQ_SLURM_WORD_BYTES], awq_error *err)
{
    const char *const argv[] = {"sbatch", "--parsable", script, NULL};
    char *output;
    int code;
    awq_error why;
    if (awq_subprocess(argv, false, sbatch_seconds, &output, &code, &why))
        return awq_fail(err, why.status, "%s; the script is '%s'", why.text, script);
    snprintf(id, AWQ_SLURM_WORD_BYTES, "%.*s", (int)strcspn(output, ";\n"), output);
    free(output);
    if (code || !*id)
        return awq_fail(err, AWQ_ERR_IO, "sbatch refused the job (above); the script is '%s'",
                        script);
    return AWQ_OK;
}

static awq_status submit(const awq_options *options, const char *run, const char *text,
                         awq_error *err)
{
    char path[AWQ_PATH_BYTES], id[AWQ_SLURM_WORD_BYTES];
    awq_slurm_job job;
    if (awq_path_make_directory(run, err) || awq_path_join(path, run, script_name, err) ||
        awq_publish_bytes(path, text, strlen(text), err) || run_sbatch(path, id, err))
        return err->status;
    awq_error late;
    if (awq_submission_write(run, id, &late) && awq_path_exists(run))
        awq_report_warning("%s", late.text);
    printf("submitted  SLURM job %s\n", id);
    printf("script     %s\n", path);
    if (awq_slurm_find_job(id, &job) && *job.log) printf("log        %s\n", job.log);
    printf("to follow  awqrun status %s\n", options->out);
    return AWQ_OK;
}

/* ---- the whole ---- */

/* What a worker needs on the nodes. A share of a node's or a GPU's memory is known there only; an
 * amount is known here. --program may have a backend that this build lacks, and is then estimated
 * by what there is. */
static awq_status find_needs(const awq_options *options, const awq_inputs *inputs, awq_hello *needs,
                             awq_error *err)
{
    static char any[] = "auto";
    awq_options there = *options;
    bool unknown = there.device_memory.percent, cuda = !strcmp(there.backend, "cuda");
    if (unknown && cuda) there.device_memory = (awq_memory){.amount = 1e15};
    awq_status status = awq_worker_needs(&there, inputs->model, &inputs->tokens, needs, err);
    if (status == AWQ_ERR_USAGE && cuda && there.submit.program) {
        there = *options;
        there.backend = any;
        status = awq_worker_needs(&there, inputs->model, &inputs->tokens, needs, err);
    } else if (status == AWQ_ERR_USAGE && cuda && there.submit.gpus_per_node) {
        awq_error_wrap(err, "--gpus-per-node needs a build with CUDA, such as --program may name");
    }
    if (unknown) needs->budget_bytes = AWQ_BUDGET_UNKNOWN;
    return status;
}

static awq_status show(FILE *file, const awq_options *options, const awq_inputs *inputs,
                       awq_request *request, awq_problems *problems, awq_error *err)
{
    awq_hello needs;
    if (find_needs(options, inputs, &needs, err)) return err->status;
    if (awq_request_make(options, inputs, &needs, request, problems, err)) return err->status;
    if (problems->count) return AWQ_OK;
    awq_plan_facts facts;
    awq_sizing job = {options, inputs, &needs, request->nodes * request->workers_per_node,
                      request->cores};
    if (awq_plan_facts_make(&job, &facts, err)) return err->status;
    awq_plan_facts_print(file, &facts);
    awq_plan_facts_release(&facts);
    awq_request_print(file, &options->submit, request);
    if (options->submit.gpus_per_node && !strcmp(options->backend, "cpu"))
        awq_report_warning("the job asks for GPUs, and computes with the cpu backend: they would "
                           "be idle");
    return AWQ_OK;
}

/* A dry run keeps stdout for the script. */
static awq_status go(const awq_options *options, const awq_inputs *inputs, const char *run,
                     awq_problems *problems, awq_error *err)
{
    awq_request request;
    if (show(options->submit.dry_run ? stderr : stdout, options, inputs, &request, problems, err))
        return err->status;
    if (problems->count) return AWQ_OK;
    char *text = awq_script_make(options, &request);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the batch script");
    awq_status status = AWQ_OK;
    if (options->submit.dry_run)
        fputs(text, stdout);
    else
        status = submit(options, run, text, err);
    free(text);
    return status;
}

int awq_command_submit(const awq_call *call)
{
    static char cuda[] = "cuda";
    awq_options options = *call->options; /* strings are borrowed */
    awq_inputs inputs;
    awq_out_state state;
    awq_problems problems;
    awq_error err;
    char run[AWQ_PATH_BYTES];
    awq_status status = AWQ_OK;
    /* One that asks for GPUs computes on them, or fails in its first second: not on the CPUs beside
     * them. */
    if (options.submit.gpus_per_node && !strcmp(options.backend, "auto")) options.backend = cuda;
    awq_problems_init(&problems);
    awq_script_check(&options.submit, &problems);
    awq_check_inputs(&options, &inputs, &problems);
    awq_check_quantizable(&options, &inputs, &problems);
    awq_check_output(&options, &inputs, &state, &problems);
    if (awq_path_join(run, options.out, AWQ_RUN_DIRECTORY_NAME, &err))
        awq_problems_add_error(&problems, &err);
    bool complete = state == AWQ_OUT_COMPLETE && !options.restart;
    if (!problems.count) {
        if (complete) awq_check_complete(&options, &inputs, &problems);
        check_earlier(&options, &inputs, run, &problems);
        if (!options.submit.dry_run) check_queue(&options, run, &problems);
    }
    if (!problems.count && complete)
        printf("%s: complete already; nothing to do (--restart quantizes it again)\n", options.out);
    else if (!problems.count)
        status = go(&options, &inputs, run, &problems, &err);
    int code = problems.count ? awq_exit_problems(&problems)
               : status       ? awq_exit_failed(&err)
                              : AWQ_EXIT_DONE;
    awq_problems_release(&problems);
    awq_inputs_release(&inputs);
    return code;
}
