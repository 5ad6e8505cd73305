/* SPDX-License-Identifier: MIT */
#include "io/awq_format.h"

enum {
    LANES = 8, /* values a word */
    BLOCK_WORDS = 16 /* a block of words [BLOCK_ROWS, BLOCK_WORDS] is packed at a time */,
    BLOCK_ROWS = 64,
    BLOCK_SCALES = 32
};

/* Where column i of eight lies in a word: the bits of nibble {0, 4, 1, 5, 2, 6, 3, 7}. */
static const int lane_shift[LANES] = {0, 16, 4, 20, 8, 24, 12, 28};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One word of each of `rows` input rows, from eight output rows of `n` values. */
static void pack_column(uint32_t *out, const uint8_t *values, int64_t n, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) out[r] = 0;
    for (int lane = 0; lane < LANES; lane++) {
        const uint8_t *from = values + lane * n;
        int shift = lane_shift[lane];
        for (int64_t r = 0; r < rows; r++) out[r] |= (uint32_t)from[r] << shift;
    }
}

static void unpack_column(uint8_t *values, const uint32_t *words, int64_t n, int64_t rows)
{
    for (int lane = 0; lane < LANES; lane++) {
        uint8_t *to = values + lane * n;
        int shift = lane_shift[lane];
        for (int64_t r = 0; r < rows; r++) to[r] = words[r] >> shift & 15u;
    }
}

void awq_gemm_pack(uint32_t *words, const uint8_t *values, int64_t out, int64_t n)
{
    uint32_t block[BLOCK_WORDS][BLOCK_ROWS];
    int64_t width = out / LANES;
    for (int64_t row = 0; row < n; row += BLOCK_ROWS) {
        int64_t rows = smaller(BLOCK_ROWS, n - row);
        for (int64_t word = 0; word < width; word += BLOCK_WORDS) {
            int64_t count = smaller(BLOCK_WORDS, width - word);
            for (int64_t c = 0; c < count; c++)
                pack_column(block[c], values + (word + c) * LANES * n + row, n, rows);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < count; c++)
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

void awq_gemm_transpose_scales(uint16_t *to, const uint16_t *from, int64_t rows, int64_t cols)
{
    for (int64_t row = 0; row < rows; row += BLOCK_SCALES)
        for (int64_t col = 0; col < cols; col += BLOCK_SCALES)
            for (int64_t c = col; c < smaller(col + BLOCK_SCALES, cols); c++)
                for (int64_t r = row; r < smaller(row + BLOCK_SCALES, rows); r++)
                    to[c * rows + r] = from[r * cols + c];
}

json_t *awq_format_config(const json_t *source, int bits, int64_t group_size, bool zero_point)
{
    json_t *config = json_deep_copy(source);
    json_t *quantization =
        json_pack("{s:s, s:i, s:I, s:b, s:s, s:n}", "quant_method", "awq", "bits", bits,
                  "group_size", (json_int_t)group_size, "zero_point", (int)zero_point, "version",
                  "gemm", "modules_to_not_convert");
    if (!json_object_set_new(config, "quantization_config", quantization)) return config;
    json_decref(config);
    return NULL;
}
