/* SPDX-License-Identifier: MIT
 * io/core/log.h - the log on stderr: one line, one write().
 *
 * A line is: time, level, rank, host, a fixed phrase and key=value pairs. Errors for the person at
 * the terminal are `awqrun: error: ...` lines and come from awq_report_error. stdout is for
 * results and is never written here. Safe to call from any thread.
 *
 * As JSON, every line is an object with "time" (UTC), "level", "rank", "host", "message", and a
 * member for each key; what looks like a number is one. */
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

/* Logs "phrase key=value ..." when level is at most the level set. */
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
