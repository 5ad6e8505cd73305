/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/files/path.h"
#include "jobs/mail/letter.h"
#include "jobs/mail/letters.h"
#include "jobs/run/run_directory.h"
#include "kernels/backend_list.h"
#include "tests/unit/io/scratch.h"
#include "worker/flow/keeper.h"

enum { SEQUENCES = 7, TILE = 3, TILES = 3, LENGTH = 4, HIDDEN = 5, VALUES = LENGTH * HIDDEN };

static const awq_boundary_shape shape = {
    .sequences = SEQUENCES, .tile_sequences = TILE, .length = LENGTH, .hidden = HIDDEN};

static const awq_device_options device_options = {.threads = 1};

/* What the keeper has said so far. */
typedef struct words {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int done, failed;
    int64_t layers[8];
    awq_error err;
} words;

static void tell_done(void *context, int64_t layer)
{
    words *told = context;
    pthread_mutex_lock(&told->mutex);
    told->layers[told->done++ % 8] = layer;
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->mutex);
}

static void tell_failed(void *context, const awq_error *err)
{
    words *told = context;
    pthread_mutex_lock(&told->mutex);
    told->err = *err;
    told->failed++;
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->mutex);
}

/* Waits until so much was said, at most a minute. */
static void wait_for(words *told, int done, int failed)
{
    struct timespec end;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    pthread_mutex_lock(&told->mutex);
    while (!late && (told->done < done || told->failed < failed))
        late = pthread_cond_timedwait(&told->changed, &told->mutex, &end);
    pthread_mutex_unlock(&told->mutex);
    assert_int_equal(told->done, done);
    assert_int_equal(told->failed, failed);
}

typedef struct keeper_desk {
    char run[AWQ_PATH_BYTES];
    awq_lanes *lanes;
    awq_lane *tiles;
    awq_keeper *keeper;
    words told;
} keeper_desk;

static void open_desk(keeper_desk *desk, const char *run)
{
    awq_error err;
    memset(desk, 0, sizeof *desk);
    pthread_mutex_init(&desk->told.mutex, NULL);
    pthread_cond_init(&desk->told.changed, NULL);
    snprintf(desk->run, sizeof desk->run, "%s", run);
    awq_keeper_options options = {.run = desk->run,
                                  .fingerprint = "job",
                                  .shape = shape,
                                  .backend = &awq_backend_cpu,
                                  .device = &device_options,
                                  .done = tell_done,
                                  .failed = tell_failed,
                                  .context = &desk->told};
    desk->lanes = awq_lanes_create();
    assert_non_null(desk->lanes);
    desk->tiles = awq_lane_create(desk->lanes, AWQ_UNTIL_STOP, 0, sizeof(awq_letter *));
    assert_non_null(desk->tiles);
    assert_int_equal(awq_keeper_start(&options, desk->tiles, &desk->keeper, &err), AWQ_OK);
}

static void close_desk(keeper_desk *desk)
{
    awq_letter *left;
    awq_lanes_close(desk->lanes, AWQ_STOP);
    awq_keeper_free(desk->keeper);
    while (awq_lane_drain(desk->tiles, &left)) awq_letter_free(left);
    awq_lane_free(desk->tiles);
    awq_lanes_free(desk->lanes);
    pthread_cond_destroy(&desk->told.changed);
    pthread_mutex_destroy(&desk->told.mutex);
}

static float value_of(int64_t layer, int64_t index)
{
    return (float)(1000 * layer + index) / 8;
}

static void hand_in(keeper_desk *desk, int64_t layer, int64_t tile)
{
    int64_t first = tile * TILE * VALUES, end = (tile + 1) * TILE * VALUES;
    if (end > SEQUENCES * VALUES) end = SEQUENCES * VALUES;
    size_t bytes = (size_t)(end - first) * sizeof(float);
    awq_letter *letter = awq_letter_create(AWQ_LETTER_TILE, layer, tile, bytes);
    assert_non_null(letter);
    float *states = (float *)(void *)letter->payload;
    for (int64_t i = first; i < end; i++) states[i - first] = value_of(layer, i);
    awq_error err;
    assert_int_equal(awq_lane_put(desk->tiles, layer, tile, &letter, &err), AWQ_OK);
}

static void expect_boundary(const char *run, int64_t layer)
{
    awq_error err;
    awq_boundary *boundary;
    char path[AWQ_PATH_BYTES];
    float states[TILE * VALUES];
    awq_boundary_shape expected = shape;
    expected.layer = layer;
    assert_int_equal(awq_run_boundary_path(path, run, layer, &err), AWQ_OK);
    if (awq_boundary_open(path, &expected, "job", &boundary, &err)) fail_msg("%s", err.text);
    for (int64_t tile = 0, at = 0; tile < TILES; tile++) {
        assert_int_equal(awq_boundary_read(boundary, tile, states, &err), AWQ_OK);
        for (int i = 0; i < TILE * VALUES && at < SEQUENCES * VALUES; i++, at++)
            assert_true(states[i] == value_of(layer, at));
    }
    awq_boundary_close(boundary);
}

