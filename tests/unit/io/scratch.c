/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* mkdtemp */
#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/path.h"

int scratch_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *directory = malloc(512);
    if (!directory) return -1;
    snprintf(directory, 512, "%s/awq-io-XXXXXX", base ? base : "/tmp");
    *state = mkdtemp(directory);
    return *state ? 0 : -1;
}

int scratch_teardown(void **state)
{
    awq_error err;
    int result = awq_path_remove_tree(*state, &err) ? -1 : 0;
    free(*state);
    return result;
}

const char *scratch_path(void **state, const char *name)
{
    static char paths[4][AWQ_PATH_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, AWQ_PATH_BYTES, "%s/%s", (const char *)*state, name);
    return path;
}

void scratch_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void scratch_write_text(const char *path, const char *text)
{
    scratch_write(path, text, strlen(text));
}

char *scratch_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, size, file), size);
    data[size] = '\0';
    fclose(file);
    if (bytes) *bytes = size;
    return data;
}

int scratch_count(const char *directory)
{
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    int count = -2;
    while (readdir(stream)) count++;
    closedir(stream);
    return count;
}

void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part)) return;
    print_error("'%s'\nlacks '%s'\n", text, part);
    fail();
}
