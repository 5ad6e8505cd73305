/* SPDX-License-Identifier: MIT */
#include "io/files/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files/publish.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char first_error[256]; /* under the mutex; empty: none */
static int first_errno;       /* likewise: of the system call that failed; 0: none did */
static bool started;          /* likewise */

static herr_t keep_description(unsigned n, const H5E_error2_t *error, void *context)
{
    (void)n;
    if (error->desc) snprintf(first_error, sizeof first_error, "%s", error->desc);
    *(bool *)context = error->maj_num == H5E_IO || error->maj_num == H5E_FILE;
    return 0;
}

/* The library calls this when one of its functions fails. Walked from the outside in, the
 * innermost description is what stays. When that one is about a file, errno is as the file's driver
 * left it. */
static herr_t remember_error(hid_t stack, void *unused)
{
    int errnum = errno;
    bool of_a_file = false;
    (void)unused;
    if (first_error[0]) return 0;
    H5Ewalk2(stack, H5E_WALK_DOWNWARD, keep_description, &of_a_file);
    first_errno = of_a_file ? errnum : 0;
    return 0;
}

void awq_h5_lock(void)
{
    pthread_mutex_lock(&mutex);
    /* we close what we open; its own clean-up at exit shouts on stderr after a torn file */
    if (!started) H5dont_atexit();
    started = true;
    first_error[0] = '\0';
    first_errno = errno = 0;
    H5Eset_auto2(H5E_DEFAULT, remember_error, NULL); /* a setting of each thread */
}

void awq_h5_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

awq_status awq_h5_fail_read(awq_error *err, const char *path)
{
    const char *why = first_error[0] ? first_error : "not as expected";
    return awq_fail(err, AWQ_ERR_CORRUPT, "cannot read '%s': %s", path, why);
}

awq_status awq_h5_fail_write(awq_error *err, const char *path, uint64_t needed)
{
    if (first_errno) return awq_publish_fail(err, path, first_errno, needed);
    return awq_fail(err, AWQ_ERR_IO, "cannot write '%s': %s", path,
                    first_error[0] ? first_error : "the HDF5 library failed");
}

hid_t awq_h5_access_properties(void)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
    /* files appear whole, so locks add nothing, and some cluster filesystems have none */
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    H5Pset_file_locking(list, false, true);
#endif
    return list;
}

awq_status awq_h5_open(const char *path, const char *expected, hid_t *file, awq_error *err)
{
    int probe = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* for errno's plain words */
    if (probe < 0) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    close(probe);
    if (H5Fis_hdf5(path) <= 0)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is not an HDF5 file; expected %s", path,
                        expected);
    hid_t list = awq_h5_access_properties();
    hid_t id = H5Fopen(path, H5F_ACC_RDONLY, list);
    H5Pclose(list);
    if (id < 0) return awq_h5_fail_read(err, path);
    *file = id;
    return AWQ_OK;
}

hid_t awq_h5_create_group(hid_t parent, const char *name)
{
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(create, false);
    hid_t group = H5Gcreate2(parent, name, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Pclose(create);
    return group;
}

hid_t awq_h5_create_dataset(hid_t parent, const char *name, hid_t type, int dims,
                            const hsize_t *shape, const hsize_t *chunk)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(dims, shape, NULL);
    hid_t dataset = -1;
    H5Pset_obj_track_times(create, false);
    bool ready =
        !chunk || (H5Pset_chunk(create, dims, chunk) >= 0 && H5Pset_fletcher32(create) >= 0);
    if (ready) dataset = H5Dcreate2(parent, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(create);
    return dataset;
}

bool awq_h5_write_array(hid_t parent, const char *name, hid_t file_type, hid_t memory_type,
                        int64_t count, const void *data)
{
    hsize_t shape[1] = {(hsize_t)count};
    hid_t dataset = awq_h5_create_dataset(parent, name, file_type, 1, shape, NULL);
    if (dataset < 0) return false;
    bool ok = !count || H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    return H5Dclose(dataset) >= 0 && ok;
}

bool awq_h5_shape(hid_t dataset, int dims, hsize_t *shape)
{
    hid_t space = H5Dget_space(dataset);
    if (space < 0) return false;
    bool ok = H5Sget_simple_extent_ndims(space) == dims &&
              H5Sget_simple_extent_dims(space, shape, NULL) == dims;
    H5Sclose(space);
    return ok;
}

/* The dataspace of rows in the file, or negative. */
static hid_t select_rows(hid_t dataset, int dims, hsize_t first, const hsize_t *shape)
{
    hsize_t start[H5S_MAX_RANK] = {first};
    hid_t space = H5Dget_space(dataset);
    if (space < 0 || H5Sget_simple_extent_ndims(space) != dims ||
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, shape, NULL) < 0) {
        if (space >= 0) H5Sclose(space);
        return -1;
    }
    return space;
}

bool awq_h5_read_rows(hid_t dataset, hid_t memory_type, int dims, hsize_t first,
                      const hsize_t *shape, void *data)
{
    hid_t file = select_rows(dataset, dims, first, shape);
    hid_t memory = H5Screate_simple(dims, shape, NULL);
    bool ok = file >= 0 && memory >= 0 &&
              H5Dread(dataset, memory_type, memory, file, H5P_DEFAULT, data) >= 0;
    if (file >= 0) H5Sclose(file);
    if (memory >= 0) H5Sclose(memory);
    return ok;
}

bool awq_h5_write_rows(hid_t dataset, hid_t memory_type, int dims, hsize_t first,
                       const hsize_t *shape, const void *data)
{
    hid_t file = select_rows(dataset, dims, first, shape);
    hid_t memory = H5Screate_simple(dims, shape, NULL);
    bool ok = file >= 0 && memory >= 0 &&
              H5Dwrite(dataset, memory_type, memory, file, H5P_DEFAULT, data) >= 0;
    if (file >= 0) H5Sclose(file);
    if (memory >= 0) H5Sclose(memory);
    return ok;
}
