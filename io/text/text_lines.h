/* SPDX-License-Identifier: MIT
 * io/text/text_lines.h - lines of a file, gzipped or not. Inside io only. */
#ifndef AWQ_IO_TEXT_TEXT_LINES_H
#define AWQ_IO_TEXT_TEXT_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/buffer.h"

typedef struct awq_text_lines awq_text_lines;

awq_status awq_text_lines_open(const char *path, awq_text_lines **out, awq_error *err);
void awq_text_lines_close(awq_text_lines *lines);

/* Appends the next line to `line`, its '\n' included where there is one. *more is false at the
 * end. A line of 1 GiB is refused. */
awq_status awq_text_lines_next(awq_text_lines *lines, awq_buffer *line, bool *more, awq_error *err);
/* Of the line that was read last: its number, from 1, and where it begins in the (unpacked) file.
 */
int64_t awq_text_lines_number(const awq_text_lines *lines);
int64_t awq_text_lines_offset(const awq_text_lines *lines);

#endif
