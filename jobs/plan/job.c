/* SPDX-License-Identifier: MIT */
#include "jobs/plan/job.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/json.h"

json_t *awq_job_fingerprint(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, const char *kind)
{
    json_t *model = awq_checkpoint_fingerprint(checkpoint);
    json_t *changing = awq_options_to_json(options, true);
    return json_pack("{s:i, s:s, s:o, s:{s:I, s:I, s:I}, s:o}", "format", AWQ_RUN_FORMAT, "backend",
                     kind, "model", model, "tokens", "sequences", (json_int_t)tokens->sequences,
                     "length", (json_int_t)tokens->length, "crc32", (json_int_t)tokens->crc,
                     "options", changing);
}

awq_status awq_job_fingerprint_text(const json_t *fingerprint, char out[AWQ_FINGERPRINT_BYTES],
                                    awq_error *err)
{
    char *text = json_dumps(fingerprint, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the job's fingerprint");
    snprintf(out, AWQ_FINGERPRINT_BYTES, "%08x", awq_crc32(0, text, strlen(text)));
    free(text);
    return AWQ_OK;
}

static void value_text(const json_t *value, char *out, size_t bytes)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(out, bytes, "%.200s", text ? text : "nothing");
    free(text);
}

static void compare(const char *name, const json_t *earlier, const json_t *now,
                    awq_problems *problems)
{
    char path[256];
    if (json_is_object(earlier) && json_is_object(now)) {
        const char *key;
        const json_t *value;
        json_object_foreach((json_t *)(uintptr_t)now, key, value)
        {
            snprintf(path, sizeof path, "%s%s%s", name, *name ? " " : "", key);
            compare(path, json_object_get(earlier, key), value, problems);
        }
        json_object_foreach((json_t *)(uintptr_t)earlier, key, value)
        {
            snprintf(path, sizeof path, "%s%s%s", name, *name ? " " : "", key);
            if (!json_object_get(now, key)) compare(path, value, NULL, problems);
        }
    } else if (json_is_array(earlier) && json_is_array(now) &&
               json_array_size(earlier) == json_array_size(now)) {
        for (size_t i = 0; i < json_array_size(now); i++) {
            const char *file = json_string_value(json_object_get(json_array_get(now, i), "file"));
            snprintf(path, sizeof path, "%s '%s'", name, file ? file : "?");
            compare(path, json_array_get(earlier, i), json_array_get(now, i), problems);
        }
    } else if (!earlier || !now || !json_equal(earlier, now)) {
        char was[256], is[256];
        value_text(earlier, was, sizeof was);
        value_text(now, is, sizeof is);
        awq_problems_add(problems, AWQ_ERR_INPUT, "%s: %s in the earlier run, %s now", name, was,
                         is);
    }
}

void awq_job_fingerprint_compare(const json_t *earlier, const json_t *now, awq_problems *problems)
{
    compare("", earlier, now, problems);
}

char *awq_job_to_text(const awq_job *job)
{
    json_t *object = json_pack("{s:i, s:o, s:s, s:s}", "command", (int)job->command, "options",
                               awq_options_to_json(&job->options, false), "run_directory",
                               job->run_directory, "kind", job->kind);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

awq_status awq_job_from_text(const char *text, size_t bytes, awq_job *out, awq_error *err)
{
    json_t *object = NULL;
    if (awq_json_parse(text, bytes, "the job", &object, err)) return err->status;
    awq_job job = {.command = (awq_command)json_integer_value(json_object_get(object, "command"))};
    const char *directory = json_string_value(json_object_get(object, "run_directory"));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    snprintf(job.run_directory, sizeof job.run_directory, "%s", directory ? directory : "");
    snprintf(job.kind, sizeof job.kind, "%s", kind ? kind : "");
    awq_status status = awq_options_init(&job.options, err);
    if (!status)
        status = awq_options_from_json(&job.options, json_object_get(object, "options"), err);
    json_decref(object);
    if (status) {
        awq_options_release(&job.options);
        return awq_error_wrap(err, "the job");
    }
    *out = job;
    return AWQ_OK;
}

int64_t awq_job_tile_sequences(const awq_options *options, const awq_tokens *tokens)
{
    int64_t sequences = options->tile_tokens / tokens->length;
    if (sequences < 1) return 1;
    return sequences < tokens->sequences ? sequences : tokens->sequences;
}

int64_t awq_job_objective_sequences(const awq_options *options, const awq_tokens *tokens)
{
    int64_t sequences = options->recipe.objective_tokens / tokens->length;
    if (options->recipe.objective != AWQ_OBJECTIVE_MODULE) return 0;
    if (!options->recipe.objective_tokens || sequences > tokens->sequences)
        return tokens->sequences;
    return sequences < 1 ? 1 : sequences;
}

int64_t awq_job_tiles(const awq_options *options, const awq_tokens *tokens)
{
    int64_t sequences = awq_job_tile_sequences(options, tokens);
    return (tokens->sequences + sequences - 1) / sequences;
}
