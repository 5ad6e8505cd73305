/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/shards.h"
#include "scratch.h"

enum { COUNT = 50 };

static awq_tensor tensors[COUNT];
static char names[COUNT][64];

static int fill(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%d.weight", i);
        tensors[i] =
            (awq_tensor){.name = names[i], .dtype = AWQ_F16, .dims = 2, .shape = {i % 7 + 1, 100}};
    }
    return 0;
}

static void one_shard_has_the_plain_name(void **state)
{
    (void)state;
    awq_error err;
    awq_shards shards;
    assert_int_equal(awq_shards_plan(tensors, COUNT, 5000000000, &shards, &err), AWQ_OK);
    assert_int_equal(shards.count, 1);
    assert_string_equal(shards.items[0].name, "model.safetensors");
    assert_int_equal(shards.items[0].count, COUNT);
    assert_int_equal(shards.items[0].bytes, awq_safetensors_file_bytes(tensors, COUNT));
    awq_shards_release(&shards);
}

static void shards_hold_all_tensors_in_order_within_the_limit(void **state)
{
    (void)state;
    for (uint64_t max = 200; max < 50000; max = max * 5 / 4) {
        awq_error err;
        awq_shards shards;
        size_t next = 0;
        assert_int_equal(awq_shards_plan(tensors, COUNT, max, &shards, &err), AWQ_OK);
        for (size_t i = 0; i < shards.count; i++) {
            const awq_shard *shard = &shards.items[i];
            assert_int_equal(shard->first, next);
            next += shard->count;
            assert_int_equal(shard->bytes,
                             awq_safetensors_file_bytes(tensors + shard->first, shard->count));
            assert_true(shard->bytes <= max || shard->count == 1);
            if (next < COUNT) /* one more would not have fitted */
                assert_true(awq_safetensors_file_bytes(tensors + shard->first, shard->count + 1) >
                            max);
        }
        assert_int_equal(next, COUNT);
        awq_shards_release(&shards);
    }
}

static void shards_are_numbered(void **state)
{
    (void)state;
    awq_error err;
    awq_shards shards;
    assert_int_equal(awq_shards_plan(tensors, 3, 1, &shards, &err), AWQ_OK);
    assert_string_equal(shards.items[0].name, "model-00001-of-00003.safetensors");
    assert_string_equal(shards.items[2].name, "model-00003-of-00003.safetensors");
    awq_shards_release(&shards);
    assert_int_equal(awq_shards_plan(tensors, 0, 1, &shards, &err), AWQ_ERR_INTERNAL);
}

static void the_index_maps_every_tensor(void **state)
{
    (void)state;
    awq_error err;
    awq_shards shards;
    assert_int_equal(awq_shards_plan(tensors, 3, 600, &shards, &err), AWQ_OK);
    json_t *index = awq_shards_index(&shards, tensors);
    char *text = json_dumps(index, JSON_COMPACT);
    assert_string_equal(text, "{\"metadata\":{\"total_size\":1200},\"weight_map\":{"
                              "\"model.layers.0.weight\":\"model-00001-of-00003.safetensors\","
                              "\"model.layers.1.weight\":\"model-00002-of-00003.safetensors\","
                              "\"model.layers.2.weight\":\"model-00003-of-00003.safetensors\"}}");
    free(text);
    json_decref(index);
    awq_shards_release(&shards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_shard_has_the_plain_name),
        cmocka_unit_test(shards_hold_all_tensors_in_order_within_the_limit),
        cmocka_unit_test(shards_are_numbered),
        cmocka_unit_test(the_index_maps_every_tensor),
    };
    return cmocka_run_group_tests_name("shards", tests, fill, NULL);
}
