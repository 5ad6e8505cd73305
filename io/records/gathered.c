/* SPDX-License-Identifier: MIT
 * The other side of gather.c: a checkpoint's statistics, read layer by layer, since
 * all of them at once are large. The seal is checked once, when the file is opened. */
#include <stdio.h>
#include <stdlib.h>

#include "io/records/layout.h"
#include "io/records/tensor_sums_layout.h"

static awq_status fail_layer(awq_error *err, const char *path, int64_t layer)
{
    return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' lacks parts of the record of layer %lld", path,
                    (long long)layer);
}

/* /layers/NNNNN; negative: not there. */
static hid_t open_layer(hid_t file, int64_t layer)
{
    char name[32];
    snprintf(name, sizeof name, "layers/%05lld", (long long)layer);
    if (H5Lexists(file, "layers", H5P_DEFAULT) <= 0 || H5Lexists(file, name, H5P_DEFAULT) <= 0)
        return -1;
    return H5Gopen2(file, name, H5P_DEFAULT);
}

static bool count_layers(hid_t file, int64_t *layers)
{
    H5G_info_t info;
    if (H5Lexists(file, "layers", H5P_DEFAULT) <= 0 ||
        H5Gget_info_by_name(file, "layers", &info, H5P_DEFAULT) < 0)
        return false;
    *layers = (int64_t)info.nlinks;
    return *layers > 0;
}

static awq_status read_head(hid_t file, const char *path, awq_layer_records *records,
                            awq_error *err)
{
    records->version = awq_h5_get_string(file, "awqrun");
    records->job = awq_h5_get_string(file, "job");
    if (!records->version || !records->job || !count_layers(file, &records->layers))
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is HDF5, but not " AWQ_STATISTICS_EXPECTED,
                        path);
    hid_t first = open_layer(file, 0);
    if (first < 0) return fail_layer(err, path, 0);
    records->fingerprint = awq_h5_get_string(first, "fingerprint");
    H5Gclose(first);
    return records->fingerprint ? AWQ_OK : fail_layer(err, path, 0);
}

awq_status awq_layer_records_open(const char *path, awq_layer_records *out, awq_error *err)
{
    hid_t file;
    awq_layer_records records = {0};
    awq_h5_lock();
    awq_status status = awq_h5_open_sealed(path, AWQ_STATISTICS_EXPECTED, &file, err);
    if (!status) {
        status = read_head(file, path, &records, err);
        H5Fclose(file);
    }
    awq_h5_unlock();
    if (status)
        awq_layer_records_release(&records);
    else
        *out = records;
    return status;
}

void awq_layer_records_release(awq_layer_records *records)
{
    free(records->version);
    free(records->job);
    free(records->fingerprint);
    *records = (awq_layer_records){0};
}

static awq_status read_layer(hid_t file, const char *path, int64_t layer, awq_layer_record *record,
                             awq_error *err)
{
    hid_t root = open_layer(file, layer);
    bool ok = root >= 0 && awq_layer_record_load(root, record) && record->layer == layer;
    if (root >= 0) H5Gclose(root);
    return ok ? AWQ_OK : fail_layer(err, path, layer);
}

awq_status awq_layer_records_read(const char *path, int64_t layer, awq_layer_record *out,
                                  awq_error *err)
{
    hid_t file;
    awq_layer_record record;
    awq_layer_record_init(&record);
    awq_h5_lock();
    awq_status status = awq_h5_open(path, AWQ_STATISTICS_EXPECTED, &file, err);
    if (!status) {
        status = read_layer(file, path, layer, &record, err);
        H5Fclose(file);
    }
    awq_h5_unlock();
    if (status)
        awq_layer_record_release(&record);
    else
        *out = record;
    return status;
}
