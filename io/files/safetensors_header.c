/* SPDX-License-Identifier: MIT */
#include "io/files/safetensors_header.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* a * b into *out; false: more than an int64 holds. Neither is negative. */
static bool multiply(int64_t a, int64_t b, int64_t *out)
{
    if (a && b > INT64_MAX / a) return false;
    *out = a * b;
    return true;
}

static awq_status read_shape(const json_t *entry, awq_tensor *tensor, awq_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return awq_fail(err, AWQ_ERR_CORRUPT, "shape is not an array");
    if (json_array_size(shape) > AWQ_MAX_DIMS)
        return awq_fail(err, AWQ_ERR_CORRUPT, "shape has %zu dimensions, at most %d are supported",
                        json_array_size(shape), AWQ_MAX_DIMS);
    tensor->dims = (int)json_array_size(shape);
    int64_t bytes = 1;
    for (int i = 0; i < tensor->dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        tensor->shape[i] = json_integer_value(size);
        if (!json_is_integer(size) || tensor->shape[i] < 0)
            return awq_fail(err, AWQ_ERR_CORRUPT, "shape holds something other than sizes");
        if (!multiply(bytes, tensor->shape[i], &bytes))
            return awq_fail(err, AWQ_ERR_CORRUPT, "shape overflows");
    }
    if (!multiply(bytes, (int64_t)awq_dtype_bytes(tensor->dtype), &bytes))
        return awq_fail(err, AWQ_ERR_CORRUPT, "shape overflows");
    tensor->bytes = (uint64_t)bytes;
    return AWQ_OK;
}

static awq_status read_offsets(const json_t *entry, uint64_t data_bytes, awq_tensor *tensor,
                               awq_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return awq_fail(err, AWQ_ERR_CORRUPT, "data_offsets is not a pair of integers");
    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return awq_fail(err, AWQ_ERR_CORRUPT, "data_offsets [%lld, %lld] is not a range",
                        (long long)begin, (long long)end);
    if ((uint64_t)end > data_bytes)
        return awq_fail(err, AWQ_ERR_CORRUPT,
                        "data ends at byte %lld, but the file holds %llu: it is truncated",
                        (long long)end, (unsigned long long)data_bytes);
    char shape[AWQ_SHAPE_TEXT_BYTES];
    if ((uint64_t)(end - begin) != tensor->bytes)
        return awq_fail(err, AWQ_ERR_CORRUPT, "shape %s of %s needs %llu bytes, has %lld",
                        awq_tensor_shape_text(shape, tensor), awq_dtype_name(tensor->dtype),
                        (unsigned long long)tensor->bytes, (long long)(end - begin));
    tensor->offset = (uint64_t)begin;
    return AWQ_OK;
}

static awq_status read_entry(const json_t *entry, uint64_t data_bytes, awq_tensor *tensor,
                             awq_error *err)
{
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_object(entry)) {
        awq_fail(err, AWQ_ERR_CORRUPT, "its entry is not an object");
    } else if (!json_is_string(dtype)) {
        awq_fail(err, AWQ_ERR_CORRUPT, "dtype is not a string");
    } else if (!awq_dtype_parse(json_string_value(dtype), &tensor->dtype)) {
        awq_fail(err, AWQ_ERR_CORRUPT, "dtype '%.40s' is unknown", json_string_value(dtype));
    } else if (!read_shape(entry, tensor, err) && !read_offsets(entry, data_bytes, tensor, err)) {
        return AWQ_OK;
    }
    return awq_error_wrap(err, "tensor '%.200s'", tensor->name);
}

static awq_status check_metadata(json_t *metadata, awq_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return awq_fail(err, AWQ_ERR_CORRUPT, "__metadata__ is not an object");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return awq_fail(err, AWQ_ERR_CORRUPT, "__metadata__ '%.200s' is not a string", key);
    }
    return AWQ_OK;
}

static int compare_offsets(const void *left, const void *right)
{
    const awq_tensor *a = left, *b = right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Ranges, sorted, must cover the data without gap or overlap. */
static awq_status check_cover(const awq_tensor *tensors, size_t count, uint64_t data_bytes,
                              awq_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].offset != end)
            return awq_fail(err, AWQ_ERR_CORRUPT, "tensor '%.200s': %s", tensors[i].name,
                            tensors[i].offset < end ? "its data overlaps another tensor's"
                                                    : "there is a gap before its data");
        end += tensors[i].bytes;
    }
    if (end != data_bytes)
        return awq_fail(err, AWQ_ERR_CORRUPT, "%llu bytes follow the last tensor",
                        (unsigned long long)(data_bytes - end));
    return AWQ_OK;
}

static awq_status read_entries(json_t *header, uint64_t data_bytes, awq_tensor *tensors,
                               size_t *count, awq_error *err)
{
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (!strcmp(name, AWQ_SAFETENSORS_METADATA)) {
            if (check_metadata(entry, err)) return err->status;
            continue;
        }
        awq_tensor *tensor = &tensors[(*count)++];
        *tensor = (awq_tensor){.name = name};
        if (read_entry(entry, data_bytes, tensor, err)) return err->status;
    }
    qsort(tensors, *count, sizeof *tensors, compare_offsets);
    return check_cover(tensors, *count, data_bytes, err);
}

awq_status awq_safetensors_header_tensors(json_t *header, uint64_t data_bytes, awq_tensor **out,
                                          size_t *count, awq_error *err)
{
    size_t found = 0;
    awq_tensor *tensors = malloc((json_object_size(header) + 1) * sizeof *tensors);
    if (!tensors) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for its tensors");
    if (read_entries(header, data_bytes, tensors, &found, err)) {
        free(tensors);
        return err->status;
    }
    *out = tensors;
    *count = found;
    return AWQ_OK;
}
