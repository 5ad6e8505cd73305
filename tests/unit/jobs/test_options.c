/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "jobs/options/options.h"

static const awq_option *named(const char *name)
{
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name)) return &awq_option_table[i];
    fail_msg("no option %s", name);
    return NULL;
}

static int setup(void **state)
{
    awq_error err;
    awq_options *options = malloc(sizeof *options);
    if (!options || awq_options_init(options, &err)) return -1;
    *state = options;
    return 0;
}

static int teardown(void **state)
{
    awq_options_release(*state);
    free(*state);
    return 0;
}

static void refuses(awq_options *options, const char *name, const char *text, const char *part)
{
    awq_error err;
    char *before = awq_option_text(options, named(name));
    if (awq_option_set(options, named(name), text, &err) != AWQ_ERR_USAGE)
        fail_msg("--%s took '%s'", name, text);
    assert_contains(err.text, part);
    assert_contains(err.text, name);
    char *after = awq_option_text(options, named(name));
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* ---- values ---- */

static void defaults_are_those_of_the_table(void **state)
{
    const awq_options *options = *state;
    assert_int_equal(options->recipe.bits, 4);
    assert_int_equal(options->recipe.group_size, 128);
    assert_int_equal(options->recipe.alpha_steps, 20);
    assert_int_equal(options->recipe.duo, AWQ_DUO_ON);
    assert_true(options->recipe.smooth == 0);
    assert_int_equal(options->recipe.o_proj, AWQ_O_PROJ_TIED);
    assert_int_equal(options->recipe.clip, AWQ_CLIP_AFTER);
    assert_int_equal(options->max_shard_size, 5000000000);
    assert_int_equal(options->tile_tokens, 4096);
    assert_string_equal(options->backend, "auto");
    assert_true(options->device_memory.percent && options->device_memory.amount == 90);
    assert_true(options->worker_timeout == 300 && options->grace == 60);
    assert_true(options->time_limit == 0);
    assert_null(options->model);
    assert_false(options->restart || options->keep_run || options->json || options->verbose);
}

static void whole_numbers_have_a_range(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("alpha-steps"), "1000", &err));
    assert_int_equal(options->recipe.alpha_steps, 1000);
    must(awq_option_set(options, named("group-size"), "-1", &err));
    assert_int_equal(options->recipe.group_size, -1);
    must(awq_option_set(options, named("tile-tokens"), "1e6", &err));
    assert_int_equal(options->tile_tokens, 1000000);
    refuses(options, "alpha-steps", "1001", "between 0 and 1000");
    refuses(options, "alpha-steps", "-1", "between 0 and 1000");
    refuses(options, "bits", "2", "between 3 and 8");
    refuses(options, "sequences", "1e30", "between");
    static const char *const bad[] = {"", "x", "2.5", "7x", "7 ", "inf", "nan", "1e999", NULL};
    for (int i = 0; bad[i]; i++) refuses(options, "alpha-steps", bad[i], "a whole number");
}

static void numbers_have_a_range(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("smooth"), "0.25", &err));
    assert_true(options->recipe.smooth == 0.25);
    refuses(options, "smooth", "1.01", "between 0 and 1");
    refuses(options, "smooth", "-0.5", "between 0 and 1");
    refuses(options, "smooth", "a quarter", "a number");
    refuses(options, "smooth", "0.5s", "a number");
    refuses(options, "smooth", "nan", "a number");
}

static void bytes_take_decimal_and_binary_units(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"4096", 4096},         {"4096B", 4096},    {"2kB", 2000},
                {"2KB", 2000},          {"3MB", 3000000},   {"5GB", 5000000000},
                {"1TB", 1000000000000}, {"2KiB", 2048},     {"512MiB", 512LL << 20},
                {"1.5GiB", 3LL << 29},  {"1TiB", 1LL << 40}};
    static const char *const bad[] = {"", "GB", "5gb", "5 GB", "5G", "5GBs", "five", "1e999", NULL};
    awq_options *options = *state;
    awq_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        must(awq_option_set(options, named("max-shard-size"), good[i].text, &err));
        assert_int_equal(options->max_shard_size, good[i].bytes);
    }
    for (int i = 0; bad[i]; i++)
        refuses(options, "max-shard-size", bad[i], "an amount such as 5GB or 512MiB");
    refuses(options, "max-shard-size", "999", "between 1000 and");
    refuses(options, "max-shard-size", "-5GB", "between 1000 and");
}

