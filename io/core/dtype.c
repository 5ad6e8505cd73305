/* SPDX-License-Identifier: MIT */
#include "io/core/dtype.h"

#include "io/core/vectorize.h"

size_t awq_dtype_bytes(awq_dtype dtype)
{
    switch (dtype) {
#define AWQ_DTYPE_CASE(name, text, bytes)                                                          \
    case name:                                                                                     \
        return bytes;
        AWQ_DTYPE_LIST(AWQ_DTYPE_CASE)
#undef AWQ_DTYPE_CASE
    }
    return 0;
}

const char *awq_dtype_name(awq_dtype dtype)
{
    switch (dtype) {
#define AWQ_DTYPE_CASE(name, text, bytes)                                                          \
    case name:                                                                                     \
        return text;
        AWQ_DTYPE_LIST(AWQ_DTYPE_CASE)
#undef AWQ_DTYPE_CASE
    }
    return "?";
}

bool awq_dtype_parse(const char *name, awq_dtype *out)
{
#define AWQ_DTYPE_PARSE(dtype, text, bytes)                                                        \
    if (!strcmp(name, text)) {                                                                     \
        *out = dtype;                                                                              \
        return true;                                                                               \
    }
    AWQ_DTYPE_LIST(AWQ_DTYPE_PARSE)
#undef AWQ_DTYPE_PARSE
    return false;
}

bool awq_dtype_is_weight(awq_dtype dtype)
{
    return dtype == AWQ_F32 || dtype == AWQ_F16 || dtype == AWQ_BF16;
}

/* Both roundings are without branches, so that awq_narrow becomes vector code. */

AWQ_INLINE uint16_t round_bf16(float value)
{
    uint32_t bits = awq_float_bits(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)(nan ? bits >> 16 | 0x40u : rounded); /* quiet NaN */
}

AWQ_INLINE uint16_t round_f16(float value)
{
    uint32_t bits = awq_float_bits(value), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    /* below 2^-14: let the addition of 0.5 round to a multiple of 2^-24 */
    uint32_t small = awq_float_bits(awq_float_from_bits(bits) + 0.5f) - 0x3f000000u;
    /* exponent less 112, round to nearest even */
    uint32_t rounded = (bits + 0xc8000fffu + (bits >> 13 & 1)) >> 13;
    uint32_t half = bits < 0x38800000u ? small : rounded;
    half = bits >= 0x477ff000u ? 0x7c00u : half; /* 65520 and above round to infinity */
    half = bits > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)(sign | half);
}

uint16_t awq_bf16_from_float(float value)
{
    return round_bf16(value);
}

float awq_float_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0x1f) return awq_float_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return awq_float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f; /* subnormal, exact */
    return sign ? -magnitude : magnitude;
}

uint16_t awq_f16_from_float(float value)
{
    return round_f16(value);
}

void awq_widen(float *dst, const void *src, awq_dtype dtype, size_t count)
{
    const unsigned char *bytes = src;
    if (dtype == AWQ_F32) {
        memcpy(dst, src, count * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, 2);
        dst[i] = dtype == AWQ_BF16 ? awq_float_from_bf16(half) : awq_float_from_f16(half);
    }
}

AWQ_VECTORIZE static void narrow_bf16(unsigned char *restrict dst, const float *restrict src,
                                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half = round_bf16(src[i]);
        memcpy(dst + 2 * i, &half, 2);
    }
}

AWQ_VECTORIZE static void narrow_f16(unsigned char *restrict dst, const float *restrict src,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half = round_f16(src[i]);
        memcpy(dst + 2 * i, &half, 2);
    }
}

void awq_narrow(void *dst, const float *src, awq_dtype dtype, size_t count)
{
    if (dtype == AWQ_F32)
        memcpy(dst, src, count * sizeof *src);
    else if (dtype == AWQ_BF16)
        narrow_bf16(dst, src, count);
    else
        narrow_f16(dst, src, count);
}
