/* SPDX-License-Identifier: MIT
 * io/records/layout.h - what a layer record's file holds, once, for its writer and its reader.
 * Inside io only. */
#ifndef AWQ_IO_RECORDS_LAYOUT_H
#define AWQ_IO_RECORDS_LAYOUT_H

#include "io/files/h5.h"
#include "io/records/layer_record.h"

/* X(field, size's field, type in the file, type in memory): the arrays of /groups/NAME. */
#define AWQ_GROUP_ARRAY_LIST(X)                                                                    \
    X(mean_abs, channels, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT)                                        \
    X(scales, channels, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT)                                          \
    X(alpha, candidates, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE)                                        \
    X(duo, candidates, H5T_STD_U8LE, H5T_NATIVE_UINT8)                                             \
    X(loss, candidates, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE)                                         \
    X(measured, candidates, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE)

/* X(field, kind): the attributes of /groups/NAME beside its index. */
#define AWQ_GROUP_FIELD_LIST(X)                                                                    \
    X(expert, int64)                                                                               \
    X(tokens, int64)                                                                               \
    X(chosen, int64)

/* X(field, kind): those of /linears/NAME. */
#define AWQ_LINEAR_FIELD_LIST(X)                                                                   \
    X(group, int64)                                                                                \
    X(expert, int64)                                                                               \
    X(loss_rounding, double)                                                                       \
    X(loss, double)                                                                                \
    X(energy, double)                                                                              \
    X(clipped_groups, int64)                                                                       \
    X(groups, int64)                                                                               \
    X(damp, double)

#define AWQ_CLIP_COUNTS_NAME "clip_counts"

#define AWQ_RECORD_EXPECTED "the record of a layer"

/* Reads what hangs below a record's root group; false: it is not as it should be, and what has been
 * read is the caller's to release. */
bool awq_layer_record_load(hid_t root, awq_layer_record *record);

/* Room for that many groups and linears, none of them there; false: no memory, or partly, which is
 * the caller's to release. */
bool awq_layer_record_allocate(awq_layer_record *record, int groups, int linears);

#endif
