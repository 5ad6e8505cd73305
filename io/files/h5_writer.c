/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/h5.h"
#include "io/files/publish.h"

#define SEAL_FORMAT "awqrun seal bytes=%" PRIu64 " crc32=%08" PRIx32 "\n"

enum { SEAL_BYTES = 512, MAX_SEALED_BYTES = 1 << 30 };

static awq_status read_content(const char *path, char **data, size_t *bytes, awq_error *err)
{
    awq_status status = awq_file_read(path, MAX_SEALED_BYTES, data, bytes, err);
    if (status == AWQ_ERR_INPUT) err->status = AWQ_ERR_CORRUPT; /* no file of ours */
    if (status) return err->status;
    if (*bytes >= SEAL_BYTES) return AWQ_OK;
    free(*data);
    return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is truncated: it has %zu bytes", path, *bytes);
}

/* The user block that belongs to a whole file's content, zeros after the line. */
static void print_seal(char seal[SEAL_BYTES], const char *data, size_t bytes)
{
    uint32_t crc = awq_crc32(0, data + SEAL_BYTES, bytes - SEAL_BYTES);
    memset(seal, 0, SEAL_BYTES);
    snprintf(seal, SEAL_BYTES, SEAL_FORMAT, (uint64_t)(bytes - SEAL_BYTES), crc);
}

/* Fills the user block of a closed file. */
static awq_status seal_file(const char *path, const char *temporary, awq_error *err)
{
    char seal[SEAL_BYTES];
    char *data;
    size_t bytes;
    if (read_content(temporary, &data, &bytes, err)) return err->status;
    print_seal(seal, data, bytes);
    free(data);
    FILE *file = fopen(temporary, "r+b");
    bool ok = file && fwrite(seal, 1, SEAL_BYTES, file) == SEAL_BYTES;
    if (file && fclose(file)) ok = false;
    return ok ? AWQ_OK : awq_fail(err, AWQ_ERR_IO, "cannot write '%s': its seal failed", path);
}

awq_status awq_h5_open_sealed(const char *path, const char *expected, hid_t *file, awq_error *err)
{
    char seal[SEAL_BYTES];
    char *data;
    size_t bytes;
    if (read_content(path, &data, &bytes, err)) return err->status;
    print_seal(seal, data, bytes);
    bool ok = !memcmp(seal, data, SEAL_BYTES);
    free(data);
    if (!ok)
        return awq_fail(err, AWQ_ERR_CORRUPT,
                        "'%s' is not what awqrun wrote: its checksum is wrong; expected %s", path,
                        expected);
    return awq_h5_open(path, expected, file, err);
}

awq_status awq_h5_writer_open(awq_h5_writer *writer, const char *path, bool sealed, uint64_t needed,
                              awq_error *err)
{
    *writer = (awq_h5_writer){.file = -1, .needed = needed, .sealed = sealed};
    writer->path = strdup(path);
    writer->temporary = awq_publish_temporary(path);
    if (!writer->path || !writer->temporary) {
        awq_h5_writer_abandon(writer);
        return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    }
    hid_t access = awq_h5_access_properties();
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(create, false);
    if (sealed) H5Pset_userblock(create, SEAL_BYTES);
    writer->file = H5Fcreate(writer->temporary, H5F_ACC_TRUNC, create, access);
    H5Pclose(create);
    H5Pclose(access);
    if (writer->file >= 0) return AWQ_OK;
    awq_h5_fail_write(err, path, needed);
    awq_h5_writer_abandon(writer);
    return err->status;
}

awq_status awq_h5_writer_finish(awq_h5_writer *writer, bool ok, awq_error *err)
{
    awq_status status = AWQ_OK;
    ok = H5Fclose(writer->file) >= 0 && ok;
    writer->file = -1;
    if (!ok) status = awq_h5_fail_write(err, writer->path, writer->needed);
    if (!status && writer->sealed) status = seal_file(writer->path, writer->temporary, err);
    if (!status) status = awq_publish_rename(writer->temporary, writer->path, err);
    awq_h5_writer_abandon(writer);
    return status;
}

void awq_h5_writer_abandon(awq_h5_writer *writer)
{
    if (writer->temporary) {
        if (writer->file >= 0) H5Fclose(writer->file);
        unlink(writer->temporary); /* gone already when it was published */
    }
    free(writer->temporary);
    free(writer->path);
    *writer = (awq_h5_writer){.file = -1};
}
