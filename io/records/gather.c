/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "io/files/path.h"
#include "io/records/layout.h"
#include "io/records/tensor_sums_layout.h"

/* Copies one record's root group to parent/NNNNN. */
static awq_status copy_record(hid_t parent, const char *output, const char *path, int64_t layer,
                              awq_error *err)
{
    hid_t file;
    int64_t found;
    char name[32];
    if (awq_h5_open_sealed(path, AWQ_RECORD_EXPECTED, &file, err)) return err->status;
    awq_status status = AWQ_OK;
    snprintf(name, sizeof name, "%05lld", (long long)layer);
    if (!awq_h5_get_int64(file, "layer", &found) || found != layer)
        status = awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is not the record of layer %lld", path,
                          (long long)layer);
    else if (H5Ocopy(file, "/", parent, name, H5P_DEFAULT, H5P_DEFAULT) < 0)
        status = awq_h5_fail_write(err, output, 0);
    H5Fclose(file);
    return status;
}

static awq_status copy_records(const awq_h5_writer *writer, const char *directory, int64_t layers,
                               awq_error *err)
{
    char name[32], path[AWQ_PATH_BYTES];
    hid_t parent = awq_h5_create_group(writer->file, "layers");
    if (parent < 0) return awq_h5_fail_write(err, writer->path, 0);
    awq_status status = AWQ_OK;
    for (int64_t layer = 0; layer < layers && !status; layer++) {
        snprintf(name, sizeof name, "%05lld.h5", (long long)layer);
        status = awq_path_join(path, directory, name, err);
        if (!status) status = copy_record(parent, writer->path, path, layer, err);
    }
    H5Gclose(parent);
    return status;
}

awq_status awq_layer_records_gather(const char *directory, const awq_gathered *head,
                                    const char *path, awq_error *err)
{
    awq_h5_writer writer;
    awq_h5_lock();
    awq_status status = awq_h5_writer_open(&writer, path, true, 0, err);
    if (!status) {
        status = copy_records(&writer, directory, head->layers, err);
        bool ok = !status && awq_h5_put_string(writer.file, "awqrun", head->version) &&
                  awq_h5_put_string(writer.file, "job", head->job) &&
                  (!head->sums || awq_tensor_sums_put(writer.file, head->sums));
        if (status)
            awq_h5_writer_abandon(&writer);
        else
            status = awq_h5_writer_finish(&writer, ok, err);
    }
    awq_h5_unlock();
    return status;
}

awq_status awq_layer_records_copy(const char *from, const char *path, const awq_tensor_sums *sums,
                                  awq_error *err)
{
    awq_h5_writer writer;
    hid_t source = -1;
    awq_h5_lock();
    awq_status status = awq_h5_open_sealed(from, AWQ_STATISTICS_EXPECTED, &source, err);
    if (!status) status = awq_h5_writer_open(&writer, path, true, 0, err);
    if (!status) {
        char *version = awq_h5_get_string(source, "awqrun");
        char *job = awq_h5_get_string(source, "job");
        bool ok = version && job && awq_h5_put_string(writer.file, "awqrun", version) &&
                  awq_h5_put_string(writer.file, "job", job) &&
                  H5Ocopy(source, "layers", writer.file, "layers", H5P_DEFAULT, H5P_DEFAULT) >= 0 &&
                  awq_tensor_sums_put(writer.file, sums);
        free(version);
        free(job);
        status = awq_h5_writer_finish(&writer, ok, err);
    }
    if (source >= 0) H5Fclose(source);
    awq_h5_unlock();
    return status;
}

awq_status awq_layer_records_job(const char *path, char **job, awq_error *err)
{
    hid_t file;
    awq_h5_lock();
    awq_status status = awq_h5_open(path, AWQ_STATISTICS_EXPECTED, &file, err);
    if (!status) {
        char *text = awq_h5_get_string(file, "job");
        if (text)
            *job = text;
        else
            status = awq_fail(err, AWQ_ERR_CORRUPT, "'%s' does not say which job wrote it", path);
        H5Fclose(file);
    }
    awq_h5_unlock();
    return status;
}

/* ---- read, layer by layer, since all of them at once are large. The seal is checked once, when
 * the file is opened. ---- */

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

static awq_status read_head(hid_t file, const char *path, awq_layer_records *records,
                            awq_error *err)
{
    H5G_info_t info;
    records->version = awq_h5_get_string(file, "awqrun");
    records->job = awq_h5_get_string(file, "job");
    bool there = H5Lexists(file, "layers", H5P_DEFAULT) > 0 &&
                 H5Gget_info_by_name(file, "layers", &info, H5P_DEFAULT) >= 0 && info.nlinks > 0;
    if (!records->version || !records->job || !there)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is HDF5, but not " AWQ_STATISTICS_EXPECTED,
                        path);
    records->layers = (int64_t)info.nlinks;
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

awq_status awq_layer_records_read(const char *path, int64_t layer, awq_layer_record *out,
                                  awq_error *err)
{
    hid_t file;
    awq_layer_record record;
    awq_layer_record_init(&record);
    awq_h5_lock();
    awq_status status = awq_h5_open(path, AWQ_STATISTICS_EXPECTED, &file, err);
    if (!status) {
        hid_t root = open_layer(file, layer);
        bool ok = root >= 0 && awq_layer_record_load(root, &record) && record.layer == layer;
        if (root >= 0) H5Gclose(root);
        H5Fclose(file);
        if (!ok) status = fail_layer(err, path, layer);
    }
    awq_h5_unlock();
    if (status)
        awq_layer_record_release(&record);
    else
        *out = record;
    return status;
}
