/* SPDX-License-Identifier: MIT
 * io/files/h5.h - HDF5 with errors as sentences and equal bytes for equal content. Inside io only.
 *
 * The library may have been built without thread safety, so each public function that uses HDF5
 * holds the one lock of the process from its first call to its last. awq_h5_lock also keeps the
 * library from printing, and starts to remember its first error for the sentences below. Nothing
 * else in here locks.
 *
 * A sealed file begins with a user block of 512 bytes, which HDF5 skips: a line of text with the
 * size and crc32 of all that follows. It is checked before HDF5 sees the file, so that no torn or
 * flipped byte reaches a library that trusts what it parses. */
#ifndef AWQ_IO_FILES_H5_H
#define AWQ_IO_FILES_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"

void awq_h5_lock(void);
void awq_h5_unlock(void);

/* "cannot read 'path': why" and "cannot write 'path': why", why being the library's first error
 * since the lock was taken. A full disk says so as awq_publish_fail does. */
awq_status awq_h5_fail_read(awq_error *err, const char *path);
awq_status awq_h5_fail_write(awq_error *err, const char *path, uint64_t needed);

/* Opens for reading. Not HDF5, or torn: AWQ_ERR_CORRUPT; `expected` says what it should be. This
 * id and those below are the caller's to close; negative: failed. */
awq_status awq_h5_open(const char *path, const char *expected, hid_t *file, awq_error *err);
/* The same for a sealed file; a wrong seal is AWQ_ERR_CORRUPT. */
awq_status awq_h5_open_sealed(const char *path, const char *expected, hid_t *file, awq_error *err);

/* A file that is being written under its temporary name. */
typedef struct awq_h5_writer {
    hid_t file; /* negative: closed */
    char *path;
    char *temporary;
    uint64_t needed; /* bytes, for the message of a full disk */
    bool sealed;
} awq_h5_writer;

awq_status awq_h5_writer_open(awq_h5_writer *writer, const char *path, bool sealed, uint64_t needed,
                              awq_error *err);
/* Closes and publishes; `ok` false: something failed on the way, which is reported. Releases the
 * writer in either case. */
awq_status awq_h5_writer_finish(awq_h5_writer *writer, bool ok, awq_error *err);
/* Releases, and removes the temporary. A zeroed writer is fine. */
void awq_h5_writer_abandon(awq_h5_writer *writer);

/* How files are opened and created; the caller closes the list. */
hid_t awq_h5_access_properties(void);

/* No times anywhere, and metadata with checksums (the format of HDF5 1.10). */
hid_t awq_h5_create_group(hid_t parent, const char *name);
/* A fixed-size dataset; chunk NULL: contiguous, else chunked with a fletcher32 checksum. */
hid_t awq_h5_create_dataset(hid_t parent, const char *name, hid_t type, int dims,
                            const hsize_t *shape, const hsize_t *chunk);
/* Creates and writes a one-dimensional dataset; count 0 is fine. */
bool awq_h5_write_array(hid_t parent, const char *name, hid_t file_type, hid_t memory_type,
                        int64_t count, const void *data);
/* Sizes of a dataset's dimensions, which must be `dims` many. */
bool awq_h5_shape(hid_t dataset, int dims, hsize_t *shape);
/* Rows first..first+shape[0]-1 of the outermost dimension to or from memory. */
bool awq_h5_read_rows(hid_t dataset, hid_t memory_type, int dims, hsize_t first,
                      const hsize_t *shape, void *data);
bool awq_h5_write_rows(hid_t dataset, hid_t memory_type, int dims, hsize_t first,
                       const hsize_t *shape, const void *data);

/* Scalar attributes. A getter refuses another class of type than the one asked for. */
bool awq_h5_put_int64(hid_t object, const char *name, int64_t value);
bool awq_h5_put_uint64(hid_t object, const char *name, uint64_t value);
bool awq_h5_put_uint32(hid_t object, const char *name, uint32_t value);
bool awq_h5_put_double(hid_t object, const char *name, double value);
bool awq_h5_put_string(hid_t object, const char *name, const char *value);
bool awq_h5_get_int64(hid_t object, const char *name, int64_t *value);
bool awq_h5_get_uint64(hid_t object, const char *name, uint64_t *value);
bool awq_h5_get_double(hid_t object, const char *name, double *value);
/* A fixed-length string, to be freed; NULL: not there, or no memory. */
char *awq_h5_get_string(hid_t object, const char *name);
/* Whether the attribute is a fixed-length string equal to value. */
bool awq_h5_string_is(hid_t object, const char *name, const char *value);

#endif
