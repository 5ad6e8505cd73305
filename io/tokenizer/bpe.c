/* SPDX-License-Identifier: MIT
 * Byte pair encoding of one word: symbols in a list, candidate merges in a heap, as tokenizers'
 * Word::merge_all does it, down to which outdated candidates it still accepts. n log n. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/cache.h"
#include "io/tokenizer/parts.h"
#include "io/tokenizer/unicode.h"

typedef struct symbol {
    int32_t id;             /* -1: merged away */
    int32_t previous, next; /* -1: none */
    uint32_t end;           /* bytes of the word up to here */
} symbol;

/* A merge of the symbol at `position` with the next one; the least order goes first. */
typedef struct candidate {
    uint64_t order; /* rank << 32 | position */
    int32_t id;     /* of the product */
} candidate;

struct awq_bpe {
    awq_vocabulary *vocabulary;
    awq_bpe_options options;
    int32_t byte_id[256]; /* byte-level: of the byte; byte_fallback: of <0xNN>; -1: none */
    int32_t ascii_id[128];
    bool all_bytes; /* byte_fallback, and all of <0xNN> are there */
    bool cuts;      /* a word may fall apart before a U+2581: may_cut has the reason */
    awq_cache *cache;
    symbol *symbols; /* [symbol_room] */
    size_t symbol_count, symbol_room;
    candidate *heap; /* [heap_room] */
    size_t heap_count, heap_room;
};

/* ---- opening ---- */

static void find_bytes(awq_bpe *bpe)
{
    bpe->all_bytes = bpe->options.byte_fallback;
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t bytes = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        if (bpe->options.byte_level)
            bytes = awq_utf8_encode(text, awq_byte_level_char((unsigned char)b));
        bpe->byte_id[b] = awq_vocabulary_find(bpe->vocabulary, text, bytes);
        bpe->all_bytes = bpe->all_bytes && bpe->byte_id[b] >= 0;
        char letter = (char)b;
        if (b < 128) bpe->ascii_id[b] = awq_vocabulary_find(bpe->vocabulary, &letter, 1);
    }
}

awq_status awq_bpe_create(awq_vocabulary *vocabulary, const awq_bpe_options *options, awq_bpe **out,
                          awq_error *err)
{
    awq_bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe) {
        awq_vocabulary_free(vocabulary);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the tokenizer");
    }
    bpe->vocabulary = vocabulary;
    bpe->options = *options;
    find_bytes(bpe);
    for (int b = 0; options->byte_level && options->byte_fallback && b < 256; b++)
        if (bpe->byte_id[b] < 0) {
            awq_bpe_free(bpe);
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'byte_fallback' with a ByteLevel vocabulary that lacks byte %d is "
                            "not supported",
                            b);
        }
    bpe->cuts = !options->byte_level && !options->ignore_merges &&
                awq_vocabulary_find(vocabulary, AWQ_SPACE_MARK, strlen(AWQ_SPACE_MARK)) >= 0;
    if (awq_cache_create(&bpe->cache, err)) {
        awq_bpe_free(bpe);
        return err->status;
    }
    *out = bpe;
    return AWQ_OK;
}

void awq_bpe_free(awq_bpe *bpe)
{
    if (!bpe) return;
    awq_vocabulary_free(bpe->vocabulary);
    awq_cache_free(bpe->cache);
    free(bpe->symbols);
    free(bpe->heap);
    free(bpe);
}

awq_vocabulary *awq_bpe_vocabulary(const awq_bpe *bpe)
{
    return bpe->vocabulary;
}

/* ---- symbols ---- */

static awq_status reserve(awq_bpe *bpe, size_t bytes, awq_error *err)
{
    size_t candidates = 3 * bytes; /* each merge adds two at most, and there are fewer than bytes */
    if (bytes > bpe->symbol_room) {
        symbol *symbols = realloc(bpe->symbols, bytes * sizeof *symbols);
        if (!symbols) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a word's symbols");
        bpe->symbols = symbols;
        bpe->symbol_room = bytes;
    }
    if (candidates > bpe->heap_room) {
        candidate *heap = realloc(bpe->heap, candidates * sizeof *heap);
        if (!heap) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a word's merges");
        bpe->heap = heap;
        bpe->heap_room = candidates;
    }
    return AWQ_OK;
}

