/* SPDX-License-Identifier: MIT */
#include "io/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK_BYTES = 1 << 18 }; /* stays in the cache */

/* Reads up to `bytes`; fewer only at the end of the file. -1: errno says why. */
static ssize_t read_fully(int fd, char *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = read(fd, data + done, bytes - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static awq_status open_regular(const char *path, int *fd, struct stat *status, awq_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block us here */
    if (*fd < 0) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(*fd, status)) {
        awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    } else if (!S_ISREG(status->st_mode)) {
        awq_fail(err, AWQ_ERR_INPUT, "cannot read '%s': not a regular file", path);
    } else {
        return AWQ_OK;
    }
    close(*fd);
    return err->status;
}

awq_status awq_file_read(const char *path, size_t max_bytes, char **data, size_t *bytes,
                         awq_error *err)
{
    int fd;
    struct stat status;
    char *buffer = NULL;
    ssize_t got = -1;
    if (open_regular(path, &fd, &status, err)) return err->status;
    size_t size = (size_t)status.st_size;
    if (size > max_bytes)
        awq_fail(err, AWQ_ERR_INPUT, "cannot read '%s': %zu bytes, at most %zu expected", path,
                 size, max_bytes);
    else if (!(buffer = malloc(size + 1)))
        awq_fail(err, AWQ_ERR_MEMORY, "cannot read '%s': no memory for %zu bytes", path, size);
    else if ((got = read_fully(fd, buffer, size)) < 0)
        awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    close(fd);
    if (got < 0) {
        free(buffer);
        return err->status;
    }
    buffer[got] = '\0';
    *data = buffer;
    *bytes = (size_t)got;
    return AWQ_OK;
}

/* At the speed of memory, where the processor multiplies without carries. */
uint32_t awq_crc32(uint32_t crc, const void *data, size_t bytes)
{
    return bytes ? libdeflate_crc32(crc, data, bytes) : crc; /* of NULL it would begin anew */
}

uint32_t awq_crc32_combine(uint32_t first, uint32_t second, uint64_t second_bytes)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)second_bytes);
}

awq_status awq_file_crc32(const char *path, uint32_t *crc, uint64_t *bytes, awq_error *err)
{
    int fd;
    struct stat status;
    if (open_regular(path, &fd, &status, err)) return err->status;
    char *block = malloc(BLOCK_BYTES);
    uint32_t sum = 0;
    uint64_t size = 0;
    ssize_t got = 1;
    while (block && (got = read_fully(fd, block, BLOCK_BYTES)) > 0) {
        sum = awq_crc32(sum, block, (size_t)got);
        size += (uint64_t)got;
    }
    int error = errno;
    free(block);
    close(fd);
    if (got > 0) return awq_fail(err, AWQ_ERR_MEMORY, "cannot read '%s': no memory", path);
    if (got < 0) return awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", path, strerror(error));
    *crc = sum;
    *bytes = size;
    return AWQ_OK;
}
