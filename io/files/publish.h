/* SPDX-License-Identifier: MIT
 * io/files/publish.h - a file appears at its final name only whole.
 *
 * Everything awqrun writes goes through here: a temporary name beside the final one
 * (".NAME.HOST.PID.tmp"), write, fsync, close, rename, fsync of the directory. A crash leaves at
 * most a temporary, which awq_publish_sweep removes at the next start. */
#ifndef AWQ_IO_FILES_PUBLISH_H
#define AWQ_IO_FILES_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

typedef struct awq_publish awq_publish;

/* Opens the temporary for `path`. A full disk says so with the path and the bytes needed, when
 * expected_bytes (0: unknown) is given. The caller commits or frees. */
awq_status awq_publish_open(const char *path, uint64_t expected_bytes, awq_publish **out,
                            awq_error *err);

/* Appends; keeps the running crc32 and byte count. */
awq_status awq_publish_write(awq_publish *file, const void *data, size_t bytes, awq_error *err);
/* Writes at an offset in bytes, from any thread; *crc is the crc32 of the data alone. It is
 * checksummed and written in pieces that stay in the processor's cache, so memory is read once.
 * Nothing is appended afterwards, and the file's crc32 is not known. */
awq_status awq_publish_write_at(awq_publish *file, uint64_t offset, const void *data, size_t bytes,
                                uint32_t *crc, awq_error *err);

/* The sentence for a write to `path` that failed with an errno: a full disk, an exceeded quota and
 * a file size limit say how many bytes are needed (0: unknown) and what to do. */
awq_status awq_publish_fail(awq_error *err, const char *path, int errnum, uint64_t needed);

/* Makes the file durable under its final name. crc and bytes (each may be NULL) tell what it
 * holds. On failure the temporary is removed and the final name untouched. Frees nothing. */
awq_status awq_publish_commit(awq_publish *file, uint32_t *crc, uint64_t *bytes, awq_error *err);

/* Frees; removes the temporary if it was not committed. NULL is fine. */
void awq_publish_free(awq_publish *file);

/* One call: open, write, commit. */
awq_status awq_publish_bytes(const char *path, const void *data, size_t bytes, awq_error *err);

/* For files made by a library (HDF5): the temporary's name for `path`, to be freed by the caller
 * (NULL: no memory), and its publication: fsync, rename, fsync of the directory.
 * On failure the temporary is removed. */
char *awq_publish_temporary(const char *path);
awq_status awq_publish_rename(const char *temporary, const char *path, awq_error *err);

/* Removes stale temporaries in a directory, all of them: call with the run's lock held, before
 * anybody writes. *removed (may be NULL) counts them. A missing directory is no error. */
awq_status awq_publish_sweep(const char *directory, int *removed, awq_error *err);

#endif
