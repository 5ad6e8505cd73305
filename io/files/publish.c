/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* sync_file_range */
#include "io/files/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/fault.h"
#include "io/files/file.h"

/* A piece is checksummed and written while it is in the cache. So many bytes are given to the disk
 * at a time, which works on them while more come: the fsync has little left to wait for. */
enum { PIECE_BYTES = 1 << 18, FLUSH_BYTES = 1 << 22 };

struct awq_publish {
    int fd; /* -1: closed */
    char *path;
    char *temporary;
    uint64_t expected; /* 0: unknown */
    uint64_t bytes;
    uint32_t crc;
    atomic_bool broken; /* a write failed: never publish */
    bool committed;
};

awq_status awq_publish_fail(awq_error *err, const char *path, int errnum, uint64_t needed)
{
    const char *what = errnum == ENOSPC   ? "no space left on device"
                       : errnum == EDQUOT ? "disk quota exceeded"
                       : errnum == EFBIG  ? "file size limit reached"
                                          : NULL;
    const char *remedy = errnum == EFBIG ? "raise the limit" : "free space";
    char bytes[48] = "";
    if (!what) return awq_fail(err, AWQ_ERR_IO, "cannot write '%s': %s", path, strerror(errnum));
    if (needed) snprintf(bytes, sizeof bytes, ", %llu bytes needed", (unsigned long long)needed);
    return awq_fail(err, AWQ_ERR_IO, "cannot write '%s': %s%s; %s and run the same command again",
                    path, what, bytes, remedy);
}

/* Bytes of "DIR/" in front of a path's last component; 0: none. */
static size_t directory_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

char *awq_publish_temporary(const char *path)
{
    char host[65] = "";
    if (gethostname(host, sizeof host - 1)) strcpy(host, "localhost");
    size_t directory = directory_bytes(path);
    size_t room = strlen(path) + strlen(host) + 32;
    char *temporary = malloc(room);
    if (temporary)
        snprintf(temporary, room, "%.*s.%s.%s.%ld.tmp", (int)directory, path, path + directory,
                 host, (long)getpid());
    return temporary;
}

awq_status awq_publish_open(const char *path, uint64_t expected_bytes, awq_publish **out,
                            awq_error *err)
{
    awq_publish *file = calloc(1, sizeof *file);
    if (!file) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    file->expected = expected_bytes;
    file->fd = -1;
    file->path = strdup(path);
    file->temporary = awq_publish_temporary(path);
    if (!file->path || !file->temporary) {
        awq_publish_free(file);
        return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    }
    file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->fd < 0) {
        awq_publish_fail(err, path, errno, expected_bytes);
        file->committed = true; /* there is no temporary to remove */
        awq_publish_free(file);
        return err->status;
    }
    *out = file;
    return AWQ_OK;
}

/* Gives the disk what lies before `end` and has not been given. Advice: what goes wrong with it the
 * fsync will say. */
static void flush(const awq_publish *file, uint64_t *begin, uint64_t end)
{
    if (end - *begin < FLUSH_BYTES) return;
    (void)sync_file_range(file->fd, (off64_t)*begin, (off64_t)(end - *begin),
                          SYNC_FILE_RANGE_WRITE);
    *begin = end;
}

awq_status awq_publish_write_at(awq_publish *file, uint64_t offset, const void *data, size_t bytes,
                                uint32_t *crc, awq_error *err)
{
    const char *from = data;
    uint64_t flushed = offset;
    uint32_t sum = 0;
    while (bytes > 0) {
        size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
        ssize_t done = pwrite(file->fd, from, piece, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            atomic_store(&file->broken, true);
            return awq_publish_fail(err, file->path, errno, file->expected);
        }
        sum = awq_crc32(sum, from, (size_t)done);
        offset += (uint64_t)done;
        from += done;
        bytes -= (size_t)done;
        flush(file, &flushed, offset);
    }
    *crc = sum;
    return AWQ_OK;
}

awq_status awq_publish_write(awq_publish *file, const void *data, size_t bytes, awq_error *err)
{
    uint32_t crc;
    if (awq_publish_write_at(file, file->bytes, data, bytes, &crc, err)) return err->status;
    file->crc = awq_crc32_combine(file->crc, crc, bytes);
    file->bytes += bytes;
    return AWQ_OK;
}

