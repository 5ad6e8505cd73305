/* SPDX-License-Identifier: MIT */
#include "io/core/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

awq_status awq_buffer_reserve(awq_buffer *buffer, size_t more, awq_error *err)
{
    if (buffer->room - buffer->bytes > more) return AWQ_OK;
    size_t room = buffer->room ? buffer->room : 256;
    while (room - buffer->bytes <= more && room < SIZE_MAX / 2) room *= 2;
    char *data = realloc(buffer->data, room);
    if (!data) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %zu bytes of text", room);
    buffer->data = data;
    buffer->room = room;
    return AWQ_OK;
}

awq_status awq_buffer_append(awq_buffer *buffer, const void *data, size_t bytes, awq_error *err)
{
    if (awq_buffer_reserve(buffer, bytes, err)) return err->status;
    if (bytes) memcpy(buffer->data + buffer->bytes, data, bytes);
    buffer->bytes += bytes;
    return AWQ_OK;
}

awq_status awq_buffer_append_text(awq_buffer *buffer, const char *text, awq_error *err)
{
    return awq_buffer_append(buffer, text, strlen(text), err);
}

void awq_buffer_release(awq_buffer *buffer)
{
    free(buffer->data);
    *buffer = (awq_buffer){0};
}
