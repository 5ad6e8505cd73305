/* SPDX-License-Identifier: MIT
 * Normalizers. With marks, each byte that comes out carries the mark of what it was made of. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/tokenizer/parts.h"
#include "io/tokenizer/unicode.h"

void awq_steps_release(awq_steps *steps)
{
    for (int i = 0; i < steps->count; i++) {
        awq_pattern_free(steps->items[i].pattern);
        free(steps->items[i].text);
    }
    *steps = (awq_steps){0};
}

awq_piece awq_piece_part(const awq_piece *piece, size_t begin, size_t end)
{
    return (awq_piece){.text = piece->text + begin,
                       .shadow = piece->shadow + begin,
                       .marks = piece->marks ? piece->marks + begin : NULL,
                       .bytes = end - begin,
                       .first = piece->first && begin == 0};
}

/* Text and marks that come out of a step. */
typedef struct output {
    awq_buffer *text, *marks;
    bool marked;
} output;

static awq_status put(output *out, const char *text, size_t bytes, const uint8_t *marks,
                      awq_error *err)
{
    if (awq_buffer_append(out->text, text, bytes, err)) return err->status;
    return out->marked ? awq_buffer_append(out->marks, marks, bytes, err) : AWQ_OK;
}

/* All of it with one mark. */
static awq_status put_as(output *out, const char *text, size_t bytes, uint8_t mark, awq_error *err)
{
    if (awq_buffer_append(out->text, text, bytes, err)) return err->status;
    if (!out->marked) return AWQ_OK;
    if (awq_buffer_reserve(out->marks, bytes, err)) return err->status;
    memset(out->marks->data + out->marks->bytes, mark, bytes);
    out->marks->bytes += bytes;
    return AWQ_OK;
}

/* ---- NFC ---- */

/* Up to U+02FF nothing combines or decomposes. */
static bool is_simple(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] >= 0xcc) return false;
    return true;
}

static awq_status compose(const char *text, size_t bytes, uint8_t mark, output *out, awq_error *err)
{
    if (is_simple(text, bytes)) return put_as(out, text, bytes, mark, err);
    utf8proc_uint8_t *composed;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes,
                                           &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (length < 0)
        return awq_fail(err, length == UTF8PROC_ERROR_NOMEM ? AWQ_ERR_MEMORY : AWQ_ERR_INPUT,
                        "the text cannot be normalized: %s", utf8proc_errmsg(length));
    awq_status status = put_as(out, (const char *)composed, (size_t)length, mark, err);
    free(composed);
    return status;
}

/* Where the run that begins at `from` ends: at another mark, or before and behind a code point
 * that tokenizers' NFC does not know, which composes and moves with nothing. */
static size_t run_end(const awq_piece *piece, size_t from)
{
    size_t at = from;
    while (at < piece->bytes) {
        uint32_t c;
        size_t length = awq_utf8_next(piece->text + at, &c);
        bool inert = c >= 0x300 && awq_unicode_find(awq_unicode_inert, awq_unicode_inert_count, c);
        if (inert) return at > from ? at : at + length;
        at += length;
        if (piece->marks && at < piece->bytes && piece->marks[at] != piece->marks[from]) break;
    }
    return at;
}

static awq_status nfc(const awq_piece *piece, output *out, awq_error *err)
{
    if (is_simple(piece->text, piece->bytes))
        return put(out, piece->text, piece->bytes, piece->marks, err);
    for (size_t begin = 0, end; begin < piece->bytes; begin = end) {
        uint32_t c;
        end = run_end(piece, begin);
        size_t length = awq_utf8_next(piece->text + begin, &c);
        uint8_t mark = piece->marks ? piece->marks[begin] : 0;
        bool alone = length == end - begin &&
                     awq_unicode_find(awq_unicode_inert, awq_unicode_inert_count, c);
        awq_status status = alone ? put_as(out, piece->text + begin, length, mark, err)
                                  : compose(piece->text + begin, end - begin, mark, out, err);
        if (status) return status;
    }
    return AWQ_OK;
}

static awq_status replace(const awq_step *step, const awq_piece *piece, output *out, awq_error *err)
{
    size_t at = 0, begin, end;
    while (awq_pattern_next(step->pattern, piece->text, piece->bytes, at, &begin, &end, err) > 0) {
        const uint8_t *marks = piece->marks ? piece->marks + at : NULL;
        uint8_t mark = piece->marks ? piece->marks[begin] : 0;
        if (put(out, piece->text + at, begin - at, marks, err) ||
            put_as(out, step->text, strlen(step->text), mark, err))
            return err->status;
        at = end;
    }
    return put(out, piece->text + at, piece->bytes - at, piece->marks ? piece->marks + at : NULL,
               err);
}

/* ---- all of them ---- */

static awq_status run_step(const awq_step *step, const awq_piece *piece, output *out,
                           awq_error *err)
{
    if (!piece->bytes) return AWQ_OK;
    if (step->type == AWQ_STEP_NFC) return nfc(piece, out, err);
    if (step->type == AWQ_STEP_REPLACE) return replace(step, piece, out, err);
    uint8_t mark = piece->marks ? piece->marks[0] : 0; /* Prepend */
    if (put_as(out, step->text, strlen(step->text), mark, err)) return err->status;
    return put(out, piece->text, piece->bytes, piece->marks, err);
}

awq_status awq_normalize(const awq_steps *steps, const awq_piece *piece, awq_buffer *text,
                         awq_buffer *marks, awq_error *err)
{
    awq_buffer other_text = {0}, other_marks = {0};
    awq_piece current = *piece;
    awq_status status = AWQ_OK;
    if (!steps->count) {
        output out = {text, marks, piece->marks != NULL};
        return put(&out, piece->text, piece->bytes, piece->marks, err);
    }
    for (int i = 0; !status && i < steps->count; i++) {
        /* the last step writes into the caller's buffers, those before alternate */
        bool here = (steps->count - 1 - i) % 2 == 0;
        output out = {here ? text : &other_text, here ? marks : &other_marks, piece->marks != NULL};
        out.text->bytes = out.marks->bytes = 0;
        status = run_step(&steps->items[i], &current, &out, err);
        current.text = out.text->data;
        current.bytes = out.text->bytes;
        if (out.marked) current.marks = (const uint8_t *)out.marks->data;
    }
    awq_buffer_release(&other_text);
    awq_buffer_release(&other_marks);
    return status;
}
