/* SPDX-License-Identifier: MIT */
#include "layers/search/race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Heavy rows at the first level, and about as many spread ones: from fewer a standard error says
 * little (docs/quality.md). */
enum { FEWEST = 16 };

/* Standard errors that a difference from n rows must exceed: 3 of many; of few, about what
 * Student's t has at as large a probability. */
static double errors_of(double n)
{
    return 3 * (1 + 3 / n);
}

awq_status awq_race_open(awq_race *race, int64_t rows, int most, awq_error *err)
{
    size_t count = (size_t)rows, candidates = (size_t)most;
    *race = (awq_race){.rows = rows, .most = most};
    race->loss = malloc(count * candidates * sizeof *race->loss + 1);
    race->order = malloc(count * sizeof *race->order + 1);
    race->picked = malloc(count * sizeof *race->picked + 1);
    race->measured = malloc(candidates * sizeof *race->measured + 1);
    race->running = calloc(candidates + 1, sizeof *race->running);
    if (!race->loss || !race->order || !race->picked || !race->measured || !race->running) {
        awq_race_close(race);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the losses of %lld rows",
                        (long long)rows);
    }
    for (int i = 0; i < most; i++) race->measured[i] = -1;
    return AWQ_OK;
}

void awq_race_close(awq_race *race)
{
    free(race->loss);
    free(race->order);
    free(race->picked);
    free(race->measured);
    free(race->running);
    *race = (awq_race){0};
}

/* ---- rows ---- */

static int64_t heavy_rows(int64_t rows, int level)
{
    return rows >> (AWQ_RACE_LEVELS - level);
}

static int64_t stride_of(int level)
{
    return (int64_t)1 << (AWQ_RACE_LEVELS - level);
}

/* Of the place `place`; level -1 has no rows. */
static bool is_in(int64_t rows, int level, int64_t place)
{
    return level >= 0 && (place < heavy_rows(rows, level) || place % stride_of(level) == 0);
}

int awq_race_first_level(int64_t rows, int least)
{
    int level = least;
    while (level < AWQ_RACE_LEVELS && heavy_rows(rows, level) < FEWEST) level++;
    return level;
}

double awq_race_share(int64_t rows, int level)
{
    if (level < 0) return 0;
    int64_t heavy = heavy_rows(rows, level), stride = stride_of(level);
    int64_t multiples = (rows + stride - 1) / stride - (heavy + stride - 1) / stride;
    return rows ? (double)(heavy + multiples) / (double)rows : 1;
}

typedef struct weighed_row {
    double loss;
    int64_t row;
} weighed_row;

static int by_falling_loss(const void *a, const void *b)
{
    const weighed_row *left = a, *right = b;
    if (left->loss != right->loss) return left->loss > right->loss ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

awq_status awq_race_order(awq_race *race, awq_error *err)
{
    weighed_row *rows = malloc((size_t)race->rows * sizeof *rows + 1);
    if (!rows) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the order of rows");
    for (int64_t i = 0; i < race->rows; i++) rows[i] = (weighed_row){race->loss[i], i};
    qsort(rows, (size_t)race->rows, sizeof *rows, by_falling_loss);
    for (int64_t i = 0; i < race->rows; i++) race->order[i] = rows[i].row;
    free(rows);
    return AWQ_OK;
}

static int ascending(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

int64_t awq_race_pick(awq_race *race, int from, int level)
{
    int64_t count = 0;
    for (int64_t p = 0; p < race->rows; p++)
        if (is_in(race->rows, level, p) && !is_in(race->rows, from, p))
            race->picked[count++] = race->order[p];
    qsort(race->picked, (size_t)count, sizeof *race->picked, ascending);
    return count;
}

/* ---- estimates ---- */

static const double *losses_of(const awq_race *race, int candidate)
{
    return race->loss + (int64_t)candidate * race->rows;
}

/* What is known of a quantity from a level's rows: its sum over all rows, and how far off that is
 * at most, but by chance (errors_of). */
typedef struct estimate {
    double sum, most;
} estimate;

/* Of a[row] - b[row]; b NULL: of a[row]. */
static estimate estimate_at(const awq_race *race, const double *a, const double *b, int level)
{
    int64_t heavy = heavy_rows(race->rows, level), stride = stride_of(level), count = 0;
    double sum = 0, spread = 0, squares = 0;
    for (int64_t p = 0; p < heavy; p++) sum += a[race->order[p]] - (b ? b[race->order[p]] : 0);
    for (int64_t p = (heavy + stride - 1) / stride * stride; p < race->rows; p += stride, count++) {
        double x = a[race->order[p]] - (b ? b[race->order[p]] : 0);
        spread += x;
        squares += x * x;
    }
    if (!count) return (estimate){sum, 0};
    double n = (double)count, rest = (double)(race->rows - heavy), mean = spread / n;
    double variance = n > 1 ? fmax(squares - spread * mean, 0) / (n - 1) : INFINITY;
    double error = n < rest ? rest * sqrt(variance / n * (1 - n / rest)) : 0;
    return (estimate){sum + rest * mean, errors_of(n) * error};
}

/* In the rows' own order, so that it is the sum that is formed without a race. */
static double whole_sum(const awq_race *race, int candidate)
{
    const double *loss = losses_of(race, candidate);
    double sum = 0;
    for (int64_t i = 0; i < race->rows; i++) sum += loss[i];
    return sum;
}

static estimate difference(const awq_race *race, int candidate, int other, int level)
{
    return estimate_at(race, losses_of(race, candidate), losses_of(race, other), level);
}

double awq_race_sum(const awq_race *race, int candidate)
{
    int level = race->measured[candidate];
    if (level == AWQ_RACE_LEVELS) return whole_sum(race, candidate);
    return estimate_at(race, losses_of(race, candidate), NULL, level).sum;
}

double awq_race_sum_beside(const awq_race *race, int candidate, int whole)
{
    int level = race->measured[candidate];
    if (level == AWQ_RACE_LEVELS) return whole_sum(race, candidate);
    double more = difference(race, candidate, whole, level).sum;
    return whole_sum(race, whole) + (more < 0 ? 0 : more);
}

/* ---- the race ---- */

/* Of those that run, by the rows of the race's level; -1: none is finite. */
static int find_best(const awq_race *race)
{
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < race->most; i++) {
        if (!race->running[i]) continue;
        double sum = estimate_at(race, losses_of(race, i), NULL, race->level).sum;
        if (!(sum < least)) continue;
        least = sum;
        best = i;
    }
    return best;
}

static bool is_out(const awq_race *race, int candidate, int best)
{
    if (candidate == best) return false;
    estimate more = difference(race, candidate, best, race->level);
    return !isfinite(more.sum) || more.sum > more.most;
}

int awq_race_judge(awq_race *race)
{
    int best = find_best(race), left = 0, partly = 0;
    for (int i = 0; i < race->most; i++) {
        if (!race->running[i]) continue;
        race->running[i] = best >= 0 && !is_out(race, i, best);
        left += race->running[i];
        partly += race->running[i] && race->measured[i] < AWQ_RACE_LEVELS;
    }
    if (!partly) return -1;
    return left == 1 ? AWQ_RACE_LEVELS : race->level + 1;
}

int awq_race_winner(const awq_race *race)
{
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < race->most; i++) {
        double sum = race->measured[i] == AWQ_RACE_LEVELS ? whole_sum(race, i) : NAN;
        if (!(sum < least)) continue;
        least = sum;
        best = i;
    }
    return best;
}
