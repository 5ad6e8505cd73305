/* SPDX-License-Identifier: MIT
 * Expected times are worked out by hand. */
#include "fixture.h"
#include "jobs/plan/plan.h"

enum { LAYERS = 8 };
static const awq_pace pace = {.flow = 12, .forward = 8, .search = 5};

/* With `done_layers` first layers done. */
static double forecast(int64_t done_layers, int64_t stage_layers, int workers, int64_t tiles)
{
    awq_plan plan;
    awq_error err;
    bool done[LAYERS] = {false};
    for (int64_t i = 0; i < done_layers; i++) done[i] = true;
    assert_int_equal(
        awq_plan_create(LAYERS, done, NULL,
                        &(awq_plan_shape){.stage_layers = stage_layers, .workers = workers}, &plan,
                        &err),
        AWQ_OK);
    double seconds = awq_plan_seconds(&plan, plan.done, workers, tiles, &pace);
    awq_plan_release(&plan);
    return seconds;
}

static void one_worker_does_everything_in_turn(void **state)
{
    (void)state;
    assert_float_equal(forecast(0, 8, 1, 4), 8 * 12 + 8 * 5, 1e-9);
    assert_float_equal(forecast(0, 1, 1, 4), 8 * 12 + 8 * 5, 1e-9);
}

static void workers_run_at_once_but_for_the_first_tiles(void **state)
{
    (void)state;
    /* two stages of 4 layers: 48 s of flow each, a tile takes 12 of it; the second ends a tile
     * after the first, and then searches */
    assert_float_equal(forecast(0, 4, 2, 4), 48 + 12 + 20, 1e-9);
    /* four of 2: 24 s each, a tile takes 6 */
    assert_float_equal(forecast(0, 2, 4, 4), 24 + 3 * 6 + 10, 1e-9);
}

static void one_tile_leaves_nothing_to_run_at_once(void **state)
{
    (void)state;
    assert_float_equal(forecast(0, 4, 2, 1), 48 + 48 + 20, 1e-9);
}

static void a_worker_searches_before_its_next_stage(void **state)
{
    (void)state;
    /* stages of 2 on two workers: 0 -> [0, 24], searched at 34; 1 -> [6, 30], at 40;
     * 2 from 34 to 58, at 68; 3 from 40, its last tile at 64, at 74 */
    assert_float_equal(forecast(0, 2, 2, 4), 74, 1e-9);
}

static void done_layers_are_run_forward_only(void **state)
{
    (void)state;
    assert_float_equal(forecast(4, 8, 1, 4), 4 * 8 + 4 * 12 + 4 * 5, 1e-9);
    assert_float_equal(forecast(8, 8, 1, 4), 0, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_does_everything_in_turn),
        cmocka_unit_test(workers_run_at_once_but_for_the_first_tiles),
        cmocka_unit_test(one_tile_leaves_nothing_to_run_at_once),
        cmocka_unit_test(a_worker_searches_before_its_next_stage),
        cmocka_unit_test(done_layers_are_run_forward_only),
    };
    return cmocka_run_group_tests_name("jobs/forecast", tests, NULL, NULL);
}
