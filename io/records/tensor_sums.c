/* SPDX-License-Identifier: MIT */
#include "io/records/tensor_sums.h"

#include <stdlib.h>
#include <string.h>

#include "io/records/tensor_sums_layout.h"

enum { MAX_TENSORS = 1 << 24, MAX_NAME_BYTES = 4096 };

static awq_status alloc(awq_tensor_sums *sums, awq_error *err)
{
    sums->names = calloc(sums->count + 1, sums->name_bytes);
    sums->bytes = calloc(sums->count + 1, sizeof *sums->bytes);
    sums->crc = calloc(sums->count + 1, sizeof *sums->crc);
    sums->sorted = calloc(sums->count + 1, sizeof *sums->sorted);
    if (sums->names && sums->bytes && sums->crc && sums->sorted) return AWQ_OK;
    awq_tensor_sums_release(sums);
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the checksums of the tensors");
}

static int compare_names(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

static void sort(awq_tensor_sums *sums)
{
    for (size_t i = 0; i < sums->count; i++) sums->sorted[i] = awq_tensor_sums_name(sums, i);
    qsort(sums->sorted, sums->count, sizeof *sums->sorted, compare_names);
}

awq_status awq_tensor_sums_create(const awq_tensor *tensors, size_t count, awq_tensor_sums *out,
                                  awq_error *err)
{
    awq_tensor_sums sums = {.count = count, .name_bytes = 1};
    for (size_t i = 0; i < count; i++)
        if (strlen(tensors[i].name) >= sums.name_bytes)
            sums.name_bytes = strlen(tensors[i].name) + 1;
    if (alloc(&sums, err)) return err->status;
    for (size_t i = 0; i < count; i++) {
        strcpy(sums.names + i * sums.name_bytes, tensors[i].name);
        sums.bytes[i] = tensors[i].bytes;
    }
    sort(&sums);
    *out = sums;
    return AWQ_OK;
}

void awq_tensor_sums_release(awq_tensor_sums *sums)
{
    free(sums->names);
    free(sums->bytes);
    free(sums->crc);
    free(sums->sorted);
    *sums = (awq_tensor_sums){0};
}

const char *awq_tensor_sums_name(const awq_tensor_sums *sums, size_t index)
{
    return sums->names + index * sums->name_bytes;
}

size_t awq_tensor_sums_find(const awq_tensor_sums *sums, const char *name)
{
    if (!sums->count) return 0; /* there is no array to search */
    const char **found =
        bsearch(&name, sums->sorted, sums->count, sizeof *sums->sorted, compare_names);
    return found ? (size_t)(*found - sums->names) / sums->name_bytes : sums->count;
}

/* ---- HDF5 ---- */

static hid_t name_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

bool awq_tensor_sums_put(hid_t file, const awq_tensor_sums *sums)
{
    hid_t group = awq_h5_create_group(file, "tensors");
    if (group < 0) return false;
    hid_t type = name_type(sums->name_bytes);
    int64_t count = (int64_t)sums->count;
    bool ok =
        awq_h5_write_array(group, "name", type, type, count, sums->names) &&
        awq_h5_write_array(group, "bytes", H5T_STD_U64LE, H5T_NATIVE_UINT64, count, sums->bytes) &&
        awq_h5_write_array(group, "crc32", H5T_STD_U32LE, H5T_NATIVE_UINT32, count, sums->crc);
    H5Tclose(type);
    return H5Gclose(group) >= 0 && ok;
}

/* Sizes, from the names. */
static bool measure(hid_t dataset, awq_tensor_sums *sums)
{
    hsize_t shape[1];
    hid_t type = H5Dget_type(dataset);
    bool ok = type >= 0 && H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type) &&
              H5Tget_size(type) <= MAX_NAME_BYTES && awq_h5_shape(dataset, 1, shape) &&
              shape[0] <= MAX_TENSORS;
    if (ok) *sums = (awq_tensor_sums){.count = shape[0], .name_bytes = H5Tget_size(type) + 1};
    if (type >= 0) H5Tclose(type);
    return ok;
}

static bool read_column(hid_t group, const char *name, hid_t type, size_t count, void *data)
{
    hsize_t shape[1];
    hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT);
    if (dataset < 0) return false;
    bool ok = awq_h5_shape(dataset, 1, shape) && shape[0] == count &&
              (!count || awq_h5_read_rows(dataset, type, 1, 0, shape, data));
    H5Dclose(dataset);
    return ok;
}

static awq_status read_group(hid_t group, const char *path, awq_tensor_sums *sums, awq_error *err)
{
    hid_t names = H5Dopen2(group, "name", H5P_DEFAULT);
    bool ok = names >= 0 && measure(names, sums);
    if (names >= 0) H5Dclose(names);
    if (ok && alloc(sums, err)) return err->status;
    if (ok) {
        hid_t type = name_type(sums->name_bytes); /* a byte more than the file's: ends in NUL */
        ok = read_column(group, "name", type, sums->count, sums->names) &&
             read_column(group, "bytes", H5T_NATIVE_UINT64, sums->count, sums->bytes) &&
             read_column(group, "crc32", H5T_NATIVE_UINT32, sums->count, sums->crc);
        H5Tclose(type);
    }
    if (ok) {
        sort(sums);
        return AWQ_OK;
    }
    awq_tensor_sums_release(sums);
    return awq_fail(err, AWQ_ERR_CORRUPT, "'%s': /tensors is not as awqrun writes it", path);
}

awq_status awq_tensor_sums_read(const char *path, awq_tensor_sums *out, awq_error *err)
{
    hid_t file;
    awq_tensor_sums sums = {0};
    awq_h5_lock();
    awq_status status = awq_h5_open_sealed(path, AWQ_STATISTICS_EXPECTED, &file, err);
    if (!status) {
        bool there = H5Lexists(file, "tensors", H5P_DEFAULT) > 0;
        hid_t group = there ? H5Gopen2(file, "tensors", H5P_DEFAULT) : -1;
        if (group >= 0) status = read_group(group, path, &sums, err);
        if (group >= 0) H5Gclose(group);
        H5Fclose(file);
    }
    awq_h5_unlock();
    if (!status) *out = sums;
    return status;
}
