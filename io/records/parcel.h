/* SPDX-License-Identifier: MIT
 * io/records/parcel.h - the share of a layer's record that a part of the layer owns, as bytes on
 * their way to the part that writes the record. Between ranks that run one program, and nowhere on
 * disk. */
#ifndef AWQ_IO_RECORDS_PARCEL_H
#define AWQ_IO_RECORDS_PARCEL_H

#include "io/model/part.h"
#include "io/records/layer_record.h"

/* Writes the groups and linears that the part owns, and its seconds, and returns their bytes; to
 * NULL: only measures. */
uint64_t awq_record_parcel_write(const awq_layer_record *record, const awq_layer_spec *layer,
                                 awq_layer_part part, unsigned char *to);
/* Puts them into a record of the layer's shape that lacks them, and adds the seconds. *used is how
 * many bytes they were. */
awq_status awq_record_parcel_read(awq_layer_record *record, const awq_layer_spec *layer,
                                  awq_layer_part part, const unsigned char *from, uint64_t bytes,
                                  uint64_t *used, awq_error *err);

#endif
