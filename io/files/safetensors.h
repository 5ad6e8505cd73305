/* SPDX-License-Identifier: MIT
 * io/files/safetensors.h - read and write one .safetensors file.
 *
 * The format: u64 little-endian N; N bytes of JSON, `{"name": {"dtype": "BF16", "shape": [..],
 * "data_offsets": [begin, end]}, ..., "__metadata__": {..strings..}}`, padded with spaces; then
 * the data, offsets counted from its start. The reader is strict: N at most 100 MB and inside the
 * file, no duplicate keys, dtypes known, shape times element size equal to the range, ranges
 * inside the file, not overlapping and without gaps. Nothing is copied: tensors point into the
 * mapping. */
#ifndef AWQ_IO_FILES_SAFETENSORS_H
#define AWQ_IO_FILES_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"
#include "io/files/tensor.h"

typedef struct awq_safetensors awq_safetensors;

/* Maps a file. *out is the caller's to close; its tensors live as long. */
awq_status awq_safetensors_open(const char *path, awq_safetensors **out, awq_error *err);
void awq_safetensors_close(awq_safetensors *file);

size_t awq_safetensors_count(const awq_safetensors *file);
/* Tensors in the order of their data. */
const awq_tensor *awq_safetensors_at(const awq_safetensors *file, size_t index);
/* NULL: not there. */
const awq_tensor *awq_safetensors_find(const awq_safetensors *file, const char *name);
const char *awq_safetensors_path(const awq_safetensors *file);
/* The whole mapping, header included: for checksums. */
const void *awq_safetensors_bytes(const awq_safetensors *file, uint64_t *bytes);
/* crc32 of the header (length word and JSON): part of a job's fingerprint. */
uint32_t awq_safetensors_header_crc(const awq_safetensors *file);
/* Tells the kernel that a tensor's pages are no longer needed. */
void awq_safetensors_dont_need(const awq_tensor *tensor);

/* Whether the writer takes a name: JSON need not escape it, being printable ASCII but for the quote
 * and the backslash. */
bool awq_safetensors_name_fits(const char *name);

/* A writer streams the tensors, in the order given, under a temporary name. */
typedef struct awq_safetensors_writer awq_safetensors_writer;

/* Exact size of a file that holds these tensors (name, dtype, dims, shape are read). */
uint64_t awq_safetensors_file_bytes(const awq_tensor *tensors, size_t count);

/* Writes the header, metadata {"format": "pt"}. Names, dtypes and shapes are copied. */
awq_status awq_safetensors_create(const char *path, const awq_tensor *tensors, size_t count,
                                  awq_safetensors_writer **out, awq_error *err);
/* Appends bytes of tensor data; tensors may be given in several pieces, in order. */
awq_status awq_safetensors_append(awq_safetensors_writer *writer, const void *data, size_t bytes,
                                  awq_error *err);
/* In place of it: puts a tensor's data, or a piece of it, at its offset in the data; any thread, in
 * any order, each byte once. *crc is the piece's crc32. */
awq_status awq_safetensors_put(awq_safetensors_writer *writer, uint64_t offset, const void *data,
                               size_t bytes, uint32_t *crc, awq_error *err);
/* Publishes the file; an error if bytes are missing. crc and bytes (may be NULL) are the file's, if
 * all was appended. */
awq_status awq_safetensors_commit(awq_safetensors_writer *writer, uint32_t *crc, uint64_t *bytes,
                                  awq_error *err);
/* Frees; what was not committed is removed. NULL is fine. */
void awq_safetensors_writer_free(awq_safetensors_writer *writer);

#endif
