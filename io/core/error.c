/* SPDX-License-Identifier: MIT */
#include "io/core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *awq_status_text(awq_status status)
{
    switch (status) {
#define AWQ_STATUS_CASE(name, text)                                                                \
    case name:                                                                                     \
        return text;
        AWQ_STATUS_LIST(AWQ_STATUS_CASE)
#undef AWQ_STATUS_CASE
    }
    return "unknown status";
}

awq_status awq_fail(awq_error *err, awq_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->status = status;
    return status;
}

awq_status awq_error_wrap(awq_error *err, const char *format, ...)
{
    char context[AWQ_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(context, sizeof context - 2, format, args);
    va_end(args);
    if (length < 0) return err->status;
    size_t used = strlen(context);
    context[used++] = ':';
    context[used++] = ' ';
    size_t keep = strlen(err->text);
    if (keep > sizeof err->text - 1 - used) keep = sizeof err->text - 1 - used;
    memmove(err->text + used, err->text, keep);
    memcpy(err->text, context, used);
    err->text[used + keep] = '\0';
    return err->status;
}
