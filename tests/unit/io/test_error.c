/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <zlib.h>

#include "io/core/error.h"
#include "io/core/problems.h"
#include "io/files/file.h"
#include "scratch.h"

static void fail_sets_status_and_sentence(void **state)
{
    (void)state;
    awq_error err;
    assert_int_equal(awq_fail(&err, AWQ_ERR_IO, "cannot open '%s'", "x"), AWQ_ERR_IO);
    assert_int_equal(err.status, AWQ_ERR_IO);
    assert_string_equal(err.text, "cannot open 'x'");
}

static void wrap_puts_context_in_front(void **state)
{
    (void)state;
    awq_error err;
    awq_fail(&err, AWQ_ERR_CORRUPT, "bad header");
    assert_int_equal(awq_error_wrap(&err, "layer %d", 17), AWQ_ERR_CORRUPT);
    assert_string_equal(err.text, "layer 17: bad header");
}

static void long_sentences_are_cut_and_terminated(void **state)
{
    (void)state;
    awq_error err;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    awq_fail(&err, AWQ_ERR_IO, "%s", text);
    assert_int_equal(strlen(err.text), AWQ_ERROR_TEXT_BYTES - 1);
    awq_error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), AWQ_ERROR_TEXT_BYTES - 1);
    awq_fail(&err, AWQ_ERR_IO, "end");
    awq_error_wrap(&err, "%s", text);
    assert_string_equal(err.text + strlen(err.text) - 3, "x: ");
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(awq_status_text(AWQ_OK), "success");
    assert_string_equal(awq_status_text(AWQ_ERR_INTERNAL), "a bug in awqrun");
    assert_string_equal(awq_status_text((awq_status)999), "unknown status");
}

static void problems_keep_all_in_order(void **state)
{
    (void)state;
    awq_problems problems;
    awq_problems_init(&problems);
    for (int i = 0; i < 100; i++) awq_problems_add(&problems, AWQ_ERR_INPUT, "problem %d", i);
    assert_int_equal(problems.count, 100);
    assert_string_equal(problems.items[0].text, "problem 0");
    assert_string_equal(problems.items[99].text, "problem 99");
    assert_int_equal(problems.items[99].status, AWQ_ERR_INPUT);
    awq_problems_release(&problems);
    assert_int_equal(problems.count, 0);
}

static void crc32_has_the_known_check_value(void **state)
{
    (void)state;
    assert_int_equal(awq_crc32(0, "123456789", 9), 0xcbf43926u);
    uint32_t part = awq_crc32(0, "1234", 4);
    assert_int_equal(awq_crc32(part, "56789", 5), 0xcbf43926u);
    assert_int_equal(awq_crc32(0, "", 0), 0);
    for (size_t first = 0; first <= 9; first++) {
        uint32_t before = awq_crc32(0, "123456789", first);
        uint32_t after = awq_crc32(0, &"123456789"[first], 9 - first);
        assert_int_equal(awq_crc32_combine(before, after, 9 - first), 0xcbf43926u);
    }
}

/* Whole blocks are summed in another way than the rest. */
static void crc32_is_zlibs_for_any_length_and_alignment(void **state)
{
    (void)state;
    unsigned char data[400];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * i * 31 >> 3);
    for (size_t first = 0; first < 17; first++)
        for (size_t bytes = 0; first + bytes <= sizeof data; bytes++)
            for (uint32_t crc = 0; crc < 0xf0000000; crc += 0x3fffffff)
                assert_int_equal(awq_crc32(crc, data + first, bytes),
                                 crc32_z(crc, data + first, bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_sets_status_and_sentence),
        cmocka_unit_test(wrap_puts_context_in_front),
        cmocka_unit_test(long_sentences_are_cut_and_terminated),
        cmocka_unit_test(every_status_has_a_text),
        cmocka_unit_test(problems_keep_all_in_order),
        cmocka_unit_test(crc32_has_the_known_check_value),
        cmocka_unit_test(crc32_is_zlibs_for_any_length_and_alignment),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
