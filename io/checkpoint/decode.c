/* SPDX-License-Identifier: MIT
 * io/checkpoint/decode.c - exponent and mantissa are moved to their places in float32, and one
 * product mends the bias, for subnormals too. Loops are plain, so that they become vector code. */
#include "io/checkpoint/decode.h"

#include "io/core/dtype.h"
#include "io/core/vectorize.h"

AWQ_VECTORIZE static void decode_float8(float *restrict to, const uint8_t *restrict codes,
                                        int64_t count, float scale)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t code = codes[i], magnitude = code & 0x7fu, sign = (code & 0x80u) << 24;
        uint32_t bits = awq_float_bits(awq_float_from_bits(magnitude << 20) * 0x1p120f);
        bits = magnitude == 0x7fu ? 0x7fc00000u : bits;
        to[i] = awq_float_from_bits(sign | bits) * scale;
    }
}

void awq_float8_decode(float *restrict to, const uint8_t *restrict codes, int64_t count,
                       float scale)
{
    decode_float8(to, codes, count, scale);
}

AWQ_INLINE float float4(uint32_t code)
{
    uint32_t sign = (code & 8u) << 28;
    float value = awq_float_from_bits((code & 7u) << 22) * 0x1p126f;
    return awq_float_from_bits(sign | awq_float_bits(value));
}

AWQ_VECTORIZE static void decode_float4(float *restrict to, const uint8_t *restrict bytes,
                                        int64_t pairs, float scale)
{
    for (int64_t i = 0; i < pairs; i++) {
        to[2 * i] = float4(bytes[i] & 15u) * scale;
        to[2 * i + 1] = float4(bytes[i] >> 4) * scale;
    }
}

void awq_float4_decode(float *restrict to, const uint8_t *restrict bytes, int64_t count,
                       float scale)
{
    decode_float4(to, bytes, count / 2, scale);
    if (count % 2) to[count - 1] = float4(bytes[count / 2] & 15u) * scale;
}

float awq_power_decode(uint8_t code)
{
    if (code == 255) return awq_float_from_bits(0x7fc00000u);
    return awq_float_from_bits(code ? (uint32_t)code << 23 : 0x00400000u);
}
