/* SPDX-License-Identifier: MIT
 * io/formats/layouts.h - one row of the table for each format (io/formats/format.h), and what their
 * files share. Inside io only. */
#ifndef AWQ_IO_FORMATS_LAYOUTS_H
#define AWQ_IO_FORMATS_LAYOUTS_H

#include "io/core/words.h"
#include "io/formats/format.h"

typedef struct awq_format_layout {
    bool (*holds)(const awq_quantization *, char reason[AWQ_REASON_BYTES]);
    bool (*holds_linear)(const awq_quantization *, int64_t out, int64_t in,
                         char reason[AWQ_REASON_BYTES]);
    int (*parts)(const awq_quantization *, int64_t out, int64_t in, awq_part parts[AWQ_MAX_PARTS]);
    awq_status (*pack)(const awq_quantization *, const awq_linear_words *,
                       void *const to[AWQ_MAX_PARTS], awq_error *err);
    awq_status (*unpack)(const awq_quantization *, const awq_tensor *const parts[AWQ_MAX_PARTS],
                         awq_linear_codes *, awq_error *err);
    json_t *(*config)(const awq_model *, const json_t *beside, const awq_quantization *);
} awq_format_layout;

extern const awq_format_layout awq_layout_gemm, awq_layout_gemv, awq_layout_gemv_fast,
    awq_layout_compressed;

/* ---- gemm ---- */

/* Nibbles in rows of words [out, ceil(n/8)] become words [n, out/8]. Serves qweight (n = in) and
 * qzeros (n = groups). out % 8 == 0. */
void awq_gemm_pack(uint32_t *words, const uint32_t *rows, int64_t out, int64_t n);
/* The reverse, to a byte a nibble: words [n, out/8] become values [out, n]. */
void awq_gemm_unpack(uint8_t *values, const uint32_t *words, int64_t out, int64_t n);

/* ---- shared ---- */

/* A row of `count` values of `bits` bits as words, and back. */
void awq_words_pack(uint32_t *words, const uint8_t *values, int64_t count, int bits);
void awq_words_unpack(uint8_t *values, const uint32_t *words, int64_t count, int bits);
/* The words, a group's zeros and scales along a row, that AWQ's GEMV kernels read at once: Z. */
int64_t awq_gemv_zeros_width(int64_t groups, int64_t group_size);
/* What gemv and gemv-fast ask of a linear alike. */
bool awq_gemv_holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                           char reason[AWQ_REASON_BYTES]);
/* 4 bits: what AWQ's own formats have in common. */
bool awq_four_bits_hold(const awq_quantization *quantization, char reason[AWQ_REASON_BYTES]);
/* The full names of the linears kept in full precision: readers look for substrings. NULL: no
 * memory. */
json_t *awq_config_kept(const awq_model *model);
/* quantization_config of AWQ's own formats; `beside` as in awq_format_config. */
json_t *awq_config_of(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization, const char *version);

/* A scale to its stored type; AWQ_ERR_INPUT when that changes it. */
awq_status awq_scale_store(void *to, awq_dtype dtype, float scale, int64_t row, int64_t group,
                           awq_error *err);

#endif
