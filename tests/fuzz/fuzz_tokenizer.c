/* SPDX-License-Identifier: MIT
 * Feeds bytes to the reader of tokenizer.json, and encodes a text with whatever it accepts.
 * With clang: -fsanitize=fuzzer. Otherwise linked with replay_corpus.c. */
#define _XOPEN_SOURCE 700 /* mkstemp */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(awq_tokenizer *tokenizer)
{
    static const char text[] = "I'm  12 caf\xc3\xa9s,\n\n <s>e\xcc\x81</s> \xe2\x96\x81x "
                               "\xf0\x90\x97\xaa\xe1\xa0\x8e a<b> word \xe4\xb8\xad";
    static uint8_t marks[sizeof text];
    awq_error err;
    awq_ids ids = {0};
    memset(marks + 20, 1, sizeof marks - 20);
    for (int marked = 0; marked < 2; marked++)
        if (!awq_tokenizer_encode(tokenizer, text, marked ? marks : NULL, sizeof text - 1, true,
                                  &ids, &err))
            for (size_t i = 0; i < ids.count; i++)
                if (ids.ids[i] < 0) abort();
    awq_ids_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/awqrun-fuzz-XXXXXX";
    awq_tokenizer *tokenizer;
    awq_error err;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
    if (!awq_tokenizer_open(path, &tokenizer, &err)) {
        encode(tokenizer);
        awq_tokenizer_close(tokenizer);
    } else if (!*err.text) {
        abort();
    }
    unlink(path);
    return 0;
}
