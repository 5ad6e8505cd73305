/* SPDX-License-Identifier: MIT */
#include "io/tokenizer/cache.h"

#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/hash.h"

enum {
    PLACES = 1 << 17,     /* of which half are filled */
    WORD_BYTES = 48,      /* of the longest word that is kept */
    TEXT_BYTES = 1 << 21, /* of all of them together */
    TOKENS = 1 << 19      /* of all of them together */
};

typedef struct entry {
    uint32_t hash; /* its upper half, for a quick no */
    uint32_t text; /* where it is in text */
    uint32_t tokens;
    uint8_t bytes; /* 0: an empty place */
    uint8_t count;
} entry;

struct awq_cache {
    entry places[PLACES];
    char text[TEXT_BYTES];
    awq_cached_token tokens[TOKENS];
    size_t entries, text_bytes, token_count;
    entry *adding; /* NULL: this word is not kept */
};

awq_status awq_cache_create(awq_cache **out, awq_error *err)
{
    awq_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the tokenizer's words");
    *out = cache;
    return AWQ_OK;
}

void awq_cache_free(awq_cache *cache)
{
    free(cache);
}

/* Where a word is, or would be. */
static const entry *place_of(const awq_cache *cache, const char *word, size_t bytes, uint64_t hash)
{
    for (size_t i = hash % PLACES;; i = (i + 1) % PLACES) {
        const entry *e = &cache->places[i];
        if (!e->bytes || (e->hash == (uint32_t)(hash >> 32) && e->bytes == bytes &&
                          !memcmp(cache->text + e->text, word, bytes)))
            return e;
    }
}

bool awq_cache_find(const awq_cache *cache, const char *word, size_t bytes, awq_cached *out)
{
    if (!bytes || bytes > WORD_BYTES) return false;
    const entry *e = place_of(cache, word, bytes, awq_hash_bytes(word, bytes));
    if (!e->bytes) return false;
    *out = (awq_cached){cache->tokens + e->tokens, e->count};
    return true;
}

void awq_cache_begin(awq_cache *cache, const char *word, size_t bytes)
{
    cache->adding = NULL;
    if (!bytes || bytes > WORD_BYTES) return;
    if (cache->entries >= PLACES / 2 || cache->text_bytes + bytes > TEXT_BYTES ||
        cache->token_count + bytes > TOKENS) { /* a word has no more tokens than bytes */
        memset(cache->places, 0, sizeof cache->places);
        cache->entries = cache->text_bytes = cache->token_count = 0;
    }
    uint64_t hash = awq_hash_bytes(word, bytes);
    cache->adding = cache->places + (place_of(cache, word, bytes, hash) - cache->places);
    memcpy(cache->text + cache->text_bytes, word, bytes);
    *cache->adding = (entry){.hash = (uint32_t)(hash >> 32),
                             .text = (uint32_t)cache->text_bytes,
                             .tokens = (uint32_t)cache->token_count,
                             .bytes = (uint8_t)bytes};
    cache->text_bytes += bytes;
    cache->entries++;
}

void awq_cache_add(awq_cache *cache, int32_t id, uint32_t end)
{
    if (!cache->adding) return;
    cache->tokens[cache->token_count++] = (awq_cached_token){id, end};
    cache->adding->count++;
}

void awq_cache_end(awq_cache *cache)
{
    cache->adding = NULL;
}
