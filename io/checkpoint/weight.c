/* SPDX-License-Identifier: MIT
 * io/checkpoint/weight.c - the values of a weight, by blocks of rows. */
#include "io/checkpoint/weight.h"

#include <math.h>
#include <string.h>

#include "io/checkpoint/decode.h"
#include "io/files/safetensors.h"

enum { SHAPE = 2 }; /* of integers' parts, as awq_format_parts has them */

/* Values at a time on their way; bytes of a block of rows. Of integers a block of rows is a whole
 * number of words of zero points, whatever the bits. */
enum { CHUNK = 1024, BLOCK_BYTES = 2 << 20, WORD_ROWS = 32, WIDE_ROWS = 64 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static const unsigned char *data_of(const awq_tensor *tensor)
{
    return tensor->data;
}

/* The row of the tensor, of all experts', that holds a row of the weight. */
static int64_t tensor_row(const awq_weight *weight, int64_t row)
{
    return weight->expert * weight->tensor_rows + weight->first + row * weight->step;
}

/* ---- scales ---- */

static int64_t blocks(int64_t count, int64_t size)
{
    return (count + size - 1) / size;
}

static float scale_at(const awq_tensor *scales, int64_t index)
{
    float value;
    size_t bytes = awq_dtype_bytes(scales->dtype);
    const unsigned char *at = data_of(scales) + (size_t)index * bytes;
    if (bytes == 1) return awq_power_decode(*at);
    awq_widen(&value, at, scales->dtype, 1);
    return value;
}

/* Blocks over gate and up together, as transformers has them, or over each: where the number of
 * scales is the same, and a block has rows of both, nobody can tell. */
static awq_status check_halves(const awq_weight *weight, awq_error *err)
{
    int64_t size = weight->block_rows, halves = weight->tensor_rows / weight->rows;
    bool apart = halves < 2 || size >= weight->tensor_rows || weight->rows % size == 0 ||
                 blocks(weight->tensor_rows, size) != halves * blocks(weight->rows, size);
    if (apart) return AWQ_OK;
    return awq_fail(
        err, AWQ_ERR_INPUT,
        "'%s': blocks of %lld rows do not divide the %lld of a linear, and whether they "
        "are over all rows or over each linear's cannot be told; store the experts one "
        "by one",
        weight->part[AWQ_PART_SCALES]->name, (long long)size, (long long)weight->rows);
}

awq_status awq_weight_check(const awq_weight *weight, awq_error *err)
{
    const awq_tensor *scales = weight->part[AWQ_PART_SCALES];
    bool signless = weight->stored == AWQ_STORED_INTEGERS; /* a group of zeros may have any */
    if (!scales) return AWQ_OK;
    if (signless ? awq_shape_check(weight->part[SHAPE], weight->rows, weight->cols, err)
                 : check_halves(weight, err))
        return err->status;
    int64_t wide = blocks(weight->cols, weight->block_cols);
    int64_t count = blocks(weight->tensor_rows, weight->block_rows) * wide;
    for (int64_t i = 0; i < count; i++) {
        float scale = scale_at(scales, weight->expert * count + i);
        if (isfinite(scale) && (signless || scale > 0)) continue;
        return awq_fail(err, AWQ_ERR_NUMERIC,
                        "'%s' holds %g at row %lld, column %lld, and a scale is finite and above "
                        "zero; the checkpoint is damaged",
                        scales->name, (double)scale, (long long)(i / wide), (long long)(i % wide));
    }
    return AWQ_OK;
}

/* ---- plain ---- */

const void *awq_weight_data(const awq_weight *weight)
{
    if (weight->stored != AWQ_STORED_PLAIN || weight->transposed || weight->step != 1) return NULL;
    size_t bytes = (size_t)(tensor_row(weight, 0) * weight->cols) * awq_dtype_bytes(weight->dtype);
    return data_of(weight->part[AWQ_PART_VALUES]) + bytes;
}

static void copy_rows(const awq_weight *weight, int64_t first, int64_t rows, unsigned char *to)
{
    size_t bytes = (size_t)weight->cols * awq_dtype_bytes(weight->dtype);
    const unsigned char *from = data_of(weight->part[AWQ_PART_VALUES]);
    for (int64_t row = 0; row < rows; row++)
        memcpy(to + (size_t)row * bytes, from + (size_t)tensor_row(weight, first + row) * bytes,
               bytes);
}

/* Down the columns of the tensor, in which rows lie side by side. */
static void copy_columns(const awq_weight *weight, int64_t first, int64_t rows, unsigned char *to)
{
    size_t bytes = awq_dtype_bytes(weight->dtype);
    int64_t at = weight->first + first * weight->step, stride = weight->tensor_rows;
    const unsigned char *from = data_of(weight->part[AWQ_PART_VALUES]) +
                                (size_t)(weight->expert * weight->cols * stride + at) * bytes;
    for (int64_t col = 0; col < weight->cols; col++)
        for (int64_t row = 0; row < rows; row++)
            memcpy(to + (size_t)(row * weight->cols + col) * bytes,
                   from + (size_t)(col * stride + row * weight->step) * bytes, bytes);
}

/* ---- small floats ---- */

/* Columns [col, col + count), of one row of the tensor. */
static void decode(const awq_weight *weight, int64_t row, int64_t col, int64_t count, float *to)
{
    const awq_tensor *values = weight->part[AWQ_PART_VALUES];
    int64_t all = (weight->experts ? weight->experts : 1) * weight->tensor_rows;
    const unsigned char *from = data_of(values) + (size_t)row * (values->bytes / (uint64_t)all);
    int64_t wide = blocks(weight->cols, weight->block_cols);
    int64_t tall = blocks(weight->tensor_rows, weight->block_rows);
    int64_t block = weight->expert * tall + row % weight->tensor_rows / weight->block_rows;
    for (int64_t end = col + count, n; col < end; col += n, to += n) {
        int64_t at = col / weight->block_cols;
        n = smaller((at + 1) * weight->block_cols, end) - col;
        float scale = scale_at(weight->part[AWQ_PART_SCALES], block * wide + at);
        if (weight->stored == AWQ_STORED_FLOAT8)
            awq_float8_decode(to, from + col, n, scale);
        else
            awq_float4_decode(to, from + col / 2, n, scale);
    }
}

static void decode_rows(const awq_weight *weight, int64_t first, int64_t rows, unsigned char *to)
{
    float values[CHUNK];
    size_t bytes = awq_dtype_bytes(weight->dtype);
    for (int64_t row = first; row < first + rows; row++)
        for (int64_t col = 0, n; col < weight->cols; col += n) {
            n = smaller(CHUNK, weight->cols - col);
            decode(weight, tensor_row(weight, row), col, n, values);
            awq_narrow(to, values, weight->dtype, (size_t)n);
            to += (size_t)n * bytes;
        }
}

/* ---- integers ---- */

/* Rows of the tensors as tensors of their own. */
static void view(const awq_weight *weight, int64_t first, int64_t rows, const int64_t shape[2],
                 awq_tensor to[AWQ_MAX_PARTS])
{
    awq_part parts[AWQ_MAX_PARTS];
    const awq_quantization *how = weight->integers;
    int count = awq_format_parts(how, rows, weight->cols, parts);
    for (int i = 0; i < count; i++) {
        to[i] = *weight->part[i];
        if (parts[i].type == AWQ_PART_SHAPE) {
            to[i].dtype = AWQ_I64;
            to[i].data = shape;
            continue;
        }
        bool zeros = i > 2; /* packed along the rows: a word holds those of several */
        int64_t before = zeros ? first * how->bits / WORD_ROWS : first;
        size_t row_bytes = (size_t)to[i].shape[1] * awq_dtype_bytes(to[i].dtype);
        to[i].data = data_of(&to[i]) + (size_t)before * row_bytes;
        to[i].shape[0] = parts[i].shape[0];
    }
}

static awq_status unpack_rows(const awq_weight *weight, int64_t first, int64_t rows,
                              unsigned char *to, awq_error *err)
{
    const int64_t shape[2] = {rows, weight->cols};
    awq_tensor views[AWQ_MAX_PARTS];
    const awq_tensor *parts[AWQ_MAX_PARTS];
    awq_linear_codes codes;
    view(weight, first, rows, shape, views);
    for (int i = 0; i < AWQ_MAX_PARTS; i++) parts[i] = &views[i];
    if (awq_linear_codes_init(&codes, weight->integers, rows, weight->cols, err))
        return err->status;
    awq_status status = awq_format_unpack(weight->integers, parts, &codes, err);
    float values[CHUNK];
    int64_t count = rows * weight->cols, size = weight->block_cols;
    for (int64_t i = 0, n; !status && i < count; i += n) {
        n = smaller(CHUNK, count - i);
        for (int64_t j = i; j < i + n; j++)
            values[j - i] =
                (float)(codes.codes[j] - codes.zeros[j / size]) * codes.scales[j / size];
        awq_narrow(to, values, weight->dtype, (size_t)n);
        to += (size_t)n * awq_dtype_bytes(weight->dtype);
    }
    awq_linear_codes_release(&codes);
    return status;
}

/* ---- any ---- */

int64_t awq_weight_read_rows(const awq_weight *weight)
{
    int64_t bytes = weight->cols * (int64_t)awq_dtype_bytes(weight->dtype);
    int64_t rows = bytes ? BLOCK_BYTES / bytes : 1;
    int64_t least = weight->stored == AWQ_STORED_INTEGERS ? WORD_ROWS
                    : weight->transposed                  ? WIDE_ROWS
                                                          : 1;
    return rows < least ? least : rows / least * least;
}

awq_status awq_weight_read(const awq_weight *weight, int64_t first, int64_t rows, void *to,
                           awq_error *err)
{
    if (weight->stored == AWQ_STORED_INTEGERS) return unpack_rows(weight, first, rows, to, err);
    if (weight->stored != AWQ_STORED_PLAIN)
        decode_rows(weight, first, rows, to);
    else if (weight->transposed)
        copy_columns(weight, first, rows, to);
    else
        copy_rows(weight, first, rows, to);
    return AWQ_OK;
}

void awq_weight_dont_need(const awq_weight *weight)
{
    if (weight->experts) return; /* others lie in the same tensor */
    for (int i = 0; i < AWQ_MAX_PARTS; i++)
        if (weight->part[i]) awq_safetensors_dont_need(weight->part[i]);
}
