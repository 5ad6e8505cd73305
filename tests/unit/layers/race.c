/* SPDX-License-Identifier: MIT
 * tests/unit/layers/race.c - races on rows whose losses are known beforehand. */
#include "layers/search/race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/layers/check.h"

enum { CANDIDATES = 9, MOST_ROWS = 4096 };

/* What is true; the race is shown those that it asks for, and NaN in place of the others. */
static double truth[CANDIDATES][MOST_ROWS];

static uint64_t random_state;

/* Uniform in 0 .. 1. */
static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

/* Heavy-tailed rows; candidate c is worse than `best` by `apart` a step, and each row by its own
 * share more or less. */
static void make_truth(int64_t rows, int best, double apart, uint64_t seed)
{
    random_state = seed;
    for (int64_t r = 0; r < rows; r++) {
        double weight = 1 / (0.01 + uniform());
        for (int c = 0; c < CANDIDATES; c++)
            truth[c][r] = weight * (1 + apart * abs(c - best) + 0.3 * (uniform() - 0.5));
    }
}

static double true_sum(int candidate, int64_t rows)
{
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += truth[candidate][r];
    return sum;
}

static int true_best(int64_t rows)
{
    int best = 0;
    for (int c = 1; c < CANDIDATES; c++)
        if (true_sum(c, rows) < true_sum(best, rows)) best = c;
    return best;
}

static awq_race race;

static void show(int candidate, int64_t count)
{
    double *loss = race.loss + candidate * race.rows;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isnan(loss[race.picked[i]])); /* nothing is measured twice */
        loss[race.picked[i]] = truth[candidate][race.picked[i]];
        assert_true(i == 0 || race.picked[i] > race.picked[i - 1]);
    }
}

static void begin(int64_t rows)
{
    awq_error err;
    must(awq_race_open(&race, rows, CANDIDATES, &err));
    for (int64_t i = 0; i < CANDIDATES * rows; i++) race.loss[i] = NAN;
    memcpy(race.loss, truth[0], (size_t)rows * sizeof *race.loss);
    must(awq_race_order(&race, &err));
    race.measured[0] = AWQ_RACE_LEVELS;
    race.running[0] = true;
}

/* Candidates from `first` to `end`; returns how many rows were asked for. */
static int64_t run(int first, int end)
{
    int64_t asked = 0;
    race.level = -1;
    for (int c = first; c < end; c++) race.running[c] = true;
    for (int level = awq_race_first_level(race.rows, 0); level >= 0;
         level = awq_race_judge(&race)) {
        int64_t count = awq_race_pick(&race, race.level, level);
        for (int c = 0; c < CANDIDATES; c++) {
            if (!race.running[c] || race.measured[c] == AWQ_RACE_LEVELS) continue;
            show(c, count);
            race.measured[c] = level;
            asked += count;
        }
        race.level = level;
    }
    return asked;
}

static int close_race(void **state)
{
    (void)state;
    awq_race_close(&race);
    return 0;
}

static void the_winner_is_that_of_all_rows_and_its_sum_is_exact(void **state)
{
    (void)state;
    const int64_t rows[] = {3, 16, 33, 100, 513, 4096};
    for (int i = 0; i < 6; i++)
        for (int best = 0; best < CANDIDATES; best += 4) {
            make_truth(rows[i], best, 0.05, (uint64_t)(7 + i));
            begin(rows[i]);
            run(1, CANDIDATES);
            int winner = awq_race_winner(&race);
            assert_int_equal(winner, true_best(rows[i]));
            assert_true(awq_race_sum(&race, winner) == true_sum(winner, rows[i]));
            close_race(NULL);
        }
}

