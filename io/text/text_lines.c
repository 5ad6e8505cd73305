/* SPDX-License-Identifier: MIT */
#include "io/text/text_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK_BYTES = 1 << 18 };
static const size_t MAX_LINE_BYTES = (size_t)1 << 30;

struct awq_text_lines {
    gzFile file; /* zlib reads what is not gzipped as it is */
    char *path;
    char *block; /* [BLOCK_BYTES] */
    size_t used, filled;
    int64_t number, begin, end; /* of the line read last */
};

awq_status awq_text_lines_open(const char *path, awq_text_lines **out, awq_error *err)
{
    awq_text_lines *lines = calloc(1, sizeof *lines);
    if (lines) {
        lines->path = strdup(path);
        lines->block = malloc(BLOCK_BYTES);
    }
    if (!lines || !lines->path || !lines->block) {
        awq_text_lines_close(lines);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read '%s'", path);
    }
    errno = 0;
    lines->file = gzopen(path, "rb");
    if (!lines->file) {
        awq_fail(err, errno ? AWQ_ERR_IO : AWQ_ERR_MEMORY, "cannot open '%s': %s", path,
                 errno ? strerror(errno) : "no memory");
        awq_text_lines_close(lines);
        return err->status;
    }
    gzbuffer(lines->file, BLOCK_BYTES);
    *out = lines;
    return AWQ_OK;
}

void awq_text_lines_close(awq_text_lines *lines)
{
    if (!lines) return;
    if (lines->file) gzclose(lines->file);
    free(lines->path);
    free(lines->block);
    free(lines);
}

/* Fills the empty block; none at the end of the file. A packed file that ends too early is one
 * that was cut off. */
static awq_status fill(awq_text_lines *lines, awq_error *err)
{
    int code;
    errno = 0;
    int got = gzread(lines->file, lines->block, BLOCK_BYTES);
    int why = errno;
    const char *text = gzerror(lines->file, &code);
    lines->used = 0;
    lines->filled = got > 0 ? (size_t)got : 0;
    if (got > 0 || (got == 0 && code == Z_OK)) return AWQ_OK;
    if (code == Z_ERRNO)
        return awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", lines->path, strerror(why));
    if (code == Z_BUF_ERROR)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is cut off: its gzip data has no end",
                        lines->path);
    return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is no valid gzip file: %s", lines->path, text);
}

awq_status awq_text_lines_next(awq_text_lines *lines, awq_buffer *line, bool *more, awq_error *err)
{
    size_t before = line->bytes;
    bool ended = false;
    while (!ended) {
        if (lines->used == lines->filled && fill(lines, err)) return err->status;
        const char *from = lines->block + lines->used;
        size_t left = lines->filled - lines->used;
        if (!left) break;
        const char *end = memchr(from, '\n', left);
        size_t bytes = end ? (size_t)(end - from) + 1 : left;
        if (awq_buffer_append(line, from, bytes, err)) return err->status;
        if (line->bytes >= MAX_LINE_BYTES)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s': the document at line %lld has 1 GiB or more; divide it",
                            lines->path, (long long)lines->number + 1);
        lines->used += bytes;
        ended = end != NULL;
    }
    *more = line->bytes > before;
    lines->number += *more;
    lines->begin = lines->end;
    lines->end += (int64_t)(line->bytes - before);
    return AWQ_OK;
}

int64_t awq_text_lines_number(const awq_text_lines *lines)
{
    return lines->number;
}

int64_t awq_text_lines_offset(const awq_text_lines *lines)
{
    return lines->begin;
}
