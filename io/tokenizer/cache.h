/* SPDX-License-Identifier: MIT
 * io/tokenizer/cache.h - the tokens of words that were seen. Inside io only.
 *
 * Bounded: a long word is not kept, and a full cache is emptied. It changes no result, so what has
 * no room in memory is left out. */
#ifndef AWQ_IO_TOKENIZER_CACHE_H
#define AWQ_IO_TOKENIZER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

typedef struct awq_cache awq_cache;

typedef struct awq_cached_token {
    int32_t id;
    uint32_t end; /* bytes of the word up to the token's end */
} awq_cached_token;

/* Borrowed until the next word is added. */
typedef struct awq_cached {
    const awq_cached_token *tokens;
    size_t count;
} awq_cached;

awq_status awq_cache_create(awq_cache **out, awq_error *err);
void awq_cache_free(awq_cache *cache);
bool awq_cache_find(const awq_cache *cache, const char *word, size_t bytes, awq_cached *out);

/* Adds a word that is not there: begin, its tokens one by one, end. */
void awq_cache_begin(awq_cache *cache, const char *word, size_t bytes);
void awq_cache_add(awq_cache *cache, int32_t id, uint32_t end);
void awq_cache_end(awq_cache *cache);

#endif
