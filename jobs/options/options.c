/* SPDX-License-Identifier: MIT */
#include "jobs/options/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/buffer.h"
#include "io/files/path.h"

const awq_option *awq_option_find(const char *name)
{
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name)) return &awq_option_table[i];
    return NULL;
}

static void *field(const awq_options *options, const awq_option *option)
{
    return (char *)(uintptr_t)options + option->offset;
}

static awq_status wants(const awq_option *option, const char *text, const char *what,
                        awq_error *err)
{
    return awq_fail(err, AWQ_ERR_USAGE, "--%s takes %s, not '%s'", option->name, what, text);
}

/* A number and the text behind it; false when there is no number. */
static bool parse_number(const char *text, double *value, const char **rest)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    *rest = end;
    return end != text && !errno && isfinite(*value);
}

static bool parse_scaled(const char *text, const char *const *units, const double *factors,
                         double *value)
{
    const char *rest;
    if (!parse_number(text, value, &rest)) return false;
    for (int i = 0; units[i]; i++) {
        if (strcmp(rest, units[i])) continue;
        *value *= factors[i];
        return true;
    }
    return false;
}

static bool parse_bytes(const char *text, double *value)
{
    static const char *const units[] = {"",   "B",   "kB",  "KB",  "MB",  "GB",
                                        "TB", "KiB", "MiB", "GiB", "TiB", NULL};
    static const double factors[] = {1,    1,      1e3,    1e3,    1e6,   1e9,
                                     1e12, 0x1p10, 0x1p20, 0x1p30, 0x1p40};
    return parse_scaled(text, units, factors, value);
}

static bool parse_seconds(const char *text, double *value)
{
    static const char *const units[] = {"", "s", "m", "min", "h", "d", NULL};
    static const double factors[] = {1, 1, 60, 60, 3600, 86400};
    return parse_scaled(text, units, factors, value);
}

static awq_status set_number(void *to, const awq_option *option, const char *text, awq_error *err)
{
    double value = 0;
    const char *rest = "";
    bool parsed = option->type == AWQ_OPTION_BYTES ? parse_bytes(text, &value)
                  : option->type == AWQ_OPTION_SECONDS
                      ? parse_seconds(text, &value)
                      : parse_number(text, &value, &rest) && !*rest;
    bool whole = option->type == AWQ_OPTION_INTEGER || option->type == AWQ_OPTION_BYTES;
    if (parsed && option->type == AWQ_OPTION_INTEGER && floor(value) != value) parsed = false;
    if (!parsed)
        return wants(option, text,
                     option->type == AWQ_OPTION_BYTES     ? "an amount such as 5GB or 512MiB"
                     : option->type == AWQ_OPTION_SECONDS ? "a time such as 90s, 5m or 2h"
                     : whole                              ? "a whole number"
                                                          : "a number",
                     err);
    if (!(value >= option->min && value <= option->max))
        return awq_fail(err, AWQ_ERR_USAGE, "--%s must be between %.10g and %.10g, not '%s'",
                        option->name, option->min, option->max, text);
    if (whole)
        *(int64_t *)to = (int64_t)value;
    else
        *(double *)to = value;
    return AWQ_OK;
}

static awq_status set_memory(awq_memory *to, const awq_option *option, const char *text,
                             awq_error *err)
{
    const char *rest;
    awq_memory memory = {0};
    bool parsed = parse_number(text, &memory.amount, &rest);
    memory.percent = parsed && !strcmp(rest, "%");
    if (!memory.percent) parsed = parse_bytes(text, &memory.amount);
    if (!parsed || memory.amount <= 0 || (memory.percent && memory.amount > 100))
        return wants(option, text, "an amount such as 80GB, or a share such as 90%", err);
    *to = memory;
    return AWQ_OK;
}

