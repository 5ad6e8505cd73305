/* SPDX-License-Identifier: MIT
 * io/formats/format.h - the formats that quantized linears are stored in, one table of them: what a
 * format can hold, which tensors a linear becomes, and both ways between them and plain codes.
 * Whoever writes, checks, reads or converts a checkpoint goes through here. docs/awq.md 3 has the
 * layouts; each is in a file of its own (gemm.c ..).
 *
 * A linear P of weight [out, in] in groups of g becomes
 *
 *   gemm                P.qweight I32 [in, out/8]; P.qzeros I32 [in/g, out/8]; P.scales F16
 *                       [in/g, out]
 *   gemv                P.qweight I32 [out, in/8]; P.qzeros I32 [out, Z]; P.scales F16 [out, 8Z]
 *   gemv-fast           P.qweight I16 [out/4, in]; P.qzeros F16 [8Z, out] (-scale * zero);
 *                       P.scales F16 [8Z, out]
 *   compressed-tensors  P.weight_packed I32 [out, ceil(in bits / 32)]; P.weight_scale [out, in/g]
 *                       in the model's type; P.weight_shape I64 [2]; unless symmetric
 *                       P.weight_zero_point I32 [ceil(out bits / 32), in/g] */
#ifndef AWQ_IO_FORMATS_FORMAT_H
#define AWQ_IO_FORMATS_FORMAT_H

#include <jansson.h>

#include "io/core/error.h"
#include "io/files/safetensors.h"
#include "io/model/model.h"
#include "io/model/recipe.h"

/* "gemv-fast", "AWQ GEMV-fast" */
const char *awq_format_name(awq_format format);
const char *awq_format_title(awq_format format);

/* ---- what a format can hold ---- */

enum { AWQ_REASON_BYTES = 200 };

/* Whether the format holds these bits and groups; else the reason, a sentence. */
bool awq_format_holds(const awq_quantization *quantization, char reason[AWQ_REASON_BYTES]);
/* Whether it holds a linear of this shape; else the reason, which follows a linear's name: "has 36
 * outputs, and ..". */
bool awq_format_holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                             char reason[AWQ_REASON_BYTES]);
/* What scales are stored in for a model of this type: F16, or the type itself. */
awq_dtype awq_format_scale_dtype(awq_format format, awq_dtype model);
/* How the linears of a model of this type are stored by a recipe. */
awq_quantization awq_recipe_quantization(const awq_recipe *recipe, awq_dtype model);

/* ---- the tensors of a linear ---- */

enum { AWQ_MAX_PARTS = 4 };

/* What a part's dtype may be when it is read. */
typedef enum awq_part_type { AWQ_PART_EXACT, AWQ_PART_WEIGHT, AWQ_PART_SHAPE } awq_part_type;

typedef struct awq_part {
    const char *suffix; /* "qweight" */
    awq_part_type type; /* EXACT: dtype; WEIGHT: F32, F16 or BF16; SHAPE: I64 or I32 */
    awq_dtype dtype;    /* as it is written */
    int dims;
    int64_t shape[2];
    bool scales; /* this is the one that must be finite */
} awq_part;

/* The tensors of a linear, in the order that they are written; returns how many. The linear fits
 * the format. */
int awq_format_parts(const awq_quantization *quantization, int64_t out, int64_t in,
                     awq_part parts[AWQ_MAX_PARTS]);
/* Bytes of them all. */
uint64_t awq_format_bytes_of(const awq_quantization *quantization, int64_t out, int64_t in);

/* Whether a part of type SHAPE says [out, in]; else AWQ_ERR_INPUT, and it is named. */
awq_status awq_shape_check(const awq_tensor *tensor, int64_t out, int64_t in, awq_error *err);

/* ---- codes ---- */

/* A quantized linear without a format: w = (code - zero) * scale. Host arrays. As it is read: */
typedef struct awq_linear_codes {
    int64_t out, in, groups; /* groups: of a row */
    uint8_t *codes;          /* [out, in], 0 .. 2^bits - 1 */
    uint8_t *zeros;          /* [out, groups], likewise */
    float *scales;           /* [out, groups] */
} awq_linear_codes;

/* Arrays on the heap, owned. Release the result. */
awq_status awq_linear_codes_init(awq_linear_codes *codes, const awq_quantization *quantization,
                                 int64_t out, int64_t in, awq_error *err);
void awq_linear_codes_release(awq_linear_codes *codes);

/* As it is packed, all borrowed: */
typedef struct awq_linear_words {
    int64_t out, in, groups;
    const uint32_t *words; /* [out, awq_words_count(in, bits)] (io/core/words.h) */
    const uint8_t *zeros;  /* [out, groups] */
    const float *scales;   /* [out, groups] */
} awq_linear_words;

/* Its words, on the heap; NULL: no memory. */
uint32_t *awq_linear_codes_words(const awq_linear_codes *codes, int bits);

/* To the tensors that awq_format_parts lists: to[i] has room for part i. What the format cannot
 * hold exactly (a scale, a product, another zero point in a symmetric one) is AWQ_ERR_INPUT with
 * row and group. */
awq_status awq_format_pack(const awq_quantization *quantization, const awq_linear_words *linear,
                           void *const to[AWQ_MAX_PARTS], awq_error *err);
/* The reverse; the tensors are those of awq_format_parts, checked, data in place (it may be
 * unaligned). A tensor that contradicts the others is AWQ_ERR_INPUT and named; scales are taken as
 * they are, finite or not. */
awq_status awq_format_unpack(const awq_quantization *quantization,
                             const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                             awq_error *err);

/* ---- config.json ---- */

/* The source's config with this quantization_config and no other. `model` says which linears were
 * kept in full precision, `beside` lists modules that are not its. A new object that the caller
 * decrefs; NULL: no memory. */
json_t *awq_format_config(const json_t *source, const awq_model *model, const json_t *beside,
                          const awq_quantization *quantization);

#endif
