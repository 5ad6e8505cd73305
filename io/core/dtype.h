/* SPDX-License-Identifier: MIT
 * io/core/dtype.h - the element types of checkpoints, and conversion to and from float32.
 *
 * Narrowing rounds to nearest, ties to even, as hardware does; NaN stays NaN, overflow becomes
 * infinity. Names are those of the safetensors format. */
#ifndef AWQ_IO_CORE_DTYPE_H
#define AWQ_IO_CORE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* X(name, safetensors name, bytes per element) */
#define AWQ_DTYPE_LIST(X)                                                                          \
    X(AWQ_F64, "F64", 8)                                                                           \
    X(AWQ_F32, "F32", 4)                                                                           \
    X(AWQ_F16, "F16", 2)                                                                           \
    X(AWQ_BF16, "BF16", 2)                                                                         \
    X(AWQ_F8_E4M3, "F8_E4M3", 1)                                                                   \
    X(AWQ_F8_E5M2, "F8_E5M2", 1)                                                                   \
    X(AWQ_F8_E8M0, "F8_E8M0", 1)                                                                   \
    X(AWQ_I64, "I64", 8)                                                                           \
    X(AWQ_I32, "I32", 4)                                                                           \
    X(AWQ_I16, "I16", 2)                                                                           \
    X(AWQ_I8, "I8", 1)                                                                             \
    X(AWQ_U64, "U64", 8)                                                                           \
    X(AWQ_U32, "U32", 4)                                                                           \
    X(AWQ_U16, "U16", 2)                                                                           \
    X(AWQ_U8, "U8", 1)                                                                             \
    X(AWQ_BOOL, "BOOL", 1)

typedef enum awq_dtype {
#define AWQ_DTYPE_ENUM(name, text, bytes) name,
    AWQ_DTYPE_LIST(AWQ_DTYPE_ENUM)
#undef AWQ_DTYPE_ENUM
} awq_dtype;

size_t awq_dtype_bytes(awq_dtype dtype);
const char *awq_dtype_name(awq_dtype dtype);
/* false: no such name */
bool awq_dtype_parse(const char *name, awq_dtype *out);
/* F32, F16 or BF16: what a weight may be. */
bool awq_dtype_is_weight(awq_dtype dtype);

static inline float awq_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t awq_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float awq_float_from_bf16(uint16_t bits)
{
    return awq_float_from_bits((uint32_t)bits << 16);
}

uint16_t awq_bf16_from_float(float value);
float awq_float_from_f16(uint16_t bits);
uint16_t awq_f16_from_float(float value);

/* dst[i] = src[i] for count elements; src may be unaligned. dtype is F32, F16 or BF16. */
void awq_widen(float *dst, const void *src, awq_dtype dtype, size_t count);
/* The reverse, rounding; dst may be unaligned. */
void awq_narrow(void *dst, const float *src, awq_dtype dtype, size_t count);

#endif
