/* SPDX-License-Identifier: MIT */
#include "io/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/json.h"
#include "io/tokenizer/parts.h"
#include "io/tokenizer/unicode.h"

/* The largest there are: about 40 MB. */
static const size_t MAX_FILE_BYTES = (size_t)512 << 20;
/* Positions in a document are 32 bits wide. */
static const size_t MAX_TEXT_BYTES = (size_t)1 << 30;

awq_status awq_tokenizer_open(const char *path, awq_tokenizer **out, awq_error *err)
{
    json_t *json = NULL;
    if (awq_json_read(path, MAX_FILE_BYTES, &json, err)) return err->status;
    awq_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    awq_status status = tokenizer ? awq_tokenizer_read(json, path, tokenizer, err)
                                  : awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    json_decref(json);
    if (status)
        awq_tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

void awq_tokenizer_close(awq_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    awq_added_release(&tokenizer->added);
    awq_added_release(&tokenizer->added_normalized);
    for (size_t i = 0; i < tokenizer->token_count; i++) free(tokenizer->tokens[i].content);
    free(tokenizer->tokens);
    free(tokenizer->before);
    free(tokenizer->after);
    awq_steps_release(&tokenizer->normalizer);
    awq_steps_release(&tokenizer->pre_tokenizer);
    awq_bpe_free(tokenizer->bpe);
    awq_buffer_release(&tokenizer->normalized);
    awq_buffer_release(&tokenizer->normalized_marks);
    awq_buffer_release(&tokenizer->shadow);
    free(tokenizer);
}

/* ---- encoding ---- */

typedef struct encoding {
    awq_tokenizer *tokenizer;
    awq_ids *out;
} encoding;

/* Copies the text with each code point that PCRE2 is too old for replaced by one like it; NULL
 * where there is none. */
static awq_status cast_shadow(const char *text, size_t bytes, awq_buffer *shadow, const char **out,
                              awq_error *err)
{
    *out = text;
    shadow->bytes = 0;
    for (size_t at = 0; at < bytes;) {
        uint32_t c;
        if ((unsigned char)text[at] < 0xe0) {
            at++;
            continue;
        }
        size_t length = awq_utf8_next(text + at, &c);
        const awq_unicode_range *newer =
            awq_unicode_find(awq_unicode_newer, awq_unicode_newer_count, c);
        if (newer) {
            if (!shadow->bytes && awq_buffer_append(shadow, text, bytes, err)) return err->status;
            awq_utf8_encode(shadow->data + at, newer->value);
            *out = shadow->data;
        }
        at += length;
    }
    return AWQ_OK;
}

static awq_status take_word(void *context, const awq_piece *word, awq_error *err)
{
    encoding *e = context;
    return awq_bpe_encode(e->tokenizer->bpe, word, e->out, err);
}

/* What is done to the text between added tokens. */
typedef awq_status (*encode_between)(encoding *e, const awq_piece *piece, awq_error *err);

static awq_status encode_around(encoding *e, const awq_added *added, const awq_piece *all,
                                encode_between between, awq_error *err)
{
    awq_added_cursor cursor = {0, 0};
    for (;;) {
        size_t taken = cursor.taken;
        awq_added_match match = awq_added_next(added, all, &cursor);
        if (match.begin > taken) {
            awq_piece part = awq_piece_part(all, taken, match.begin);
            if (between(e, &part, err)) return err->status;
        }
        if (!match.token) return AWQ_OK;
        bool marked = all->marks && all->marks[match.end - 1];
        if (awq_ids_append(e->out, match.token->id, marked, err)) return err->status;
        cursor.taken = match.end;
    }
}

static awq_status encode_words(encoding *e, const awq_piece *piece, awq_error *err)
{
    return awq_split(&e->tokenizer->pre_tokenizer, piece, take_word, e, err);
}

/* As the user wrote it. */
static awq_status encode_stretch(encoding *e, const awq_piece *piece, awq_error *err)
{
    awq_tokenizer *t = e->tokenizer;
    t->normalized.bytes = t->normalized_marks.bytes = 0;
    if (awq_normalize(&t->normalizer, piece, &t->normalized, &t->normalized_marks, err))
        return err->status;
    awq_piece all = {.text = t->normalized.data,
                     .marks = piece->marks ? (const uint8_t *)t->normalized_marks.data : NULL,
                     .bytes = t->normalized.bytes,
                     .first = piece->first};
    if (cast_shadow(all.text, all.bytes, &t->shadow, &all.shadow, err)) return err->status;
    return encode_around(e, &t->added_normalized, &all, encode_words, err);
}

static awq_status add_specials(const int32_t *ids, size_t count, awq_ids *out, awq_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (awq_ids_append(out, ids[i], false, err)) return err->status;
    return AWQ_OK;
}

awq_status awq_tokenizer_encode(awq_tokenizer *tokenizer, const char *text, const uint8_t *marks,
                                size_t bytes, bool with_special, awq_ids *out, awq_error *err)
{
    encoding e = {tokenizer, out};
    awq_piece all = {.text = text, .shadow = text, .marks = marks, .bytes = bytes, .first = true};
    if (bytes >= MAX_TEXT_BYTES)
        return awq_fail(err, AWQ_ERR_INPUT, "a document of %zu bytes is too long; divide it",
                        bytes);
    if (with_special && add_specials(tokenizer->before, tokenizer->before_count, out, err))
        return err->status;
    if (encode_around(&e, &tokenizer->added, &all, encode_stretch, err)) return err->status;
    return with_special ? add_specials(tokenizer->after, tokenizer->after_count, out, err) : AWQ_OK;
}

/* ---- asking ---- */

int32_t awq_tokenizer_find(const awq_tokenizer *tokenizer, const char *token)
{
    for (size_t i = 0; i < tokenizer->token_count; i++)
        if (!strcmp(tokenizer->tokens[i].content, token)) return tokenizer->tokens[i].id;
    return awq_vocabulary_find(awq_bpe_vocabulary(tokenizer->bpe), token, strlen(token));
}

bool awq_tokenizer_is_added(const awq_tokenizer *tokenizer, int32_t id)
{
    for (size_t i = 0; i < tokenizer->token_count; i++)
        if (tokenizer->tokens[i].id == id) return true;
    return false;
}
