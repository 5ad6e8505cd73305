/* SPDX-License-Identifier: MIT
 * tests/unit/jobs/test_option_table.c - all options: round trips through text and JSON, --help. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "jobs/options/options.h"

/* ---- round trips ---- */

/* Something other than the default for every option. */
static const char *other_value(const awq_option *option)
{
    switch (option->type) {
    case AWQ_OPTION_TEXT:
    case AWQ_OPTION_PATH:
        return "/some where/\"else\"";
    case AWQ_OPTION_PATHS:
        return "/one file\n/another";
    case AWQ_OPTION_INTEGER:
        return option->max == 8 ? "8" : "32";
    case AWQ_OPTION_NUMBER:
        return "0.1";
    case AWQ_OPTION_BYTES:
        return "1234567890123";
    case AWQ_OPTION_MEMORY:
        return "33.333333333333336%";
    case AWQ_OPTION_SECONDS:
        return "1234567.8901234567";
    case AWQ_OPTION_CHOICE:
        return fixture_other_choice(option);
    case AWQ_OPTION_FLAG:
        return "true";
    }
    return NULL;
}

static void set_all(awq_options *options)
{
    awq_error err;
    for (int i = 0; i < awq_option_count; i++)
        must(
            awq_option_set(options, &awq_option_table[i], other_value(&awq_option_table[i]), &err));
}

static void expect_same(const awq_options *a, const awq_options *b, bool only_changing)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        char *x = awq_option_text(a, option), *y = awq_option_text(b, option);
        if (!only_changing || option->changes_result) assert_string_equal(x, y);
        free(x);
        free(y);
    }
}

static void the_defaults_are_those_of_a_recipe(void **state)
{
    awq_error err;
    awq_options defaults;
    must(awq_options_init(&defaults, &err));
    defaults.recipe = awq_recipe_default();
    expect_same(*state, &defaults, false);
    awq_options_release(&defaults);
}

static void every_option_survives_its_own_text(void **state)
{
    awq_error err;
    awq_options back;
    set_all(*state);
    must(awq_options_init(&back, &err));
    for (int i = 0; i < awq_option_count; i++) {
        char *text = awq_option_text(*state, &awq_option_table[i]);
        must(awq_option_set(&back, &awq_option_table[i], text, &err));
        free(text);
    }
    expect_same(*state, &back, false);
    assert_true(back.worker_timeout == 1234567.8901234567);
    assert_int_equal(back.max_shard_size, 1234567890123);
    awq_options_release(&back);
}

static void a_copy_has_the_same_values_and_its_own_strings(void **state)
{
    awq_error err;
    awq_options copy;
    set_all(*state);
    must(awq_options_copy(&copy, *state, &err));
    expect_same(*state, &copy, false);
    assert_true(copy.model != ((const awq_options *)*state)->model);
    awq_options_release(&copy);
}

static void paths_are_made_absolute(void **state)
{
    awq_options *options = *state;
    awq_problems problems;
    awq_error err;
    char here[4096], text[2 * sizeof here + 16];
    assert_non_null(getcwd(here, sizeof here));
    must(awq_option_set(options, fixture_option("out"), "no\nwhere", &err));
    must(awq_option_set(options, fixture_option("text"), "a", &err));
    must(awq_option_set(options, fixture_option("text"), "/b", &err));
    awq_problems_init(&problems);
    awq_options_resolve(options, &problems);
    assert_int_equal(problems.count, 0);
    snprintf(text, sizeof text, "%s/no\nwhere", here);
    assert_string_equal(options->out, text);
    snprintf(text, sizeof text, "%s/a\n/b", here);
    assert_string_equal(options->text.files, text);
    assert_null(options->model);
    awq_problems_release(&problems);
}

/* Some command that runs a job has an option of this name, so that ranks and records know it. */
static bool is_of_a_job(const char *name)
{
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name) &&
            awq_option_table[i].commands & ~(AWQ_COMMAND_SUBMIT | AWQ_COMMAND_REPORT |
                                             AWQ_COMMAND_COMPLETION | AWQ_COMMAND_TOKENIZE))
            return true;
    return false;
}

