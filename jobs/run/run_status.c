/* SPDX-License-Identifier: MIT */
#include "jobs/run/run_status.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/files/json.h"
#include "io/files/path.h"
#include "jobs/options/amounts.h"

static const char *const state_names[] = {"running", "merging", "interrupted", "failed",
                                          "complete"};

/* JSON holds UTF-8 only, and an error may quote a file or be cut inside of a character. */
static json_t *error_object(const char *error)
{
    char ascii[AWQ_ERROR_TEXT_BYTES];
    json_t *object = json_string(error);
    if (object) return object;
    snprintf(ascii, sizeof ascii, "%s", error);
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    return json_string(ascii);
}

static json_t *status_object(const awq_run_status *status)
{
    char host[256] = "?";
    gethostname(host, sizeof host - 1);
    const char *job = getenv("SLURM_JOB_ID");
    json_t *workers = json_array();
    for (int i = 0; i < status->worker_count; i++) {
        const awq_worker_status *worker = &status->workers[i];
        const awq_progress *p = &worker->progress;
        json_array_append_new(
            workers,
            json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:s, s:f}", "worker", i + 1, "host",
                      worker->host, "device", worker->device, "stage", (json_int_t)p->stage,
                      "layer", (json_int_t)p->layer, "tile", (json_int_t)p->tile, "phase",
                      awq_phase_name((awq_phase)p->phase), "heard_seconds", worker->heard_seconds));
    }
    return json_pack("{s:s, s:I, s:s, s:i, s:s, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "state",
                     state_names[status->state], "updated", (json_int_t)time(NULL), "host", host,
                     "pid", (int)getpid(), "slurm_job", job ? job : "", "layers",
                     (json_int_t)status->layers, "layers_done", (json_int_t)status->layers_done,
                     "fraction", status->fraction, "eta_seconds", status->eta_seconds,
                     "elapsed_seconds", status->elapsed_seconds, "error",
                     error_object(status->error), "workers", workers);
}

awq_status awq_run_status_write(const char *run, const awq_run_status *status, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, "status.json", err)) return err->status;
    json_t *object = status_object(status);
    if (!object) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_status result = awq_json_write(path, object, err);
    json_decref(object);
    return result;
}

awq_status awq_run_status_read(const char *run, json_t **out, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, "status.json", err)) return err->status;
    return awq_json_read(path, 16 << 20, out, err);
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static void print_workers(FILE *file, const json_t *status, double age)
{
    size_t index;
    const json_t *worker;
    json_array_foreach(json_object_get(status, "workers"), index, worker)
    {
        char heard[32];
        awq_format_seconds(heard, number(worker, "heard_seconds") + age);
        fprintf(file, "  worker %d  %s  %s", (int)number(worker, "worker"), text(worker, "host"),
                text(worker, "device"));
        if (number(worker, "stage") >= 0) {
            fprintf(file, "  layer %d", (int)number(worker, "layer"));
            if (number(worker, "tile") >= 0) fprintf(file, " tile %d", (int)number(worker, "tile"));
            fprintf(file, "  %s", text(worker, "phase"));
        } else {
            fprintf(file, "  idle");
        }
        fprintf(file, "  heard %s ago\n", heard);
    }
}

bool awq_run_status_is_live(const json_t *status)
{
    const char *state = text(status, "state");
    return !strcmp(state, "running") || !strcmp(state, "merging");
}

void awq_run_status_print_workers(FILE *file, const json_t *status)
{
    print_workers(file, status, (double)time(NULL) - number(status, "updated"));
}

void awq_run_status_print(FILE *file, const char *out, const json_t *status, double now)
{
    double age = now - number(status, "updated");
    const char *state = text(status, "state"), *error = text(status, "error");
    bool live = awq_run_status_is_live(status);
    char elapsed[32], eta[32], since[32];
    awq_format_seconds(elapsed, number(status, "elapsed_seconds"));
    awq_format_seconds(eta, number(status, "eta_seconds"));
    awq_format_seconds(since, age);
    fprintf(file, "%s: %s, %d of %d layers done, %.0f%% of the work, %s so far", out, state,
            (int)number(status, "layers_done"), (int)number(status, "layers"),
            100 * number(status, "fraction"), elapsed);
    if (live && number(status, "eta_seconds") >= 0) fprintf(file, ", about %s left", eta);
    fprintf(file, "\n  coordinator on %s, pid %d", text(status, "host"),
            (int)number(status, "pid"));
    if (*text(status, "slurm_job")) fprintf(file, ", SLURM job %s", text(status, "slurm_job"));
    fprintf(file, ", updated %s ago\n", since);
    if (live && age > 30)
        fprintf(file, "  no news for %s: the job may be dead; start it again to resume\n", since);
    print_workers(file, status, age);
    if (*error) fprintf(file, "  last error: %s\n", error);
}
