/* SPDX-License-Identifier: MIT
 * io/files/store.h - bytes that are kept while a process needs them: in memory, or in a file
 * without a name, which is gone with the process however that ends. By one thread at a time. */
#ifndef AWQ_IO_FILES_STORE_H
#define AWQ_IO_FILES_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

typedef struct awq_store awq_store;

/* Room for so many bytes. directory NULL: in memory; else in a file there. Free the result. */
awq_status awq_store_create(const char *directory, uint64_t bytes, awq_store **out, awq_error *err);
void awq_store_free(awq_store *store); /* NULL is fine */

/* Within its room; what was never written is undefined. */
awq_status awq_store_write(awq_store *store, uint64_t offset, const void *data, size_t bytes,
                           awq_error *err);
awq_status awq_store_read(const awq_store *store, uint64_t offset, void *to, size_t bytes,
                          awq_error *err);

#endif
