/* SPDX-License-Identifier: MIT */
#include "io/records/layer_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/files/file.h"
#include "io/records/layout.h"

const char *awq_phase_name(awq_phase phase)
{
    static const char *const names[] = {
#define AWQ_PHASE_TEXT(name, text) text,
        AWQ_PHASE_LIST(AWQ_PHASE_TEXT)
#undef AWQ_PHASE_TEXT
    };
    return names[phase];
}

const char *awq_span_name(awq_span span)
{
    static const char *const names[] = {
#define AWQ_SPAN_TEXT(name, text) text,
        AWQ_SPAN_LIST(AWQ_SPAN_TEXT)
#undef AWQ_SPAN_TEXT
    };
    return names[span];
}

void awq_layer_record_init(awq_layer_record *record)
{
    *record = (awq_layer_record){0};
}

void awq_layer_record_release(awq_layer_record *record)
{
    for (int group = 0; group < record->groups; group++) {
#define AWQ_ARRAY_FREE(field, count, file_type, memory_type) free(record->group[group].field);
        AWQ_GROUP_ARRAY_LIST(AWQ_ARRAY_FREE)
#undef AWQ_ARRAY_FREE
    }
    free(record->group);
    free(record->linear);
    awq_layer_record_init(record);
}

bool awq_layer_record_allocate(awq_layer_record *record, int groups, int linears)
{
    record->group = calloc((size_t)groups + 1, sizeof *record->group);
    record->linear = calloc((size_t)linears + 1, sizeof *record->linear);
    if (!record->group || !record->linear) return false;
    record->groups = groups;
    record->linears = linears;
    for (int group = 0; group < groups; group++) record->group[group].chosen = -1;
    return true;
}

awq_status awq_layer_record_shape(awq_layer_record *record, const awq_layer_spec *layer,
                                  awq_error *err)
{
    if (!awq_layer_record_allocate(record, layer->groups, layer->linears))
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the record of a layer");
    for (int i = 0; i < layer->groups; i++) {
        awq_group_record *group = &record->group[i];
        snprintf(group->name, sizeof group->name, "%s", layer->group[i].name);
        group->expert = layer->group[i].expert;
    }
    for (int i = 0; i < layer->linears; i++) {
        awq_linear_record *linear = &record->linear[i];
        snprintf(linear->name, sizeof linear->name, "%.39s",
                 awq_linear_short_name(&layer->linear[i]));
        linear->group = layer->linear[i].group;
        linear->expert = layer->linear[i].expert;
    }
    return AWQ_OK;
}

/* sqrt(loss / energy); a layer that puts nothing out has no error. */
static double relative(double loss, double energy)
{
    return energy > 0 ? sqrt(loss / energy) : 0;
}

double awq_layer_record_relative_error(const awq_layer_record *record)
{
    double loss = 0, energy = 0;
    for (int linear = 0; linear < record->linears; linear++) {
        loss += record->linear[linear].loss;
        energy += record->linear[linear].energy;
    }
    return relative(loss, energy);
}

double awq_layer_record_rounding_error(const awq_layer_record *record)
{
    double loss = 0, energy = 0;
    for (int linear = 0; linear < record->linears; linear++) {
        loss += record->linear[linear].loss_rounding;
        energy += record->linear[linear].energy;
    }
    return relative(loss, energy);
}

awq_status awq_layer_record_read_layer(const char *path, int64_t layer, const char *fingerprint,
                                       awq_layer_record *out, awq_error *err)
{
    awq_layer_record record;
    if (awq_layer_record_read(path, fingerprint, &record, err)) return err->status;
    if (record.layer == layer) {
        *out = record;
        return AWQ_OK;
    }
    awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is the record of layer %lld, not of layer %lld", path,
             (long long)record.layer, (long long)layer);
    awq_layer_record_release(&record);
    return err->status;
}

/* Of the file at `path`, as it is. */
static awq_status compare(const awq_layer_record *record, const char *path, uint64_t bytes,
                          uint32_t crc, awq_error *err)
{
    if (bytes != record->tensors_bytes)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' has %llu bytes, its record says %llu", path,
                        (unsigned long long)bytes, (unsigned long long)record->tensors_bytes);
    if (crc != record->tensors_crc)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' has another crc32 than its record says", path);
    return AWQ_OK;
}

awq_status awq_layer_record_vouch(const awq_layer_record *record, const awq_safetensors *tensors,
                                  const uint32_t *crc, awq_error *err)
{
    uint64_t bytes;
    awq_safetensors_bytes(tensors, &bytes);
    uint32_t all = awq_safetensors_header_crc(tensors);
    for (size_t i = 0; i < awq_safetensors_count(tensors); i++)
        all = awq_crc32_combine(all, crc[i], awq_safetensors_at(tensors, i)->bytes);
    return compare(record, awq_safetensors_path(tensors), bytes, all, err);
}

awq_status awq_layer_record_check(const char *h5_path, const char *tensors_path, int64_t layer,
                                  const char *fingerprint, awq_error *err)
{
    awq_layer_record record;
    uint32_t crc;
    uint64_t bytes;
    if (awq_layer_record_read_layer(h5_path, layer, fingerprint, &record, err)) return err->status;
    awq_status status = awq_file_crc32(tensors_path, &crc, &bytes, err);
    if (!status) status = compare(&record, tensors_path, bytes, crc, err);
    awq_layer_record_release(&record);
    return status;
}
