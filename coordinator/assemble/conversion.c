/* SPDX-License-Identifier: MIT */
#include "coordinator/assemble/conversion.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/path.h"

/* What becomes a tensor of the output. */
typedef struct source {
    const awq_tensor *tensor; /* copied as it is; NULL: part of a linear that is packed anew */
    int64_t layer;
    int linear;
    int part;
} source;

struct awq_conversion {
    const awq_checkpoint *from; /* borrowed */
    awq_quantization to;
    awq_tensor *tensors; /* owned, as are their names; [count] */
    source *sources;     /* owned, [count] */
    size_t count, capacity;
    awq_shards shards;
    awq_tensor_sums sums;
    /* the linear that was packed last */
    int64_t layer; /* -1: none */
    int linear;
    void *parts[AWQ_MAX_PARTS]; /* owned */
};

/* ---- the list ---- */

static awq_status add(awq_conversion *conversion, const awq_tensor *tensor, const source *from,
                      awq_error *err)
{
    if (conversion->count == conversion->capacity) {
        size_t capacity = conversion->capacity ? 2 * conversion->capacity : 256;
        void *tensors = realloc(conversion->tensors, capacity * sizeof *conversion->tensors);
        if (tensors) conversion->tensors = tensors;
        void *sources = realloc(conversion->sources, capacity * sizeof *conversion->sources);
        if (sources) conversion->sources = sources;
        if (!tensors || !sources)
            return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the output's list");
        conversion->capacity = capacity;
    }
    awq_tensor *to = &conversion->tensors[conversion->count];
    *to = *tensor;
    to->name = strdup(tensor->name);
    if (!to->name) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the output's list");
    conversion->sources[conversion->count++] = *from;
    return AWQ_OK;
}

static awq_status add_copy(awq_conversion *conversion, const awq_tensor *tensor, awq_error *err)
{
    return add(conversion, tensor, &(source){.tensor = tensor}, err);
}

static awq_status add_parts(awq_conversion *conversion, int64_t layer, int linear, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(conversion->from);
    const awq_linear_spec *spec = &awq_model_layer(model, layer)->linear[linear];
    awq_part parts[AWQ_MAX_PARTS];
    int count = awq_format_parts(&conversion->to, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++) {
        char name[AWQ_NAME_BYTES];
        awq_tensor tensor = {
            .name = awq_linear_tensor_name(name, model, layer, linear, parts[i].suffix),
            .dtype = parts[i].dtype,
            .dims = parts[i].dims,
            .shape = {parts[i].shape[0], parts[i].shape[1]}};
        tensor.bytes = (uint64_t)awq_tensor_elements(&tensor) * awq_dtype_bytes(tensor.dtype);
        if (add(conversion, &tensor, &(source){NULL, layer, linear, i}, err)) return err->status;
    }
    return AWQ_OK;
}

static awq_status add_layer(awq_conversion *conversion, int64_t layer, awq_error *err)
{
    const awq_checkpoint *from = conversion->from;
    const awq_model *model = awq_checkpoint_model(from);
    const awq_layer_spec *spec = awq_model_layer(model, layer);
    for (int linear = 0; linear < spec->linears; linear++) {
        awq_status status =
            awq_model_packs(model, layer, linear)
                ? add_parts(conversion, layer, linear, err)
                : add_copy(conversion, awq_checkpoint_linear(from, layer, linear, "weight"), err);
        if (status) return status;
        if (spec->linear[linear].bias &&
            add_copy(conversion, awq_checkpoint_linear(from, layer, linear, "bias"), err))
            return err->status;
    }
    for (int i = 0; i < spec->vectors; i++)
        for (int piece = 0; piece < awq_vector_pieces(&spec->vector[i]); piece++)
            if (add_copy(conversion, awq_checkpoint_vector(from, layer, i, piece), err))
                return err->status;
    return AWQ_OK;
}

static awq_status list(awq_conversion *conversion, awq_error *err)
{
    const awq_checkpoint *from = conversion->from;
    const awq_model *model = awq_checkpoint_model(from);
    if (add_copy(conversion, awq_checkpoint_end(from, AWQ_EMBEDDING), err)) return err->status;
    for (int64_t layer = 0; layer < model->layers; layer++)
        if (add_layer(conversion, layer, err)) return err->status;
    for (awq_end end = AWQ_FINAL_NORM; end < AWQ_ENDS; end++)
        if (awq_model_stores(model, end) &&
            add_copy(conversion, awq_checkpoint_end(from, end), err))
            return err->status;
    for (size_t i = 0; i < awq_checkpoint_copies(from); i++)
        if (add_copy(conversion, awq_checkpoint_copied(from, i), err)) return err->status;
    return AWQ_OK;
}