static void memory_is_an_amount_or_a_share(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("device-memory"), "80GB", &err));
    assert_true(!options->device_memory.percent && options->device_memory.amount == 80e9);
    must(awq_option_set(options, named("device-memory"), "12.5%", &err));
    assert_true(options->device_memory.percent && options->device_memory.amount == 12.5);
    must(awq_option_set(options, named("device-memory"), "100%", &err));
    static const char *const bad[] = {"",     "0", "0%",   "100.5%", "-1%", "-5GB",
                                      "90 %", "%", "90%%", "much",   NULL};
    for (int i = 0; bad[i]; i++) refuses(options, "device-memory", bad[i], "a share such as 90%");
}

static void times_take_units(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"90", 90},   {"90s", 90},   {"5m", 300},   {"5min", 300},
                {"2h", 7200}, {"1d", 86400}, {"0.5h", 1800}};
    static const char *const bad[] = {"", "s", "5 m", "5M", "5 minutes", "2h30m", "-", NULL};
    awq_options *options = *state;
    awq_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        must(awq_option_set(options, named("grace"), good[i].text, &err));
        assert_true(options->grace == good[i].seconds);
    }
    for (int i = 0; bad[i]; i++) refuses(options, "grace", bad[i], "a time such as 90s, 5m or 2h");
    refuses(options, "grace", "-1s", "between 0 and");
    refuses(options, "worker-timeout", "0.5", "between 1 and");
}

static void choices_are_whole_words(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("duo"), "both", &err));
    assert_int_equal(options->recipe.duo, AWQ_DUO_BOTH);
    must(awq_option_set(options, named("o-proj"), "skip", &err));
    assert_int_equal(options->recipe.o_proj, AWQ_O_PROJ_SKIP);
    must(awq_option_set(options, named("clip"), "off", &err));
    assert_int_equal(options->recipe.clip, AWQ_CLIP_OFF);
    static const char *const bad[] = {"", "o", "bot", "both|", "off|on", "ON", "boths", NULL};
    for (int i = 0; bad[i]; i++) refuses(options, "duo", bad[i], "off|on|both");
}

#define CHOICE(field) offsetof(awq_options, field), sizeof(((awq_options *)NULL)->field)