/* Choices are compared with the words of "a|b|c"; enumerators are ints. */
static awq_status set_choice(int *to, const awq_option *option, const char *text, awq_error *err)
{
    size_t length = strlen(text);
    int index = 0;
    for (const char *word = option->argument; word; index++) {
        const char *bar = strchr(word, '|');
        size_t bytes = bar ? (size_t)(bar - word) : strlen(word);
        if (bytes == length && !strncmp(word, text, length)) {
            *to = index;
            return AWQ_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return wants(option, text, option->argument, err);
}

static awq_status set_string(char **to, const awq_option *option, const char *text, awq_error *err)
{
    if (!*text) return wants(option, text, option->argument, err);
    json_t *as_json = json_string(text); /* how it travels and is kept */
    json_decref(as_json);
    if (!as_json)
        return awq_fail(err, AWQ_ERR_USAGE, "--%s: '%s' is not UTF-8; rename it", option->name,
                        text);
    char *copy = strdup(text);
    if (!copy) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for --%s", option->name);
    free(*to);
    *to = copy;
    return AWQ_OK;
}

/* Adds to the list; text may be one itself, a path a line. */
static awq_status add_paths(char **to, const awq_option *option, const char *text, awq_error *err)
{
    char *one = NULL;
    if (set_string(&one, option, text, err)) return err->status;
    if (!*to) {
        *to = one;
        return AWQ_OK;
    }
    size_t before = strlen(*to), more = strlen(one);
    char *all = realloc(*to, before + more + 2);
    if (all) {
        all[before] = '\n';
        memcpy(all + before + 1, one, more + 1);
        *to = all;
    }
    free(one);
    return all ? AWQ_OK : awq_fail(err, AWQ_ERR_MEMORY, "no memory for --%s", option->name);
}

awq_status awq_option_set(awq_options *options, const awq_option *option, const char *text,
                          awq_error *err)
{
    void *to = field(options, option);
    switch (option->type) {
    case AWQ_OPTION_TEXT:
    case AWQ_OPTION_PATH:
        return set_string(to, option, text, err);
    case AWQ_OPTION_PATHS:
        return add_paths(to, option, text, err);
    case AWQ_OPTION_MEMORY:
        return set_memory(to, option, text, err);
    case AWQ_OPTION_CHOICE:
        return set_choice(to, option, text, err);
    case AWQ_OPTION_FLAG:
        if (strcmp(text, "true") && strcmp(text, "false"))
            return wants(option, text, "true or false", err);
        *(bool *)to = !strcmp(text, "true");
        return AWQ_OK;
    case AWQ_OPTION_INTEGER:
    case AWQ_OPTION_NUMBER:
    case AWQ_OPTION_BYTES:
    case AWQ_OPTION_SECONDS:
        return set_number(to, option, text, err);
    }
    return awq_fail(err, AWQ_ERR_INTERNAL, "--%s has no type", option->name);
}

static char *choice_text(const awq_option *option, int index)
{
    const char *word = option->argument;
    while (index-- > 0 && strchr(word, '|')) word = strchr(word, '|') + 1;
    const char *bar = strchr(word, '|');
    return bar ? strndup(word, (size_t)(bar - word)) : strdup(word);
}

char *awq_option_text(const awq_options *options, const awq_option *option)
{
    const void *from = field(options, option);
    char text[64];
    switch (option->type) {
    case AWQ_OPTION_TEXT:
    case AWQ_OPTION_PATHS:
    case AWQ_OPTION_PATH: {
        const char *value = *(char *const *)from;
        return strdup(value ? value : "");
    }
    case AWQ_OPTION_CHOICE:
        return choice_text(option, *(const int *)from);
    case AWQ_OPTION_FLAG:
        return strdup(*(const bool *)from ? "true" : "false");
    case AWQ_OPTION_MEMORY: {
        const awq_memory *memory = from;
        snprintf(text, sizeof text, "%.17g%s", memory->amount, memory->percent ? "%" : "");
        return strdup(text);
    }
    case AWQ_OPTION_INTEGER:
    case AWQ_OPTION_BYTES:
        snprintf(text, sizeof text, "%lld", (long long)*(const int64_t *)from);
        return strdup(text);
    case AWQ_OPTION_NUMBER:
    case AWQ_OPTION_SECONDS: {
        /* Fifteen digits print a number as people wrote it (0.1); seventeen are exact for all. */
        double value = *(const double *)from;
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) != value) snprintf(text, sizeof text, "%.17g", value);
        return strdup(text);
    }
    }
    return NULL;
}

