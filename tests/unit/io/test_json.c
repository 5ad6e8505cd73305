/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/files/json.h"
#include "scratch.h"

static json_t *parsed(const char *text)
{
    awq_error err;
    json_t *object;
    if (awq_json_parse(text, strlen(text), "f", &object, &err)) fail_msg("%s", err.text);
    return object;
}

static void expect_refusal(const char *text, const char *part)
{
    awq_error err;
    json_t *object;
    assert_int_equal(awq_json_parse(text, strlen(text), "f", &object, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, part);
}

static void only_strict_objects_are_read(void **state)
{
    (void)state;
    json_decref(parsed("{\"a\": 1}  "));
    expect_refusal("{\"a\": 1, \"a\": 2}", "'f' is not valid JSON: line 1");
    expect_refusal("[1]", "'f' holds an array, expected a JSON object");
    expect_refusal("3", "holds an integer");
    expect_refusal("", "not valid JSON");
    expect_refusal("{\"a\": 1} x", "not valid JSON");
    expect_refusal("{\"a\": NaN}", "not valid JSON");
    expect_refusal("{\"a\": 99999999999999999999}", "not valid JSON");
    expect_refusal("{\"a\": \"\xff\"}", "not valid JSON");
}

static void a_file_that_is_too_long_or_missing_is_refused(void **state)
{
    awq_error err;
    json_t *object;
    const char *path = scratch_path(state, "a.json");
    scratch_write_text(path, "{\"a\": 1}");
    assert_int_equal(awq_json_read(path, 7, &object, &err), AWQ_ERR_INPUT);
    assert_int_equal(awq_json_read(path, 8, &object, &err), AWQ_OK);
    json_decref(object);
    assert_int_equal(awq_json_read(scratch_path(state, "b"), 8, &object, &err), AWQ_ERR_IO);
}

static void numbers_are_written_as_people_write_them(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "a.json");
    const char *text = "{\n  \"eps\": 1e-5,\n  \"b\": [\n    0.1,\n    10000.0\n  ],\n"
                       "  \"a\": 4096\n}\n";
    json_t *object = parsed(text);
    assert_int_equal(awq_json_write(path, object, &err), AWQ_OK);
    char *written = scratch_read(path, NULL);
    assert_string_equal(written, text);
    free(written);
    json_decref(object);
}

static void every_double_survives(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "a.json");
    json_t *back, *object = json_pack("{s:f, s:f}", "x", 1.0 / 3, "y", 0.1);
    assert_int_equal(awq_json_write(path, object, &err), AWQ_OK);
    assert_int_equal(awq_json_read(path, 1000, &back, &err), AWQ_OK);
    assert_true(json_equal(object, back));
    json_decref(object);
    json_decref(back);
    object = json_object();
    assert_int_equal(awq_json_write(scratch_path(state, "no/x"), object, &err), AWQ_ERR_IO);
    json_decref(object);
}

static void getters_return_values_and_fallbacks(void **state)
{
    (void)state;
    awq_problems p;
    awq_problems_init(&p);
    json_t *o = parsed("{\"i\": 7, \"r\": 0.5, \"b\": true, \"s\": \"x\", \"n\": null}");
    assert_int_equal(awq_json_integer(o, "i", 1, "f", &p), 7);
    assert_int_equal(awq_json_integer(o, "none", 1, "f", &p), 1);
    assert_int_equal(awq_json_integer(o, "n", 2, "f", &p), 2);
    assert_true(awq_json_number(o, "r", 0, "f", &p) == 0.5);
    assert_true(awq_json_number(o, "i", 0, "f", &p) == 7);
    assert_true(awq_json_number(o, "n", 3, "f", &p) == 3);
    assert_true(awq_json_bool(o, "b", false, "f", &p));
    assert_true(awq_json_bool(o, "n", true, "f", &p));
    assert_string_equal(awq_json_string(o, "s", NULL, "f", &p), "x");
    assert_null(awq_json_string(o, "none", NULL, "f", &p));
    assert_int_equal(p.count, 0);
    json_decref(o);
}

static void a_wrong_type_names_file_key_and_both_types(void **state)
{
    (void)state;
    awq_problems p;
    awq_problems_init(&p);
    json_t *o = parsed("{\"o\": {}, \"a\": [], \"r\": 1.5, \"b\": false, \"s\": \"x\", \"i\": 1}");
    assert_int_equal(awq_json_integer(o, "s", 1, "f", &p), 1);
    assert_string_equal(p.items[0].text, "'f': key 's' is a string, expected an integer");
    awq_json_integer(o, "r", 1, "f", &p);
    assert_contains(p.items[1].text, "a real number");
    awq_json_number(o, "b", 1, "f", &p);
    assert_contains(p.items[2].text, "a boolean, expected a number");
    assert_false(awq_json_bool(o, "i", false, "f", &p));
    assert_contains(p.items[3].text, "an integer, expected true or false");
    awq_json_string(o, "a", "", "f", &p);
    awq_json_string(o, "o", "", "f", &p);
    assert_contains(p.items[5].text, "an object, expected a string");
    assert_int_equal(p.count, 6);
    awq_problems_release(&p);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_strict_objects_are_read),
        scratch_test(a_file_that_is_too_long_or_missing_is_refused),
        scratch_test(numbers_are_written_as_people_write_them),
        scratch_test(every_double_survives),
        cmocka_unit_test(getters_return_values_and_fallbacks),
        cmocka_unit_test(a_wrong_type_names_file_key_and_both_types),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
