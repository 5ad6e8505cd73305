/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fixture.h"
#include "jobs/options/options.h"

enum { MAX_ARGUMENTS = 16 };

typedef struct parsed {
    awq_options options;
    awq_problems problems;
    bool help;
} parsed;

/* Parses "quantize --bits 4" as a shell would split it. */
static parsed *parse(void **state, awq_command command, const char *line)
{
    static char copy[512];
    parsed *out = *state;
    char *argv[MAX_ARGUMENTS + 1];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < MAX_ARGUMENTS; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    out->help = awq_options_parse(&out->options, command, argc, argv, &out->problems);
    return out;
}

static int setup(void **state)
{
    static parsed out;
    awq_error err;
    *state = &out;
    awq_problems_init(&out.problems);
    return awq_options_init(&out.options, &err) ? -1 : 0;
}

static int teardown(void **state)
{
    parsed *out = *state;
    awq_options_release(&out->options);
    awq_problems_release(&out->problems);
    return 0;
}

#define QUANTIZE "quantize --model m --tokens t --out o "

static void refuses(void **state, awq_command command, const char *line, const char *sentence)
{
    const parsed *p = parse(state, command, line);
    assert_int_equal(p->problems.count, 1);
    assert_string_equal(p->problems.items[0].text, sentence);
    assert_int_equal(p->problems.items[0].status, AWQ_ERR_USAGE);
    assert_false(p->help);
}

static void values_stand_behind_or_after_an_equals_sign(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_QUANTIZE,
                            "quantize --model=/m --tokens /t --out=/o --group-size -1 "
                            "--alpha-steps=7 --duo both --restart");
    assert_int_equal(p->problems.count, 0);
    assert_false(p->help);
    assert_string_equal(p->options.model, "/m");
    assert_string_equal(p->options.tokens, "/t");
    assert_string_equal(p->options.out, "/o");
    assert_int_equal(p->options.recipe.group_size, -1);
    assert_int_equal(p->options.recipe.alpha_steps, 7);
    assert_int_equal(p->options.recipe.duo, AWQ_DUO_BOTH);
    assert_true(p->options.restart);
    assert_false(p->options.keep_run);
}

static void later_values_win(void **state)
{
    const parsed *p =
        parse(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--model n --smooth 1 --smooth 0.5");
    assert_int_equal(p->problems.count, 0);
    assert_string_equal(p->options.model, "n");
    assert_true(p->options.recipe.smooth == 0.5);
}

static void short_options_can_be_bundled(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "-vq");
    assert_int_equal(p->problems.count, 0);
    assert_true(p->options.verbose && p->options.quiet);
}

static void help_is_told_apart_and_needs_nothing_else(void **state)
{
    assert_true(parse(state, AWQ_COMMAND_QUANTIZE, "quantize --help")->help);
    assert_true(parse(state, AWQ_COMMAND_EVAL, "eval -vh")->help);
    assert_int_equal(((parsed *)*state)->problems.count, 0);
}

static void a_near_miss_names_the_nearest_option(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--grop-size 64",
            "unknown option '--grop-size', did you mean '--group-size'?");
}

static void a_near_miss_before_its_value_is_told_by_its_name(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--aplha-steps=3",
            "unknown option '--aplha-steps=3', did you mean '--alpha-steps'?");
}

static void options_of_other_commands_are_not_offered(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_EVAL, "eval --model m --tokens t --keep-ru");
    assert_int_equal(p->problems.count, 1);
    assert_string_equal(p->problems.items[0].text, "unknown option '--keep-ru'; --help lists all");
}

static void what_resembles_nothing_is_refused_without_a_guess(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--frobnicate",
            "unknown option '--frobnicate'; --help lists all");
}

static void an_unknown_short_option_is_named(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "-x", "unknown option '-x'; --help lists all");
}

static void an_unknown_option_after_a_positional_is_named(void **state)
{
    refuses(state, AWQ_COMMAND_STATUS, "status dir --jsn",
            "unknown option '--jsn', did you mean '--json'?");
}

static void an_unknown_letter_of_a_bundle_is_named(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "-vx", "unknown option '-x'; --help lists all");
}

static void verbosity_is_an_option_where_there_is_something_to_say(void **state)
{
    refuses(state, AWQ_COMMAND_STATUS, "status dir -v", "unknown option '-v'; --help lists all");
}

static void a_flag_takes_no_value(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--restart=yes", "'--restart' takes no value");
}

static void an_abbreviation_of_several_options_is_refused(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--s 1");
    assert_true(p->problems.count > 0);
    assert_contains(p->problems.items[0].text, "unknown option '--s'");
}