static void every_option_of_a_job_survives_json(void **state)
{
    awq_error err;
    awq_options back;
    set_all(*state);
    json_t *object = awq_options_to_json(*state, false);
    for (int i = 0; i < awq_option_count; i++)
        assert_int_equal(json_object_get(object, awq_option_table[i].name) != NULL,
                         is_of_a_job(awq_option_table[i].name));
    char *text = json_dumps(object, 0);
    json_decref(object);
    object = json_loads(text, 0, NULL);
    free(text);
    must(awq_options_init(&back, &err));
    must(awq_options_from_json(&back, object, &err));
    json_decref(object);
    for (int i = 0; i < awq_option_count; i++)
        if (!is_of_a_job(awq_option_table[i].name))
            must(awq_option_set(&back, &awq_option_table[i], other_value(&awq_option_table[i]),
                                &err));
    expect_same(*state, &back, false);
    awq_options_release(&back);
}

static void json_of_what_changes_the_result_holds_nothing_else(void **state)
{
    set_all(*state);
    json_t *object = awq_options_to_json(*state, true);
    for (int i = 0; i < awq_option_count; i++)
        assert_int_equal(json_object_get(object, awq_option_table[i].name) != NULL,
                         awq_option_table[i].changes_result);
    json_decref(object);
}

static void unset_paths_are_left_out_of_json(void **state)
{
    json_t *object = awq_options_to_json(*state, false);
    assert_null(json_object_get(object, "model"));
    assert_non_null(json_object_get(object, "backend"));
    json_decref(object);
}

static void json_with_a_bad_value_is_refused(void **state)
{
    awq_error err;
    json_t *object = json_pack("{s:s}", "smooth", "2");
    assert_int_equal(awq_options_from_json(*state, object, &err), AWQ_ERR_USAGE);
    assert_contains(err.text, "--smooth");
    json_decref(object);
}

/* ---- the table and --help ---- */

/* A name may mean something else to another command: then it has another row, and the same field.
 */
static void names_are_unique_and_documented(void **state)
{
    (void)state;
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        assert_true(strlen(option->name) > 1 && strlen(option->help) > 5);
        assert_true(option->help[strlen(option->help) - 1] != '.');
        assert_int_equal(option->argument == NULL, option->type == AWQ_OPTION_FLAG);
        assert_true(option->commands);
        assert_true(!option->required || !option->fallback);
        for (int j = 0; j < i; j++) {
            const awq_option *other = &awq_option_table[j];
            bool same_name = !strcmp(option->name, other->name);
            assert_int_equal(option->offset == other->offset, same_name);
            if (same_name) assert_int_equal(option->commands & other->commands, 0);
        }
    }
}

static char *help_of(awq_command command)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    awq_options_print_help(file, command);
    fclose(file);
    return text;
}

static int count_of(const char *text, const char *what)
{
    int count = 0;
    while ((text = strstr(text, what))) {
        text++;
        count++;
    }
    return count;
}

/* The commands of all rows with a name. */
static int commands_of(const char *name)
{
    int all = 0;
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name)) all |= awq_option_table[i].commands;
    return all;
}

static void help_lists_the_options_of_a_command_once_below_headings(void **state)
{
    (void)state;
    static const awq_command commands[] = {AWQ_COMMAND_QUANTIZE, AWQ_COMMAND_PLAN, AWQ_COMMAND_EVAL,
                                           AWQ_COMMAND_STATUS, AWQ_COMMAND_TOKENIZE};
    for (int c = 0; c < 5; c++) {
        char *text = help_of(commands[c]);
        assert_true(strstr(text, "nput and output:\n") || commands[c] == AWQ_COMMAND_STATUS);
        for (int i = 0; i < awq_option_count; i++) {
            char start[64];
            snprintf(start, sizeof start, "  --%s ", awq_option_table[i].name);
            assert_int_equal(count_of(text, start),
                             (commands_of(awq_option_table[i].name) & commands[c]) != 0);
        }
        assert_non_null(strstr(text, "--help"));
        free(text);
    }
}

static void help_tells_defaults(void **state)
{
    (void)state;
    char *text = help_of(AWQ_COMMAND_QUANTIZE);
    assert_contains(text, "--group-size N");
    assert_contains(text, "(default 128)");
    assert_contains(text, "(default 5GB)");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        options_test(the_defaults_are_those_of_a_recipe),
        options_test(every_option_survives_its_own_text),
        options_test(a_copy_has_the_same_values_and_its_own_strings),
        options_test(paths_are_made_absolute),
        options_test(every_option_of_a_job_survives_json),
        options_test(json_of_what_changes_the_result_holds_nothing_else),
        options_test(unset_paths_are_left_out_of_json),
        options_test(json_with_a_bad_value_is_refused),
        cmocka_unit_test(names_are_unique_and_documented),
        cmocka_unit_test(help_lists_the_options_of_a_command_once_below_headings),
        cmocka_unit_test(help_tells_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
