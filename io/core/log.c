/* SPDX-License-Identifier: MIT */
#include "io/core/log.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, VALUE_BYTES = 64, BAR_BYTES = 512 };

#define ERASE_LINE "\r\033[K"

static struct {
    pthread_mutex_t mutex;
    int rank;
    awq_log_level level;
    char host[65];
    char bar[BAR_BYTES]; /* empty: none */
    bool json;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = -1, .level = AWQ_LOG_INFO};

static const char *level_name(awq_log_level level)
{
    switch (level) {
    case AWQ_LOG_QUIET:
        return "note";
    case AWQ_LOG_INFO:
        return "info";
    case AWQ_LOG_VERBOSE:
        return "verbose";
    case AWQ_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

/* File names and tensor names end up here: one that holds a newline or an escape sequence must
 * not forge a line or drive the terminal. */
static void replace_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
}

static void write_stderr(const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(STDERR_FILENO, text, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return; /* there is nowhere left to say so */
        text += done;
        bytes -= (size_t)done;
    }
}

/* Writes one line, around the bar. The mutex is held. */
static void write_line(char *line)
{
    char text[2 * LINE_BYTES + BAR_BYTES + 256]; /* JSON has a backslash before each quote */
    replace_controls(line);
    int bytes =
        snprintf(text, sizeof text, "%s%s\n%s", state.bar[0] ? ERASE_LINE : "", line, state.bar);
    if (bytes > 0) write_stderr(text, (size_t)bytes);
}

static void fill_host(void)
{
    if (state.host[0]) return;
    if (gethostname(state.host, sizeof state.host - 1)) strcpy(state.host, "localhost");
    state.host[strcspn(state.host, ".")] = '\0';
}

static int line_prefix(char *line, size_t room, awq_log_level level)
{
    char clock[16] = "--:--:--";
    char rank[16] = "";
    struct tm local;
    time_t now = time(NULL);
    if (localtime_r(&now, &local)) strftime(clock, sizeof clock, "%H:%M:%S", &local);
    if (state.rank >= 0) snprintf(rank, sizeof rank, "%d ", state.rank);
    fill_host();
    return snprintf(line, room, "%s %-5s [%s%s] ", clock, level_name(level), rank, state.host);
}

/* A number as people read it. */
static void value_text(char *out, size_t room, const awq_log_pair *pair)
{
    if (pair->type == AWQ_LOG_WHOLE)
        snprintf(out, room, "%lld", pair->whole);
    else
        snprintf(out, room, pair->type == AWQ_LOG_SHORT ? "%.*g%s" : "%.*f%s", pair->digits,
                 pair->real, pair->type == AWQ_LOG_PERCENT ? "%" : "");
}

/* Appends " key=value" to a line, as far as there is room. */
static void append_pair(char line[LINE_BYTES], const awq_log_pair *pair)
{
    char number[VALUE_BYTES];
    size_t used = strlen(line);
    bool text = pair->type == AWQ_LOG_TEXT || pair->type == AWQ_LOG_QUOTED;
    const char *quote = pair->type == AWQ_LOG_QUOTED ? "'" : "";
    if (!text) value_text(number, sizeof number, pair);
    snprintf(line + used, LINE_BYTES - used, " %s=%s%s%s", pair->key, quote,
             text ? pair->text : number, quote);
}

/* ---- as JSON ---- */

/* JSON holds UTF-8 only, and a sentence may quote a file or be cut inside of a character. */
static json_t *json_text(const char *text)
{
    char clean[LINE_BYTES];
    snprintf(clean, sizeof clean, "%s", text ? text : "");
    replace_controls(clean);
    json_t *string = json_string(clean);
    if (string) return string;
    for (char *c = clean; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    return json_string(clean);
}

/* The digits that people see, and no more. */
static json_t *json_pair(const awq_log_pair *pair)
{
    char text[VALUE_BYTES];
    if (pair->type == AWQ_LOG_TEXT || pair->type == AWQ_LOG_QUOTED) return json_text(pair->text);
    value_text(text, sizeof text, pair);
    if (pair->type == AWQ_LOG_WHOLE) return json_integer(pair->whole);
    if (pair->type != AWQ_LOG_PERCENT && isfinite(pair->real)) return json_real(strtod(text, NULL));
    return json_string(text);
}

/* pairs NULL: none. The mutex is held. */
static void write_json(const char *level, const char *phrase, const awq_log_pair *pairs)
{
    char clock[32] = "";
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc)) strftime(clock, sizeof clock, "%FT%TZ", &utc);
    json_t *object =
        json_pack("{s:s, s:s, s:s}", "time", clock, "level", level, "host", state.host);
    if (state.rank >= 0) json_object_set_new(object, "rank", json_integer(state.rank));
    json_object_set_new(object, "message", json_text(phrase));
    for (; pairs && pairs->key; pairs++) json_object_set_new(object, pairs->key, json_pair(pairs));
    char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(object);
    if (line) write_line(line);
    free(line);
}

