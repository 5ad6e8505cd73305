/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/check/check.h"
#include "io/files/json.h"
#include "io/records/layer_record.h"
#include "jobs/options/amounts.h"
#include "jobs/plan/job.h"

/* The nearest directory at or above `path` that exists. */
static void existing_parent(char out[AWQ_PATH_BYTES], const char *path)
{
    snprintf(out, AWQ_PATH_BYTES, "%s", path);
    while (!awq_path_exists(out)) {
        char *slash = strrchr(out, '/');
        if (!slash || slash == out) {
            snprintf(out, AWQ_PATH_BYTES, "/");
            return;
        }
        *slash = '\0';
    }
}

static bool check_place(const awq_options *options, awq_problems *problems)
{
    const char *sources[] = {options->model, options->against};
    for (int i = 0; i < 2; i++) {
        if (!sources[i] || !awq_path_inside(options->out, sources[i])) continue;
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "output directory '%s' is %s the source '%s'; give another one",
                         options->out, strcmp(options->out, sources[i]) ? "inside" : "the same as",
                         sources[i]);
        return false;
    }
    return true;
}

static bool check_writable(const char *out, awq_problems *problems)
{
    char parent[AWQ_PATH_BYTES];
    existing_parent(parent, out);
    if (!awq_path_is_directory(parent)) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "output directory '%s' cannot be made: '%s' is not a directory", out,
                         parent);
        return false;
    }
    if (!access(parent, W_OK | X_OK)) return true;
    awq_problems_add(problems, AWQ_ERR_IO, "cannot write into '%s' for output directory '%s': %s",
                     parent, out, strerror(errno));
    return false;
}

/* Bytes of the files in one directory; 0 when it cannot be read. */
static uint64_t directory_bytes(const char *out, const char *below)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    uint64_t bytes = 0;
    if (awq_path_join(path, out, below, &ignored)) return 0;
    DIR *directory = opendir(path);
    if (!directory) return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat info;
        if (!fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) &&
            S_ISREG(info.st_mode))
            bytes += (uint64_t)info.st_size;
    }
    closedir(directory);
    return bytes;
}

/* What an earlier run has written counts as room: it will be used or replaced. */
void awq_check_room(const char *out, uint64_t needed, awq_problems *problems)
{
    char parent[AWQ_PATH_BYTES], needed_text[32], free_text[32];
    uint64_t free_bytes;
    uint64_t present = directory_bytes(out, "") +
                       directory_bytes(out, AWQ_RUN_DIRECTORY_NAME "/layers") +
                       directory_bytes(out, AWQ_RUN_DIRECTORY_NAME "/boundaries");
    awq_error err;
    existing_parent(parent, out);
    if (awq_path_free_bytes(parent, &free_bytes, &err)) {
        awq_problems_add_error(problems, &err);
        return;
    }
    if (needed <= free_bytes + present) return;
    awq_format_bytes(needed_text, (double)(needed - present));
    awq_format_bytes(free_text, (double)free_bytes);
    awq_problems_add(problems, AWQ_ERR_IO,
                     "output directory '%s' needs %s more while the job runs, and its disk has %s "
                     "free; make room or give another one",
                     out, needed_text, free_text);
}

void awq_check_disk(const awq_options *options, const awq_inputs *inputs, int64_t boundaries,
                    uint64_t inputs_bytes, awq_problems *problems)
{
    awq_check_room(options->out,
                   awq_output_bytes(options, inputs->model) +
                       awq_run_bytes(options, inputs, boundaries) + inputs_bytes,
                   problems);
}

void awq_check_output(const awq_options *options, const awq_inputs *inputs, awq_out_state *state,
                      awq_problems *problems)
{
    char foreign[256];
    awq_error err;
    *state = AWQ_OUT_FREE;
    if (!check_place(options, problems) || !check_writable(options->out, problems)) return;
    if (awq_out_inspect(options->out, state, foreign, &err)) {
        awq_problems_add_error(problems, &err);
        return;
    }
    if (*state == AWQ_OUT_FOREIGN)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "output directory '%s' holds '%s', which is no file of an awqrun job; "
                         "give an empty or a new directory",
                         options->out, foreign);
    else if (*state != AWQ_OUT_COMPLETE && inputs->model && inputs->tokens.ids && !problems->count)
        awq_check_disk(options, inputs, 0, 0, problems);
}

void awq_check_complete(const awq_options *options, const awq_inputs *inputs,
                        awq_problems *problems)
{
    char path[AWQ_PATH_BYTES], *text = NULL;
    json_t *earlier = NULL, *now = NULL;
    awq_error err;
    if (awq_path_join(path, options->out, AWQ_STATISTICS_NAME, &err) ||
        awq_layer_records_job(path, &text, &err) ||
        awq_json_parse(text, strlen(text), path, &earlier, &err)) {
        awq_problems_add_error(problems, &err);
    } else {
        const char *backend = json_string_value(json_object_get(earlier, "backend"));
        now = awq_job_fingerprint(options, inputs->model, &inputs->tokens, backend ? backend : "");
        awq_job_fingerprint_compare(earlier, now, problems);
    }
    json_decref(earlier);
    json_decref(now);
    free(text);
    if (problems->count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' holds the checkpoint of another job (differences above); give "
                         "another --out, or --restart to replace it",
                         options->out);
}