static const char *make_run(void **state)
{
    awq_error err;
    assert_int_equal(awq_path_make_directory(scratch_path(state, "run/boundaries"), &err), AWQ_OK);
    return scratch_path(state, "run");
}

static void a_boundary_is_published_when_its_last_tile_is_there(void **state)
{
    keeper_desk desk;
    const char *run = make_run(state);
    open_desk(&desk, run);
    hand_in(&desk, 40, 2);
    hand_in(&desk, 40, 0);
    hand_in(&desk, 40, 1);
    wait_for(&desk.told, 1, 0);
    assert_int_equal(desk.told.layers[0], 40);
    expect_boundary(run, 40); /* durable already when it is told */
    close_desk(&desk);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 1);
}

/* Tiles that stay on the device: the keeper is one of two users, who give each back. */
static void tiles_that_are_lent_are_kept_and_given_back(void **state)
{
    keeper_desk desk;
    awq_loan places[TILES];
    awq_error err;
    const char *run = make_run(state);
    open_desk(&desk, run);
    for (int64_t tile = 0; tile < TILES; tile++) {
        float *states = calloc(TILE * VALUES, sizeof *states);
        for (int64_t i = 0; i < TILE * VALUES; i++)
            states[i] = value_of(40, tile * TILE * VALUES + i);
        places[tile] = (awq_loan){.memory = {states}};
        atomic_init(&places[tile].lent, true);
        awq_letter *letter = awq_letter_create(AWQ_LETTER_TILE, 40, tile, 0);
        letter->loan = &places[tile];
        awq_letter_share(letter);
        assert_int_equal(awq_lane_put(desk.tiles, 40, tile, &letter, &err), AWQ_OK);
        assert_true(atomic_load(&places[tile].lent));
        awq_letter_free(letter);
    }
    wait_for(&desk.told, 1, 0);
    expect_boundary(run, 40);
    close_desk(&desk);
    for (int tile = 0; tile < TILES; tile++) {
        assert_false(atomic_load(&places[tile].lent));
        free(places[tile].memory[0]);
    }
}

static void several_boundaries_grow_side_by_side(void **state)
{
    keeper_desk desk;
    const char *run = make_run(state);
    open_desk(&desk, run);
    for (int64_t tile = 0; tile < TILES; tile++)
        for (int64_t layer = 10; layer <= 30; layer += 10) hand_in(&desk, layer, tile);
    wait_for(&desk.told, 3, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(desk.told.layers[i], 10 + 10 * i);
    for (int64_t layer = 10; layer <= 30; layer += 10) expect_boundary(run, layer);
    close_desk(&desk);
}

static void what_is_incomplete_leaves_no_trace(void **state)
{
    keeper_desk desk;
    const char *run = make_run(state);
    open_desk(&desk, run);
    hand_in(&desk, 50, 0);
    hand_in(&desk, 50, 1);
    for (int64_t tile = 0; tile < TILES; tile++) hand_in(&desk, 40, tile);
    wait_for(&desk.told, 1, 0);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 2);
    close_desk(&desk);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 1);
    expect_boundary(run, 40);
}

/* A file where the directory should be: not even root can write into that. */
static void a_failure_is_told_once_and_ends_the_keeping(void **state)
{
    keeper_desk desk;
    awq_error err;
    const char *run = scratch_path(state, "run");
    assert_int_equal(awq_path_make_directory(run, &err), AWQ_OK);
    scratch_write_text(scratch_path(state, "run/boundaries"), "");
    open_desk(&desk, run);
    for (int64_t tile = 0; tile < TILES; tile++) hand_in(&desk, 40, tile);
    wait_for(&desk.told, 0, 1);
    assert_int_equal(desk.told.err.status, AWQ_ERR_IO);
    assert_contains(desk.told.err.text, "00040.h5");
    for (int64_t tile = 0; tile < TILES; tile++) hand_in(&desk, 50, tile);
    close_desk(&desk);
    assert_int_equal(desk.told.failed, 1);
    assert_int_equal(desk.told.done, 0);
}

static void a_tile_that_comes_twice_is_a_bug_that_is_told(void **state)
{
    keeper_desk desk;
    open_desk(&desk, make_run(state));
    hand_in(&desk, 40, 1);
    hand_in(&desk, 40, 1);
    wait_for(&desk.told, 0, 1);
    assert_int_equal(desk.told.err.status, AWQ_ERR_INTERNAL);
    close_desk(&desk);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 0);
}

static void a_keeper_without_work_ends_at_once(void **state)
{
    keeper_desk desk;
    open_desk(&desk, make_run(state));
    close_desk(&desk);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 0);
    awq_keeper_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_boundary_is_published_when_its_last_tile_is_there),
        scratch_test(tiles_that_are_lent_are_kept_and_given_back),
        scratch_test(several_boundaries_grow_side_by_side),
        scratch_test(what_is_incomplete_leaves_no_trace),
        scratch_test(a_failure_is_told_once_and_ends_the_keeping),
        scratch_test(a_tile_that_comes_twice_is_a_bug_that_is_told),
        scratch_test(a_keeper_without_work_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