void awq_log_set_json(bool json)
{
    pthread_mutex_lock(&state.mutex);
    state.json = json;
    pthread_mutex_unlock(&state.mutex);
}

/* ---- the lines ---- */

void awq_log_init(int rank, awq_log_level level)
{
    pthread_mutex_lock(&state.mutex);
    state.rank = rank;
    state.level = level;
    fill_host();
    pthread_mutex_unlock(&state.mutex);
}

void awq_log_pairs(awq_log_level level, const char *phrase, const awq_log_pair *pairs)
{
    char line[LINE_BYTES];
    pthread_mutex_lock(&state.mutex);
    if (level <= state.level && state.json) {
        write_json(level_name(level), phrase, pairs);
    } else if (level <= state.level) {
        int used = line_prefix(line, sizeof line, level);
        snprintf(line + used, sizeof line - (size_t)used, "%s", phrase);
        for (; pairs && pairs->key; pairs++) append_pair(line, pairs);
        write_line(line);
    }
    pthread_mutex_unlock(&state.mutex);
}

void awq_log(awq_log_level level, const char *format, ...)
{
    char sentence[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    awq_log_pairs(level, sentence, NULL);
}

/* `kind` NULL: a note. */
static void report(const char *kind, const char *sentence)
{
    char line[LINE_BYTES];
    pthread_mutex_lock(&state.mutex);
    fill_host();
    if (state.json) {
        write_json(kind ? kind : level_name(AWQ_LOG_QUIET), sentence, NULL);
    } else {
        snprintf(line, sizeof line, "awqrun: %s%s%s", kind ? kind : "", kind ? ": " : "", sentence);
        write_line(line);
    }
    pthread_mutex_unlock(&state.mutex);
}

void awq_report_error(const awq_error *err)
{
    report("error", err->text);
}

void awq_report_problems(const awq_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) awq_report_error(&problems->items[i]);
}

static void report_formatted(const char *kind, const char *format, va_list args)
{
    char sentence[LINE_BYTES - 64]; /* room for the words in front */
    vsnprintf(sentence, sizeof sentence, format, args);
    report(kind, sentence);
}

void awq_report_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_formatted(NULL, format, args);
    va_end(args);
}

void awq_report_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_formatted("warning", format, args);
    va_end(args);
}

void awq_log_set_bar(const char *text)
{
    char bytes[BAR_BYTES + 16];
    pthread_mutex_lock(&state.mutex);
    const char *erase = text || state.bar[0] ? ERASE_LINE : "";
    snprintf(state.bar, sizeof state.bar, "%s", text ? text : "");
    replace_controls(state.bar);
    int length = snprintf(bytes, sizeof bytes, "%s%s", erase, state.bar);
    if (length > 0) write_stderr(bytes, (size_t)length);
    pthread_mutex_unlock(&state.mutex);
}
