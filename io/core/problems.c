/* SPDX-License-Identifier: MIT */
#include "io/core/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void awq_problems_init(awq_problems *problems)
{
    *problems = (awq_problems){0};
}

void awq_problems_release(awq_problems *problems)
{
    free(problems->items);
    awq_problems_init(problems);
}

void awq_problems_add_error(awq_problems *problems, const awq_error *err)
{
    if (problems->count >= problems->capacity) {
        size_t capacity = problems->capacity ? 2 * problems->capacity : 8;
        awq_error *items = realloc(problems->items, capacity * sizeof *items);
        if (!items) return;
        problems->items = items;
        problems->capacity = capacity;
    }
    problems->items[problems->count++] = *err;
}

void awq_problems_add(awq_problems *problems, awq_status status, const char *format, ...)
{
    awq_error err = {.status = status};
    va_list args;
    va_start(args, format);
    vsnprintf(err.text, sizeof err.text, format, args);
    va_end(args);
    awq_problems_add_error(problems, &err);
}
