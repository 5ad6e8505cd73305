/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "jobs/plan/job.h"

static const awq_tokens tokens = {.sequences = 7, .length = 4, .crc = 0xfedcba98u};

static const awq_option *named(const char *name)
{
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name)) return &awq_option_table[i];
    fail_msg("no option %s", name);
    return NULL;
}

static json_t *fingerprint(const awq_checkpoint *checkpoint, const awq_tokens *of,
                           const char *backend, const awq_options *options)
{
    awq_error err;
    awq_options defaults;
    must(awq_options_init(&defaults, &err));
    json_t *object = awq_job_fingerprint(options ? options : &defaults, checkpoint, of, backend);
    assert_non_null(object);
    awq_options_release(&defaults);
    return object;
}

/* Whether two fingerprints are one job's; decrefs the second. */
static bool is_same(const json_t *a, json_t *b)
{
    awq_error err;
    char x[AWQ_FINGERPRINT_BYTES], y[AWQ_FINGERPRINT_BYTES];
    awq_problems problems;
    awq_problems_init(&problems);
    must(awq_job_fingerprint_text(a, x, &err));
    must(awq_job_fingerprint_text(b, y, &err));
    awq_job_fingerprint_compare(a, b, &problems);
    bool same = !problems.count;
    assert_int_equal(same, !strcmp(x, y)); /* the short form and the comparison agree */
    awq_problems_release(&problems);
    json_decref(b);
    return same;
}

static const char *other_value(const awq_option *option)
{
    if (!strcmp(option->name, "bits")) return "3";
    switch (option->type) {
    case AWQ_OPTION_CHOICE:
        return fixture_other_choice(option);
    case AWQ_OPTION_FLAG:
        return "true";
    case AWQ_OPTION_MEMORY:
    case AWQ_OPTION_BYTES:
        return "12345";
    case AWQ_OPTION_NUMBER:
        return "0.5";
    default:
        return "64";
    }
}

static void options_count_exactly_where_they_change_the_result(void **state)
{
    awq_error err;
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    json_t *plain = fingerprint(model, &tokens, "cpu", NULL);
    for (int i = 0; i < awq_option_count; i++) {
        awq_options options;
        const awq_option *option = &awq_option_table[i];
        must(awq_options_init(&options, &err));
        if (other_value(option)) {
            must(awq_option_set(&options, option, other_value(option), &err));
            if (is_same(plain, fingerprint(model, &tokens, "cpu", &options)) ==
                option->changes_result)
                fail_msg("--%s", option->name);
        }
        awq_options_release(&options);
    }
    json_decref(plain);
    awq_checkpoint_close(model);
}

static void tokens_and_backend_count(void **state)
{
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    json_t *plain = fingerprint(model, &tokens, "cpu", NULL);
    awq_tokens other = tokens;
    assert_true(is_same(plain, fingerprint(model, &tokens, "cpu", NULL)));
    assert_false(is_same(plain, fingerprint(model, &tokens, "cuda", NULL)));
    other.crc++;
    assert_false(is_same(plain, fingerprint(model, &other, "cpu", NULL)));
    other = tokens;
    other.sequences = 4;
    other.length = 7;
    assert_false(is_same(plain, fingerprint(model, &other, "cpu", NULL)));
    json_decref(plain);
    awq_checkpoint_close(model);
}

static void the_model_counts_but_not_where_it_lies(void **state)
{
    awq_checkpoint *models[4] = {fixture_model(state, "a", false, ""),
                                 fixture_model(state, "b", false, ""),
                                 fixture_model(state, "c", false, ", \"rope_theta\": 500000.0"),
                                 fixture_model(state, "d", true, "")};
    json_t *plain = fingerprint(models[0], &tokens, "cpu", NULL);
    assert_true(is_same(plain, fingerprint(models[1], &tokens, "cpu", NULL)));
    assert_false(is_same(plain, fingerprint(models[2], &tokens, "cpu", NULL)));
    assert_false(is_same(plain, fingerprint(models[3], &tokens, "cpu", NULL)));
    json_decref(plain);
    for (int i = 0; i < 4; i++) awq_checkpoint_close(models[i]);
}

