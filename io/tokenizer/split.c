/* SPDX-License-Identifier: MIT
 * Pre-tokenizers: each step cuts what the step before gave it, and hands on at once. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/parts.h"

typedef struct splitter {
    const awq_steps *steps;
    awq_take_word take;
    void *context;
} splitter;

static awq_status run(const splitter *s, int step, const awq_piece *piece, awq_error *err);

static awq_status hand_on(const splitter *s, int step, const awq_piece *piece, size_t begin,
                          size_t end, awq_error *err)
{
    if (begin == end) return AWQ_OK;
    awq_piece part = awq_piece_part(piece, begin, end);
    return run(s, step + 1, &part, err);
}

/* ---- Split ---- */

/* What a pattern makes of a piece: matches and what lies between, one after another. */
typedef struct span {
    size_t end;
    bool match;
} span;

typedef struct spans {
    const awq_step *step;
    const awq_piece *piece;
    size_t at; /* behind the last span given */
    size_t match_begin, match_end;
    bool waiting; /* a match was found behind the gap that was given last */
} spans;

/* Returns 1, 0 at the end, -1 with *err set. */
static int next_span(spans *in, span *out, awq_error *err)
{
    if (in->at == in->piece->bytes) return 0;
    if (!in->waiting) {
        int found = awq_pattern_next(in->step->pattern, in->piece->shadow, in->piece->bytes, in->at,
                                     &in->match_begin, &in->match_end, err);
        if (found < 0) return -1;
        if (!found) in->match_begin = in->match_end = in->piece->bytes;
    }
    bool gap = in->match_begin > in->at;
    in->waiting = gap && in->match_end > in->match_begin;
    in->at = gap ? in->match_begin : in->match_end;
    *out = (span){in->at, gap == in->step->invert};
    return 1;
}

static awq_status split_each(const splitter *s, int step, spans *in, bool keep_matches,
                             awq_error *err)
{
    span now;
    size_t begin = 0;
    int more;
    while ((more = next_span(in, &now, err)) > 0) {
        if ((keep_matches || !now.match) && hand_on(s, step, in->piece, begin, now.end, err))
            return err->status;
        begin = now.end;
    }
    return more < 0 ? err->status : AWQ_OK;
}

/* Whether a span goes to the one before it. A match that was itself taken by the one before takes
 * none: each behavior compares with its neighbour's kind only. */
static bool belongs(awq_split_behavior behavior, bool before, bool now)
{
    if (behavior == AWQ_SPLIT_CONTIGUOUS) return before == now;
    if (behavior == AWQ_SPLIT_MERGED_WITH_PREVIOUS) return now && !before;
    return before && !now; /* merged with next */
}

static awq_status split_merged(const splitter *s, int step, spans *in, awq_error *err)
{
    span now;
    size_t begin = 0, end = 0;
    bool before = false;
    int more;
    while ((more = next_span(in, &now, err)) > 0) {
        if (end && !belongs(in->step->behavior, before, now.match)) {
            if (hand_on(s, step, in->piece, begin, end, err)) return err->status;
            begin = end;
        }
        end = now.end;
        before = now.match;
    }
    return more < 0 ? err->status : hand_on(s, step, in->piece, begin, end, err);
}

/* ---- steps that change the text ---- */

/* A piece with other text, and the memory that it lies in. */
typedef struct changed {
    awq_piece piece;
    char *memory;
} changed;

/* Room for `bytes` of text, shadow and marks. */
static awq_status begin_change(const awq_piece *piece, size_t bytes, changed *out, awq_error *err)
{
    out->memory = malloc(3 * bytes);
    if (!out->memory) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a piece of text");
    out->piece = (awq_piece){.text = out->memory,
                             .shadow = out->memory + bytes,
                             .marks = piece->marks ? (uint8_t *)out->memory + 2 * bytes : NULL,
                             .first = piece->first};
    return AWQ_OK;
}

static void add(changed *c, const char *text, const char *shadow, size_t bytes, const uint8_t *mark)
{
    size_t at = c->piece.bytes;
    memcpy((char *)(uintptr_t)c->piece.text + at, text, bytes);
    memcpy((char *)(uintptr_t)c->piece.shadow + at, shadow, bytes);
    if (mark) memset((uint8_t *)(uintptr_t)c->piece.marks + at, *mark, bytes);
    c->piece.bytes += bytes;
}

static bool starts_with(const awq_piece *piece, const char *text)
{
    size_t bytes = strlen(text);
    return piece->bytes >= bytes && !memcmp(piece->text, text, bytes);
}

static awq_status prefix_space(const splitter *s, int step, const awq_piece *piece, awq_error *err)
{
    changed c;
    if (starts_with(piece, " ")) return run(s, step + 1, piece, err);
    if (begin_change(piece, piece->bytes + 1, &c, err)) return err->status;
    add(&c, " ", " ", 1, piece->marks);
    for (size_t i = 0; i < piece->bytes; i++)
        add(&c, piece->text + i, piece->shadow + i, 1, piece->marks ? piece->marks + i : NULL);
    awq_status status = run(s, step + 1, &c.piece, err);
    free(c.memory);
    return status;
}

static awq_status metaspace(const splitter *s, int step, const awq_piece *piece, awq_error *err)
{
    const awq_step *here = &s->steps->items[step];
    size_t mark_bytes = strlen(here->text), spaces = 0;
    changed c;
    for (size_t i = 0; i < piece->bytes; i++) spaces += piece->text[i] == ' ';
    if (begin_change(piece, piece->bytes + (spaces + 1) * mark_bytes, &c, err)) return err->status;
    bool marked = starts_with(piece, " ") || starts_with(piece, here->text);
    bool wanted =
        here->prepend == AWQ_PREPEND_ALWAYS || (here->prepend == AWQ_PREPEND_FIRST && piece->first);
    if (!marked && wanted) add(&c, here->text, here->text, mark_bytes, piece->marks);
    for (size_t i = 0; i < piece->bytes; i++) {
        const uint8_t *mark = piece->marks ? piece->marks + i : NULL;
        if (piece->text[i] == ' ')
            add(&c, here->text, here->text, mark_bytes, mark);
        else
            add(&c, piece->text + i, piece->shadow + i, 1, mark);
    }
    awq_status status = run(s, step + 1, &c.piece, err);
    free(c.memory);
    return status;
}

/* ---- the whole ---- */

static awq_status run(const splitter *s, int step, const awq_piece *piece, awq_error *err)
{
    if (step == s->steps->count) return s->take(s->context, piece, err);
    spans in = {.step = &s->steps->items[step], .piece = piece};
    awq_split_behavior behavior = in.step->behavior;
    if (in.step->type == AWQ_STEP_PREFIX_SPACE) return prefix_space(s, step, piece, err);
    if (in.step->type == AWQ_STEP_METASPACE) return metaspace(s, step, piece, err);
    if (behavior == AWQ_SPLIT_ISOLATED || behavior == AWQ_SPLIT_REMOVED)
        return split_each(s, step, &in, behavior == AWQ_SPLIT_ISOLATED, err);
    return split_merged(s, step, &in, err);
}

awq_status awq_split(const awq_steps *steps, const awq_piece *piece, awq_take_word take,
                     void *context, awq_error *err)
{
    splitter s = {steps, take, context};
    return piece->bytes ? run(&s, 0, piece, err) : AWQ_OK;
}
