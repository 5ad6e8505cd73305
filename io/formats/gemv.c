/* SPDX-License-Identifier: MIT
 * io/formats/gemv.c - AWQ GEMV: words [out, in/8], natural order, low nibble first (0..7 is
 * 0x76543210). Zeros [out, Z] likewise and scales [out, 8Z], padded with zeros: the kernel reads Z
 * words at once, Z = ceil(ceil(groups / 8) / m) m, m = 1 for groups of 128 and more, 2 for 64, 4
 * for 32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/layouts.h"

enum { LANES = 8, BITS = 4 };

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

int64_t awq_gemv_zeros_width(int64_t groups, int64_t group_size)
{
    int64_t multiple = group_size >= 128 ? 1 : group_size == 64 ? 2 : 4;
    return round_up(round_up(groups, LANES) / LANES, multiple);
}

bool awq_gemv_holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                           char reason[AWQ_REASON_BYTES])
{
    const char *title = awq_format_title(quantization->format);
    int64_t size = quantization->group_size > 0 ? quantization->group_size : in;
    int64_t inputs = quantization->format == AWQ_FORMAT_GEMV ? LANES : 64;
    if (size < 128 && size != 64 && size != 32)
        snprintf(reason, AWQ_REASON_BYTES,
                 "has groups of %lld, and the %s format holds groups of 32, 64, and 128 or more",
                 (long long)size, title);
    else if (out % LANES)
        snprintf(reason, AWQ_REASON_BYTES,
                 "has %lld outputs, and the %s format needs a multiple of %d", (long long)out,
                 title, LANES);
    else if (in % inputs)
        snprintf(reason, AWQ_REASON_BYTES,
                 "has %lld inputs, and the %s format needs a multiple of %lld", (long long)in,
                 title, (long long)inputs);
    else
        return true;
    return false;
}

static int64_t zeros_width(const awq_quantization *quantization, int64_t in)
{
    int64_t groups = awq_quantization_groups(quantization, in);
    return awq_gemv_zeros_width(groups, in / groups);
}

static int parts(const awq_quantization *quantization, int64_t out, int64_t in,
                 awq_part parts[AWQ_MAX_PARTS])
{
    int64_t width = zeros_width(quantization, in);
    parts[0] = (awq_part){"qweight", AWQ_PART_EXACT, AWQ_I32, 2, {out, in / LANES}, false};
    parts[1] = (awq_part){"qzeros", AWQ_PART_EXACT, AWQ_I32, 2, {out, width}, false};
    parts[2] = (awq_part){"scales", AWQ_PART_EXACT, AWQ_F16, 2, {out, LANES * width}, true};
    return 3;
}

static awq_status pack(const awq_quantization *quantization, const awq_linear_words *linear,
                       void *const to[AWQ_MAX_PARTS], awq_error *err)
{
    uint32_t *zeros = to[1];
    uint16_t *scales = to[2];
    int64_t groups = linear->groups, width = zeros_width(quantization, linear->in);
    memcpy(to[0], linear->words,
           (size_t)(linear->out * linear->in / LANES) * sizeof *linear->words);
    memset(zeros, 0, (size_t)(linear->out * width) * sizeof *zeros);
    memset(scales, 0, (size_t)(linear->out * LANES * width) * sizeof *scales);
    for (int64_t row = 0; row < linear->out; row++) {
        awq_words_pack(zeros + row * width, linear->zeros + row * groups, groups, BITS);
        for (int64_t group = 0; group < groups; group++)
            if (awq_scale_store(&scales[row * LANES * width + group], AWQ_F16,
                                linear->scales[row * groups + group], row, group, err))
                return err->status;
    }
    return AWQ_OK;
}

/* Rows of `count` nibbles in `width` words each to rows of bytes. */
static awq_status unpack_rows(uint8_t *values, const awq_tensor *tensor, int64_t count,
                              awq_error *err)
{
    int64_t rows = tensor->shape[0], width = tensor->shape[1];
    uint32_t *words = malloc((size_t)width * sizeof *words + 1); /* a mapping may be unaligned */
    if (!words) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to unpack '%s'", tensor->name);
    for (int64_t row = 0; row < rows; row++) {
        memcpy(words, (const char *)tensor->data + (size_t)(row * width) * sizeof *words,
               (size_t)width * sizeof *words);
        awq_words_unpack(values + row * count, words, count, BITS);
    }
    free(words);
    return AWQ_OK;
}

static awq_status unpack(const awq_quantization *quantization,
                         const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                         awq_error *err)
{
    (void)quantization;
    if (unpack_rows(codes->codes, parts[0], codes->in, err) ||
        unpack_rows(codes->zeros, parts[1], codes->groups, err))
        return err->status;
    int64_t width = parts[2]->shape[1];
    for (int64_t row = 0; row < codes->out; row++)
        awq_widen(codes->scales + row * codes->groups,
                  (const char *)parts[2]->data + 2 * row * width, AWQ_F16, (size_t)codes->groups);
    return AWQ_OK;
}

static json_t *config(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization)
{
    return awq_config_of(model, beside, quantization, "gemv");
}

const awq_format_layout awq_layout_gemv = {
    .holds = awq_four_bits_hold,
    .holds_linear = awq_gemv_holds_linear,
    .parts = parts,
    .pack = pack,
    .unpack = unpack,
    .config = config,
};