static void what_is_clearly_worse_is_soon_out(void **state)
{
    (void)state;
    make_truth(MOST_ROWS, 5, 0.2, 1);
    begin(MOST_ROWS);
    int64_t asked = run(1, CANDIDATES);
    assert_int_equal(awq_race_winner(&race), 5);
    assert_true(asked < (int64_t)(0.2 * (CANDIDATES - 1) * MOST_ROWS));
    for (int c = 1; c < CANDIDATES; c++) {
        double sum = awq_race_sum_beside(&race, c, 5), exact = true_sum(c, MOST_ROWS);
        if (c != 5) assert_true(race.measured[c] == 0);
        assert_true(fabs(sum / exact - 1) < 0.03);
        assert_true(c == 5 || sum > awq_race_sum(&race, 5));
    }
}

static void one_that_comes_later_runs_beside_the_best(void **state)
{
    (void)state;
    make_truth(MOST_ROWS, 7, 0.1, 2);
    begin(MOST_ROWS);
    run(1, 6); /* without the best */
    assert_int_equal(awq_race_winner(&race), 5);
    run(7, 8);
    assert_int_equal(awq_race_winner(&race), 7);
    run(8, 9);
    assert_int_equal(awq_race_winner(&race), 7);
    assert_true(race.measured[8] < AWQ_RACE_LEVELS);
}

/* Equals are told apart by no row: all are measured, and the first wins. */
static void of_equals_the_first_wins(void **state)
{
    (void)state;
    make_truth(300, 0, 0, 3);
    for (int c = 1; c < CANDIDATES; c++) memcpy(truth[c], truth[0], sizeof truth[0]);
    begin(300);
    assert_int_equal(run(1, CANDIDATES), 300 * (CANDIDATES - 1));
    assert_int_equal(awq_race_winner(&race), 0);
}

static void what_is_not_finite_never_wins(void **state)
{
    (void)state;
    make_truth(1000, 4, 0.1, 4);
    for (int64_t r = 0; r < 1000; r++) truth[4][r] = r % 3 ? NAN : -INFINITY;
    truth[3][999] = NAN; /* where it may be found late */
    begin(1000);
    run(1, CANDIDATES);
    int winner = awq_race_winner(&race);
    assert_true(winner >= 0 && winner != 4 && winner != 3);
    assert_true(race.measured[4] < AWQ_RACE_LEVELS);
}

static void levels_hold_those_below_and_the_last_holds_all(void **state)
{
    (void)state;
    const int64_t rows[] = {1, 31, 32, 1000};
    for (int i = 0; i < 4; i++) {
        make_truth(rows[i], 0, 0, 5);
        begin(rows[i]);
        int64_t together = 0;
        for (int level = 0; level <= AWQ_RACE_LEVELS; level++) {
            together += awq_race_pick(&race, level - 1, level);
            assert_true(fabs(awq_race_share(rows[i], level) * (double)rows[i] - (double)together) <
                        1e-6);
            assert_int_equal(awq_race_pick(&race, -1, level), together);
        }
        assert_int_equal(together, rows[i]);
        close_race(NULL);
    }
}

/* Rows come by falling loss, of equals the first, and the heaviest are in all levels. */
static void the_heaviest_rows_come_first(void **state)
{
    (void)state;
    for (int64_t r = 0; r < 64; r++) truth[0][r] = r == 40 ? 9 : r == 13 ? 8 : 1;
    begin(64);
    assert_true(race.order[0] == 40 && race.order[1] == 13 && race.order[2] == 0);
    assert_int_equal(awq_race_pick(&race, -1, 0), 3); /* two heavy ones, and each 32nd: 0, 32 */
    assert_true(race.picked[0] == 13 && race.picked[1] == 32 - 1 && race.picked[2] == 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_winner_is_that_of_all_rows_and_its_sum_is_exact),
        cmocka_unit_test_teardown(what_is_clearly_worse_is_soon_out, close_race),
        cmocka_unit_test_teardown(one_that_comes_later_runs_beside_the_best, close_race),
        cmocka_unit_test_teardown(of_equals_the_first_wins, close_race),
        cmocka_unit_test_teardown(what_is_not_finite_never_wins, close_race),
        cmocka_unit_test(levels_hold_those_below_and_the_last_holds_all),
        cmocka_unit_test_teardown(the_heaviest_rows_come_first, close_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
