/* SPDX-License-Identifier: MIT
 * io/formats/compressed_tensors.c - compressed-tensors' pack-quantized: codes as words [out,
 * ceil(in bits / 32)], one after another, lowest bit first (0..7 is 0x76543210; its own codes are
 * signed, and stored with 2^(bits - 1) added: ours). Zero points likewise, but along out. Scales in
 * the model's type.
 *
 * 3 bits lie as the library packs them now (0.20): a code may lie in two words. Its older versions
 * (0.10) gave ten codes a word; 4 and 8 bits are the same in all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/layouts.h"

enum { PACKED, SCALE, SHAPE, ZERO_POINT };

static bool holds(const awq_quantization *quantization, char reason[AWQ_REASON_BYTES])
{
    int bits = quantization->bits;
    if (bits == 3 || bits == 4 || bits == 8) return true;
    snprintf(reason, AWQ_REASON_BYTES, "the compressed-tensors format holds 3, 4 or 8 bits, not %d",
             bits);
    return false;
}

static bool holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                         char reason[AWQ_REASON_BYTES])
{
    (void)quantization;
    (void)out;
    (void)in;
    (void)reason;
    return true;
}

static int parts(const awq_quantization *quantization, int64_t out, int64_t in,
                 awq_part parts[AWQ_MAX_PARTS])
{
    int bits = quantization->bits;
    int64_t groups = awq_quantization_groups(quantization, in);
    parts[PACKED] = (awq_part){
        "weight_packed", AWQ_PART_EXACT, AWQ_I32, 2, {out, awq_words_count(in, bits)}, false};
    parts[SCALE] =
        (awq_part){"weight_scale", AWQ_PART_WEIGHT, quantization->scales, 2, {out, groups}, true};
    parts[SHAPE] = (awq_part){"weight_shape", AWQ_PART_SHAPE, AWQ_I64, 1, {2, 0}, false};
    if (quantization->symmetric) return 3;
    parts[ZERO_POINT] = (awq_part){"weight_zero_point",
                                   AWQ_PART_EXACT,
                                   AWQ_I32,
                                   2,
                                   {awq_words_count(out, bits), groups},
                                   false};
    return 4;
}

static awq_status check_symmetric(const awq_quantization *quantization,
                                  const awq_linear_words *linear, awq_error *err)
{
    int middle = 1 << (quantization->bits - 1);
    for (int64_t i = 0; i < linear->out * linear->groups; i++)
        if (linear->zeros[i] != middle)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "row %lld, group %lld has the zero point %d, and symmetric groups have "
                            "%d",
                            (long long)(i / linear->groups), (long long)(i % linear->groups),
                            linear->zeros[i], middle);
    return AWQ_OK;
}

/* Columns of zeros [out, groups] to columns of words [ceil(out bits / 32), groups]. */
static awq_status pack_zeros(uint32_t *to, const awq_linear_words *linear, int bits, awq_error *err)
{
    int64_t words = awq_words_count(linear->out, bits), groups = linear->groups;
    uint8_t *column = malloc((size_t)linear->out + 1);
    uint32_t *packed = malloc((size_t)words * sizeof *packed + 1);
    awq_status status = AWQ_OK;
    if (!column || !packed) status = awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack zero points");
    for (int64_t group = 0; !status && group < groups; group++) {
        for (int64_t row = 0; row < linear->out; row++)
            column[row] = linear->zeros[row * groups + group];
        awq_words_pack(packed, column, linear->out, bits);
        for (int64_t word = 0; word < words; word++) to[word * groups + group] = packed[word];
    }
    free(packed);
    free(column);
    return status;
}

static awq_status pack(const awq_quantization *quantization, const awq_linear_words *linear,
                       void *const to[AWQ_MAX_PARTS], awq_error *err)
{
    const int64_t shape[2] = {linear->out, linear->in};
    int bits = quantization->bits;
    int64_t words = linear->out * awq_words_count(linear->in, bits), groups = linear->groups;
    memcpy(to[PACKED], linear->words, (size_t)words * sizeof *linear->words);
    memcpy(to[SHAPE], shape, sizeof shape);
    char *scale = to[SCALE];
    for (int64_t i = 0; i < linear->out * groups; i++) {
        if (awq_scale_store(scale, quantization->scales, linear->scales[i], i / groups, i % groups,
                            err))
            return err->status;
        scale += awq_dtype_bytes(quantization->scales);
    }
    return quantization->symmetric ? check_symmetric(quantization, linear, err)
                                   : pack_zeros(to[ZERO_POINT], linear, bits, err);
}

