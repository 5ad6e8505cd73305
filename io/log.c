/* SPDX-License-Identifier: MIT */
#include "io/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
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
    char text[LINE_BYTES + BAR_BYTES + 16];
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
    if (level <= state.level) {
        int used = line_prefix(line, sizeof line, level);
        vsnprintf(line + used, sizeof line - (size_t)used, format, args);
        write_line(line);
    }
    pthread_mutex_unlock(&state.mutex);
    va_end(args);
}

static void report(const char *kind, const char *sentence)
{
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "awqrun: %s: %s", kind, sentence);
    pthread_mutex_lock(&state.mutex);
    write_line(line);
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
