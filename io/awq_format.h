/* SPDX-License-Identifier: MIT
 * io/awq_format.h - the AWQ GEMM layout (docs/awq.md 3), and config.json's quantization_config.
 *
 * For a linear P with weight [out, in]: P.qweight int32 [in, out/8], P.qzeros int32 [in/g, out/8],
 * P.scales float16 [in/g, out], P.bias as in the source. Word (r, c) holds output columns 8c..8c+7
 * of input row r; nibble i (bits 4i..4i+3) is column 8c + {0,2,4,6,1,3,5,7}[i]. Zeros are packed
 * the same way, without -1. */
#ifndef AWQ_IO_AWQ_FORMAT_H
#define AWQ_IO_AWQ_FORMAT_H

#include <jansson.h>
#include <stdint.h>

#include "io/error.h"
#include "io/model.h"

/* Columns of `values` [rows, columns] (each 0..15) are packed eight to a word along `columns`
 * after a transpose: words [columns_of_values -> rows of words]. That is: values [out, n] become
 * words [n, out/8]. Serves qweight (n = in) and qzeros (n = groups). out % 8 == 0. */
void awq_gemm_pack(uint32_t *words, const uint8_t *values, int64_t out, int64_t n);
/* The reverse: words [n, out/8] become values [out, n]. */
void awq_gemm_unpack(uint8_t *values, const uint32_t *words, int64_t out, int64_t n);
/* scales [out, groups] (float16 bits) become [groups, out], and back. */
void awq_gemm_transpose_scales(uint16_t *to, const uint16_t *from, int64_t rows, int64_t cols);

/* Source config plus quantization_config {"quant_method": "awq", "bits", "group_size",
 * "zero_point": true, "version": "gemm", "modules_to_not_convert": null}. A new object that the
 * caller decrefs; NULL: no memory. */
json_t *awq_format_config(const json_t *source, int bits, int64_t group_size, bool zero_point);

#endif
