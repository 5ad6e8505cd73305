/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/records/layout.h"

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

#define AWQ_FIELD_GET(field, kind) ok = ok && awq_h5_get_##kind(group, #field, &record->field);

static bool read_group(awq_layer_record *layer, int index, hid_t group, const char *name)
{
    awq_group_record *record = &layer->group[index];
    if (*record->name) return false;
    snprintf(record->name, sizeof record->name, "%s", name);
    bool ok = true;
    record->channels = record->candidates = -1;
    AWQ_GROUP_FIELD_LIST(AWQ_FIELD_GET)
#define AWQ_ARRAY_READ(field, count, file_type, memory_type)                                       \
    record->field =                                                                                \
        ok ? read_array(group, #field, memory_type, sizeof *record->field, &record->count) : NULL; \
    ok = ok && record->field;
    AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_READ)
#undef AWQ_ARRAY_READ
    return ok && record->expert >= -1 && record->chosen >= -1 &&
           record->chosen < record->candidates;
}

static bool read_clip_counts(hid_t group, awq_linear_record *record)
{
    hsize_t shape[2];
    hid_t dataset = open_dataset(group, AWQ_CLIP_COUNTS_NAME);
    if (dataset < 0) return false;
    bool ok = awq_h5_shape(dataset, 2, shape) && shape[0] <= AWQ_CLIP_SHAPES &&
              shape[1] == AWQ_CLIP_STEPS;
    if (ok && shape[0])
        ok = awq_h5_read_rows(dataset, H5T_NATIVE_INT64, 2, 0, shape, record->clip_counts);
    if (ok) record->clip_shapes = (int64_t)shape[0];
    H5Dclose(dataset);
    return ok;
}

static bool read_linear(awq_layer_record *layer, int index, hid_t group, const char *name)
{
    awq_linear_record *record = &layer->linear[index];
    if (*record->name) return false;
    snprintf(record->name, sizeof record->name, "%s", name);
    bool ok = true, of_expert = strchr(name, '.') != NULL; /* "experts.3.up_proj" */
    AWQ_LINEAR_FIELD_LIST(AWQ_FIELD_GET)
#undef AWQ_FIELD_GET
    return ok && record->expert >= -1 && (record->expert < 0 || of_expert) && record->group >= 0 &&
           record->group < layer->groups && read_clip_counts(group, record);
}

/* Opens parent/name; negative: not there. */
static hid_t open_group(hid_t parent, const char *name)
{
    return H5Lexists(parent, name, H5P_DEFAULT) > 0 ? H5Gopen2(parent, name, H5P_DEFAULT) : -1;
}

/* What goes over the links of /groups or /linears. */
typedef struct link_visit {
    awq_layer_record *record;
    int count; /* of the links */
    bool (*read)(awq_layer_record *record, int index, hid_t group, const char *name);
} link_visit;

static herr_t visit_link(hid_t parent, const char *name, const H5L_info_t *info, void *context)
{
    (void)info;
    link_visit *visit = context;
    hid_t group = open_group(parent, name);
    if (group < 0) return -1;
    int64_t index;
    bool ok = awq_h5_get_int64(group, "index", &index) && index >= 0 && index < visit->count &&
              strlen(name) < AWQ_RECORD_NAME_BYTES &&
              visit->read(visit->record, (int)index, group, name);
    H5Gclose(group);
    return ok ? 0 : -1;
}

static bool visit_links(hid_t file, const char *parent, link_visit *visit)
{
    hid_t group = open_group(file, parent);
    if (group < 0) return false;
    hsize_t start = 0;
    bool ok = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &start, visit_link, visit) >= 0;
    H5Gclose(group);
    return ok;
}

/* More than any layer has (io/model/layer.h). */
enum { MAX_LINKS = 3 * AWQ_MAX_EXPERTS + 16 };

/* Links below parent/name; -1: not there, or too many. */
static int count_links(hid_t file, const char *name)
{
    H5G_info_t info;
    bool ok = H5Lexists(file, name, H5P_DEFAULT) > 0 &&
              H5Gget_info_by_name(file, name, &info, H5P_DEFAULT) >= 0 && info.nlinks <= MAX_LINKS;
    return ok ? (int)info.nlinks : -1;
}

/* All indices are taken, since no two links have the same. */
static bool read_groups_and_linears(hid_t file, awq_layer_record *record)
{
    link_visit groups = {record, count_links(file, "groups"), read_group};
    link_visit linears = {record, count_links(file, "linears"), read_linear};
    return groups.count > 0 && linears.count > 0 &&
           awq_layer_record_allocate(record, groups.count, linears.count) &&
           visit_links(file, "groups", &groups) && visit_links(file, "linears", &linears);
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
    return read_attributes(root, record) && read_groups_and_linears(root, record) &&
           read_seconds(root, record);
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
        if (fingerprint && !awq_h5_string_is(file, "fingerprint", fingerprint))
            status = awq_fail(err, AWQ_ERR_CORRUPT, "'%s' belongs to another job", path);
        else if (!awq_layer_record_load(file, &record))
            status =
                awq_fail(err, AWQ_ERR_CORRUPT, "'%s' lacks parts of " AWQ_RECORD_EXPECTED, path);
        H5Fclose(file);
    }
    awq_h5_unlock();
    if (status)
        awq_layer_record_release(&record);
    else
        *out = record;
    return status;
}
