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

/* ---- groups and linears, which are found by name or by their index ---- */

/* More than any model has (io/model.h). */
enum { MAX_INDEX = AWQ_DENSE_LINEARS + 2 + AWQ_MLP_LINEARS * (AWQ_MAX_EXPERTS + 1) };

/* The number of a link of /groups or /linears; -1: none. */
typedef int64_t number_of(hid_t group, const char *name);

static int64_t read_index(hid_t group, int64_t dense)
{
    int64_t index;
    bool ok = awq_h5_get_int64(group, "index", &index) && index >= dense && index < MAX_INDEX;
    return ok ? index : -1;
}

static int64_t group_number(hid_t group, const char *name)
{
    for (awq_group i = 0; i < AWQ_DENSE_GROUPS; i++)
        if (!strcmp(name, awq_dense_group_name(i))) return i;
    return read_index(group, AWQ_DENSE_GROUPS);
}

static int64_t linear_number(hid_t group, const char *name)
{
    for (awq_linear i = 0; i < AWQ_DENSE_LINEARS; i++)
        if (!strcmp(name, strchr(awq_dense_linear_name(i), '.') + 1)) return i;
    return read_index(group, AWQ_DENSE_LINEARS);
}

/* What goes over the links of a group. */
typedef struct link_visit {
    awq_layer_record *record;
    number_of *number;
    bool (*read)(awq_layer_record *record, int64_t number, hid_t group, const char *name);
    int64_t end; /* one past the largest number */
} link_visit;

static herr_t visit_link(hid_t parent, const char *name, const H5L_info_t *info, void *context)
{
    (void)info;
    link_visit *visit = context;
    hid_t group = open_group(parent, name);
    if (group < 0) return -1;
    int64_t number = visit->number(group, name);
    bool ok = number >= 0 && strlen(name) < AWQ_RECORD_NAME_BYTES;
    if (ok && number >= visit->end) visit->end = number + 1;
    if (ok && visit->read) ok = visit->read(visit->record, number, group, name);
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

static bool take_group(awq_layer_record *record, int64_t number, hid_t file, const char *name)
{
    awq_group_record *group = &record->group[number];
    if (*group->name) return false;
    snprintf(group->name, sizeof group->name, "%s", name);
    group->tokens = record->tokens;
    if (number >= AWQ_DENSE_GROUPS && !awq_h5_get_int64(file, "tokens", &group->tokens))
        return false;
    return read_group(file, group);
}

static awq_group dense_group(awq_linear linear)
{
    return linear <= AWQ_V ? AWQ_GROUP_QKV : AWQ_GROUP_O + (linear > AWQ_O) + (linear > AWQ_UP);
}

static bool take_linear(awq_layer_record *record, int64_t number, hid_t file, const char *name)
{
    awq_linear_record *linear = &record->linear[number];
    int64_t group = dense_group((awq_linear)number);
    if (*linear->name) return false;
    snprintf(linear->name, sizeof linear->name, "%s", name);
    if (number >= AWQ_DENSE_LINEARS && !awq_h5_get_int64(file, "group", &group)) return false;
    if (group < 0 || group >= record->groups || !*record->group[group].name) return false;
    linear->group = (awq_group)group;
    return read_linear(file, linear);
}

/* Whether the attention's linears are there, and those of one MLP or of experts. */
static bool is_a_layer(const awq_layer_record *record)
{
    int found = 0;
    for (awq_linear linear = 0; linear < record->linears && linear < AWQ_DENSE_LINEARS; linear++)
        found += *record->linear[linear].name != '\0';
    return found == AWQ_DENSE_LINEARS ||
           (found == AWQ_GATE && record->linears > AWQ_DENSE_LINEARS &&
            *record->linear[AWQ_O].name);
}

static bool read_groups_and_linears(hid_t file, awq_layer_record *record)
{
    link_visit groups = {record, group_number, NULL, 0}, linears = {record, linear_number, NULL, 0};
    if (!visit_links(file, "groups", &groups) || !visit_links(file, "linears", &linears) ||
        !awq_layer_record_allocate(record, (awq_group)groups.end, (awq_linear)linears.end))
        return false;
    groups.read = take_group;
    linears.read = take_linear;
    return visit_links(file, "groups", &groups) && visit_links(file, "linears", &linears) &&
           is_a_layer(record);
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
