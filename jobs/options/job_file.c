/* SPDX-License-Identifier: MIT */
#include "jobs/options/job_file.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"

enum { MAX_FILE_BYTES = 1 << 20 };

static const int kinds = AWQ_COMMAND_QUANTIZE | AWQ_COMMAND_PLAN;

typedef struct reader {
    const char *path;
    int line;
    awq_options *options;
    awq_problems *problems;
    int *first_line; /* [awq_option_count]: where an option was first set; 0: nowhere */
} reader;

bool awq_job_file_holds(const awq_option *option)
{
    return (option->commands & kinds) && option->offset != offsetof(awq_options, job) &&
           option->offset != offsetof(awq_options, plan.print_job) &&
           option->offset != offsetof(awq_options, plan.copied);
}

/* ---- reading ---- */

static void refuse(const reader *r, const char *sentence)
{
    awq_problems_add(r->problems, AWQ_ERR_USAGE, "'%s' line %d: %s", r->path, r->line, sentence);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char *skip_blanks(char *text)
{
    while (is_blank(*text)) text++;
    return text;
}

static void cut_trailing_blanks(char *text)
{
    size_t length = strlen(text);
    while (length && is_blank(text[length - 1])) text[--length] = '\0';
}

/* Unquotes in place; `text` is behind the opening quote. NULL: there is no end, or more behind. */
static char *unquote(char *text)
{
    char *to = text, *from = text;
    while (*from && (*from != '"' || from[1] == '"')) {
        from += *from == '"';
        *to++ = *from++;
    }
    if (*from != '"') return NULL;
    char *rest = skip_blanks(from + 1);
    *to = '\0';
    return *rest && *rest != '#' ? NULL : text;
}

/* A value ends at a comment, unless it is in quotes. */
static char *parse_value(char *text)
{
    text = skip_blanks(text);
    if (*text == '"') return unquote(text + 1);
    char *end = text;
    while (*end && !(*end == '#' && (end == text || is_blank(end[-1])))) end++;
    *end = '\0';
    cut_trailing_blanks(text);
    return text;
}

static void set(reader *r, const char *key, const char *value)
{
    char sentence[256];
    awq_error err;
    const awq_option *option = awq_option_find(key);
    const char *guess = option ? NULL : awq_option_nearest(key, kinds);
    int *first = option ? &r->first_line[option - awq_option_table] : NULL;
    if (option && !awq_job_file_holds(option)) {
        snprintf(sentence, sizeof sentence, "'%.64s' is not an option of a job file", key);
    } else if (guess) {
        snprintf(sentence, sizeof sentence, "unknown option '%.64s', did you mean '%s'?", key,
                 guess);
    } else if (!option) {
        snprintf(sentence, sizeof sentence, "unknown option '%.64s'; --help lists all", key);
    } else if (*first && option->type != AWQ_OPTION_PATHS) {
        snprintf(sentence, sizeof sentence, "%s was set in line %d already", option->name, *first);
    } else {
        *first = r->line;
        if (awq_option_set(r->options, option, value, &err)) refuse(r, err.text);
        return;
    }
    refuse(r, sentence);
}

static void read_lines(reader *r, char *text)
{
    for (char *end; text; text = end) {
        if ((end = strchr(text, '\n'))) *end++ = '\0';
        r->line++;
        char *key = skip_blanks(text);
        if (!*key || *key == '#') continue;
        char *equals = strchr(key, '=');
        if (!equals) {
            refuse(r, "is not of the form 'key = value'");
            continue;
        }
        *equals = '\0';
        cut_trailing_blanks(key);
        char *value = parse_value(equals + 1);
        if (value)
            set(r, key, value);
        else
            refuse(r, "a value that begins with a quote must end with one, and nothing behind it");
    }
}

void awq_job_file_read(const char *path, awq_options *options, awq_problems *problems)
{
    reader r = {.path = path, .options = options, .problems = problems};
    awq_error err;
    char *text;
    size_t bytes;
    if (awq_file_read(path, MAX_FILE_BYTES, &text, &bytes, &err)) {
        awq_problems_add_error(problems, &err);
        return;
    }
    r.first_line = calloc((size_t)awq_option_count, sizeof *r.first_line);
    if (!r.first_line)
        awq_problems_add(problems, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    else if (strlen(text) != bytes)
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s' is not a text file", path);
    else
        read_lines(&r, text);
    free(r.first_line);
    free(text);
}

/* ---- writing ---- */

/* A list has a line for each. What reading would cut or unquote is put in quotes. */
static void print_option(FILE *file, const awq_option *option, char *text)
{
    for (char *next; text && *text; text = next) {
        bool list = option->type == AWQ_OPTION_PATHS;
        next = list ? strchr(text, '\n') : NULL;
        if (next) *next++ = '\0';
        bool quoted = *text == '"' || strchr(text, '#') || is_blank(*text) ||
                      is_blank(text[strlen(text) - 1]);
        fprintf(file, "%s = %s", option->name, quoted ? "\"" : "");
        for (; *text; text++) {
            if (quoted && *text == '"') fputc('"', file);
            fputc(*text, file);
        }
        fputs(quoted ? "\"\n" : "\n", file);
    }
}

awq_status awq_job_file_print(FILE *file, const awq_options *options, awq_error *err)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!awq_job_file_holds(option)) continue;
        char *text = awq_option_text(options, option);
        if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to print the job");
        print_option(file, option, text);
        free(text);
    }
    return AWQ_OK;
}
