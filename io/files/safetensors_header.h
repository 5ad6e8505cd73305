/* SPDX-License-Identifier: MIT
 * io/files/safetensors_header.h - the JSON header of a safetensors file, read and written. Inside
 * io only. */
#ifndef AWQ_IO_FILES_SAFETENSORS_HEADER_H
#define AWQ_IO_FILES_SAFETENSORS_HEADER_H

#include <jansson.h>

#include "io/core/error.h"
#include "io/files/tensor.h"

#define AWQ_SAFETENSORS_MAX_HEADER 100000000u
#define AWQ_SAFETENSORS_METADATA   "__metadata__"

/* The tensors that a header describes, in the order of their data, which is data_bytes long;
 * names are borrowed from the header, data is not set. The caller frees *out. Errors do not name
 * the file. */
awq_status awq_safetensors_header_tensors(json_t *header, uint64_t data_bytes, awq_tensor **out,
                                          size_t *count, awq_error *err);

/* Bytes of a tensor's data by its dtype and shape. */
uint64_t awq_safetensors_data_bytes(const awq_tensor *tensor);

/* Length of a tensor's entry in the header, the comma in front included, when its data begins at
 * `offset`. */
uint64_t awq_safetensors_entry_bytes(const awq_tensor *tensor, uint64_t offset);

/* Size of a file whose entries and data are this long. */
uint64_t awq_safetensors_total_bytes(uint64_t entry_bytes, uint64_t data_bytes);

#endif
