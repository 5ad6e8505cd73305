/* SPDX-License-Identifier: MIT
 * io/checkpoint/decode.h - small floats to float32, times a scale. Exact but for the product.
 * Inside io only. */
#ifndef AWQ_IO_CHECKPOINT_DECODE_H
#define AWQ_IO_CHECKPOINT_DECODE_H

#include <stdint.h>

/* OCP E4M3: sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinity, 0x7f is NaN. */
void awq_float8_decode(float *restrict to, const uint8_t *restrict codes, int64_t count,
                       float scale);
/* OCP E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign; two in a byte, the lower half first. */
void awq_float4_decode(float *restrict to, const uint8_t *restrict bytes, int64_t count,
                       float scale);
/* OCP E8M0: 2^(code - 127); 255 is NaN. */
float awq_power_decode(uint8_t code);

#endif
