/* SPDX-License-Identifier: MIT
 * The tokens and merges of a BPE: two hash tables with open addressing, built once, never
 * deleted from. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/hash.h"
#include "io/tokenizer/parts.h"
#include "io/tokenizer/unicode.h"

typedef struct token {
    uint32_t offset, bytes; /* in `text` */
    int32_t id;             /* -1: an empty place */
} token;

typedef struct pair {
    uint64_t key; /* left << 32 | right; ALL_ONES: an empty place */
    awq_merge merge;
} pair;

#define ALL_ONES UINT64_MAX
enum { CODE_POINTS = 0x110000 };

/* Tokens by their bytes. */
typedef struct token_table {
    awq_buffer text;
    token *places; /* [mask + 1] */
    size_t mask;
} token_table;

struct awq_vocabulary {
    token_table spelled; /* as in the file */
    token_table meant;   /* byte-level: the bytes that a spelling stands for; else unused */
    bool byte_level;
    pair *pairs; /* [pair_mask + 1] */
    size_t pair_mask;
    size_t count;
    uint8_t *joined; /* a bit for each code point: awq_vocabulary_joins */
};

/* ---- tokens ---- */

/* Twice the entries, rounded up to a power of two. */
static size_t places_for(size_t entries)
{
    size_t places = 16;
    while (places < 2 * entries) places *= 2;
    return places;
}

static awq_status table_create(size_t entries, token_table *out, awq_error *err)
{
    size_t places = places_for(entries);
    out->places = malloc(places * sizeof *out->places);
    if (!out->places) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the vocabulary");
    for (size_t i = 0; i < places; i++) out->places[i].id = -1;
    out->mask = places - 1;
    return AWQ_OK;
}

static void table_release(token_table *table)
{
    awq_buffer_release(&table->text);
    free(table->places);
}

/* Where a token is, or would be. */
static token *table_place(const token_table *table, const char *text, size_t bytes)
{
    for (size_t i = awq_hash_bytes(text, bytes) & table->mask;; i = (i + 1) & table->mask) {
        token *place = &table->places[i];
        if (place->id < 0 ||
            (place->bytes == bytes && !memcmp(table->text.data + place->offset, text, bytes)))
            return place;
    }
}

static awq_status table_put(token_table *table, const char *text, size_t bytes, int32_t id,
                            awq_error *err)
{
    size_t offset = table->text.bytes;
    if (awq_buffer_append(&table->text, text, bytes, err)) return err->status;
    token *place = table_place(table, text, bytes);
    *place = (token){.offset = (uint32_t)offset, .bytes = (uint32_t)bytes, .id = id};
    return AWQ_OK;
}

/* ---- byte-level spelling ---- */

uint32_t awq_byte_level_char(unsigned char byte)
{
    bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    uint32_t moved = 256;
    if (printable) return byte;
    for (unsigned char b = 0; b < byte; b++)
        moved += !((b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad));
    return moved;
}

/* The bytes that a spelling stands for, in place of it; false when it stands for none. */
static bool despell(const uint16_t byte_of[512], const char *text, size_t bytes, char *out,
                    size_t *out_bytes)
{
    *out_bytes = 0;
    for (size_t at = 0; at < bytes;) {
        uint32_t c;
        at += awq_utf8_next(text + at, &c);
        if (c >= 512 || byte_of[c] > 255) return false;
        out[(*out_bytes)++] = (char)byte_of[c];
    }
    return true;
}

static awq_status put_meaning(awq_vocabulary *v, const uint16_t byte_of[512], const char *key,
                              size_t bytes, int32_t id, awq_error *err)
{
    char small[256], *room = bytes > sizeof small ? malloc(bytes) : small;
    size_t meant;
    awq_status status = AWQ_OK;
    if (!room) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the vocabulary");
    if (despell(byte_of, key, bytes, room, &meant))
        status = table_put(&v->meant, room, meant, id, err);
    if (room != small) free(room);
    return status;
}

/* Notes what stands before a U+2581 inside a token. */
static void note_joined(awq_vocabulary *v, const char *key)
{
    for (const char *mark = strstr(key, AWQ_SPACE_MARK); mark;
         mark = strstr(mark + 1, AWQ_SPACE_MARK)) {
        const char *before = mark;
        uint32_t c;
        if (mark == key) continue;
        do before--;
        while ((*before & 0xc0) == 0x80);
        awq_utf8_next(before, &c);
        v->joined[c / 8] |= (uint8_t)(1u << c % 8);
    }
}

static awq_status read_tokens(awq_vocabulary *v, const json_t *vocab, const char *name,
                              awq_error *err)
{
    uint16_t byte_of[512];
    const char *key;
    json_t *value;
    memset(byte_of, 0xff, sizeof byte_of);
    for (int b = 0; b < 256; b++) byte_of[awq_byte_level_char((unsigned char)b)] = (uint16_t)b;
    if (table_create(json_object_size(vocab), &v->spelled, err) ||
        (v->byte_level && table_create(json_object_size(vocab), &v->meant, err)))
        return err->status;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= INT32_MAX)
            return awq_fail(err, AWQ_ERR_INPUT, "'%s': the id of token '%s' is no token id", name,
                            key);
        note_joined(v, key);
        if (table_put(&v->spelled, key, strlen(key), (int32_t)id, err) ||
            (v->byte_level && put_meaning(v, byte_of, key, strlen(key), (int32_t)id, err)))
            return err->status;
    }
    v->count = json_object_size(vocab);
    return AWQ_OK;
}

