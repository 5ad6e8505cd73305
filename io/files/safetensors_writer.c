/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/fault.h"
#include "io/files/publish.h"
#include "io/files/safetensors.h"
#include "io/files/safetensors_header.h"

#define HEADER_START "{\"" AWQ_SAFETENSORS_METADATA "\":{\"format\":\"pt\"}"
#define HEADER_END   "}"

enum { PREFIX_BYTES = 8, ALIGNMENT = 8 };

struct awq_safetensors_writer {
    awq_publish *file;
    char *path;
    uint64_t header_bytes;
    uint64_t data_bytes; /* that the header promises */
    _Atomic uint64_t written;
};

/* Writes `,"name":{...}` for a tensor whose data begins at `offset`; returns its length also when
 * it does not fit, as snprintf does. */
static size_t print_entry(char *out, size_t room, const awq_tensor *tensor, uint64_t offset)
{
    char shape[AWQ_SHAPE_TEXT_BYTES];
    char compact[AWQ_SHAPE_TEXT_BYTES];
    size_t used = 0;
    awq_tensor_shape_text(shape, tensor);
    for (const char *from = shape; *from; from++)
        if (*from != ' ') compact[used++] = *from;
    compact[used] = '\0';
    int length =
        snprintf(out, room, ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%llu,%llu]}",
                 tensor->name, awq_dtype_name(tensor->dtype), compact, (unsigned long long)offset,
                 (unsigned long long)(offset + awq_safetensors_data_bytes(tensor)));
    return length > 0 ? (size_t)length : 0;
}

uint64_t awq_safetensors_data_bytes(const awq_tensor *tensor)
{
    return (uint64_t)awq_tensor_elements(tensor) * awq_dtype_bytes(tensor->dtype);
}

uint64_t awq_safetensors_entry_bytes(const awq_tensor *tensor, uint64_t offset)
{
    return print_entry(NULL, 0, tensor, offset);
}