static void add_symbol(awq_bpe *bpe, int32_t id, size_t end)
{
    size_t i = bpe->symbol_count++;
    bpe->symbols[i] = (symbol){id, (int32_t)i - 1, (int32_t)i + 1, (uint32_t)end};
}

/* A character that the vocabulary does not have becomes its bytes, if it has all of them. */
static bool add_fallback(awq_bpe *bpe, const char *text, size_t length, size_t at)
{
    if (!bpe->options.byte_fallback) return false;
    for (size_t i = 0; i < length; i++)
        if (bpe->byte_id[(unsigned char)text[i]] < 0) return false;
    for (size_t i = 0; i < length; i++)
        add_symbol(bpe, bpe->byte_id[(unsigned char)text[i]], at + i + 1);
    return true;
}

/* The id of the unit at `text`, a byte or a character; -1: the vocabulary does not have it. */
static int32_t find_unit(const awq_bpe *bpe, const char *text, size_t *length)
{
    uint32_t c;
    *length = 1;
    if (bpe->options.byte_level) return bpe->byte_id[(unsigned char)*text];
    *length = awq_utf8_next(text, &c);
    return c < 128 ? bpe->ascii_id[c] : awq_vocabulary_find(bpe->vocabulary, text, *length);
}

/* What is unknown waits for the next known unit (not for bytes of a fallback: so tokenizers does
 * it), to be fused with what follows. */
static void begin_symbols(awq_bpe *bpe, const awq_piece *word)
{
    size_t unknown_end = 0; /* 0: none is waiting */
    for (size_t at = 0, length; at < word->bytes; at += length) {
        int32_t id = find_unit(bpe, word->text + at, &length);
        if (id >= 0) {
            if (unknown_end) add_symbol(bpe, bpe->options.unk, unknown_end);
            unknown_end = 0;
            add_symbol(bpe, id, at + length);
        } else if (!add_fallback(bpe, word->text + at, length, at) && bpe->options.unk >= 0) {
            if (unknown_end && !bpe->options.fuse_unk)
                add_symbol(bpe, bpe->options.unk, unknown_end);
            unknown_end = at + length;
        }
    }
    if (unknown_end) add_symbol(bpe, bpe->options.unk, unknown_end);
}

/* ---- candidates ---- */

static void push(awq_bpe *bpe, int32_t position)
{
    const symbol *left = &bpe->symbols[position];
    if (left->next < 0) return;
    const awq_merge *merge =
        awq_vocabulary_merge(bpe->vocabulary, left->id, bpe->symbols[left->next].id);
    if (!merge) return;
    candidate added = {(uint64_t)merge->rank << 32 | (uint32_t)position, merge->id};
    size_t i = bpe->heap_count++;
    for (; i > 0 && bpe->heap[(i - 1) / 2].order > added.order; i = (i - 1) / 2)
        bpe->heap[i] = bpe->heap[(i - 1) / 2];
    bpe->heap[i] = added;
}

static candidate pop(awq_bpe *bpe)
{
    candidate top = bpe->heap[0], last = bpe->heap[--bpe->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < bpe->heap_count; i = child) {
        if (child + 1 < bpe->heap_count && bpe->heap[child + 1].order < bpe->heap[child].order)
            child++;
        if (bpe->heap[child].order >= last.order) break;
        bpe->heap[i] = bpe->heap[child];
    }
    bpe->heap[i] = last;
    return top;
}

/* An outdated candidate still counts when what is there now has the same product. */
static bool holds(const awq_bpe *bpe, const candidate *c, int32_t position)
{
    const symbol *left = &bpe->symbols[position];
    if (left->id < 0 || left->next < 0) return false;
    const awq_merge *merge =
        awq_vocabulary_merge(bpe->vocabulary, left->id, bpe->symbols[left->next].id);
    return merge && merge->id == c->id;
}

