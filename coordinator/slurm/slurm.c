/* SPDX-License-Identifier: MIT */
#include "coordinator/slurm/slurm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/slurm/subprocess.h"
#include "io/files/json.h"
#include "io/files/path.h"

static const double answer_seconds = 5;
static const char submission_name[] = "submission.json";

/* What a command prints; NULL when it fails, for whatever reason. */
static char *ask(const char *const argv[])
{
    char *output = NULL;
    int code = 0;
    awq_error ignored;
    if (awq_subprocess(argv, true, answer_seconds, &output, &code, &ignored)) return NULL;
    if (!code) return output;
    free(output);
    return NULL;
}

/* ---- jobs ---- */

/* The value of "KEY=value" up to one of `end`; "(null)" is "". */
static void field(const char *text, const char *key, const char *end, char *out, size_t bytes)
{
    char pattern[64];
    *out = '\0';
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *found = strstr(text, pattern);
    if (!found) return;
    found += strlen(pattern);
    snprintf(out, bytes, "%.*s", (int)strcspn(found, end), found);
    if (!strcmp(out, "(null)")) *out = '\0';
}

bool awq_slurm_find_job(const char *id, awq_slurm_job *out)
{
    char requeues[AWQ_SLURM_WORD_BYTES];
    const char *const argv[] = {"scontrol", "show", "job", id, NULL};
    char *text = *id ? ask(argv) : NULL;
    if (!text) return false;
    awq_slurm_job job;
    snprintf(job.id, sizeof job.id, "%s", id);
    field(text, "JobState", " \n", job.state, sizeof job.state);
    field(text, "Reason", " \n", job.reason, sizeof job.reason);
    field(text, "NodeList", " \n", job.nodes, sizeof job.nodes);
    field(text, "Restarts", " \n", requeues, sizeof requeues);
    field(text, "StdOut", "\n", job.log, sizeof job.log);
    field(text, "Command", "\n", job.script, sizeof job.script);
    job.requeues = strtoll(requeues, NULL, 10);
    free(text);
    if (!*job.state) return false;
    *out = job;
    return true;
}

bool awq_slurm_job_lives(const awq_slurm_job *job)
{
    static const char *const states[] = {"PENDING",  "RUNNING",      "CONFIGURING", "SUSPENDED",
                                         "REQUEUED", "REQUEUE_HOLD", "RESIZING",    NULL};
    for (int i = 0; states[i]; i++)
        if (!strcmp(job->state, states[i])) return true;
    return false;
}

void awq_slurm_job_print(FILE *file, const awq_slurm_job *job)
{
    fprintf(file, "  SLURM job %s: %s", job->id, job->state);
    if (*job->reason && strcmp(job->reason, "None")) fprintf(file, " (%s)", job->reason);
    if (*job->nodes) fprintf(file, " on %s", job->nodes);
    fprintf(file, ", %lld requeue%s\n", (long long)job->requeues, job->requeues == 1 ? "" : "s");
    if (*job->log) fprintf(file, "  log %s\n", job->log);
}

json_t *awq_slurm_job_json(const awq_slurm_job *job)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "job", job->id, "state", job->state,
                     "reason", job->reason, "nodes", job->nodes, "requeues",
                     (json_int_t)job->requeues, "log", job->log);
}

/* ---- the job of a run directory ---- */

awq_status awq_submission_write(const char *run, const char *job, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, submission_name, err)) return err->status;
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
    if (!awq_path_join(path, run, submission_name, &ignored) && awq_path_exists(path))
        (void)awq_json_read(path, 1 << 16, &submission, &ignored);
    take(status, "slurm_job", "updated", &latest, id);
    take(submission, "job", "submitted", &latest, id);
    json_decref(submission);
}

/* ---- partitions ---- */

/* One line of sinfo: "main*|64+|12|1-00:00:00"; the star marks the default partition. Lines of one
 * partition differ in their nodes. */
static void add_line(char *line, const char *name, awq_slurm_partition *sum)
{
    char partition[AWQ_SLURM_WORD_BYTES], limit[AWQ_SLURM_WORD_BYTES];
    long long cpus, nodes;
    if (sscanf(line, "%63[^|]|%lld%*[+]|%lld|%63s", partition, &cpus, &nodes, limit) != 4 &&
        sscanf(line, "%63[^|]|%lld|%lld|%63s", partition, &cpus, &nodes, limit) != 4)
        return;
    size_t length = strlen(partition);
    bool is_default = partition[length - 1] == '*';
    if (is_default) partition[length - 1] = '\0';
    if (name ? strcmp(partition, name) : !is_default) return;
    if (!sum->cpus || cpus < sum->cpus) sum->cpus = cpus;
    sum->nodes += nodes;
    awq_slurm_parse_time(limit, &sum->limit_seconds);
}

void awq_slurm_find_partition(const char *name, awq_slurm_partition *out)
{
    *out = (awq_slurm_partition){0};
    const char *const argv[] = {"sinfo", "-h", "-o", "%P|%c|%D|%l", NULL};
    char *text = ask(argv), *rest;
    if (!text) return;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        add_line(line, name, out);
    free(text);
}

/* ---- time ---- */

/* Up to three numbers between colons; returns how many, 0 when it is something else. */
static int parse_fields(const char *text, double fields[3])
{
    for (int count = 0; count < 3; text++) {
        char *end;
        if (*text < '0' || *text > '9') return 0;
        fields[count++] = (double)strtoul(text, &end, 10);
        text = end;
        if (!*text) return count;
        if (*text != ':') return 0;
    }
    return 0;
}

bool awq_slurm_parse_time(const char *text, double *seconds)
{
    static const double with_days[] = {3600, 60, 1}, without[3][3] = {{60}, {60, 1}, {3600, 60, 1}};
    double fields[3], days[3], sum = 0;
    const char *dash = strchr(text, '-');
    const double *factors = with_days;
    if (dash) {
        char before[16];
        snprintf(before, sizeof before, "%.*s", (int)(dash - text), text);
        if (parse_fields(before, days) != 1) return false;
        sum = 86400 * days[0];
        text = dash + 1;
    }
    int count = parse_fields(text, fields);
    if (!count) return false;
    if (!dash) factors = without[count - 1];
    for (int i = 0; i < count; i++) sum += factors[i] * fields[i];
    *seconds = sum;
    return true;
}

void awq_slurm_format_time(char out[32], double seconds)
{
    long long whole = (long long)ceil(seconds), days = whole / 86400;
    int used = days ? snprintf(out, 32, "%lld-", days) : 0;
    snprintf(out + used, 32 - (size_t)used, "%02lld:%02lld:%02lld", whole / 3600 % 24,
             whole / 60 % 60, whole % 60);
}
