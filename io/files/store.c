/* SPDX-License-Identifier: MIT */
#include "io/files/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files/path.h"

struct awq_store {
    char *memory;                   /* NULL: it is a file */
    int file;                       /* -1: it is memory */
    char directory[AWQ_PATH_BYTES]; /* of the file, for messages */
};

/* A name that is taken back at once: nobody else sees the file, and no crash leaves it behind. */
static awq_status open_file(awq_store *store, const char *directory, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, directory, "kept.XXXXXX", err)) return err->status;
    strcpy(store->directory, directory); /* shorter than `path` */
    store->file = mkstemp(path);
    if (store->file < 0 || unlink(path))
        return awq_fail(err, AWQ_ERR_IO, "cannot make a temporary file in '%s': %s", directory,
                        strerror(errno));
    return AWQ_OK;
}

awq_status awq_store_create(const char *directory, uint64_t bytes, awq_store **out, awq_error *err)
{
    awq_store *store = calloc(1, sizeof *store);
    if (!store) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a store");
    store->file = -1;
    if (directory)
        open_file(store, directory, err);
    else if (!(store->memory = malloc(bytes + !bytes)))
        awq_fail(err, AWQ_ERR_MEMORY, "no memory for %.2f GB", 1e-9 * (double)bytes);
    if (store->memory || store->file >= 0) {
        *out = store;
        return AWQ_OK;
    }
    awq_store_free(store);
    return err->status;
}

void awq_store_free(awq_store *store)
{
    if (!store) return;
    if (store->file >= 0) close(store->file);
    free(store->memory);
    free(store);
}

static awq_status failed(const awq_store *store, const char *what, int error, awq_error *err)
{
    return awq_fail(err, AWQ_ERR_IO, "cannot %s a temporary file in '%s': %s", what,
                    store->directory, error ? strerror(error) : "it ends too early");
}

awq_status awq_store_write(awq_store *store, uint64_t offset, const void *data, size_t bytes,
                           awq_error *err)
{
    if (store->memory) {
        memcpy(store->memory + offset, data, bytes);
        return AWQ_OK;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t count =
            pwrite(store->file, (const char *)data + done, bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return failed(store, "write", count ? errno : ENOSPC, err);
        done += (size_t)count;
    }
    return AWQ_OK;
}

awq_status awq_store_read(const awq_store *store, uint64_t offset, void *to, size_t bytes,
                          awq_error *err)
{
    if (store->memory) {
        memcpy(to, store->memory + offset, bytes);
        return AWQ_OK;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t count = pread(store->file, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return failed(store, "read", count ? errno : 0, err);
        done += (size_t)count;
    }
    return AWQ_OK;
}
