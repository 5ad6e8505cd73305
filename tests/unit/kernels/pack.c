/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/pack.c - results on their way to the host: codes as words, what is counted of
 * clips, copies beside the work, and how long the work took. */
#include <string.h>

#include "tests/unit/kernels/bench.h"

/* ---- words ---- */

/* Bit after bit, from io/core/words.h. */
static uint32_t *words_of(const uint8_t *codes, awq_extent extent, int bits)
{
    int64_t width = awq_words_count(extent.in, bits);
    uint32_t *words = host_array((size_t)(extent.out * width) * sizeof *words);
    for (int64_t row = 0; row < extent.out; row++)
        for (int64_t bit = 0; bit < extent.in * bits; bit++)
            words[row * width + bit / 32] |=
                (uint32_t)(codes[row * extent.in + bit / bits] >> bit % bits & 1) << bit % 32;
    return words;
}

static void codes_are_packed_bit_by_bit(void **state)
{
    (void)state;
    static const awq_extent extents[] = {{1, 1}, {1, 8}, {3, 32}, {5, 35}, {300, 7}, {2, 2112}};
    for (int bits = 2; bits <= 8; bits++)
        for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
            awq_extent extent = extents[i];
            size_t count = (size_t)(extent.out * extent.in);
            size_t bytes =
                (size_t)(extent.out * awq_words_count(extent.in, bits)) * sizeof(uint32_t);
            uint8_t *codes = host_array(count);
            for (size_t j = 0; j < count; j++)
                codes[j] = (uint8_t)(j * 2654435761u >> 20) & (uint8_t)((1 << bits) - 1);
            uint32_t *words = device_array(bytes);
            be->pack(device, words, device_bytes(codes, count), extent, bits);
            assert_memory_equal(fetch_bytes(words, bytes), words_of(codes, extent, bits), bytes);
            bench_clear(&under_test);
        }
}

static void the_first_code_is_the_lowest(void **state)
{
    (void)state;
    static const uint8_t nibbles[] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32_t *words = device_array(4), expected = 0x76543210;
    be->pack(device, words, device_bytes(nibbles, 8), (awq_extent){1, 8}, 4);
    assert_memory_equal(fetch_bytes(words, 4), &expected, 4);
}

/* ---- clips ---- */

static void check_counts(awq_clip_shape shape, const uint8_t *steps, int64_t groups,
                         const int64_t *expected)
{
    size_t bytes = AWQ_CLIP_COUNTS * sizeof(int64_t);
    awq_clip clip = {shape, device_bytes(steps, (size_t)(2 * groups))};
    int64_t *count = device_array(bytes);
    be->count_clips(device, count, &clip, groups);
    assert_memory_equal(fetch_bytes(count, bytes), expected, bytes);
}

static void each_step_of_a_clip_is_counted(void **state)
{
    (void)state;
    static const uint8_t steps[] = {0, 9, 3, 3, 0, /* below: */ 0, 0, 9, 1, 2};
    check_counts(AWQ_CLIP_SYMMETRIC, steps, 5,
                 (int64_t[AWQ_CLIP_COUNTS]){[0] = 2, [3] = 2, [9] = 1, [20] = 3});
    check_counts(AWQ_CLIP_ASYMMETRIC, steps, 5,
                 (int64_t[AWQ_CLIP_COUNTS]){
                     [0] = 2, [3] = 2, [9] = 1, [10] = 2, [11] = 1, [12] = 1, [19] = 1, [20] = 4});
}

static void many_groups_are_counted(void **state)
{
    (void)state;
    enum { GROUPS = 5000 };
    uint8_t *steps = host_array((size_t)2 * GROUPS);
    int64_t expected[AWQ_CLIP_COUNTS] = {0};
    for (int i = 0; i < GROUPS; i++) {
        steps[i] = (uint8_t)(i * 7 / 3 % AWQ_CLIP_STEPS);
        expected[steps[i]]++;
        expected[AWQ_CLIP_COUNTS - 1] += steps[i] != 0;
    }
    check_counts(AWQ_CLIP_SYMMETRIC, steps, GROUPS, expected);
}