/* ---- merges ---- */

static pair *pair_place(const awq_vocabulary *v, uint64_t key)
{
    for (size_t i = awq_hash_word(key) & v->pair_mask;; i = (i + 1) & v->pair_mask)
        if (v->pairs[i].key == key || v->pairs[i].key == ALL_ONES) return &v->pairs[i];
}

/* The halves of "left right", or of ["left", "right"]. */
static bool halves(const json_t *merge, const char **left, size_t *left_bytes, const char **right)
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        *left = json_string_value(json_array_get(merge, 0));
        *right = json_string_value(json_array_get(merge, 1));
        *left_bytes = *left ? strlen(*left) : 0;
        return *left && *right;
    }
    *left = json_string_value(merge);
    const char *space = *left ? strchr(*left, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    *left_bytes = (size_t)(space - *left);
    *right = space + 1;
    return true;
}

static awq_status read_merge(awq_vocabulary *v, const json_t *merge, size_t rank, const char *name,
                             awq_buffer *product, awq_error *err)
{
    const char *left, *right;
    size_t bytes;
    if (!halves(merge, &left, &bytes, &right))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': merge %zu is no pair of tokens", name, rank);
    product->bytes = 0;
    if (awq_buffer_append(product, left, bytes, err) || awq_buffer_append_text(product, right, err))
        return err->status;
    int32_t a = awq_vocabulary_find(v, left, bytes);
    int32_t b = awq_vocabulary_find(v, right, strlen(right));
    int32_t id = awq_vocabulary_find(v, product->data, product->bytes);
    if (a < 0 || b < 0 || id < 0)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s': merge %zu, of '%.*s' and '%s', needs a token that the vocabulary "
                        "does not have",
                        name, rank, (int)bytes, left, right);
    uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    *pair_place(v, key) = (pair){key, {(uint32_t)rank, id}}; /* of two alike the last one counts */
    return AWQ_OK;
}

static awq_status read_merges(awq_vocabulary *v, const json_t *merges, const char *name,
                              awq_error *err)
{
    size_t places = places_for(json_array_size(merges));
    awq_buffer product = {0};
    awq_status status = AWQ_OK;
    v->pairs = malloc(places * sizeof *v->pairs);
    if (!v->pairs) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the merges");
    for (size_t i = 0; i < places; i++) v->pairs[i].key = ALL_ONES;
    v->pair_mask = places - 1;
    for (size_t i = 0; !status && i < json_array_size(merges); i++)
        status = read_merge(v, json_array_get(merges, i), i, name, &product, err);
    awq_buffer_release(&product);
    return status;
}

awq_status awq_vocabulary_read(const json_t *vocab, const json_t *merges, bool byte_level,
                               const char *name, awq_vocabulary **out, awq_error *err)
{
    if (!json_is_object(vocab) || !json_object_size(vocab) || !json_is_array(merges))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s' has no vocabulary and merges in 'model'", name);
    awq_vocabulary *v = calloc(1, sizeof *v);
    if (!v) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the vocabulary");
    v->byte_level = byte_level;
    v->joined = calloc(CODE_POINTS / 8, 1);
    if (!v->joined) awq_fail(err, AWQ_ERR_MEMORY, "no memory for the vocabulary");
    if (!v->joined || read_tokens(v, vocab, name, err) || read_merges(v, merges, name, err)) {
        awq_vocabulary_free(v);
        return err->status;
    }
    *out = v;
    return AWQ_OK;
}

void awq_vocabulary_free(awq_vocabulary *vocabulary)
{
    if (!vocabulary) return;
    table_release(&vocabulary->spelled);
    table_release(&vocabulary->meant);
    free(vocabulary->pairs);
    free(vocabulary->joined);
    free(vocabulary);
}

/* ---- asking ---- */

int32_t awq_vocabulary_find(const awq_vocabulary *v, const char *text, size_t bytes)
{
    return table_place(&v->spelled, text, bytes)->id;
}

int32_t awq_vocabulary_find_text(const awq_vocabulary *v, const char *text, size_t bytes)
{
    return table_place(v->byte_level ? &v->meant : &v->spelled, text, bytes)->id;
}

const awq_merge *awq_vocabulary_merge(const awq_vocabulary *v, int32_t left, int32_t right)
{
    const pair *place = pair_place(v, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    return place->key == ALL_ONES ? NULL : &place->merge;
}

size_t awq_vocabulary_count(const awq_vocabulary *v)
{
    return v->count;
}

bool awq_vocabulary_joins(const awq_vocabulary *v, uint32_t c)
{
    return v->joined[c / 8] >> c % 8 & 1;
}
