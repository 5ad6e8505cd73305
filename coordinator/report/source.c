/* SPDX-License-Identifier: MIT
 * Finds the records of an output directory: awqrun.h5, or those of a run that is not finished. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/report/report.h"
#include "io/core/log.h"
#include "io/files/json.h"
#include "jobs/run/run_directory.h"
#include "jobs/run/run_status.h"

enum { MAX_JOB_BYTES = 64 << 20, MAX_CONFIG_BYTES = 16 << 20, MAX_LAYER = 99999 };

/* "demo-awq" of "/data/demo-awq". */
static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* Takes over `value`. */
static void tell(awq_report_source *source, const char *key, json_t *value)
{
    json_object_set_new(source->about, key, value);
}

/* config.json of a model directory, if it can be read: the report does without. */
static void tell_config(awq_report_source *source, const char *directory)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    json_t *config;
    if (!directory || awq_path_join(path, directory, "config.json", &ignored) ||
        awq_json_read(path, MAX_CONFIG_BYTES, &config, &ignored))
        return;
    tell(source, "config", config);
}

/* ---- a finished one ---- */

static awq_status open_complete(awq_report_source *source, const char *out, awq_error *err)
{
    awq_layer_records records;
    json_t *job = NULL;
    if (awq_layer_records_open(source->path, &records, err)) return err->status;
    awq_status status = awq_json_parse(records.job, strlen(records.job), source->path, &job, err);
    if (!status) {
        source->complete = true;
        source->layers = records.layers;
        tell(source, "state", json_string("complete"));
        tell(source, "version", json_string(records.version));
        tell(source, "fingerprint", json_string(records.fingerprint));
        tell(source, "job", job);
        tell_config(source, out);
        source->layer = calloc((size_t)source->layers, sizeof *source->layer);
        if (!source->layer) status = awq_fail(err, AWQ_ERR_MEMORY, "no memory for the report");
        for (int64_t i = 0; source->layer && i < source->layers; i++) source->layer[i] = i;
        source->present = source->layer ? source->layers : 0;
    }
    awq_layer_records_release(&records);
    return status;
}

/* ---- an unfinished one ---- */

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* 17 of "00017.h5"; -1: not the name of a record. */
static int64_t layer_of(const char *name)
{
    char *rest;
    if (strlen(name) != strlen("00000.h5") || strspn(name, "0123456789") != 5) return -1;
    long layer = strtol(name, &rest, 10);
    return strcmp(rest, ".h5") ? -1 : layer;
}

static awq_status list_records(awq_report_source *source, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, source->path, "layers", err)) return err->status;
    source->layer = calloc(MAX_LAYER + 1, sizeof *source->layer);
    if (!source->layer) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the report");
    DIR *directory = opendir(path);
    if (!directory && errno == ENOENT) return AWQ_OK; /* nothing is done yet */
    if (!directory) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));) {
        int64_t layer = layer_of(entry->d_name);
        if (layer >= 0 && source->present <= MAX_LAYER) source->layer[source->present++] = layer;
    }
    closedir(directory);
    qsort(source->layer, (size_t)source->present, sizeof *source->layer, by_number);
    return AWQ_OK;
}

/* status.json is for people, and may be missing. A run that it calls complete is not, here: what it
 * had done is gone. */
static void tell_status(awq_report_source *source)
{
    awq_error ignored;
    json_t *status;
    if (awq_run_status_read(source->path, &status, &ignored)) return;
    const char *state = json_string_value(json_object_get(status, "state"));
    const char *error = json_string_value(json_object_get(status, "error"));
    source->layers = json_integer_value(json_object_get(status, "layers"));
    if (state && strcmp(state, "complete")) tell(source, "state", json_string(state));
    if (error && *error) tell(source, "error", json_string(error));
    json_decref(status);
}

static awq_status tell_job(awq_report_source *source, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    json_t *job;
    if (awq_path_join(path, source->path, "job.json", err) ||
        awq_json_read(path, MAX_JOB_BYTES, &job, err))
        return err->status;
    json_t *fingerprint = json_object_get(job, "fingerprint");
    json_t *options = json_object_get(job, "options");
    json_t *version = json_object_get(job, "awqrun");
    awq_status status = json_is_object(fingerprint) && json_is_string(version)
                            ? awq_job_fingerprint_text(fingerprint, source->fingerprint, err)
                            : awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is not what awqrun wrote", path);
    if (!status) {
        tell(source, "version", json_incref(version));
        tell(source, "fingerprint", json_string(source->fingerprint));
        tell(source, "job", json_incref(fingerprint));
        tell_config(source, json_string_value(json_object_get(options, "model")));
    }
    json_decref(job);
    return status;
}

/* ---- either ---- */

static awq_status open_source(const char *out, awq_report_source *source, awq_error *err)
{
    char absolute[AWQ_PATH_BYTES];
    if (awq_out_require(out, err) || awq_path_resolve(absolute, out, err)) return err->status;
    source->about = json_pack("{s:s, s:s}", "awqrun", AWQ_VERSION, "name", last_part(absolute));
    if (!source->about)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s' is not UTF-8; rename it", absolute);
    if (awq_path_join(source->path, absolute, AWQ_STATISTICS_NAME, err)) return err->status;
    if (awq_path_exists(source->path)) return open_complete(source, absolute, err);
    if (awq_path_join(source->path, absolute, AWQ_RUN_DIRECTORY_NAME "/job.json", err))
        return err->status;
    if (!awq_path_exists(source->path))
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s' holds no awqrun job: neither " AWQ_STATISTICS_NAME
                        " nor " AWQ_RUN_DIRECTORY_NAME "/job.json is there",
                        out);
    if (awq_path_join(source->path, absolute, AWQ_RUN_DIRECTORY_NAME, err) ||
        tell_job(source, err) || list_records(source, err))
        return err->status;
    tell(source, "state", json_string("unfinished"));
    tell_status(source);
    int64_t last = source->present ? source->layer[source->present - 1] : -1;
    if (source->layers <= last) source->layers = last + 1;
    return AWQ_OK;
}

awq_status awq_report_open(const char *out, awq_report_source *source, awq_error *err)
{
    *source = (awq_report_source){0};
    if (open_source(out, source, err))
        awq_report_close(source);
    else
        return AWQ_OK;
    return err->status;
}

void awq_report_close(awq_report_source *source)
{
    json_decref(source->about);
    free(source->layer);
    *source = (awq_report_source){0};
}

static awq_status read_record(const awq_report_source *source, int64_t layer,
                              awq_layer_record *record, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (source->complete) return awq_layer_records_read(source->path, layer, record, err);
    if (awq_run_layer_path(path, source->path, layer, "h5", err)) return err->status;
    return awq_layer_record_read(path, source->fingerprint, record, err);
}

awq_status awq_report_each(const awq_report_source *source, awq_report_visit *visit, void *context,
                           awq_error *err)
{
    for (int64_t i = 0; i < source->present; i++) {
        awq_layer_record record;
        awq_status status = read_record(source, source->layer[i], &record, err);
        if (status == AWQ_ERR_CORRUPT && !source->complete) {
            awq_report_warning("%s; the layer is left out", err->text);
            continue;
        }
        if (status) return status;
        status = visit(context, &record, err);
        awq_layer_record_release(&record);
        if (status) return status;
    }
    return AWQ_OK;
}
