/* SPDX-License-Identifier: MIT
 * io/formats/gemm.c - AWQ GEMM: words [in, out/8]. Word (r, c) holds output columns 8c..8c+7 of
 * input row r; nibble i (bits 4i..4i+3) is column 8c + {0,2,4,6,1,3,5,7}[i]. Zeros are packed the
 * same way, without -1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/layouts.h"

enum {
    BITS = 4,
    LANES = 8, /* values a word */
    BLOCK_WORDS = 16 /* a block of words [BLOCK_ROWS, BLOCK_WORDS] is packed at a time */,
    BLOCK_ROWS = 64,
    TURNED = BLOCK_ROWS / LANES,
    BLOCK_SCALES = 32
};

/* Where column i of eight lies in a word: the bits of nibble {0, 4, 1, 5, 2, 6, 3, 7}. */
static const int lane_shift[LANES] = {0, 16, 4, 20, 8, 24, 12, 28};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The output rows whose nibbles a word has, from its lowest on. */
static const int lane_row[LANES] = {0, 2, 4, 6, 1, 3, 5, 7};

/* Squares of LANES rows by LANES nibbles, TURNED of them side by side, each turned over its
 * diagonal: halves are exchanged, then their halves, and theirs. */
static void turn_squares(uint32_t square[LANES][TURNED])
{
    static const uint32_t masks[] = {0x0000ffff, 0x00ff00ff, 0x0f0f0f0f};
    for (int half = LANES / 2, step = 0; half; half /= 2, step++)
        for (int row = 0; row < LANES; row++) {
            if (row & half) continue;
            uint32_t mask = masks[step], *upper = square[row], *lower = square[row + half];
            for (int i = 0; i < TURNED; i++) {
                uint32_t crossed = (upper[i] >> 4 * half ^ lower[i]) & mask;
                lower[i] ^= crossed;
                upper[i] ^= crossed << 4 * half;
            }
        }
}

/* One word of each of `n` input rows, at most BLOCK_ROWS, from eight output rows. */
static void pack_column(uint32_t out[BLOCK_ROWS], const uint32_t *rows, int64_t width, int64_t n)
{
    uint32_t square[LANES][TURNED] = {0};
    for (int lane = 0; lane < LANES; lane++)
        memcpy(square[lane], rows + lane_row[lane] * width,
               (size_t)((n + LANES - 1) / LANES) * sizeof *rows);
    turn_squares(square);
    for (int i = 0; i < TURNED; i++)
        for (int row = 0; row < LANES; row++) out[i * LANES + row] = square[row][i];
}

static void unpack_column(uint8_t *values, const uint32_t *words, int64_t n, int64_t rows)
{
    for (int lane = 0; lane < LANES; lane++) {
        uint8_t *to = values + lane * n;
        int shift = lane_shift[lane];
        for (int64_t r = 0; r < rows; r++) to[r] = words[r] >> shift & 15u;
    }
}

void awq_gemm_pack(uint32_t *words, const uint32_t *rows, int64_t out, int64_t n)
{
    uint32_t block[BLOCK_WORDS][BLOCK_ROWS];
    int64_t width = out / LANES, row_words = (n + LANES - 1) / LANES;
    for (int64_t row = 0; row < n; row += BLOCK_ROWS) {
        int64_t count = smaller(BLOCK_ROWS, n - row);
        for (int64_t word = 0; word < width; word += BLOCK_WORDS) {
            int64_t columns = smaller(BLOCK_WORDS, width - word);
            for (int64_t c = 0; c < columns; c++)
                pack_column(block[c], rows + (word + c) * LANES * row_words + row / LANES,
                            row_words, count);
            for (int64_t r = 0; r < count; r++)
                for (int64_t c = 0; c < columns; c++)
                    words[(row + r) * width + word + c] = block[c][r];
        }
    }
}

void awq_gemm_unpack(uint8_t *values, const uint32_t *words, int64_t out, int64_t n)
{
    uint32_t block[BLOCK_WORDS][BLOCK_ROWS];
    int64_t width = out / LANES;
    for (int64_t row = 0; row < n; row += BLOCK_ROWS) {
        int64_t rows = smaller(BLOCK_ROWS, n - row);
        for (int64_t word = 0; word < width; word += BLOCK_WORDS) {
            int64_t count = smaller(BLOCK_WORDS, width - word);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < count; c++)
                    block[c][r] = words[(row + r) * width + word + c];
            for (int64_t c = 0; c < count; c++)
                unpack_column(values + (word + c) * LANES * n + row, block[c], n, rows);
        }
    }
}

