/* SPDX-License-Identifier: MIT */
#include "io/files/shards.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/files/safetensors_header.h"

/* A shard that grows tensor by tensor. */
typedef struct growing {
    size_t first;
    size_t count;
    uint64_t entry_bytes;
    uint64_t data_bytes;
} growing;

static growing grow(growing shard, const awq_tensor *tensor)
{
    shard.count++;
    shard.entry_bytes += awq_safetensors_entry_bytes(tensor, shard.data_bytes);
    shard.data_bytes += awq_safetensors_data_bytes(tensor);
    return shard;
}

static uint64_t file_bytes(const growing *shard)
{
    return awq_safetensors_total_bytes(shard->entry_bytes, shard->data_bytes);
}

static void close_shard(awq_shards *shards, const growing *shard)
{
    awq_shard *item = &shards->items[shards->count++];
    *item = (awq_shard){.first = shard->first, .count = shard->count, .bytes = file_bytes(shard)};
}

static void fill_shards(const awq_tensor *tensors, size_t count, uint64_t max_bytes,
                        awq_shards *shards)
{
    growing shard = {0};
    for (size_t i = 0; i < count; i++) {
        growing larger = grow(shard, &tensors[i]);
        if (shard.count && file_bytes(&larger) > max_bytes) {
            close_shard(shards, &shard);
            larger = grow((growing){.first = i}, &tensors[i]);
        }
        shard = larger;
    }
    close_shard(shards, &shard);
}

awq_status awq_shards_plan(const awq_tensor *tensors, size_t count, uint64_t max_bytes,
                           awq_shards *out, awq_error *err)
{
    if (!count) return awq_fail(err, AWQ_ERR_INTERNAL, "no tensors to write");
    awq_shards shards = {.items = calloc(count, sizeof *shards.items)};
    if (!shards.items)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to plan the shards of %zu tensors", count);
    fill_shards(tensors, count, max_bytes, &shards);
    for (size_t i = 0; i < shards.count; i++) {
        char *name = shards.items[i].name;
        size_t room = sizeof shards.items[i].name;
        if (shards.count == 1)
            snprintf(name, room, "model.safetensors");
        else
            snprintf(name, room, "model-%05zu-of-%05zu.safetensors", i + 1, shards.count);
    }
    *out = shards;
    return AWQ_OK;
}

void awq_shards_release(awq_shards *shards)
{
    free(shards->items);
    *shards = (awq_shards){0};
}

json_t *awq_shards_index(const awq_shards *shards, const awq_tensor *tensors)
{
    uint64_t total = 0;
    json_t *map = json_object();
    for (size_t i = 0; map && i < shards->count; i++) {
        const awq_shard *shard = &shards->items[i];
        for (size_t j = shard->first; j < shard->first + shard->count; j++) {
            total += awq_safetensors_data_bytes(&tensors[j]);
            if (!json_object_set_new(map, tensors[j].name, json_string(shard->name))) continue;
            json_decref(map);
            return NULL;
        }
    }
    if (!map) return NULL;
    return json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)total, "weight_map",
                     map);
}
