/* SPDX-License-Identifier: MIT */
#include "io/records/parcel.h"

#include <stdlib.h>
#include <string.h>

#include "io/records/layout.h"

/* ---- writing ---- */

/* to NULL: measures. */
typedef struct writing {
    unsigned char *to;
    uint64_t used;
} writing;

static void put(writing *out, const void *from, uint64_t bytes)
{
    if (out->to && bytes) memcpy(out->to + out->used, from, bytes);
    out->used += bytes;
}

static void put_group(writing *out, const awq_group_record *group)
{
    put(out, group, sizeof *group); /* its pointers mean nothing on the way */
#define AWQ_ARRAY_PUT(field, count, file_type, memory_type)                                        \
    put(out, group->field, (uint64_t)group->count * sizeof *group->field);
    AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_PUT)
#undef AWQ_ARRAY_PUT
}

uint64_t awq_record_parcel_write(const awq_layer_record *record, const awq_layer_spec *layer,
                                 awq_layer_part part, unsigned char *to)
{
    writing out = {.to = to};
    put(&out, record->seconds, sizeof record->seconds);
    for (int i = 0; i < layer->linears; i++)
        if (awq_layer_part_owns_linear(layer, part, i))
            put(&out, &record->linear[i], sizeof record->linear[i]);
    for (int i = 0; i < layer->groups; i++)
        if (awq_layer_part_owns_group(layer, part, i)) put_group(&out, &record->group[i]);
    return out.used;
}

/* ---- reading ---- */

typedef struct reading {
    const unsigned char *from;
    uint64_t left;
} reading;

static bool get(reading *in, void *to, uint64_t bytes)
{
    if (bytes > in->left) return false;
    if (bytes) memcpy(to, in->from, bytes);
    in->from += bytes;
    in->left -= bytes;
    return true;
}

/* An array of the group; NULL: no memory, or more than there is. */
static void *get_array(reading *in, int64_t count, size_t element)
{
    if (count < 0 || (uint64_t)count > in->left / element) return NULL;
    void *array = malloc((size_t)count * element + 1);
    if (array) get(in, array, (uint64_t)count * element);
    return array;
}

static bool get_group(reading *in, awq_group_record *group)
{
    awq_group_record sent;
    bool ok = get(in, &sent, sizeof sent);
    if (!ok) return false;
#define AWQ_ARRAY_GET(field, count, file_type, memory_type)                                        \
    sent.field = ok ? get_array(in, sent.count, sizeof *sent.field) : NULL;                        \
    ok = ok && sent.field;
    AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_GET)
#undef AWQ_ARRAY_GET
    *group = sent; /* also what is there of it: the record's to release */
    return ok;
}

awq_status awq_record_parcel_read(awq_layer_record *record, const awq_layer_spec *layer,
                                  awq_layer_part part, const unsigned char *from, uint64_t bytes,
                                  uint64_t *used, awq_error *err)
{
    reading in = {from, bytes};
    double seconds[AWQ_PHASES];
    bool ok = get(&in, seconds, sizeof seconds);
    for (int i = 0; ok && i < AWQ_PHASES; i++) record->seconds[i] += seconds[i];
    for (int i = 0; ok && i < layer->linears; i++)
        if (awq_layer_part_owns_linear(layer, part, i))
            ok = get(&in, &record->linear[i], sizeof record->linear[i]);
    for (int i = 0; ok && i < layer->groups; i++)
        if (awq_layer_part_owns_group(layer, part, i)) ok = get_group(&in, &record->group[i]);
    if (!ok)
        return awq_fail(err, AWQ_ERR_INTERNAL, "part %d of %d of a layer came without its record",
                        part.index + 1, part.count);
    *used = bytes - in.left;
    return AWQ_OK;
}
