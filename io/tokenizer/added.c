/* SPDX-License-Identifier: MIT
 * Added tokens: taken out of the text before anything else is done to it. At each place the
 * longest one counts, as in tokenizers' Aho-Corasick with leftmost-longest matches. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/parts.h"
#include "io/tokenizer/word.h"

/* ---- what is looked for ---- */

typedef struct pattern {
    const awq_added_token *token;
    char *text;
    size_t bytes;
} pattern;

static int compare(const void *a, const void *b)
{
    const pattern *x = a, *y = b;
    unsigned char first_x = (unsigned char)*x->text, first_y = (unsigned char)*y->text;
    if (first_x != first_y) return first_x < first_y ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return memcmp(x->text, y->text, x->bytes);
}

static awq_status make_pattern(const awq_added_token *token, const awq_steps *normalizer,
                               pattern *out, awq_error *err)
{
    static const awq_steps none = {.count = 0};
    awq_piece content = {token->content, token->content, NULL, strlen(token->content), true};
    awq_buffer text = {0}, marks = {0};
    awq_status status =
        awq_normalize(token->normalized ? normalizer : &none, &content, &text, &marks, err);
    awq_buffer_release(&marks);
    if (!status && !text.bytes)
        status =
            awq_fail(err, AWQ_ERR_INPUT,
                     "nothing is left of added token '%s' when it is normalized", token->content);
    if (status) {
        awq_buffer_release(&text);
        return status;
    }
    *out = (pattern){token, text.data, text.bytes};
    return AWQ_OK;
}

static awq_status fill(awq_added *out, pattern *patterns, size_t count, awq_error *err)
{
    out->tokens = calloc(count + 1, sizeof *out->tokens);
    out->patterns = calloc(count + 1, sizeof *out->patterns);
    out->bytes = calloc(count + 1, sizeof *out->bytes);
    if (!out->tokens || !out->patterns || !out->bytes)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the added tokens");
    qsort(patterns, count, sizeof *patterns, compare);
    for (size_t i = 0; i < count; i++) {
        out->tokens[i] = patterns[i].token;
        out->patterns[i] = patterns[i].text;
        out->bytes[i] = patterns[i].bytes;
        out->first[(unsigned char)*patterns[i].text + 1]++;
        patterns[i].text = NULL;
    }
    out->count = count;
    for (int b = 0; b < 256; b++) out->first[b + 1] += out->first[b];
    return AWQ_OK;
}

awq_status awq_added_create(const awq_added_token *tokens, size_t count, bool normalized,
                            const awq_steps *normalizer, awq_added *out, awq_error *err)
{
    pattern *patterns = calloc(count + 1, sizeof *patterns);
    size_t found = 0;
    awq_status status = AWQ_OK;
    *out = (awq_added){0};
    if (!patterns) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the added tokens");
    for (size_t i = 0; !status && i < count; i++)
        if (tokens[i].normalized == normalized)
            status = make_pattern(&tokens[i], normalizer, &patterns[found++], err);
    if (!status) status = fill(out, patterns, found, err);
    for (size_t i = 0; i < found; i++) free(patterns[i].text);
    free(patterns);
    if (status) awq_added_release(out);
    return status;
}

void awq_added_release(awq_added *added)
{
    for (size_t i = 0; i < added->count; i++) free(added->patterns[i]);
    free(added->patterns);
    free(added->tokens);
    free(added->bytes);
    *added = (awq_added){0};
}

/* ---- looking ---- */

/* The longest at one place, or -1. */
static int64_t match_at(const awq_added *added, const char *text, size_t bytes)
{
    unsigned char byte = (unsigned char)*text;
    for (size_t i = added->first[byte]; i < added->first[byte + 1]; i++)
        if (added->bytes[i] <= bytes && !memcmp(added->patterns[i], text, added->bytes[i]))
            return (int64_t)i;
    return -1;
}

/* What the token takes besides its own text. */
static bool accept(const awq_added_token *token, const awq_piece *piece, size_t taken,
                   size_t *begin, size_t *end)
{
    if (token->single_word &&
        (awq_word_before(piece->text, *begin) || awq_word_behind(piece->text, piece->bytes, *end)))
        return false;
    if (token->lstrip) {
        size_t start = *begin - awq_space_before(piece->text, *begin);
        *begin = start > taken ? start : taken;
    }
    if (token->rstrip) *end += awq_space_behind(piece->text, piece->bytes, *end);
    return true;
}

awq_added_match awq_added_next(const awq_added *added, const awq_piece *piece,
                               awq_added_cursor *cursor)
{
    size_t at = cursor->search;
    while (added->count && at < piece->bytes) {
        int64_t i = match_at(added, piece->text + at, piece->bytes - at);
        if (i < 0) {
            at++;
            continue;
        }
        size_t begin = at, end = at + added->bytes[i];
        at = end;
        if (!accept(added->tokens[i], piece, cursor->taken, &begin, &end)) continue;
        cursor->search = at;
        return (awq_added_match){added->tokens[i], begin, end};
    }
    cursor->search = piece->bytes;
    return (awq_added_match){NULL, piece->bytes, piece->bytes};
}
