/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/files/h5.h"

static bool put(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Sclose(space);
    if (attribute < 0) return false;
    bool ok = H5Awrite(attribute, memory_type, value) >= 0;
    return H5Aclose(attribute) >= 0 && ok;
}

bool awq_h5_put_int64(hid_t object, const char *name, int64_t value)
{
    return put(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

bool awq_h5_put_uint64(hid_t object, const char *name, uint64_t value)
{
    return put(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}

bool awq_h5_put_uint32(hid_t object, const char *name, uint32_t value)
{
    return put(object, name, H5T_STD_U32LE, H5T_NATIVE_UINT32, &value);
}

bool awq_h5_put_double(hid_t object, const char *name, double value)
{
    return put(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

/* Fixed length, UTF-8, with its NUL. */
bool awq_h5_put_string(hid_t object, const char *name, const char *value)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(value) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    bool ok = put(object, name, type, type, value);
    H5Tclose(type);
    return ok;
}

/* Opens a scalar attribute whose type is of a class; negative: not there, or of another kind. */
static hid_t open_scalar(hid_t object, const char *name, H5T_class_t type_class)
{
    if (H5Aexists(object, name) <= 0) return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return -1;
    hid_t type = H5Aget_type(attribute);
    hid_t space = H5Aget_space(attribute);
    bool ok = type >= 0 && space >= 0 && H5Tget_class(type) == type_class &&
              H5Sget_simple_extent_npoints(space) == 1;
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (ok) return attribute;
    H5Aclose(attribute);
    return -1;
}

static bool get(hid_t object, const char *name, H5T_class_t type_class, hid_t memory_type,
                void *value)
{
    hid_t attribute = open_scalar(object, name, type_class);
    if (attribute < 0) return false;
    bool ok = H5Aread(attribute, memory_type, value) >= 0;
    H5Aclose(attribute);
    return ok;
}

bool awq_h5_get_int64(hid_t object, const char *name, int64_t *value)
{
    return get(object, name, H5T_INTEGER, H5T_NATIVE_INT64, value);
}

bool awq_h5_get_uint64(hid_t object, const char *name, uint64_t *value)
{
    return get(object, name, H5T_INTEGER, H5T_NATIVE_UINT64, value);
}

bool awq_h5_get_double(hid_t object, const char *name, double *value)
{
    return get(object, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, value);
}

char *awq_h5_get_string(hid_t object, const char *name)
{
    hid_t attribute = open_scalar(object, name, H5T_STRING);
    if (attribute < 0) return NULL;
    hid_t type = H5Aget_type(attribute);
    char *text = H5Tis_variable_str(type) == 0 ? calloc(1, H5Tget_size(type) + 1) : NULL;
    if (text && H5Aread(attribute, type, text) < 0) {
        free(text);
        text = NULL;
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return text;
}

bool awq_h5_string_is(hid_t object, const char *name, const char *value)
{
    char *text = awq_h5_get_string(object, name);
    bool equal = text && !strcmp(text, value);
    free(text);
    return equal;
}
