/* SPDX-License-Identifier: MIT
 * crc32 at the speed of memory: where the processor multiplies without carries, 64 bytes at a time
 * are folded into four registers, and these into the sum. "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction", V. Gopal and others, Intel 2009, bits reflected.
 * Elsewhere, and for what is left over, zlib's, which takes 0.3 s a GB on one core. */
#include <zlib.h>

#include "io/files/file.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define CARRYLESS __attribute__((target("pclmul,sse4.1")))

enum { FOLD_BYTES = 16, LANES = 4, BLOCK_BYTES = LANES * FOLD_BYTES };

/* What stands so many bytes before `next` is moved there: x^n modulo the polynomial, in k. */
CARRYLESS static __m128i fold(__m128i sum, __m128i k, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(sum, k, 0x00), high = _mm_clmulepi64_si128(sum, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Barrett's reduction of 128 bits to 32. */
CARRYLESS static uint32_t reduce(__m128i sum, __m128i by_16)
{
    const __m128i by_8 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i polynomial = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low_words = _mm_setr_epi32(~0, 0, ~0, 0);
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by_16, 0x10));
    __m128i word = _mm_and_si128(sum, low_words);
    sum = _mm_xor_si128(_mm_srli_si128(sum, 4), _mm_clmulepi64_si128(word, by_8, 0x00));
    word = _mm_clmulepi64_si128(_mm_and_si128(sum, low_words), polynomial, 0x10);
    word = _mm_clmulepi64_si128(_mm_and_si128(word, low_words), polynomial, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, word), 1);
}

/* blocks: at least one, of BLOCK_BYTES. */
CARRYLESS static uint32_t sum_blocks(uint32_t crc, const __m128i *from, size_t blocks)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0xccaa009e, 0x1751997d0);
    __m128i sum[LANES];
    for (int i = 0; i < LANES; i++) sum[i] = _mm_loadu_si128(from++);
    sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)~crc));
    while (--blocks)
        for (int i = 0; i < LANES; i++) sum[i] = fold(sum[i], by_64, _mm_loadu_si128(from++));
    for (int i = 1; i < LANES; i++) sum[0] = fold(sum[0], by_16, sum[i]);
    return ~reduce(sum[0], by_16);
}

static size_t sum_most(uint32_t *crc, const void *data, size_t bytes)
{
    if (bytes < BLOCK_BYTES || !__builtin_cpu_supports("pclmul") ||
        !__builtin_cpu_supports("sse4.1"))
        return 0;
    *crc = sum_blocks(*crc, data, bytes / BLOCK_BYTES);
    return bytes / BLOCK_BYTES * BLOCK_BYTES;
}
#else
static size_t sum_most(uint32_t *crc, const void *data, size_t bytes)
{
    (void)crc, (void)data, (void)bytes;
    return 0;
}
#endif

uint32_t awq_crc32(uint32_t crc, const void *data, size_t bytes)
{
    size_t done = sum_most(&crc, data, bytes);
    if (done == bytes) return crc;
    return (uint32_t)crc32_z(crc, (const unsigned char *)data + done, bytes - done);
}

uint32_t awq_crc32_combine(uint32_t first, uint32_t second, uint64_t second_bytes)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)second_bytes);
}
