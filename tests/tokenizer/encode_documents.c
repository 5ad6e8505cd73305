/* SPDX-License-Identifier: MIT
 * encode_documents TOKENIZER.json [REPEATS]: ids of documents, for tests and for timing.
 *
 * stdin: each document as a 32-bit length and its UTF-8. stdout: for each a 32-bit count and its
 * ids. With REPEATS the ids are not written, and stderr has the rate of the best repetition, in
 * seconds of this process: other programs on the machine count little. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/core/buffer.h"
#include "io/tokenizer/tokenizer.h"

static int fail(const char *what)
{
    fprintf(stderr, "encode_documents: %s\n", what);
    return 1;
}

static bool read_all(FILE *file, awq_buffer *out, awq_error *err)
{
    char block[65536];
    for (size_t bytes; (bytes = fread(block, 1, sizeof block, file)) > 0;)
        if (awq_buffer_append(out, block, bytes, err)) return false;
    return true;
}

/* Encodes all documents; writes their ids if asked to. Returns whether it worked. */
static bool encode_all(awq_tokenizer *tokenizer, const awq_buffer *in, bool print, awq_error *err)
{
    awq_ids ids = {0};
    uint32_t bytes;
    bool ok = true;
    for (size_t at = 0; ok && at + sizeof bytes <= in->bytes; at += sizeof bytes + bytes) {
        memcpy(&bytes, in->data + at, sizeof bytes);
        ids.count = 0;
        ok = !awq_tokenizer_encode(tokenizer, in->data + at + sizeof bytes, NULL, bytes, true, &ids,
                                   err);
        uint32_t count = (uint32_t)ids.count;
        if (!ok || !print) continue;
        fwrite(&count, sizeof count, 1, stdout);
        if (count) fwrite(ids.ids, sizeof *ids.ids, ids.count, stdout);
    }
    awq_ids_release(&ids);
    return ok;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    awq_tokenizer *tokenizer;
    awq_buffer in = {0};
    awq_error err;
    int repeats = argc > 2 ? atoi(argv[2]) : 0, code = 0;
    double best = 1e9;
    if (argc < 2) return fail("which tokenizer.json?");
    if (awq_tokenizer_open(argv[1], &tokenizer, &err)) return fail(err.text);
    if (!read_all(stdin, &in, &err)) code = fail(err.text);
    for (int i = 0; !code && i <= repeats; i++) {
        double begin = cpu_seconds();
        if (!encode_all(tokenizer, &in, !repeats, &err)) code = fail(err.text);
        double seconds = cpu_seconds() - begin;
        if (seconds < best) best = seconds;
    }
    if (repeats && !code) fprintf(stderr, "%.1f MB/s\n", (double)in.bytes / best / 1e6);
    awq_buffer_release(&in);
    awq_tokenizer_close(tokenizer);
    return code;
}