awq_status awq_options_init(awq_options *options, awq_error *err)
{
    *options = (awq_options){0};
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (option->fallback && awq_option_set(options, option, option->fallback, err))
            return err->status;
    }
    return AWQ_OK;
}

/* The string that an option is, which two rows may share; NULL: it is none. */
static char **string_of(const awq_options *options, const awq_option *option)
{
    bool is_string = option->type == AWQ_OPTION_TEXT || option->type == AWQ_OPTION_PATH ||
                     option->type == AWQ_OPTION_PATHS;
    return is_string ? field(options, option) : NULL;
}

awq_status awq_options_copy(awq_options *out, const awq_options *from, awq_error *err)
{
    *out = *from;
    for (int i = 0; i < awq_option_count; i++) {
        char **to = string_of(out, &awq_option_table[i]);
        if (to) *to = NULL;
    }
    for (int i = 0; i < awq_option_count; i++) {
        char **to = string_of(out, &awq_option_table[i]);
        char **value = string_of(from, &awq_option_table[i]);
        if (!to || *to || !*value) continue;
        *to = strdup(*value);
        if (!*to) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the options");
    }
    return AWQ_OK;
}

void awq_options_release(awq_options *options)
{
    for (int i = 0; i < awq_option_count; i++) {
        char **value = string_of(options, &awq_option_table[i]);
        if (!value) continue;
        free(*value);
        *value = NULL; /* two rows may share a field */
    }
    *options = (awq_options){0};
}

/* Makes a path, or each of a list of one a line, absolute. */
static awq_status resolve(char **paths, bool is_list, awq_error *err)
{
    char absolute[AWQ_PATH_BYTES];
    awq_buffer all = {0};
    awq_status status = AWQ_OK;
    for (char *path = *paths, *end; !status && path; path = end ? end + 1 : NULL) {
        if ((end = is_list ? strchr(path, '\n') : NULL)) *end = '\0';
        status = awq_path_resolve(absolute, path, err);
        if (!status && all.bytes) status = awq_buffer_append_text(&all, "\n", err);
        if (!status) status = awq_buffer_append_text(&all, absolute, err);
    }
    if (status) {
        awq_buffer_release(&all);
        return status;
    }
    if (!*paths) return AWQ_OK;
    all.data[all.bytes] = '\0'; /* a buffer has room for it */
    free(*paths);
    *paths = all.data;
    return AWQ_OK;
}

void awq_options_resolve(awq_options *options, awq_problems *problems)
{
    char **const paths[] = {&options->model, &options->tokens, &options->text.files,
                            &options->against, &options->out};
    awq_error err;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (resolve(paths[i], paths[i] == &options->text.files, &err))
            awq_problems_add_error(problems, &err);
}

json_t *awq_options_to_json(const awq_options *options, bool only_changing)
{
    const int no_jobs =
        AWQ_COMMAND_SUBMIT | AWQ_COMMAND_REPORT | AWQ_COMMAND_COMPLETION | AWQ_COMMAND_TOKENIZE;
    json_t *object = json_object();
    for (int i = 0; object && i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (only_changing && !option->changes_result) continue;
        if (!(option->commands & ~no_jobs)) continue;
        char *text = awq_option_text(options, option);
        if (!text || (*text && json_object_set_new(object, option->name, json_string(text)))) {
            json_decref(object);
            object = NULL;
        }
        free(text);
    }
    return object;
}

awq_status awq_options_from_json(awq_options *options, const json_t *object, awq_error *err)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        const char *text = json_string_value(json_object_get(object, option->name));
        if (text && awq_option_set(options, option, text, err)) return err->status;
    }
    return AWQ_OK;
}
