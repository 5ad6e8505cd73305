/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/layer_record_layout.h"

enum { MAX_ELEMENTS = 1 << 24 };

/* Opens parent/name; negative: not there. */
static hid_t open_dataset(hid_t parent, const char *name)
{
    return H5Lexists(parent, name, H5P_DEFAULT) > 0 ? H5Dopen2(parent, name, H5P_DEFAULT) : -1;
}

/* Reads a one-dimensional dataset into memory of its own; *count < 0: any size, which is stored.
 * NULL: it is not like that. */
static void *read_array(hid_t group, const char *name, hid_t memory_type, size_t element_bytes,
                        int64_t *count)
{
    hsize_t size[1];
    hid_t dataset = open_dataset(group, name);
    if (dataset < 0) return NULL;
    void *data = NULL;
    if (awq_h5_shape(dataset, 1, size) && size[0] <= MAX_ELEMENTS &&
        (*count < 0 || size[0] == (hsize_t)*count))
        data = calloc(size[0] + 1, element_bytes);
    if (data && size[0] && !awq_h5_read_rows(dataset, memory_type, 1, 0, size, data)) {
        free(data);
        data = NULL;
    }
    if (data) *count = (int64_t)size[0];
    H5Dclose(dataset);
    return data;
}

static bool read_group(hid_t group, awq_group_record *record)
{
    record->channels = record->candidates = -1;
    bool ok = awq_h5_get_int64(group, "chosen", &record->chosen);
#define AWQ_ARRAY_READ(field, count, file_type, memory_type)                                       \
    record->field =                                                                                \
        ok ? read_array(group, #field, memory_type, sizeof *record->field, &record->count) : NULL; \
    ok = ok && record->field;
    AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_READ)
#undef AWQ_ARRAY_READ
    return ok && record->chosen >= -1 && record->chosen < record->candidates;
}

static bool read_clip_counts(hid_t group, awq_linear_record *record)
{
    hsize_t shape[2];
    hid_t dataset = open_dataset(group, AWQ_CLIP_COUNTS_NAME);
    if (dataset < 0) return false;
    bool ok = awq_h5_shape(dataset, 2, shape) && shape[0] <= AWQ_RECORD_CLIP_SHAPES &&
              shape[1] == AWQ_RECORD_CLIP_STEPS;
    if (ok && shape[0])
        ok = awq_h5_read_rows(dataset, H5T_NATIVE_INT64, 2, 0, shape, record->clip_counts);
    if (ok) record->clip_shapes = (int64_t)shape[0];
    H5Dclose(dataset);
    return ok;
}

static bool read_linear(hid_t group, awq_linear_record *record)
{
    bool ok = true;
#define AWQ_FIELD_GET(field, kind) ok = ok && awq_h5_get_##kind(group, #field, &record->field);
    AWQ_LINEAR_FIELD_LIST(AWQ_FIELD_GET)
#undef AWQ_FIELD_GET
    return ok && read_clip_counts(group, record);
}

/* Opens parent/name; negative: not there. */
static hid_t open_group(hid_t parent, const char *name)
{
    return H5Lexists(parent, name, H5P_DEFAULT) > 0 ? H5Gopen2(parent, name, H5P_DEFAULT) : -1;
}

static bool read_groups(hid_t file, awq_layer_record *record)
{
    hid_t parent = open_group(file, "groups");
    if (parent < 0) return false;
    bool ok = true;
    for (awq_group index = 0; index < AWQ_GROUPS && ok; index++) {
        hid_t group = open_group(parent, awq_group_name(index));
        ok = group >= 0 && read_group(group, &record->group[index]);
        if (group >= 0) H5Gclose(group);
    }
    H5Gclose(parent);
    return ok;
}

static bool read_linears(hid_t file, awq_layer_record *record)
{
    hid_t parent = open_group(file, "linears");
    if (parent < 0) return false;
    bool ok = true;
    for (awq_linear linear = 0; linear < AWQ_LINEARS && ok; linear++) {
        hid_t group = open_group(parent, awq_layer_record_linear_name(linear));
        ok = group >= 0 && read_linear(group, &record->linear[linear]);
        if (group >= 0) H5Gclose(group);
    }
    H5Gclose(parent);
    return ok;
}

/* An array of a known size into the caller's memory. */
static bool read_doubles(hid_t group, const char *name, int64_t count, double *out)
{
    double *data = read_array(group, name, H5T_NATIVE_DOUBLE, sizeof *data, &count);
    if (data) memcpy(out, data, (size_t)count * sizeof *data);
    free(data);
    return data != NULL;
}

static bool read_when(hid_t parent, awq_layer_when *when)
{
    hid_t group = open_group(parent, "when");
    if (group < 0) return false;
    char *host = awq_h5_get_string(group, "host");
    bool ok = host && awq_h5_get_int64(group, "worker", &when->worker) &&
              read_doubles(group, "begin", AWQ_SPANS, when->begin) &&
              read_doubles(group, "end", AWQ_SPANS, when->end);
    if (host) snprintf(when->host, sizeof when->host, "%s", host);
    free(host);
    H5Gclose(group);
    return ok;
}

static bool read_seconds(hid_t file, awq_layer_record *record)
{
    hid_t group = open_group(file, "seconds");
    if (group < 0) return false;
    bool ok = true;
    for (awq_phase phase = 0; phase < AWQ_PHASES && ok; phase++)
        ok = awq_h5_get_double(group, awq_phase_name(phase), &record->seconds[phase]);
    ok = ok && read_when(group, &record->when);
    H5Gclose(group);
    return ok;
}

static bool read_attributes(hid_t file, awq_layer_record *record)
{
    uint64_t crc;
    if (!awq_h5_get_int64(file, "layer", &record->layer) ||
        !awq_h5_get_uint64(file, "tensors_bytes", &record->tensors_bytes) ||
        !awq_h5_get_uint64(file, "tensors_crc32", &crc) || crc > UINT32_MAX ||
        !awq_h5_get_int64(file, "tokens", &record->tokens) ||
        !awq_h5_get_double(file, "fold_error", &record->fold_error))
        return false;
    record->tensors_crc = (uint32_t)crc;
    return true;
}

bool awq_layer_record_load(hid_t root, awq_layer_record *record)
{
    return read_attributes(root, record) && read_groups(root, record) &&
           read_linears(root, record) && read_seconds(root, record);
}

static awq_status read_file(hid_t file, const char *path, const char *fingerprint,
                            awq_layer_record *record, awq_error *err)
{
    if (fingerprint && !awq_h5_string_is(file, "fingerprint", fingerprint))
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' belongs to another job", path);
    if (awq_layer_record_load(file, record)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' lacks parts of " AWQ_RECORD_EXPECTED, path);
}

awq_status awq_layer_record_read(const char *path, const char *fingerprint, awq_layer_record *out,
                                 awq_error *err)
{
    hid_t file;
    awq_layer_record record;
    awq_layer_record_init(&record);
    awq_h5_lock();
    awq_status status = awq_h5_open_sealed(path, AWQ_RECORD_EXPECTED, &file, err);
    if (!status) {
        status = read_file(file, path, fingerprint, &record, err);
        H5Fclose(file);
    }
    awq_h5_unlock();
    if (status)
        awq_layer_record_release(&record);
    else
        *out = record;
    return status;
}
