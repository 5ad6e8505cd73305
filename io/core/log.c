/* SPDX-License-Identifier: MIT */
#include "io/core/log.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, BAR_BYTES = 512 };

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

/* ---- as JSON ---- */

/* Where " key=" begins; NULL: nowhere. */
static const char *find_pair(const char *text)
{
    for (const char *c = text; (c = strchr(c, ' ')); c++) {
        size_t letters = strspn(c + 1, "abcdefghijklmnopqrstuvwxyz_");
        if (letters && c[1 + letters] == '=') return c;
    }
    return NULL;
}

static json_t *value_object(const char *text, size_t bytes)
{
    char number[32], *end;
    if (bytes > 1 && *text == '\'' && text[bytes - 1] == '\'') /* quoted for people */
        return json_stringn(text + 1, bytes - 2);
    if (bytes == 0 || bytes >= sizeof number || !(isdigit((unsigned char)*text) || *text == '-'))
        return json_stringn(text, bytes);
    snprintf(number, sizeof number, "%.*s", (int)bytes, text);
    long long whole = strtoll(number, &end, 10);
    if (!*end) return json_integer(whole);
    double value = strtod(number, &end);
    return *end ? json_stringn(text, bytes) : json_real(value);
}

/* "phrase key=value key=value" to members; a value ends where the next key begins. */
static void add_members(json_t *object, const char *text)
{
    const char *pair = find_pair(text);
    size_t phrase = pair ? (size_t)(pair - text) : strlen(text);
    json_object_set_new(object, "message", json_stringn(text, phrase));
    while (pair) {
        char key[64];
        const char *equals = strchr(pair, '='), *next = find_pair(equals);
        size_t bytes = next ? (size_t)(next - equals - 1) : strlen(equals + 1);
        snprintf(key, sizeof key, "%.*s", (int)(equals - pair - 1), pair + 1);
        json_object_set_new(object, key, value_object(equals + 1, bytes));
        pair = next;
    }
}

/* JSON holds UTF-8 only, and a sentence may quote a file or be cut inside of a character. */
static void make_utf8(char *text)
{
    json_t *probe = json_string(text);
    for (; !probe && *text; text++)
        if ((unsigned char)*text >= 0x80) *text = '?';
    json_decref(probe);
}

/* The mutex is held. */
static void write_json(const char *level, char *text, bool has_members)
{
    char clock[32] = "";
    replace_controls(text);
    make_utf8(text);
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc)) strftime(clock, sizeof clock, "%FT%TZ", &utc);
    json_t *object =
        json_pack("{s:s, s:s, s:s}", "time", clock, "level", level, "host", state.host);
    if (state.rank >= 0) json_object_set_new(object, "rank", json_integer(state.rank));
    if (has_members)
        add_members(object, text);
    else
        json_object_set_new(object, "message", json_string(text));
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

void awq_log(awq_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&state.mutex);
    if (level <= state.level && state.json) {
        vsnprintf(line, sizeof line, format, args);
        write_json(level_name(level), line, true);
    } else if (level <= state.level) {
        int used = line_prefix(line, sizeof line, level);
        vsnprintf(line + used, sizeof line - (size_t)used, format, args);
        write_line(line);
    }
    pthread_mutex_unlock(&state.mutex);
    va_end(args);
}

/* `kind` NULL: a note. */
static void report(const char *kind, const char *sentence)
{
    char line[LINE_BYTES];
    pthread_mutex_lock(&state.mutex);
    fill_host();
    if (state.json) {
        snprintf(line, sizeof line, "%s", sentence);
        write_json(kind ? kind : level_name(AWQ_LOG_QUIET), line, false);
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

void awq_report_note(const char *format, ...)
{
    char sentence[LINE_BYTES - 64]; /* room for the words in front */
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    report(NULL, sentence);
}

void awq_report_warning(const char *format, ...)
{
    char sentence[LINE_BYTES - 64]; /* room for the words in front */
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    report("warning", sentence);
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
