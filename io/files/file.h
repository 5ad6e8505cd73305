/* SPDX-License-Identifier: MIT
 * io/files/file.h - reading a file whole: into memory, or through a checksum. */
#ifndef AWQ_IO_FILES_FILE_H
#define AWQ_IO_FILES_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

/* Reads a regular file of at most max_bytes. *data is the caller's to free; a NUL that *bytes does
 * not count follows the content. */
awq_status awq_file_read(const char *path, size_t max_bytes, char **data, size_t *bytes,
                         awq_error *err);

/* crc32 and size of a file's content. */
awq_status awq_file_crc32(const char *path, uint32_t *crc, uint64_t *bytes, awq_error *err);

/* crc32 (zlib's) of memory of any size. Start with crc 0. */
uint32_t awq_crc32(uint32_t crc, const void *data, size_t bytes);

/* crc32 of two things one after the other, of their crc32s and the bytes of the second. */
uint32_t awq_crc32_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

#endif
