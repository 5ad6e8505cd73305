/* SPDX-License-Identifier: MIT
 * io/files/path.h - joining and asking about paths. */
#ifndef AWQ_IO_FILES_PATH_H
#define AWQ_IO_FILES_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"

enum { AWQ_PATH_BYTES = 4096 };

/* Writes "directory/name" into out; fails when it does not fit. */
awq_status awq_path_join(char out[AWQ_PATH_BYTES], const char *directory, const char *name,
                         awq_error *err);
/* The absolute path, symbolic links resolved as far as the path exists. */
awq_status awq_path_resolve(char out[AWQ_PATH_BYTES], const char *path, awq_error *err);
/* Whether `path` is `directory` or lies inside it; both resolved. */
bool awq_path_inside(const char *path, const char *directory);
bool awq_path_is_directory(const char *path);
bool awq_path_exists(const char *path);
/* mkdir -p, mode 0777 less the umask. */
awq_status awq_path_make_directory(const char *path, awq_error *err);
/* Removes a directory and all it holds; a missing one is no error. */
awq_status awq_path_remove_tree(const char *path, awq_error *err);
/* Bytes an ordinary user may still write to the filesystem that holds `path`. */
awq_status awq_path_free_bytes(const char *path, uint64_t *bytes, awq_error *err);

#endif