/* The words of an option are numbered in their order; so are the enumerators that programs use. */
static void each_word_is_its_enumerator(void **state)
{
    static const struct {
        const char *option, *word;
        size_t offset, bytes;
        int value;
    } cases[] = {
        {"split", "lines", CHOICE(text.split), AWQ_TEXT_LINES},
        {"split", "blank", CHOICE(text.split), AWQ_TEXT_BLANK},
        {"split", "files", CHOICE(text.split), AWQ_TEXT_FILES},
        {"chat-template", "none", CHOICE(text.chat), AWQ_CHAT_NONE},
        {"chat-template", "llama3", CHOICE(text.chat), AWQ_CHAT_LLAMA3},
        {"chat-template", "chatml", CHOICE(text.chat), AWQ_CHAT_CHATML},
        {"chat-template", "mistral", CHOICE(text.chat), AWQ_CHAT_MISTRAL},
        {"invalid-utf8", "refuse", CHOICE(text.invalid_utf8), AWQ_INVALID_REFUSE},
        {"invalid-utf8", "replace", CHOICE(text.invalid_utf8), AWQ_INVALID_REPLACE},
        {"format", "gemm", CHOICE(recipe.format), AWQ_FORMAT_GEMM},
        {"format", "gemv", CHOICE(recipe.format), AWQ_FORMAT_GEMV},
        {"format", "gemv-fast", CHOICE(recipe.format), AWQ_FORMAT_GEMV_FAST},
        {"format", "compressed-tensors", CHOICE(recipe.format), AWQ_FORMAT_COMPRESSED},
        {"objective", "linear", CHOICE(recipe.objective), AWQ_OBJECTIVE_LINEAR},
        {"objective", "module", CHOICE(recipe.objective), AWQ_OBJECTIVE_MODULE},
        {"duo", "off", CHOICE(recipe.duo), AWQ_DUO_OFF},
        {"duo", "on", CHOICE(recipe.duo), AWQ_DUO_ON},
        {"duo", "both", CHOICE(recipe.duo), AWQ_DUO_BOTH},
        {"o-proj", "tied", CHOICE(recipe.o_proj), AWQ_O_PROJ_TIED},
        {"o-proj", "skip", CHOICE(recipe.o_proj), AWQ_O_PROJ_SKIP},
        {"clip", "off", CHOICE(recipe.clip), AWQ_CLIP_OFF},
        {"clip", "after", CHOICE(recipe.clip), AWQ_CLIP_AFTER},
        {"clip", "joint", CHOICE(recipe.clip), AWQ_CLIP_JOINT},
        {"clip-shape", "symmetric", CHOICE(recipe.clip_shape), AWQ_CLIP_SYMMETRIC},
        {"clip-shape", "asymmetric", CHOICE(recipe.clip_shape), AWQ_CLIP_ASYMMETRIC},
        {"rounding", "nearest", CHOICE(recipe.rounding), AWQ_ROUNDING_NEAREST},
        {"rounding", "feedback", CHOICE(recipe.rounding), AWQ_ROUNDING_FEEDBACK},
        {"transport", "auto", CHOICE(transport), AWQ_TRANSPORT_AUTO},
        {"transport", "nccl", CHOICE(transport), AWQ_TRANSPORT_NCCL},
        {"transport", "mpi", CHOICE(transport), AWQ_TRANSPORT_MPI},
        {"shell", "bash", CHOICE(shell), AWQ_SHELL_BASH},
        {"shell", "zsh", CHOICE(shell), AWQ_SHELL_ZSH},
        {"launcher", "auto", CHOICE(submit.launcher), AWQ_LAUNCHER_AUTO},
        {"launcher", "srun", CHOICE(submit.launcher), AWQ_LAUNCHER_SRUN},
        {"launcher", "mpirun", CHOICE(submit.launcher), AWQ_LAUNCHER_MPIRUN},
    };
    awq_options *options = *state;
    awq_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int found;
        must(awq_option_set(options, named(cases[i].option), cases[i].word, &err));
        assert_int_equal(cases[i].bytes, sizeof found);
        memcpy(&found, (const char *)options + cases[i].offset, sizeof found);
        if (found != cases[i].value) fail_msg("--%s %s", cases[i].option, cases[i].word);
    }
}

static void flags_are_true_or_false(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("restart"), "true", &err));
    assert_true(options->restart);
    must(awq_option_set(options, named("restart"), "false", &err));
    assert_false(options->restart);
    refuses(options, "restart", "yes", "true or false");
    refuses(options, "restart", "", "true or false");
}

static void paths_are_text_that_is_not_empty(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, named("model"), "/a", &err));
    must(awq_option_set(options, named("model"), "/mod\xc3\xa8le", &err));
    assert_string_equal(options->model, "/mod\xc3\xa8le");
    refuses(options, "model", "", "takes DIR");
    refuses(options, "out", "", "takes DIR");
    refuses(options, "model", "/mod\xe8le", "UTF-8"); /* JSON could not hold it */
    assert_string_equal(options->model, "/mod\xc3\xa8le");
}

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
    must(awq_option_set(options, named("out"), "no\nwhere", &err));
    must(awq_option_set(options, named("text"), "a", &err));
    must(awq_option_set(options, named("text"), "/b", &err));
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

#define options_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        options_test(defaults_are_those_of_the_table),
        options_test(whole_numbers_have_a_range),
        options_test(numbers_have_a_range),
        options_test(bytes_take_decimal_and_binary_units),
        options_test(memory_is_an_amount_or_a_share),
        options_test(times_take_units),
        options_test(choices_are_whole_words),
        options_test(each_word_is_its_enumerator),
        options_test(flags_are_true_or_false),
        options_test(paths_are_text_that_is_not_empty),
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