awq_status awq_conversion_create(const awq_checkpoint *from, const awq_quantization *to,
                                 uint64_t max_bytes, awq_conversion **out, awq_error *err)
{
    awq_conversion *conversion = calloc(1, sizeof *conversion);
    if (!conversion) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the output's list");
    conversion->from = from;
    conversion->to = *to;
    conversion->layer = -1;
    if (list(conversion, err) ||
        awq_shards_plan(conversion->tensors, conversion->count, max_bytes, &conversion->shards,
                        err) ||
        awq_tensor_sums_create(conversion->tensors, conversion->count, &conversion->sums, err)) {
        awq_conversion_free(conversion);
        return err->status;
    }
    *out = conversion;
    return AWQ_OK;
}

static void forget_parts(awq_conversion *conversion)
{
    for (int i = 0; i < AWQ_MAX_PARTS; i++) {
        free(conversion->parts[i]);
        conversion->parts[i] = NULL;
    }
    conversion->layer = -1;
}

void awq_conversion_free(awq_conversion *conversion)
{
    if (!conversion) return;
    forget_parts(conversion);
    for (size_t i = 0; i < conversion->count; i++)
        free((char *)(uintptr_t)conversion->tensors[i].name);
    free(conversion->tensors);
    free(conversion->sources);
    awq_shards_release(&conversion->shards);
    awq_tensor_sums_release(&conversion->sums);
    free(conversion);
}

const awq_shards *awq_conversion_shards(const awq_conversion *conversion)
{
    return &conversion->shards;
}

const awq_tensor_sums *awq_conversion_sums(const awq_conversion *conversion)
{
    return &conversion->sums;
}

json_t *awq_conversion_index(const awq_conversion *conversion)
{
    return awq_shards_index(&conversion->shards, conversion->tensors);
}

/* ---- the stream ---- */

static awq_status pack(awq_conversion *conversion, const awq_linear_codes *codes, awq_error *err)
{
    awq_part parts[AWQ_MAX_PARTS];
    int count = awq_format_parts(&conversion->to, codes->out, codes->in, parts);
    for (int i = 0; i < count; i++) {
        awq_tensor shape = {.dims = parts[i].dims, .shape = {parts[i].shape[0], parts[i].shape[1]}};
        size_t elements = (size_t)awq_tensor_elements(&shape);
        conversion->parts[i] = malloc(elements * awq_dtype_bytes(parts[i].dtype) + 1);
        if (!conversion->parts[i])
            return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a linear");
    }
    uint32_t *words = awq_linear_codes_words(codes, conversion->to.bits);
    if (!words) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a linear");
    awq_linear_words linear = {codes->out, codes->in,    codes->groups,
                               words,      codes->zeros, codes->scales};
    awq_status status = awq_format_pack(&conversion->to, &linear, conversion->parts, err);
    free(words);
    return status;
}

/* Has the parts of a linear in conversion->parts. */
static awq_status convert(awq_conversion *conversion, int64_t layer, int linear, awq_error *err)
{
    char name[AWQ_NAME_BYTES];
    awq_linear_codes codes;
    if (conversion->layer == layer && conversion->linear == linear) return AWQ_OK;
    forget_parts(conversion);
    if (awq_checkpoint_unpack(conversion->from, layer, linear, &codes, err)) return err->status;
    awq_status status = pack(conversion, &codes, err);
    awq_linear_codes_release(&codes);
    if (status)
        return awq_error_wrap(
            err, "%s",
            awq_linear_full_name(name, awq_checkpoint_model(conversion->from), layer, linear));
    conversion->layer = layer;
    conversion->linear = linear;
    return AWQ_OK;
}

awq_status awq_conversion_write(awq_conversion *conversion, const awq_shard *shard,
                                const char *directory, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_safetensors_writer *writer;
    if (awq_path_join(path, directory, shard->name, err) ||
        awq_safetensors_create(path, conversion->tensors + shard->first, shard->count, &writer,
                               err))
        return err->status;
    awq_status status = AWQ_OK;
    uint64_t offset = 0;
    for (size_t i = shard->first; !status && i < shard->first + shard->count; i++) {
        const source *from = &conversion->sources[i];
        const awq_tensor *tensor = &conversion->tensors[i];
        if (!from->tensor) status = convert(conversion, from->layer, from->linear, err);
        if (status) break;
        const void *data = from->tensor ? from->tensor->data : conversion->parts[from->part];
        status =
            awq_safetensors_put(writer, offset, data, tensor->bytes, &conversion->sums.crc[i], err);
        offset += tensor->bytes;
        if (from->tensor) awq_safetensors_dont_need(from->tensor);
    }
    if (!status) status = awq_safetensors_commit(writer, NULL, NULL, err);
    awq_safetensors_writer_free(writer);
    return status;
}
