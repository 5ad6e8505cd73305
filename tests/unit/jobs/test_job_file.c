/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "jobs/options/job_file.h"

/* Reads a job file of this content over the defaults. Release both. */
static void read(void **state, const char *content, awq_options *options, awq_problems *problems)
{
    awq_error err;
    const char *path = scratch_path(state, "a.job");
    scratch_write_text(path, content);
    awq_problems_init(problems);
    must(awq_options_init(options, &err));
    awq_job_file_read(path, options, problems);
}

static void options_are_set(void **state)
{
    awq_options options;
    awq_problems problems;
    read(state,
         "# a job\n\n  model = /m/odel  \ntokens=/t.h5 # of last week\r\n\tgroup-size\t=\t64\n"
         "keep-run = true\ngrace = 5m",
         &options, &problems);
    assert_int_equal(problems.count, 0);
    assert_string_equal(options.model, "/m/odel");
    assert_string_equal(options.tokens, "/t.h5");
    assert_int_equal(options.recipe.group_size, 64);
    assert_true(options.keep_run);
    assert_true(options.grace == 300);
    assert_int_equal(options.recipe.bits, 4);
    awq_options_release(&options);
    awq_problems_release(&problems);
}

static void quotes_keep_blanks_hashes_and_quotes(void **state)
{
    awq_options options;
    awq_problems problems;
    read(state, "model = \" a #b \"\"c\"\"\" # x\nout = a#b\n", &options, &problems);
    assert_int_equal(problems.count, 0);
    assert_string_equal(options.model, " a #b \"c\"");
    assert_string_equal(options.out, "a#b");
    awq_options_release(&options);
    awq_problems_release(&problems);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    static const struct {
        const char *content, *sentence;
    } samples[] = {
        {"\nmodel /m\n", "line 2: is not of the form 'key = value'"},
        {"group-szie = 3", "line 1: unknown option 'group-szie', did you mean 'group-size'?"},
        {"xyzzy = 3", "line 1: unknown option 'xyzzy'; --help lists all"},
        {"bits = four", "line 1: --bits takes a whole number, not 'four'"},
        {"restart = yes", "line 1: --restart takes true or false, not 'yes'"},
        {"out =\n", "line 1: --out takes DIR, not ''"},
        {"bits = 4\n\nbits = 4\n", "line 3: bits was set in line 1 already"},
        {"job = other.job", "line 1: 'job' is not an option of a job file"},
        {"nodes = 2", "line 1: 'nodes' is not an option of a job file"},
        {"out = \"a\n", "line 1: a value that begins with a quote must end with one"},
        {"out = \"a\" b\n", "line 1: a value that begins with a quote must end with one"},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        awq_options options;
        awq_problems problems;
        read(state, samples[i].content, &options, &problems);
        assert_int_equal(problems.count, 1);
        assert_problem(&problems, samples[i].sentence);
        assert_int_equal(problems.items[0].status, AWQ_ERR_USAGE);
        awq_options_release(&options);
        awq_problems_release(&problems);
    }
}

static void a_file_that_is_none_is_a_problem(void **state)
{
    awq_options options;
    awq_problems problems;
    read(state, "bits = 4\n", &options, &problems);
    awq_job_file_read("/nowhere/a.job", &options, &problems);
    const char *path = scratch_path(state, "b.job");
    scratch_write(path, "bits\0= 4", 8);
    awq_job_file_read(path, &options, &problems);
    assert_int_equal(problems.count, 2);
    assert_problem(&problems, "cannot open '/nowhere/a.job'");
    assert_problem(&problems, "b.job' is not a text file");
    awq_options_release(&options);
    awq_problems_release(&problems);
}

static void a_printed_job_reads_back_as_the_same(void **state)
{
    awq_options options, again;
    awq_problems problems;
    awq_error err;
    char *text[2];
    size_t bytes;
    read(state, "model = \" #\"\"\"\nout = /o\nsmooth = 0.1\nrestart = true\ndevice-memory = 80%\n",
         &options, &problems);
    for (int i = 0; i < 2; i++) {
        FILE *file = open_memstream(&text[i], &bytes);
        must(awq_job_file_print(file, i ? &again : &options, &err));
        fclose(file);
        if (!i) read(state, text[0], &again, &problems);
    }
    assert_int_equal(problems.count, 0);
    assert_string_equal(text[0], text[1]);
    assert_non_null(strstr(text[0], "\nsmooth = 0.1\n"));
    assert_non_null(strstr(text[0], "\nrestart = true\n"));
    free(text[0]);
    free(text[1]);
    awq_options_release(&options);
    awq_options_release(&again);
    awq_problems_release(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(options_are_set),
        scratch_test(quotes_keep_blanks_hashes_and_quotes),
        scratch_test(what_is_wrong_is_named_with_its_line),
        scratch_test(a_file_that_is_none_is_a_problem),
        scratch_test(a_printed_job_reads_back_as_the_same),
    };
    return cmocka_run_group_tests_name("jobs/job_file", tests, NULL, NULL);
}
