/* SPDX-License-Identifier: MIT
 * io/core/problems.h - a list of sentences: everything wrong with a job, found in one pass.
 *
 * Checks add to the list and go on, so that a user sees all problems at once. A problem's
 * consequences are not listed again: who adds a line also skips what follows from it. */
#ifndef AWQ_IO_CORE_PROBLEMS_H
#define AWQ_IO_CORE_PROBLEMS_H

#include <stddef.h>

#include "io/core/error.h"

typedef struct awq_problems {
    awq_error *items; /* owned; count of them */
    size_t count;
    size_t capacity;
} awq_problems;

void awq_problems_init(awq_problems *problems);
void awq_problems_release(awq_problems *problems);

/* Adds one sentence. */
void awq_problems_add(awq_problems *problems, awq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the sentence of an error. */
void awq_problems_add_error(awq_problems *problems, const awq_error *err);

#endif
