/* SPDX-License-Identifier: MIT
 * io/core/words.h - codes of a linear in words of 32 bits: a row's codes of `bits` bits lie one
 * after another, from the lowest bit on; one may lie in two words. A row begins a word, and what is
 * left of its last one is 0. */
#ifndef AWQ_IO_CORE_WORDS_H
#define AWQ_IO_CORE_WORDS_H

#include <stdint.h>

/* Words that so many codes take. */
static inline int64_t awq_words_count(int64_t codes, int bits)
{
    return (codes * bits + 31) / 32;
}

#endif
