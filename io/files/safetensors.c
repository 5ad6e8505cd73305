/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise: glibc's posix_madvise does nothing for DONTNEED */
#include "io/files/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/json.h"
#include "io/files/safetensors_header.h"

enum { PREFIX_BYTES = 8 };

struct awq_safetensors {
    char *path;
    void *map; /* NULL: not mapped */
    uint64_t size;
    uint64_t data_start; /* prefix and JSON */
    json_t *header;      /* owns the tensors' names */
    awq_tensor *tensors; /* in the order of their data */
    size_t count;
    const awq_tensor **by_name; /* sorted */
};

static awq_status map_file(awq_safetensors *file, awq_error *err)
{
    const char *path = file->path;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    void *map = MAP_FAILED;
    if (fstat(fd, &status))
        awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        awq_fail(err, AWQ_ERR_INPUT, "cannot read '%s': not a regular file", path);
    else if (status.st_size < PREFIX_BYTES)
        awq_fail(err, AWQ_ERR_CORRUPT,
                 "'%s' is not a safetensors file: %lld bytes, too short for a header", path,
                 (long long)status.st_size);
    else if ((map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) ==
             MAP_FAILED)
        awq_fail(err, AWQ_ERR_IO, "cannot map '%s': %s", path, strerror(errno));
    close(fd);
    if (map == MAP_FAILED) return err->status;
    file->map = map;
    file->size = (uint64_t)status.st_size;
    return AWQ_OK;
}

static awq_status parse_header(awq_safetensors *file, awq_error *err)
{
    const unsigned char *bytes = file->map;
    uint64_t length = 0;
    for (int i = 0; i < PREFIX_BYTES; i++) length |= (uint64_t)bytes[i] << 8 * i;
    if (length > AWQ_SAFETENSORS_MAX_HEADER || length > file->size - PREFIX_BYTES)
        return awq_fail(err, AWQ_ERR_CORRUPT,
                        "'%s' is truncated or not a safetensors file: its header claims %llu "
                        "bytes of %llu",
                        file->path, (unsigned long long)length, (unsigned long long)file->size);
    if (!length || bytes[PREFIX_BYTES] != '{')
        return awq_fail(err, AWQ_ERR_CORRUPT,
                        "'%s' is not a safetensors file: its header is not a JSON object",
                        file->path);
    file->data_start = PREFIX_BYTES + length;
    return awq_json_parse((const char *)bytes + PREFIX_BYTES, length, file->path, &file->header,
                          err);
}

static int compare_names(const void *left, const void *right)
{
    const awq_tensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static awq_status read_tensors(awq_safetensors *file, awq_error *err)
{
    if (awq_safetensors_header_tensors(file->header, file->size - file->data_start, &file->tensors,
                                       &file->count, err))
        return awq_error_wrap(err, "'%s'", file->path);
    file->by_name = malloc((file->count + 1) * sizeof *file->by_name);
    if (!file->by_name)
        return awq_fail(err, AWQ_ERR_MEMORY, "cannot open '%s': no memory", file->path);
    for (size_t i = 0; i < file->count; i++) {
        file->tensors[i].data =
            (const char *)file->map + file->data_start + file->tensors[i].offset;
        file->by_name[i] = &file->tensors[i];
    }
    qsort(file->by_name, file->count, sizeof *file->by_name, compare_names);
    return AWQ_OK;
}

awq_status awq_safetensors_open(const char *path, awq_safetensors **out, awq_error *err)
{
    awq_safetensors *file = calloc(1, sizeof *file);
    if (file) file->path = strdup(path);
    if (!file || !file->path) {
        awq_fail(err, AWQ_ERR_MEMORY, "cannot open '%s': no memory", path);
    } else if (!map_file(file, err) && !parse_header(file, err) && !read_tensors(file, err)) {
        *out = file;
        return AWQ_OK;
    }
    awq_safetensors_close(file);
    return err->status;
}

void awq_safetensors_close(awq_safetensors *file)
{
    if (!file) return;
    if (file->map) munmap(file->map, file->size);
    json_decref(file->header);
    free(file->by_name);
    free(file->tensors);
    free(file->path);
    free(file);
}

size_t awq_safetensors_count(const awq_safetensors *file)
{
    return file->count;
}

const awq_tensor *awq_safetensors_at(const awq_safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const awq_tensor *awq_safetensors_find(const awq_safetensors *file, const char *name)
{
    const awq_tensor key = {.name = name};
    const awq_tensor *wanted = &key;
    const awq_tensor **found =
        bsearch(&wanted, file->by_name, file->count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *awq_safetensors_path(const awq_safetensors *file)
{
    return file->path;
}

const void *awq_safetensors_bytes(const awq_safetensors *file, uint64_t *bytes)
{
    *bytes = file->size;
    return file->map;
}

uint32_t awq_safetensors_header_crc(const awq_safetensors *file)
{
    return awq_crc32(0, file->map, file->data_start);
}

/* Of the pages that no neighbour shares. Advice may be ignored, and so may its failure. */
void awq_safetensors_dont_need(const awq_tensor *tensor)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)tensor->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)tensor->data + tensor->bytes) / page * page;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}