static void the_short_form_is_eight_hex_digits(void **state)
{
    awq_error err;
    char text[AWQ_FINGERPRINT_BYTES];
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    json_t *plain = fingerprint(model, &tokens, "cpu", NULL);
    must(awq_job_fingerprint_text(plain, text, &err));
    assert_int_equal(strlen(text), 8);
    assert_int_equal(strspn(text, "0123456789abcdef"), 8);
    json_decref(plain);
    awq_checkpoint_close(model);
}

static void a_fingerprint_survives_its_file(void **state)
{
    awq_checkpoint *model = fixture_model(state, "m", false, "");
    json_t *plain = fingerprint(model, &tokens, "cpu", NULL);
    char *text = json_dumps(plain, JSON_INDENT(2));
    assert_true(is_same(plain, json_loads(text, 0, NULL)));
    free(text);
    json_decref(plain);
    awq_checkpoint_close(model);
}

static void a_comparison_names_each_difference_with_both_values(void **state)
{
    awq_error err;
    awq_options options;
    awq_problems problems;
    awq_problems_init(&problems);
    awq_checkpoint *was = fixture_model(state, "a", false, "");
    awq_checkpoint *is = fixture_model(state, "b", false, ", \"rope_theta\": 5.0");
    awq_tokens other = tokens;
    other.crc = 17;
    must(awq_options_init(&options, &err));
    must(awq_option_set(&options, named("alpha-steps"), "7", &err));
    must(awq_option_set(&options, named("duo"), "both", &err));
    json_t *earlier = fingerprint(was, &tokens, "cpu", NULL);
    json_t *now = fingerprint(is, &other, "cuda", &options);
    awq_job_fingerprint_compare(earlier, now, &problems);
    assert_problem(&problems, "backend: \"cpu\" in the earlier run, \"cuda\" now");
    assert_problem(&problems, "tokens crc32: 4275878552 in the earlier run, 17 now");
    assert_problem(&problems, "options alpha-steps: \"20\" in the earlier run, \"7\" now");
    assert_problem(&problems, "options duo: \"on\" in the earlier run, \"both\" now");
    assert_problem(&problems, "model 'config.json' crc32: ");
    assert_problem(&problems, "model 'config.json' bytes: ");
    assert_int_equal(problems.count, 6);
    awq_problems_release(&problems);
    awq_options_release(&options);
    json_decref(earlier);
    json_decref(now);
    awq_checkpoint_close(was);
    awq_checkpoint_close(is);
}

static void expect_difference(const char *earlier, const char *now, const char *sentence)
{
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *a = json_loads(earlier, 0, NULL), *b = json_loads(now, 0, NULL);
    awq_job_fingerprint_compare(a, b, &problems);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].text, sentence);
    json_decref(a);
    json_decref(b);
    awq_problems_release(&problems);
}

static void what_is_on_one_side_only_is_named(void **state)
{
    (void)state;
    expect_difference("{}", "{\"a\": 1}", "a: nothing in the earlier run, 1 now");
    expect_difference("{\"o\": {\"a\": 1}}", "{\"o\": {}}",
                      "o a: 1 in the earlier run, nothing now");
    expect_difference("{\"m\": [1]}", "{\"m\": [1, 2]}", "m: [1] in the earlier run, [1,2] now");
    expect_difference("{\"m\": {}}", "{\"m\": 3}", "m: {} in the earlier run, 3 now");
}

static void no_earlier_fingerprint_is_a_difference(void **state)
{
    (void)state;
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *now = json_pack("{s:i}", "format", 1);
    awq_job_fingerprint_compare(NULL, now, &problems);
    assert_true(problems.count > 0);
    awq_problems_release(&problems);
    json_decref(now);
}

/* ---- text ---- */