static void a_missing_value_is_named(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--group-size", "'--group-size' needs a value");
}

static void required_options_are_missed_by_name(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_QUANTIZE, "quantize --model m");
    assert_int_equal(p->problems.count, 2);
    assert_string_equal(p->problems.items[0].text, "--out DIR is missing");
    assert_string_equal(p->problems.items[1].text, "--tokens FILE or --text FILE is missing");
}

static void a_list_takes_what_follows_and_may_be_given_again(void **state)
{
    const parsed *p =
        parse(state, AWQ_COMMAND_TOKENIZE, "tokenize --text a b --model m c --text=d e --out o");
    assert_int_equal(p->problems.count, 1); /* c follows no list */
    assert_string_equal(p->problems.items[0].text, "unexpected argument 'c'");
    assert_string_equal(p->options.text.files, "a\nb\nd\ne");
}

static void tokens_and_text_exclude_each_other(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--text a",
            "--tokens and --text exclude each other");
}

static void tokenize_needs_text_and_a_file(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_TOKENIZE, "tokenize --model m");
    assert_int_equal(p->problems.count, 2);
    assert_string_equal(p->problems.items[0].text, "--out FILE is missing");
    assert_string_equal(p->problems.items[1].text, "--text FILE is missing");
}

static void plan_needs_no_output_directory(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_PLAN, "plan --model m --tokens t --workers 8");
    assert_int_equal(p->problems.count, 0);
    assert_null(p->options.out);
    assert_int_equal(p->options.plan.workers, 8);
}

static void all_wrong_values_are_told_at_once(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "--smooth 2 extra --duo maybe");
    assert_int_equal(p->problems.count, 3);
    assert_problem(&p->problems, "--smooth must be between 0 and 1, not '2'");
    assert_problem(&p->problems, "--duo takes off|on|both, not 'maybe'");
    assert_problem(&p->problems, "unexpected argument 'extra'");
    assert_int_equal(p->options.recipe.duo, AWQ_DUO_ON);
}

static void only_status_takes_a_positional(void **state)
{
    refuses(state, AWQ_COMMAND_QUANTIZE, QUANTIZE "dir", "unexpected argument 'dir'");
}

static void status_takes_one_directory(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_STATUS, "status dir --json");
    assert_int_equal(p->problems.count, 0);
    assert_string_equal(p->options.out, "dir");
    assert_true(p->options.json);
}

static void status_refuses_a_second_directory(void **state)
{
    refuses(state, AWQ_COMMAND_STATUS, "status dir other", "unexpected argument 'other'");
}

static void status_asks_for_its_directory(void **state)
{
    refuses(state, AWQ_COMMAND_STATUS, "status", "which job? give its output directory");
}

static void what_stands_behind_two_dashes_is_positional(void **state)
{
    const parsed *p = parse(state, AWQ_COMMAND_STATUS, "status -- --json");
    assert_int_equal(p->problems.count, 0);
    assert_string_equal(p->options.out, "--json");
    assert_false(p->options.json);
}

#define parse_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        parse_test(values_stand_behind_or_after_an_equals_sign),
        parse_test(later_values_win),
        parse_test(short_options_can_be_bundled),
        parse_test(help_is_told_apart_and_needs_nothing_else),
        parse_test(a_near_miss_names_the_nearest_option),
        parse_test(a_near_miss_before_its_value_is_told_by_its_name),
        parse_test(options_of_other_commands_are_not_offered),
        parse_test(what_resembles_nothing_is_refused_without_a_guess),
        parse_test(an_unknown_short_option_is_named),
        parse_test(an_unknown_option_after_a_positional_is_named),
        parse_test(an_unknown_letter_of_a_bundle_is_named),
        parse_test(verbosity_is_an_option_where_there_is_something_to_say),
        parse_test(a_flag_takes_no_value),
        parse_test(an_abbreviation_of_several_options_is_refused),
        parse_test(a_missing_value_is_named),
        parse_test(required_options_are_missed_by_name),
        parse_test(a_list_takes_what_follows_and_may_be_given_again),
        parse_test(tokens_and_text_exclude_each_other),
        parse_test(tokenize_needs_text_and_a_file),
        parse_test(plan_needs_no_output_directory),
        parse_test(all_wrong_values_are_told_at_once),
        parse_test(only_status_takes_a_positional),
        parse_test(status_takes_one_directory),
        parse_test(status_refuses_a_second_directory),
        parse_test(status_asks_for_its_directory),
        parse_test(what_stands_behind_two_dashes_is_positional),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
