/* SPDX-License-Identifier: MIT
 * tests/unit/layers/exchange.c - what parts of a layer decide together: here they are threads. */
#include "layers/search/exchange.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/layers/check.h"

enum { PARTS = 3, ROWS = 5, STRIDE = 4, FIRST = 1, COUNT = 2, CHANNELS = 3 };

/* Where the parts meet: each lays down its values, and all add them up. */
static pthread_barrier_t barrier;
static const double *laid[PARTS];

typedef struct part {
    int index;
    double errors[ROWS * STRIDE];
    float scales[CHANNELS];
    awq_error error;
    awq_status status;
} part;

static awq_status add_up(void *context, double *values, size_t count, awq_error *err)
{
    const part *own = context;
    double sum[ROWS * STRIDE] = {0};
    (void)err;
    laid[own->index] = values;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < PARTS; i++)
        for (size_t k = 0; k < count; k++) sum[k] += laid[i][k];
    pthread_barrier_wait(&barrier);
    memcpy(values, sum, count * sizeof *values);
    return AWQ_OK;
}

static void *exchange_errors(void *context)
{
    part *own = context;
    awq_exchange exchange = {.add_up = add_up, .context = own};
    own->status = awq_exchange_columns(
        &exchange, &(awq_columns){own->errors, ROWS, STRIDE, FIRST, COUNT}, &own->error);
    return NULL;
}

static void *agree(void *context)
{
    part *own = context;
    awq_exchange exchange = {.add_up = add_up, .context = own};
    own->status = awq_exchange_agree(&exchange, PARTS, own->scales, CHANNELS, &own->error);
    return NULL;
}

static void run(part *parts, void *(*what)(void *))
{
    pthread_t thread[PARTS];
    pthread_barrier_init(&barrier, NULL, PARTS);
    for (int i = 0; i < PARTS; i++) {
        parts[i].index = i;
        assert_int_equal(pthread_create(&thread[i], NULL, what, &parts[i]), 0);
    }
    for (int i = 0; i < PARTS; i++) pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&barrier);
}

/* Of five readers two, two and one; what is in other columns stays as it is. */
static void errors_of_all_readers_come_to_all_parts(void **state)
{
    (void)state;
    part parts[PARTS] = {0};
    for (int i = 0; i < PARTS; i++)
        for (int at = 0; at < ROWS * STRIDE; at++) {
            int row = at / STRIDE, column = at % STRIDE;
            bool among = column >= FIRST && column < FIRST + COUNT;
            parts[i].errors[at] = !among ? -1 - i : row / 2 == i ? at + 0.1 : 0;
        }
    parts[1].errors[2 * STRIDE + FIRST] = NAN;
    run(parts, exchange_errors);
    for (int i = 0; i < PARTS; i++)
        for (int at = 0; at < ROWS * STRIDE; at++) {
            int column = at % STRIDE;
            bool among = column >= FIRST && column < FIRST + COUNT;
            double found = parts[i].errors[at];
            if (at == 2 * STRIDE + FIRST)
                assert_true(isnan(found));
            else
                assert_true(found == (among ? at + 0.1 : -1 - i));
        }
}

static void parts_with_the_same_scales_agree(void **state)
{
    (void)state;
    part parts[PARTS] = {0};
    for (int i = 0; i < PARTS; i++)
        memcpy(parts[i].scales, (float[CHANNELS]){0.1f, 0x1.fffffep120f, 0x1p-140f},
               sizeof parts[i].scales);
    run(parts, agree);
    for (int i = 0; i < PARTS; i++) assert_int_equal(parts[i].status, AWQ_OK);
}

static void a_last_bit_of_one_scale_is_found_by_all(void **state)
{
    (void)state;
    for (int other = 0; other < PARTS; other++) {
        part parts[PARTS] = {0};
        for (int i = 0; i < PARTS; i++) parts[i].scales[1] = 0.7f;
        parts[other].scales[1] = nextafterf(0.7f, 1);
        run(parts, agree);
        for (int i = 0; i < PARTS; i++) {
            assert_int_equal(parts[i].status, AWQ_ERR_NUMERIC);
            if (!strstr(parts[i].error.text, "--expert-parts 1")) fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_all_readers_come_to_all_parts),
        cmocka_unit_test(parts_with_the_same_scales_agree),
        cmocka_unit_test(a_last_bit_of_one_scale_is_found_by_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