static void merge_all(awq_bpe *bpe)
{
    bpe->heap_count = 0;
    if (!bpe->symbol_count) return;
    bpe->symbols[bpe->symbol_count - 1].next = -1;
    for (size_t i = 0; i < bpe->symbol_count; i++) push(bpe, (int32_t)i);
    while (bpe->heap_count) {
        candidate top = pop(bpe);
        int32_t position = (int32_t)(uint32_t)top.order;
        if (!holds(bpe, &top, position)) continue;
        symbol *left = &bpe->symbols[position], *right = &bpe->symbols[left->next];
        left->id = top.id;
        left->end = right->end;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) bpe->symbols[left->next].previous = position;
        if (left->previous >= 0) push(bpe, left->previous);
        push(bpe, position);
    }
}

/* ---- words ---- */

static awq_status put(const awq_piece *word, int32_t id, size_t end, awq_ids *out, awq_error *err)
{
    return awq_ids_append(out, id, word->marks && word->marks[end - 1], err);
}

static awq_status encode_new(awq_bpe *bpe, const awq_piece *word, awq_ids *out, awq_error *err)
{
    if (reserve(bpe, word->bytes, err)) return err->status;
    bpe->symbol_count = 0;
    begin_symbols(bpe, word);
    merge_all(bpe);
    awq_cache_begin(bpe->cache, word->text, word->bytes);
    for (size_t i = 0; i < bpe->symbol_count; i++) {
        const symbol *s = &bpe->symbols[i];
        if (s->id >= 0) awq_cache_add(bpe->cache, s->id, s->end);
    }
    awq_cache_end(bpe->cache);
    for (size_t i = 0; i < bpe->symbol_count; i++) {
        const symbol *s = &bpe->symbols[i];
        if (s->id >= 0 && put(word, s->id, s->end, out, err)) return err->status;
    }
    return AWQ_OK;
}

static awq_status encode_part(awq_bpe *bpe, const awq_piece *word, awq_ids *out, awq_error *err)
{
    awq_cached cached;
    if (awq_cache_find(bpe->cache, word->text, word->bytes, &cached)) {
        for (size_t i = 0; i < cached.count; i++)
            if (put(word, cached.tokens[i].id, cached.tokens[i].end, out, err)) return err->status;
        return AWQ_OK;
    }
    if (bpe->options.ignore_merges) {
        int32_t id = awq_vocabulary_find_text(bpe->vocabulary, word->text, word->bytes);
        if (id >= 0) return put(word, id, word->bytes, out, err);
    }
    return encode_new(bpe, word, out, err);
}

/* A merge across the start of a U+2581 would make a token with that inside. Where no token has it
 * behind the character before, the two sides do not know of each other: then they are encoded one
 * by one, and each is a word that the cache may know. A character that the vocabulary does not have
 * may leave another one there, or '>' where it becomes bytes. */
static bool may_cut(const awq_bpe *bpe, const char *mark)
{
    const char *before = mark;
    size_t length;
    uint32_t c;
    do before--;
    while ((*before & 0xc0) == 0x80);
    awq_utf8_next(before, &c);
    if (find_unit(bpe, before, &length) < 0) {
        if (!bpe->all_bytes) return false;
        c = '>';
    }
    return !awq_vocabulary_joins(bpe->vocabulary, c);
}

/* Where the next part begins. */
static size_t next_cut(const awq_bpe *bpe, const awq_piece *word, size_t from)
{
    for (size_t at = from + 1; at + 3 <= word->bytes; at++) {
        const char *found = memchr(word->text + at, AWQ_SPACE_MARK[0], word->bytes - at);
        if (!found) break;
        at = (size_t)(found - word->text);
        if (at + 3 <= word->bytes && !memcmp(found, AWQ_SPACE_MARK, 3) && may_cut(bpe, found))
            return at;
    }
    return word->bytes;
}

awq_status awq_bpe_encode(awq_bpe *bpe, const awq_piece *word, awq_ids *out, awq_error *err)
{
    if (!bpe->cuts) return word->bytes ? encode_part(bpe, word, out, err) : AWQ_OK;
    for (size_t begin = 0, end; begin < word->bytes; begin = end) {
        end = next_cut(bpe, word, begin);
        awq_piece part = awq_piece_part(word, begin, end);
        if (encode_part(bpe, &part, out, err)) return err->status;
    }
    return AWQ_OK;
}
