/* SPDX-License-Identifier: MIT
 * tests/unit/jobs/test_options.c - what each type of option takes, and what it refuses. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "jobs/options/options.h"

static void refuses(awq_options *options, const char *name, const char *text, const char *part)
{
    awq_error err;
    char *before = awq_option_text(options, fixture_option(name));
    if (awq_option_set(options, fixture_option(name), text, &err) != AWQ_ERR_USAGE)
        fail_msg("--%s took '%s'", name, text);
    assert_contains(err.text, part);
    assert_contains(err.text, name);
    char *after = awq_option_text(options, fixture_option(name));
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
    must(awq_option_set(options, fixture_option("alpha-steps"), "1000", &err));
    assert_int_equal(options->recipe.alpha_steps, 1000);
    must(awq_option_set(options, fixture_option("group-size"), "-1", &err));
    assert_int_equal(options->recipe.group_size, -1);
    must(awq_option_set(options, fixture_option("tile-tokens"), "1e6", &err));
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
    must(awq_option_set(options, fixture_option("smooth"), "0.25", &err));
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
        must(awq_option_set(options, fixture_option("max-shard-size"), good[i].text, &err));
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
    must(awq_option_set(options, fixture_option("device-memory"), "80GB", &err));
    assert_true(!options->device_memory.percent && options->device_memory.amount == 80e9);
    must(awq_option_set(options, fixture_option("device-memory"), "12.5%", &err));
    assert_true(options->device_memory.percent && options->device_memory.amount == 12.5);
    must(awq_option_set(options, fixture_option("device-memory"), "100%", &err));
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
        must(awq_option_set(options, fixture_option("grace"), good[i].text, &err));
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
    must(awq_option_set(options, fixture_option("duo"), "both", &err));
    assert_int_equal(options->recipe.duo, AWQ_DUO_BOTH);
    must(awq_option_set(options, fixture_option("o-proj"), "skip", &err));
    assert_int_equal(options->recipe.o_proj, AWQ_O_PROJ_SKIP);
    must(awq_option_set(options, fixture_option("clip"), "off", &err));
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
        {"kv-b-proj", "keep", CHOICE(kv_b_proj), AWQ_ABSORBED_KEEP},
        {"kv-b-proj", "quantize", CHOICE(kv_b_proj), AWQ_ABSORBED_QUANTIZE},
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
        must(awq_option_set(options, fixture_option(cases[i].option), cases[i].word, &err));
        assert_int_equal(cases[i].bytes, sizeof found);
        memcpy(&found, (const char *)options + cases[i].offset, sizeof found);
        if (found != cases[i].value) fail_msg("--%s %s", cases[i].option, cases[i].word);
    }
}

static void flags_are_true_or_false(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, fixture_option("restart"), "true", &err));
    assert_true(options->restart);
    must(awq_option_set(options, fixture_option("restart"), "false", &err));
    assert_false(options->restart);
    refuses(options, "restart", "yes", "true or false");
    refuses(options, "restart", "", "true or false");
}

static void paths_are_text_that_is_not_empty(void **state)
{
    awq_options *options = *state;
    awq_error err;
    must(awq_option_set(options, fixture_option("model"), "/a", &err));
    must(awq_option_set(options, fixture_option("model"), "/mod\xc3\xa8le", &err));
    assert_string_equal(options->model, "/mod\xc3\xa8le");
    refuses(options, "model", "", "takes DIR");
    refuses(options, "out", "", "takes DIR");
    refuses(options, "model", "/mod\xe8le", "UTF-8"); /* JSON could not hold it */
    assert_string_equal(options->model, "/mod\xc3\xa8le");
}

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