static void a_job_survives_its_text(void **state)
{
    (void)state;
    awq_error err;
    awq_job job = {.command = AWQ_COMMAND_EVAL,
                   .run_directory = "/out/.awqrun \"x\"",
                   .kind = "cpu on x"},
            back;
    must(awq_options_init(&job.options, &err));
    must(awq_option_set(&job.options, named("model"), "/mod\xc3\xa8le", &err));
    must(awq_option_set(&job.options, named("smooth"), "0.1", &err));
    must(awq_option_set(&job.options, named("verbose"), "true", &err));
    char *text = awq_job_to_text(&job);
    must(awq_job_from_text(text, strlen(text), &back, &err));
    assert_int_equal(back.command, AWQ_COMMAND_EVAL);
    assert_string_equal(back.run_directory, job.run_directory);
    assert_string_equal(back.kind, job.kind);
    json_t *a = awq_options_to_json(&job.options, false);
    json_t *b = awq_options_to_json(&back.options, false);
    assert_true(json_equal(a, b));
    assert_true(back.options.recipe.smooth == 0.1);
    json_decref(a);
    json_decref(b);
    free(text);
    awq_options_release(&job.options);
    awq_options_release(&back.options);
}

static void text_that_is_no_job_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{\"options\": {\"smooth\": \"2\"}}", NULL};
    for (int i = 0; bad[i]; i++) {
        awq_error err;
        awq_job job;
        assert_true(awq_job_from_text(bad[i], strlen(bad[i]), &job, &err));
        assert_contains(err.text, "the job");
    }
}

/* ---- tiles ---- */

static void expect_tiles(int64_t sequences, int64_t length, int64_t tile_tokens, int64_t in_tile,
                         int64_t tiles)
{
    awq_options options = {.tile_tokens = tile_tokens};
    awq_tokens of = {.sequences = sequences, .length = length};
    assert_int_equal(awq_job_tile_sequences(&options, &of), in_tile);
    assert_int_equal(awq_job_tiles(&options, &of), tiles);
}

static void tiles_are_whole_sequences(void **state)
{
    (void)state;
    expect_tiles(128, 512, 4096, 8, 16);
    expect_tiles(129, 512, 4096, 8, 17);
    expect_tiles(128, 512, 4095, 7, 19);
    expect_tiles(7, 4, 12, 3, 3);
}

/* Of seven sequences of four tokens. */
static void expect_objective(awq_objective objective, int64_t objective_tokens, int64_t sequences)
{
    const awq_options options = {
        .recipe = {.objective = objective, .objective_tokens = objective_tokens}};
    assert_int_equal(awq_job_objective_sequences(&options, &tokens), sequences);
}

static void the_module_objective_is_measured_on_whole_sequences(void **state)
{
    (void)state;
    expect_objective(AWQ_OBJECTIVE_MODULE, 11, 2);
    expect_objective(AWQ_OBJECTIVE_MODULE, 1, 1);
    expect_objective(AWQ_OBJECTIVE_MODULE, 29, 7);
    expect_objective(AWQ_OBJECTIVE_MODULE, 0, 7); /* all of them */
    expect_objective(AWQ_OBJECTIVE_LINEAR, 11, 0);
}

static void a_tile_has_at_least_one_sequence_and_at_most_all(void **state)
{
    (void)state;
    expect_tiles(128, 8192, 4096, 1, 128);
    expect_tiles(3, 512, 1000000, 3, 1);
    expect_tiles(1, 1, 1, 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(options_count_exactly_where_they_change_the_result),
        scratch_test(tokens_and_backend_count),
        scratch_test(the_model_counts_but_not_where_it_lies),
        scratch_test(the_short_form_is_eight_hex_digits),
        scratch_test(a_fingerprint_survives_its_file),
        scratch_test(a_comparison_names_each_difference_with_both_values),
        cmocka_unit_test(what_is_on_one_side_only_is_named),
        cmocka_unit_test(no_earlier_fingerprint_is_a_difference),
        cmocka_unit_test(a_job_survives_its_text),
        cmocka_unit_test(text_that_is_no_job_is_refused),
        cmocka_unit_test(tiles_are_whole_sequences),
        cmocka_unit_test(the_module_objective_is_measured_on_whole_sequences),
        cmocka_unit_test(a_tile_has_at_least_one_sequence_and_at_most_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
