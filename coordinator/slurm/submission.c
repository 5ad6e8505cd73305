/* SPDX-License-Identifier: MIT */
#include "coordinator/slurm/submission.h"

#include <time.h>

#include "io/files/json.h"
#include "io/files/path.h"

#define FILE_NAME "submission.json"

awq_status awq_submission_write(const char *run, const char *job, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, FILE_NAME, err)) return err->status;
    json_t *object = json_pack("{s:s, s:I}", "job", job, "submitted", (json_int_t)time(NULL));
    if (!object) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_status status = awq_json_write(path, object, err);
    json_decref(object);
    return status;
}

static void take(const json_t *object, const char *job_key, const char *time_key, double *latest,
                 char id[AWQ_SLURM_WORD_BYTES])
{
    const char *job = json_string_value(json_object_get(object, job_key));
    double when = json_number_value(json_object_get(object, time_key));
    if (!job || !*job || when < *latest) return;
    *latest = when;
    snprintf(id, AWQ_SLURM_WORD_BYTES, "%s", job);
}

void awq_submission_find(const char *run, const json_t *status, char id[AWQ_SLURM_WORD_BYTES])
{
    char path[AWQ_PATH_BYTES];
    json_t *submission = NULL;
    awq_error ignored;
    double latest = 0;
    *id = '\0';
    if (!awq_path_join(path, run, FILE_NAME, &ignored) && awq_path_exists(path))
        (void)awq_json_read(path, 1 << 16, &submission, &ignored);
    take(status, "slurm_job", "updated", &latest, id);
    take(submission, "job", "submitted", &latest, id);
    json_decref(submission);
}