static int sync_retrying(int fd)
{
    int result;
    do result = fsync(fd);
    while (result && errno == EINTR);
    return result;
}

/* Makes a rename in the directory of `path` durable. */
static awq_status sync_directory(const char *path, awq_error *err)
{
    size_t bytes = directory_bytes(path);
    char *directory = strdup(bytes ? path : ".");
    if (!directory) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    if (bytes) directory[bytes] = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0) return awq_publish_fail(err, path, errno, 0);
    /* EINVAL: a filesystem that has no fsync of directories has nothing to add */
    int error = sync_retrying(fd) && errno != EINVAL ? errno : 0;
    close(fd);
    return error ? awq_publish_fail(err, path, error, 0) : AWQ_OK;
}

/* fsync and close; the first error. */
static int sync_and_close(int fd)
{
    AWQ_FAULT_POINT("publish-before-fsync");
    int error = sync_retrying(fd) ? errno : 0;
    if (close(fd) && !error && errno != EINTR) error = errno;
    return error;
}

static awq_status rename_durably(const char *temporary, const char *path, awq_error *err)
{
    AWQ_FAULT_POINT("publish-before-rename");
    if (rename(temporary, path)) {
        awq_publish_fail(err, path, errno, 0);
        unlink(temporary);
        return err->status;
    }
    AWQ_FAULT_POINT("publish-before-directory-fsync");
    return sync_directory(path, err);
}

awq_status awq_publish_commit(awq_publish *file, uint32_t *crc, uint64_t *bytes, awq_error *err)
{
    if (atomic_load(&file->broken) || file->fd < 0)
        return awq_fail(err, AWQ_ERR_INTERNAL, "cannot publish '%s' after a failed write",
                        file->path);
    int error = sync_and_close(file->fd);
    file->fd = -1;
    file->committed = true; /* from here on either renamed or removed */
    if (error) {
        unlink(file->temporary);
        return awq_publish_fail(err, file->path, error, file->expected);
    }
    if (rename_durably(file->temporary, file->path, err)) return err->status;
    if (crc) *crc = file->crc;
    if (bytes) *bytes = file->bytes;
    return AWQ_OK;
}

void awq_publish_free(awq_publish *file)
{
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    if (!file->committed && file->temporary) unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    free(file);
}

awq_status awq_publish_bytes(const char *path, const void *data, size_t bytes, awq_error *err)
{
    awq_publish *file;
    if (awq_publish_open(path, bytes, &file, err)) return err->status;
    awq_status status = awq_publish_write(file, data, bytes, err);
    if (!status) status = awq_publish_commit(file, NULL, NULL, err);
    awq_publish_free(file);
    return status;
}

awq_status awq_publish_rename(const char *temporary, const char *path, awq_error *err)
{
    int fd = open(temporary, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : sync_and_close(fd);
    if (!error) return rename_durably(temporary, path, err);
    unlink(temporary);
    return awq_publish_fail(err, path, error, 0);
}

/* ".NAME.HOST.PID.tmp": what awq_publish_temporary makes, and nothing else. */
static bool is_temporary(const char *name)
{
    size_t length = strlen(name);
    if (name[0] != '.' || length < 5 || strcmp(name + length - 4, ".tmp") != 0) return false;
    size_t end = length - 4;
    size_t digits = end;
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') digits--;
    if (digits == end || digits < 2 || name[digits - 1] != '.') return false;
    return memchr(name + 1, '.', digits - 2) != NULL; /* a name and a host */
}

awq_status awq_publish_sweep(const char *directory, int *removed, awq_error *err)
{
    int count = 0;
    struct dirent *entry;
    DIR *stream = opendir(directory);
    if (!stream && errno != ENOENT)
        return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", directory, strerror(errno));
    awq_status status = AWQ_OK;
    while (!status && stream && (entry = readdir(stream))) {
        if (!is_temporary(entry->d_name)) continue;
        if (unlinkat(dirfd(stream), entry->d_name, 0) && errno != ENOENT)
            status = awq_fail(err, AWQ_ERR_IO, "cannot remove '%s/%s': %s", directory,
                              entry->d_name, strerror(errno));
        count++;
    }
    if (stream) closedir(stream);
    if (!status && removed) *removed = count;
    return status;
}
