/* SPDX-License-Identifier: MIT
 * io/core/buffer.h - bytes that grow at the end. Start with a zeroed struct. */
#ifndef AWQ_IO_CORE_BUFFER_H
#define AWQ_IO_CORE_BUFFER_H

#include <stddef.h>

#include "io/core/error.h"

typedef struct awq_buffer {
    char *data; /* owned */
    size_t bytes;
    size_t room;
} awq_buffer;

/* Makes room for so many bytes more, and for a NUL behind them. */
awq_status awq_buffer_reserve(awq_buffer *buffer, size_t more, awq_error *err);
awq_status awq_buffer_append(awq_buffer *buffer, const void *data, size_t bytes, awq_error *err);
/* The text of a string constant or any other C string. */
awq_status awq_buffer_append_text(awq_buffer *buffer, const char *text, awq_error *err);
void awq_buffer_release(awq_buffer *buffer);

#endif