static uint64_t padded_header_bytes(uint64_t entry_bytes)
{
    uint64_t length = strlen(HEADER_START) + entry_bytes + strlen(HEADER_END);
    return (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

uint64_t awq_safetensors_total_bytes(uint64_t entry_bytes, uint64_t data_bytes)
{
    return PREFIX_BYTES + padded_header_bytes(entry_bytes) + data_bytes;
}

static uint64_t sum_entries(const awq_tensor *tensors, size_t count, uint64_t *data_bytes)
{
    uint64_t entries = 0;
    *data_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        entries += awq_safetensors_entry_bytes(&tensors[i], *data_bytes);
        *data_bytes += awq_safetensors_data_bytes(&tensors[i]);
    }
    return entries;
}

uint64_t awq_safetensors_file_bytes(const awq_tensor *tensors, size_t count)
{
    uint64_t data_bytes;
    uint64_t entry_bytes = sum_entries(tensors, count, &data_bytes);
    return awq_safetensors_total_bytes(entry_bytes, data_bytes);
}

bool awq_safetensors_name_fits(const char *name)
{
    if (!*name || !strcmp(name, AWQ_SAFETENSORS_METADATA)) return false;
    for (; *name; name++)
        if (*name < ' ' || *name > '~' || *name == '"' || *name == '\\') return false;
    return true;
}

static int compare_strings(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

static awq_status check_names(const char *path, const awq_tensor *tensors, size_t count,
                              awq_error *err)
{
    const char **names = malloc((count + 1) * sizeof *names);
    if (!names) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    awq_status status = AWQ_OK;
    for (size_t i = 0; i < count && !status; i++) {
        names[i] = tensors[i].name;
        if (!awq_safetensors_name_fits(names[i]))
            status = awq_fail(err, AWQ_ERR_INPUT, "cannot write '%s': '%.200s' is no tensor name",
                              path, names[i]);
    }
    if (!status) qsort(names, count, sizeof *names, compare_strings);
    for (size_t i = 1; i < count && !status; i++)
        if (!strcmp(names[i - 1], names[i]))
            status = awq_fail(err, AWQ_ERR_INPUT,
                              "cannot write '%s': tensor '%.200s' is there twice", path, names[i]);
    free(names);
    return status;
}

/* The header: prefix and JSON, padded with spaces. */
static awq_status open_with_header(awq_safetensors_writer *writer, const awq_tensor *tensors,
                                   size_t count, awq_error *err)
{
    uint64_t length = padded_header_bytes(sum_entries(tensors, count, &writer->data_bytes));
    uint64_t bytes = PREFIX_BYTES + length, offset = 0;
    char *header = malloc(bytes + 1);
    if (!header) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", writer->path);
    for (int i = 0; i < PREFIX_BYTES; i++) header[i] = (char)(length >> 8 * i & 0xff);
    char *at = header + PREFIX_BYTES, *end = header + bytes;
    at += sprintf(at, "%s", HEADER_START);
    for (size_t i = 0; i < count; i++) {
        at += print_entry(at, (size_t)(end - at) + 1, &tensors[i], offset);
        offset += awq_safetensors_data_bytes(&tensors[i]);
    }
    at += sprintf(at, "%s", HEADER_END);
    memset(at, ' ', (size_t)(end - at));
    writer->header_bytes = bytes;
    awq_status status =
        awq_publish_open(writer->path, bytes + writer->data_bytes, &writer->file, err);
    if (!status) status = awq_publish_write(writer->file, header, bytes, err);
    free(header);
    return status;
}

awq_status awq_safetensors_create(const char *path, const awq_tensor *tensors, size_t count,
                                  awq_safetensors_writer **out, awq_error *err)
{
    if (check_names(path, tensors, count, err)) return err->status;
    awq_safetensors_writer *writer = calloc(1, sizeof *writer);
    if (writer) writer->path = strdup(path);
    if (!writer || !writer->path) {
        awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    } else if (!open_with_header(writer, tensors, count, err)) {
        *out = writer;
        return AWQ_OK;
    }
    awq_safetensors_writer_free(writer);
    return err->status;
}

static awq_status count(awq_safetensors_writer *writer, uint64_t offset, size_t bytes,
                        awq_error *err)
{
    if (offset > writer->data_bytes || bytes > writer->data_bytes - offset)
        return awq_fail(err, AWQ_ERR_INTERNAL, "more data for '%s' than its header promises",
                        writer->path);
    atomic_fetch_add(&writer->written, bytes);
    return AWQ_OK;
}

awq_status awq_safetensors_append(awq_safetensors_writer *writer, const void *data, size_t bytes,
                                  awq_error *err)
{
    AWQ_FAULT_POINT("safetensors-append");
    if (count(writer, atomic_load(&writer->written), bytes, err)) return err->status;
    return awq_publish_write(writer->file, data, bytes, err);
}

awq_status awq_safetensors_put(awq_safetensors_writer *writer, uint64_t offset, const void *data,
                               size_t bytes, uint32_t *crc, awq_error *err)
{
    AWQ_FAULT_POINT("safetensors-put");
    if (count(writer, offset, bytes, err)) return err->status;
    return awq_publish_write_at(writer->file, writer->header_bytes + offset, data, bytes, crc, err);
}

awq_status awq_safetensors_commit(awq_safetensors_writer *writer, uint32_t *crc, uint64_t *bytes,
                                  awq_error *err)
{
    uint64_t written = atomic_load(&writer->written);
    if (written != writer->data_bytes)
        return awq_fail(err, AWQ_ERR_INTERNAL, "'%s' lacks %llu bytes of data", writer->path,
                        (unsigned long long)(writer->data_bytes - written));
    return awq_publish_commit(writer->file, crc, bytes, err);
}

void awq_safetensors_writer_free(awq_safetensors_writer *writer)
{
    if (!writer) return;
    awq_publish_free(writer->file);
    free(writer->path);
    free(writer);
}
