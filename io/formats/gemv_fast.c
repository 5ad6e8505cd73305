/* SPDX-License-Identifier: MIT
 * io/formats/gemv_fast.c - AWQ GEMV-fast (llm-awq's second layout): 16-bit words [out/4, in];
 * code (n, k) is in row n/4, word 64 (k/64) + 16 (n%4) + 8 ((k%64)/32) + k%8, nibble (k%32)/8.
 * Scales and -scale * zero are float16 [8Z, out], padded with zeros as GEMV's are.
 *
 * The zero points come back exactly: -scale * zero rounded to float16 is no further than 2^-11 of
 * itself from the product, and zero is at most 15. */
#include <math.h>
#include <string.h>

#include "io/formats/layouts.h"

enum { LANES = 8, ROWS = 4, STRIDE = 64 };

/* Where the code of (row, column) lies among the words of its four rows, and at which bit. */
static int64_t word_of(int64_t row, int64_t column)
{
    return column / STRIDE * STRIDE + 16 * (row % ROWS) + 8 * (column % STRIDE / 32) + column % 8;
}

static int shift_of(int64_t column)
{
    return (int)(4 * (column % 32 / 8));
}

static int64_t padded_groups(const awq_quantization *quantization, int64_t in)
{
    int64_t groups = awq_quantization_groups(quantization, in);
    return LANES * awq_gemv_zeros_width(groups, in / groups);
}

static int parts(const awq_quantization *quantization, int64_t out, int64_t in,
                 awq_part parts[AWQ_MAX_PARTS])
{
    int64_t groups = padded_groups(quantization, in);
    parts[0] = (awq_part){"qweight", AWQ_PART_EXACT, AWQ_I16, 2, {out / ROWS, in}, false};
    parts[1] = (awq_part){"qzeros", AWQ_PART_EXACT, AWQ_F16, 2, {groups, out}, false};
    parts[2] = (awq_part){"scales", AWQ_PART_EXACT, AWQ_F16, 2, {groups, out}, true};
    return 3;
}

static void pack_codes(uint16_t *words, const awq_linear_words *linear)
{
    int64_t width = linear->in / LANES;
    memset(words, 0, (size_t)(linear->out / ROWS * linear->in) * sizeof *words);
    for (int64_t row = 0; row < linear->out; row++) {
        const uint32_t *from = linear->words + row * width;
        uint16_t *to = words + row / ROWS * linear->in;
        for (int64_t k = 0; k < linear->in; k++) {
            uint16_t *word = &to[word_of(row, k)];
            uint32_t code = from[k / LANES] >> 4 * (k % LANES) & 15;
            *word = (uint16_t)(*word | code << shift_of(k));
        }
    }
}

/* The zero point that a stored -scale * zero came from; -1: from none. */
static int zero_of(uint16_t product, float scale)
{
    float zero = rintf(-awq_float_from_f16(product) / scale);
    if (!(zero >= 0 && zero <= 15)) return -1;
    float again = awq_float_from_f16(awq_f16_from_float(-(scale * zero)));
    return again == awq_float_from_f16(product) ? (int)zero : -1;
}

static awq_status pack_group(uint16_t *scale, uint16_t *product, const awq_linear_words *linear,
                             int64_t row, int64_t group, awq_error *err)
{
    int64_t at = row * linear->groups + group;
    float value = linear->scales[at];
    if (awq_scale_store(scale, AWQ_F16, value, row, group, err)) return err->status;
    *product = awq_f16_from_float(-(value * (float)linear->zeros[at]));
    if (zero_of(*product, value) == linear->zeros[at]) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT,
                    "the scale %g times the zero point %d of row %lld, group %lld does not fit "
                    "float16, which this format stores it in",
                    (double)value, linear->zeros[at], (long long)row, (long long)group);
}

static awq_status pack(const awq_quantization *quantization, const awq_linear_words *linear,
                       void *const to[AWQ_MAX_PARTS], awq_error *err)
{
    uint16_t *products = to[1], *scales = to[2];
    size_t bytes = (size_t)(padded_groups(quantization, linear->in) * linear->out) * sizeof *scales;
    memset(products, 0, bytes);
    memset(scales, 0, bytes);
    pack_codes(to[0], linear);
    for (int64_t row = 0; row < linear->out; row++)
        for (int64_t group = 0; group < linear->groups; group++) {
            int64_t at = group * linear->out + row;
            if (pack_group(&scales[at], &products[at], linear, row, group, err)) return err->status;
        }
    return AWQ_OK;
}

static uint16_t half_at(const awq_tensor *tensor, int64_t index)
{
    uint16_t half;
    memcpy(&half, (const char *)tensor->data + (size_t)index * sizeof half, sizeof half);
    return half;
}

static awq_status unpack(const awq_quantization *quantization,
                         const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                         awq_error *err)
{
    (void)quantization;
    for (int64_t row = 0; row < codes->out; row++)
        for (int64_t k = 0; k < codes->in; k++) {
            uint16_t word = half_at(parts[0], row / ROWS * codes->in + word_of(row, k));
            codes->codes[row * codes->in + k] = (uint8_t)(word >> shift_of(k) & 15);
        }
    for (int64_t row = 0; row < codes->out; row++)
        for (int64_t group = 0; group < codes->groups; group++) {
            int64_t from = group * codes->out + row, to = row * codes->groups + group;
            float scale = awq_float_from_f16(half_at(parts[2], from));
            int zero = zero_of(half_at(parts[1], from), scale);
            codes->scales[to] = scale;
            codes->zeros[to] = (uint8_t)(zero < 0 ? 0 : zero);
            if (zero < 0 && isfinite(scale)) /* a scale that is not is the caller's to judge */
                return awq_fail(err, AWQ_ERR_INPUT,
                                "'%s' holds %g at row %lld, column %lld, which is no zero point "
                                "from 0 to 15 times the scale %g",
                                parts[1]->name, (double)awq_float_from_f16(half_at(parts[1], from)),
                                (long long)group, (long long)row, (double)scale);
        }
    return AWQ_OK;
}

static json_t *config(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization)
{
    return awq_config_of(model, beside, quantization, "gemv_fast");
}

const awq_format_layout awq_layout_gemv_fast = {
    .holds = awq_four_bits_hold,
    .holds_linear = awq_gemv_holds_linear,
    .parts = parts,
    .pack = pack,
    .unpack = unpack,
    .config = config,
};