/* ---- copies beside the work ---- */

enum { FLOATS = 70000 };

static float *page_locked(size_t bytes)
{
    awq_error err;
    void *memory;
    must(be->alloc_host(device, bytes, "a test", &memory, &err));
    return memory;
}

/* Each time as it is when it is fetched: what is made of it later comes after `fetched`. */
static void a_fetch_has_what_was_there(void **state)
{
    (void)state;
    enum { TIMES = 5 };
    awq_error err;
    size_t bytes = FLOATS * sizeof(float);
    float *host = page_locked(TIMES * bytes), *x = host_random(FLOATS, 1);
    float *array = device_floats(x, FLOATS);
    for (int i = 0; i < TIMES; i++) {
        be->fetched(device);
        be->scale(device, array, 2, FLOATS);
        be->fetch(device, host + i * FLOATS, array, bytes);
    }
    must(be->sync(device, &err));
    for (int i = 0; i < TIMES; i++)
        for (int j = 0; j < FLOATS; j++)
            assert_true(host[i * FLOATS + j] == x[j] * (float)(2 << i));
    be->release_host(device, host);
}

/* Memory of any kind will do; a fetch of nothing is none. */
static void a_fetch_goes_to_any_memory(void **state)
{
    (void)state;
    awq_error err;
    float *host = host_array(FLOATS * sizeof *host), *x = host_random(FLOATS, 1);
    be->fetch(device, host, device_floats(x, FLOATS), FLOATS * sizeof *host);
    be->fetch(device, NULL, NULL, 0);
    must(be->sync(device, &err));
    assert_memory_equal(host, x, FLOATS * sizeof *host);
}

/* Small ones share a slot on the way, and are all read before it is used again. */
static void many_uploads_arrive_as_they_were(void **state)
{
    (void)state;
    enum { UPLOADS = 300, COUNT = 9001 };
    float *host = host_array(COUNT * sizeof *host);
    float *array = device_array((size_t)UPLOADS * COUNT * sizeof *array);
    for (int i = 0; i < UPLOADS; i++) {
        for (int j = 0; j < COUNT; j++) host[j] = (float)(i + j);
        be->upload(device, array + i * COUNT, host, COUNT * sizeof *host);
    }
    const float *back = fetch_floats(array, (int64_t)UPLOADS * COUNT);
    for (int i = 0; i < UPLOADS; i++)
        for (int j = 0; j < COUNT; j++) assert_true(back[i * COUNT + j] == (float)(i + j));
}

/* ---- laps ---- */

static void laps_are_booked_by_the_next_sync(void **state)
{
    (void)state;
    enum { ROUNDS = 700 }; /* more than a device keeps in mind */
    awq_error err;
    double first = 0, second = 0;
    float *array = device_floats(host_random(FLOATS, 1), FLOATS);
    be->lap(device, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        be->scale(device, array, 1, FLOATS);
        be->lap(device, &first);
        be->lap(device, i % 2 ? &second : NULL);
    }
    must(be->sync(device, &err));
    assert_true(first > 0);
    assert_true(second >= 0);
    double booked = first;
    must(be->sync(device, &err));
    assert_true(first == booked);
}

int main(void)
{
    const struct CMUnitTest pack_tests[] = {
        cmocka_unit_test(codes_are_packed_bit_by_bit),
        cmocka_unit_test(the_first_code_is_the_lowest),
        cmocka_unit_test(each_step_of_a_clip_is_counted),
        cmocka_unit_test(many_groups_are_counted),
        cmocka_unit_test(a_fetch_has_what_was_there),
        cmocka_unit_test(a_fetch_goes_to_any_memory),
        cmocka_unit_test(many_uploads_arrive_as_they_were),
        cmocka_unit_test(laps_are_booked_by_the_next_sync),
    };
    return BENCH_RUN(pack_tests);
}
