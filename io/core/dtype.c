/* SPDX-License-Identifier: MIT */
#include "io/core/dtype.h"

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

uint16_t awq_bf16_from_float(float value)
{
    uint32_t bits = awq_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40); /* quiet NaN */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
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
    uint32_t bits = awq_float_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7e00u;
    if (bits >= 0x477ff000u) return sign | 0x7c00u; /* 65520 and above round to infinity */
    if (bits <
        0x38800000u) { /* below 2^-14: let the addition of 0.5 round to a multiple of 2^-24 */
        float shifted = awq_float_from_bits(bits) + 0.5f;
        return sign | (uint16_t)(awq_float_bits(shifted) - 0x3f000000u);
    }
    bits += 0xc8000fffu + (bits >> 13 & 1); /* exponent less 112, round to nearest even */
    return sign | (uint16_t)(bits >> 13);
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

void awq_narrow(void *dst, const float *src, awq_dtype dtype, size_t count)
{
    unsigned char *bytes = dst;
    if (dtype == AWQ_F32) {
        memcpy(dst, src, count * sizeof *src);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half =
            dtype == AWQ_BF16 ? awq_bf16_from_float(src[i]) : awq_f16_from_float(src[i]);
        memcpy(bytes + 2 * i, &half, 2);
    }
}
