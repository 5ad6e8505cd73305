/* SPDX-License-Identifier: MIT
 * crc32 at the speed of memory, by libdeflate, which multiplies without carries where the processor
 * can; zlib combines sums. */
#include <libdeflate.h>
#include <zlib.h>

#include "io/files/file.h"

uint32_t awq_crc32(uint32_t crc, const void *data, size_t bytes)
{
    return bytes ? libdeflate_crc32(crc, data, bytes) : crc; /* of NULL it would begin anew */
}

uint32_t awq_crc32_combine(uint32_t first, uint32_t second, uint64_t second_bytes)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)second_bytes);
}
