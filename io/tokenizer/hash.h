/* SPDX-License-Identifier: MIT
 * io/tokenizer/hash.h - the hash of words and of pairs of tokens. Inside io only. */
#ifndef AWQ_IO_TOKENIZER_HASH_H
#define AWQ_IO_TOKENIZER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The finalizer of MurmurHash3. */
static inline uint64_t awq_hash_word(uint64_t word)
{
    word ^= word >> 33;
    word *= 0xff51afd7ed558ccdu;
    word ^= word >> 33;
    word *= 0xc4ceb9fe1a85ec53u;
    return word ^ word >> 33;
}

/* Eight bytes at a time; the hash stays in memory, so byte order does not matter. */
static inline uint64_t awq_hash_bytes(const char *text, size_t bytes)
{
    uint64_t hash = bytes, word;
    for (; bytes >= 8; text += 8, bytes -= 8) {
        memcpy(&word, text, 8);
        hash = awq_hash_word(hash ^ word) + 0x9e3779b97f4a7c15u;
    }
    word = 0;
    if (bytes) memcpy(&word, text, bytes);
    return awq_hash_word(hash ^ word);
}

#endif
