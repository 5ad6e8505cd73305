/* SPDX-License-Identifier: MIT
 * io/core/log.h - the log on stderr: one line, one write().
 *
 * A line is: time, level, rank, host, a fixed phrase and key=value pairs. Errors for the person at
 * the terminal are `awqrun: error: ...` lines and come from awq_report_error. stdout is for
 * results and is never written here. Safe to call from any thread.
 *
 * As JSON, every line is an object with "time" (UTC), "level", "rank", "host", "message", and a
 * member for each key: whole and real values are numbers, all others strings. */
#ifndef AWQ_IO_CORE_LOG_H
#define AWQ_IO_CORE_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "io/core/error.h"
#include "io/core/problems.h"

typedef enum awq_log_level {
    AWQ_LOG_QUIET,
    AWQ_LOG_INFO,
    AWQ_LOG_VERBOSE,
    AWQ_LOG_DEBUG
} awq_log_level;

/* Sets what every later line carries. rank < 0: not running under MPI yet. */
void awq_log_init(int rank, awq_log_level level);

/* From now on every line is a JSON object, or again is not. */
void awq_log_set_json(bool json);

/* A key and its value: the macros below make one. */
typedef struct awq_log_pair {
    const char *key; /* NULL: the end of a list */
    enum {
        AWQ_LOG_TEXT,
        AWQ_LOG_QUOTED,
        AWQ_LOG_WHOLE,
        AWQ_LOG_REAL,
        AWQ_LOG_SHORT,
        AWQ_LOG_PERCENT
    } type;
    int digits;
    long long whole;
    double real;
    const char *text; /* borrowed */
} awq_log_pair;

#define AWQ_NUMBER(name, kind, value, places)                                                      \
    ((awq_log_pair){.key = (name), .type = (kind), .real = (value), .digits = (places)})
#define AWQ_WORDS(name, kind, value)                                                               \
    ((awq_log_pair){.key = (name), .type = (kind), .text = (value)})

#define AWQ_WHOLE(name, value)                                                                     \
    ((awq_log_pair){.key = (name), .type = AWQ_LOG_WHOLE, .whole = (long long)(value)})
/* So many digits behind the point; or in all, the zeros at the end left out. */
#define AWQ_REAL(name, value, places)    AWQ_NUMBER(name, AWQ_LOG_REAL, value, places)
#define AWQ_SHORT(name, value, places)   AWQ_NUMBER(name, AWQ_LOG_SHORT, value, places)
#define AWQ_PERCENT(name, share, places) AWQ_NUMBER(name, AWQ_LOG_PERCENT, 100 * (share), places)
#define AWQ_TEXT(name, value)            AWQ_WORDS(name, AWQ_LOG_TEXT, value)
/* Text that may have blanks: in single quotes, but not as JSON. */
#define AWQ_QUOTED(name, value) AWQ_WORDS(name, AWQ_LOG_QUOTED, value)

/* Logs "phrase key=value ..." when level is at most the level set. */
void awq_log_pairs(awq_log_level level, const char *phrase, const awq_log_pair *pairs);
#define AWQ_LOG(level, phrase, ...)                                                                \
    awq_log_pairs(level, phrase, (const awq_log_pair[]){__VA_ARGS__, {.key = NULL}})

/* Logs a sentence that has no keys. */
void awq_log(awq_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "awqrun: error: SENTENCE" on stderr, at any log level. */
void awq_report_error(const awq_error *err);

/* Prints "awqrun: error: SENTENCE" for each problem. */
void awq_report_problems(const awq_problems *problems);

/* Prints "awqrun: SENTENCE" on stderr: what a person should know that is no failure. */
void awq_report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "awqrun: warning: SENTENCE" on stderr. */
void awq_report_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A progress bar owns the last terminal line: while one is set, every line above is preceded by
 * erasing it and the bar is redrawn after. text NULL removes the bar. */
void awq_log_set_bar(const char *text);

#endif