/* float16 scales [out, groups] <-> [groups, out]. */
static awq_status turn_scales(uint16_t *to, const awq_linear_words *linear, awq_error *err)
{
    for (int64_t row = 0; row < linear->out; row += BLOCK_SCALES)
        for (int64_t group = 0; group < linear->groups; group++)
            for (int64_t r = row; r < smaller(row + BLOCK_SCALES, linear->out); r++)
                if (awq_scale_store(&to[group * linear->out + r], AWQ_F16,
                                    linear->scales[r * linear->groups + group], r, group, err))
                    return err->status;
    return AWQ_OK;
}

static void turn_scales_back(awq_linear_codes *codes, const awq_tensor *from)
{
    const char *data = from->data;
    for (int64_t row = 0; row < codes->out; row += BLOCK_SCALES)
        for (int64_t group = 0; group < codes->groups; group++)
            for (int64_t r = row; r < smaller(row + BLOCK_SCALES, codes->out); r++)
                awq_widen(&codes->scales[r * codes->groups + group],
                          data + 2 * (group * codes->out + r), AWQ_F16, 1);
}

/* Words [n, out/8] of a mapping, which need not be aligned. */
static awq_status unpack_words(uint8_t *values, const awq_tensor *tensor, int64_t out, int64_t n,
                               awq_error *err)
{
    uint32_t *words = malloc(tensor->bytes + 1);
    if (!words) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to unpack '%s'", tensor->name);
    memcpy(words, tensor->data, tensor->bytes);
    awq_gemm_unpack(values, words, out, n);
    free(words);
    return AWQ_OK;
}

static bool holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                         char reason[AWQ_REASON_BYTES])
{
    (void)quantization;
    (void)in;
    if (out % LANES == 0) return true;
    snprintf(reason, AWQ_REASON_BYTES,
             "has %lld outputs, and the AWQ GEMM format needs a multiple of 8", (long long)out);
    return false;
}

static int parts(const awq_quantization *quantization, int64_t out, int64_t in,
                 awq_part parts[AWQ_MAX_PARTS])
{
    int64_t groups = awq_quantization_groups(quantization, in);
    parts[0] = (awq_part){"qweight", AWQ_PART_EXACT, AWQ_I32, 2, {in, out / LANES}, false};
    parts[1] = (awq_part){"qzeros", AWQ_PART_EXACT, AWQ_I32, 2, {groups, out / LANES}, false};
    parts[2] = (awq_part){"scales", AWQ_PART_EXACT, AWQ_F16, 2, {groups, out}, true};
    return 3;
}

static awq_status turn_zeros(uint32_t *to, const awq_linear_words *linear, awq_error *err)
{
    int64_t groups = linear->groups, width = awq_words_count(groups, BITS);
    uint32_t *rows = malloc((size_t)(linear->out * width) * sizeof *rows + 1);
    if (!rows) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack zero points");
    for (int64_t row = 0; row < linear->out; row++)
        awq_words_pack(rows + row * width, linear->zeros + row * groups, groups, BITS);
    awq_gemm_pack(to, rows, linear->out, groups);
    free(rows);
    return AWQ_OK;
}

static awq_status pack(const awq_quantization *quantization, const awq_linear_words *linear,
                       void *const to[AWQ_MAX_PARTS], awq_error *err)
{
    (void)quantization;
    awq_gemm_pack(to[0], linear->words, linear->out, linear->in);
    if (turn_zeros(to[1], linear, err)) return err->status;
    return turn_scales(to[2], linear, err);
}

static awq_status unpack(const awq_quantization *quantization,
                         const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                         awq_error *err)
{
    (void)quantization;
    if (unpack_words(codes->codes, parts[0], codes->out, codes->in, err) ||
        unpack_words(codes->zeros, parts[1], codes->out, codes->groups, err))
        return err->status;
    turn_scales_back(codes, parts[2]);
    return AWQ_OK;
}

static json_t *config(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization)
{
    return awq_config_of(model, beside, quantization, "gemm");
}

const awq_format_layout awq_layout_gemm = {
    .holds = awq_four_bits_hold,
    .holds_linear = holds_linear,
    .parts = parts,
    .pack = pack,
    .unpack = unpack,
    .config = config,
};