awq_status awq_shape_check(const awq_tensor *tensor, int64_t out, int64_t in, awq_error *err)
{
    int64_t shape[2];
    int32_t narrow[2];
    if (tensor->dtype == AWQ_I64) {
        memcpy(shape, tensor->data, sizeof shape);
    } else {
        memcpy(narrow, tensor->data, sizeof narrow);
        shape[0] = narrow[0];
        shape[1] = narrow[1];
    }
    if (shape[0] == out && shape[1] == in) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT, "'%s' says [%lld, %lld], expected [%lld, %lld]",
                    tensor->name, (long long)shape[0], (long long)shape[1], (long long)out,
                    (long long)in);
}

/* Vectors of `count` codes; vector v has its words at `first` + v * `step`, each `stride` words
 * after the one before. `values` likewise, in bytes. */
typedef struct packed_vectors {
    int64_t vectors, count, words;
    int64_t step, stride, value_step, value_stride;
} packed_vectors;

static awq_status unpack_vectors(uint8_t *values, const awq_tensor *tensor,
                                 const packed_vectors *shape, int bits, awq_error *err)
{
    uint32_t *words = malloc((size_t)shape->words * sizeof *words + 1);
    uint8_t *line = malloc((size_t)shape->count + 1);
    awq_status status = AWQ_OK;
    if (!words || !line)
        status = awq_fail(err, AWQ_ERR_MEMORY, "no memory to unpack '%s'", tensor->name);
    for (int64_t v = 0; !status && v < shape->vectors; v++) {
        const char *from = (const char *)tensor->data + 4 * v * shape->step;
        for (int64_t i = 0; i < shape->words; i++)
            memcpy(&words[i], from + 4 * i * shape->stride, sizeof *words);
        awq_words_unpack(line, words, shape->count, bits);
        for (int64_t i = 0; i < shape->count; i++)
            values[v * shape->value_step + i * shape->value_stride] = line[i];
    }
    free(line);
    free(words);
    return status;
}

static awq_status unpack(const awq_quantization *quantization,
                         const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                         awq_error *err)
{
    int bits = quantization->bits;
    int64_t out = codes->out, in = codes->in, groups = codes->groups;
    int64_t words = awq_words_count(in, bits), zero_words = awq_words_count(out, bits);
    packed_vectors rows = {out, in, words, words, 1, in, 1};
    packed_vectors columns = {groups, out, zero_words, 1, groups, 1, groups};
    if (awq_shape_check(parts[SHAPE], codes->out, codes->in, err) ||
        unpack_vectors(codes->codes, parts[PACKED], &rows, bits, err))
        return err->status;
    awq_widen(codes->scales, parts[SCALE]->data, parts[SCALE]->dtype, (size_t)(out * groups));
    if (!quantization->symmetric)
        return unpack_vectors(codes->zeros, parts[ZERO_POINT], &columns, bits, err);
    memset(codes->zeros, 1 << (bits - 1), (size_t)(out * groups));
    return AWQ_OK;
}

/* Linears kept in full precision, the head, and what stands beside the model. NULL: no memory. */
static json_t *list_ignored(const awq_model *model, const json_t *beside)
{
    json_t *ignored = awq_config_kept(model);
    bool ok = ignored;
    if (ok && !model->headless)
        ok = !json_array_append_new(ignored, json_string(model->root->head));
    if (ok) ok = !json_array_extend(ignored, (json_t *)(uintptr_t)beside);
    if (ok) return ignored;
    json_decref(ignored);
    return NULL;
}

static json_t *config(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization)
{
    json_t *weights = json_pack("{s:n, s:n, s:b, s:I, s:i, s:s, s:{}, s:s, s:b, s:s}", "actorder",
                                "block_structure", "dynamic", 0, "group_size",
                                (json_int_t)quantization->group_size, "num_bits",
                                quantization->bits, "observer", "minmax", "observer_kwargs",
                                "strategy", quantization->group_size > 0 ? "group" : "channel",
                                "symmetric", (int)quantization->symmetric, "type", "int");
    json_t *ignored = list_ignored(model, beside);
    json_t *group = json_pack("{s:n, s:n, s:[s], s:o}", "input_activations", "output_activations",
                              "targets", "Linear", "weights", weights);
    return json_pack("{s:{s:o}, s:s, s:n, s:o, s:n, s:s, s:s}", "config_groups", "group_0", group,
                     "format", "pack-quantized", "global_compression_ratio", "ignore", ignored,
                     "kv_cache_scheme", "quant_method", "compressed-tensors", "quantization_status",
                     "compressed");
}

const awq_format_layout awq_layout_compressed = {
    .holds = holds,
    .holds_linear = holds_linear,
    .parts = parts,
    .pack = pack,
    .unpack = unpack,
    .config = config,
};
