/* SPDX-License-Identifier: MIT */
#include "io/records/layout.h"

static bool write_group(hid_t parent, int index, const awq_group_record *record)
{
    hid_t group = awq_h5_create_group(parent, record->name);
    if (group < 0) return false;
    bool ok = awq_h5_put_int64(group, "index", index);
#define AWQ_FIELD_PUT(field, kind) ok = ok && awq_h5_put_##kind(group, #field, record->field);
    AWQ_GROUP_FIELD_LIST(AWQ_FIELD_PUT)
#define AWQ_ARRAY_WRITE(field, count, file_type, memory_type)                                      \
    ok = ok &&                                                                                     \
         awq_h5_write_array(group, #field, file_type, memory_type, record->count, record->field);
    AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_WRITE)
#undef AWQ_ARRAY_WRITE
    return H5Gclose(group) >= 0 && ok;
}

static bool write_groups(hid_t file, const awq_layer_record *record)
{
    hid_t parent = awq_h5_create_group(file, "groups");
    if (parent < 0) return false;
    bool ok = true;
    for (int group = 0; group < record->groups && ok; group++)
        ok = write_group(parent, group, &record->group[group]);
    return H5Gclose(parent) >= 0 && ok;
}

static bool write_clip_counts(hid_t group, const awq_linear_record *record)
{
    hsize_t shape[2] = {(hsize_t)record->clip_shapes, AWQ_CLIP_STEPS};
    hid_t dataset =
        awq_h5_create_dataset(group, AWQ_CLIP_COUNTS_NAME, H5T_STD_I64LE, 2, shape, NULL);
    if (dataset < 0) return false;
    bool ok = !record->clip_shapes ||
              awq_h5_write_rows(dataset, H5T_NATIVE_INT64, 2, 0, shape, record->clip_counts);
    return H5Dclose(dataset) >= 0 && ok;
}

static bool write_linear(hid_t parent, int index, const awq_linear_record *record)
{
    hid_t group = awq_h5_create_group(parent, record->name);
    if (group < 0) return false;
    bool ok = awq_h5_put_int64(group, "index", index);
    AWQ_LINEAR_FIELD_LIST(AWQ_FIELD_PUT)
#undef AWQ_FIELD_PUT
    ok = ok && write_clip_counts(group, record);
    return H5Gclose(group) >= 0 && ok;
}

static bool write_linears(hid_t file, const awq_layer_record *record)
{
    hid_t parent = awq_h5_create_group(file, "linears");
    if (parent < 0) return false;
    bool ok = true;
    for (int linear = 0; linear < record->linears && ok; linear++)
        ok = write_linear(parent, linear, &record->linear[linear]);
    return H5Gclose(parent) >= 0 && ok;
}

static bool write_when(hid_t parent, const awq_layer_when *when)
{
    hid_t group = awq_h5_create_group(parent, "when");
    if (group < 0) return false;
    bool ok =
        awq_h5_put_int64(group, "worker", when->worker) &&
        awq_h5_put_string(group, "host", when->host) &&
        awq_h5_write_array(group, "begin", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, AWQ_SPANS,
                           when->begin) &&
        awq_h5_write_array(group, "end", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, AWQ_SPANS, when->end);
    return H5Gclose(group) >= 0 && ok;
}

static bool write_seconds(hid_t file, const awq_layer_record *record)
{
    hid_t group = awq_h5_create_group(file, "seconds");
    if (group < 0) return false;
    bool ok = true;
    for (awq_phase phase = 0; phase < AWQ_PHASES && ok; phase++)
        ok = awq_h5_put_double(group, awq_phase_name(phase), record->seconds[phase]);
    ok = ok && write_when(group, &record->when);
    return H5Gclose(group) >= 0 && ok;
}

static bool write_attributes(hid_t file, const awq_layer_record *record, const char *fingerprint)
{
    return awq_h5_put_int64(file, "layer", record->layer) &&
           awq_h5_put_string(file, "fingerprint", fingerprint) &&
           awq_h5_put_uint64(file, "tensors_bytes", record->tensors_bytes) &&
           awq_h5_put_uint32(file, "tensors_crc32", record->tensors_crc) &&
           awq_h5_put_int64(file, "tokens", record->tokens) &&
           awq_h5_put_double(file, "fold_error", record->fold_error);
}

awq_status awq_layer_record_write(const char *path, const awq_layer_record *record,
                                  const char *fingerprint, awq_error *err)
{
    awq_h5_writer writer;
    awq_h5_lock();
    awq_status status = awq_h5_writer_open(&writer, path, true, 0, err);
    if (!status) {
        bool ok = write_attributes(writer.file, record, fingerprint) &&
                  write_groups(writer.file, record) && write_linears(writer.file, record) &&
                  write_seconds(writer.file, record);
        status = awq_h5_writer_finish(&writer, ok, err);
    }
    awq_h5_unlock();
    return status;
}
