/* SPDX-License-Identifier: MIT
 * Feeds bytes to the safetensors reader as a file, and touches all that it says is there.
 * With clang: -fsanitize=fuzzer. Otherwise linked with replay_corpus.c. */
#define _XOPEN_SOURCE 700 /* mkstemp */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const awq_safetensors *file)
{
    uint64_t bytes, sum = 0;
    const unsigned char *all = awq_safetensors_bytes(file, &bytes);
    for (size_t i = 0; i < awq_safetensors_count(file); i++) {
        const awq_tensor *tensor = awq_safetensors_at(file, i);
        const unsigned char *begin = tensor->data;
        if (awq_safetensors_find(file, tensor->name) != tensor) abort();
        if (begin < all || begin + tensor->bytes > all + bytes) abort();
        if ((uint64_t)awq_tensor_elements(tensor) * awq_dtype_bytes(tensor->dtype) != tensor->bytes)
            abort();
        awq_crc32(0, begin, tensor->bytes);
        sum += tensor->bytes;
    }
    if (sum > bytes) abort();
    awq_safetensors_header_crc(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/awq-fuzz-XXXXXX";
    awq_error err;
    awq_safetensors *file;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
    if (!awq_safetensors_open(path, &file, &err)) {
        touch(file);
        awq_safetensors_close(file);
    }
    unlink(path);
    return 0;
}
