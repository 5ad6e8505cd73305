/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "jobs/options/amounts.h"
#include "tests/unit/io/scratch.h"

typedef struct sample {
    double value;
    const char *text;
} sample;

static void expect(void (*format)(char out[32], double), const sample *samples)
{
    for (; samples->text; samples++) {
        char out[32];
        format(out, samples->value);
        assert_string_equal(out, samples->text);
    }
}

static void times_read_as_people_say_them(void **state)
{
    (void)state;
    static const sample samples[] = {{0, "0s"},
                                     {0.4, "0s"},
                                     {0.6, "1s"},
                                     {42, "42s"},
                                     {59.4, "59s"},
                                     {59.7, "1m00s"},
                                     {185, "3m05s"},
                                     {3599.4, "59m59s"},
                                     {3599.6, "1h00m"},
                                     {7620, "2h07m"},
                                     {86399.6, "1d00h"},
                                     {100800, "1d04h"},
                                     {8640000, "100d00h"},
                                     {-1, "?"},
                                     {-0.0, "0s"},
                                     {NAN, "?"},
                                     {INFINITY, "?"},
                                     {2e9, "?"},
                                     {0, NULL}};
    expect(awq_format_seconds, samples);
}

static void sizes_count_in_powers_of_ten(void **state)
{
    (void)state;
    static const sample samples[] = {{0, "0 B"},
                                     {1, "1 B"},
                                     {512, "512 B"},
                                     {999, "999 B"},
                                     {1000, "1.00 kB"},
                                     {1210, "1.21 kB"},
                                     {9994, "9.99 kB"},
                                     {12345, "12.3 kB"},
                                     {999499, "999.5 kB"},
                                     {999999, "1.00 MB"},
                                     {1.21e9, "1.21 GB"},
                                     {5e9, "5.00 GB"},
                                     {141.1e9, "141.1 GB"},
                                     {3e12, "3.00 TB"},
                                     {4e15, "4.00 PB"},
                                     {7e18, "7000.0 PB"},
                                     {0, NULL}};
    expect(awq_format_bytes, samples);
}

static void counts_have_no_unit_below_a_thousand(void **state)
{
    (void)state;
    static const sample samples[] = {{0, "0"},           {512, "512"},       {3700, "3.70 k"},
                                     {3.7e6, "3.70 M"},  {70.6e9, "70.6 B"}, {1.8e12, "1.80 T"},
                                     {5e15, "5000.0 T"}, {0, NULL}};
    expect(awq_format_count, samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_read_as_people_say_them),
        cmocka_unit_test(sizes_count_in_powers_of_ten),
        cmocka_unit_test(counts_have_no_unit_below_a_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
