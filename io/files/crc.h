/* SPDX-License-Identifier: MIT
 * io/files/crc.h - crc32 (zlib's) of memory of any size. Start with crc 0. */
#ifndef AWQ_IO_FILES_CRC_H
#define AWQ_IO_FILES_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t awq_crc32(uint32_t crc, const void *data, size_t bytes);

#endif
