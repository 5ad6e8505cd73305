/* SPDX-License-Identifier: MIT
 * A main for fuzz targets where there is no fuzzer: runs each file of a corpus directory, and for
 * each a number of mutations that are the same in every run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1 << 16, ROOM = 64 };

/* xorshift64: the same numbers everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* One small change: a flipped bit, a byte, a digit, a cut, a doubled piece. Returns the size. */
static size_t mutate(uint8_t *data, size_t size, uint64_t *random)
{
    static const char digits[] = "0123456789-[]{}\",:";
    uint64_t choice = next_random(random);
    size_t at = size ? (size_t)(next_random(random) % size) : 0;
    size_t piece = (size_t)(next_random(random) % ROOM);
    if (!size) return 0;
    switch (choice % 5) {
    case 0:
        data[at] ^= (uint8_t)(1u << choice / 5 % 8);
        return size;
    case 1:
        data[at] = (uint8_t)(choice >> 32);
        return size;
    case 2:
        data[at] = (uint8_t)digits[choice / 5 % (sizeof digits - 1)];
        return size;
    case 3:
        return at;
    default:
        if (piece > size - at) piece = size - at;
        memmove(data + at + piece, data + at, size - at);
        return size + piece;
    }
}

static void replay(const uint8_t *data, size_t size, int mutations)
{
    static uint8_t changed[MAX_BYTES + 8 * ROOM];
    uint64_t random = 88172645463325252u;
    LLVMFuzzerTestOneInput(data, size);
    for (int i = 0; i < mutations; i++) {
        size_t bytes = size;
        memcpy(changed, data, size);
        for (int j = 0; j <= i % 4; j++) bytes = mutate(changed, bytes, &random);
        LLVMFuzzerTestOneInput(changed, bytes);
    }
}

static int replay_file(const char *directory, const char *name, int mutations)
{
    static uint8_t data[MAX_BYTES];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    replay(data, size, mutations);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0, failures = 0;
    struct dirent *entry;
    DIR *stream = argc > 1 ? opendir(argv[1]) : NULL;
    if (!stream) {
        fprintf(stderr, "usage: %s CORPUS [MUTATIONS]\n", argv[0]);
        return 2;
    }
    int mutations = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2000;
    while ((entry = readdir(stream))) {
        if (entry->d_name[0] == '.') continue;
        failures += replay_file(argv[1], entry->d_name, mutations);
        files++;
    }
    closedir(stream);
    printf("%d files, %d mutations each\n", files, mutations);
    return failures || !files;
}
