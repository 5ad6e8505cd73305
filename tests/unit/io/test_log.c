/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/log.h"
#include "scratch.h"

/* What `say` writes to stderr; the caller frees. */
static char *captured(void **state, void (*say)(void))
{
    const char *path = scratch_path(state, "stderr");
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    int saved = dup(STDERR_FILENO);
    assert_true(file >= 0 && saved >= 0);
    dup2(file, STDERR_FILENO);
    say();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    return scratch_read(path, NULL);
}

static void say_info(void)
{
    awq_log_init(3, AWQ_LOG_INFO);
    AWQ_LOG(AWQ_LOG_INFO, "layer done", AWQ_WHOLE("layer", 17), AWQ_REAL("alpha", 0.55, 2));
    awq_log(AWQ_LOG_VERBOSE, "not shown");
}

static void a_line_has_time_level_rank_host_phrase(void **state)
{
    char *text = captured(state, say_info);
    assert_int_equal(text[2], ':');
    assert_int_equal(text[5], ':');
    assert_memory_equal(text + 8, " info  [3 ", 10);
    assert_contains(text, "] layer done layer=17 alpha=0.55\n");
    assert_null(strstr(text, "not shown"));
    free(text);
}

static void say_json(void)
{
    awq_error err;
    awq_log_init(3, AWQ_LOG_INFO);
    awq_log_set_json(true);
    AWQ_LOG(AWQ_LOG_INFO, "worker ready", AWQ_WHOLE("worker", 2),
            AWQ_QUOTED("device", "CPU, 8 \"fast\" threads with b=2"), AWQ_REAL("share", 0.5, 1),
            AWQ_PERCENT("done", 0.34, 0), AWQ_TEXT("left", "1h02m"), AWQ_TEXT("experts", "3"),
            AWQ_SHORT("qkv", 0.25, 3));
    awq_log(AWQ_LOG_VERBOSE, "not shown");
    awq_fail(&err, AWQ_ERR_IO, "cannot open 'a=b \xff\n': x=%d", 1);
    awq_report_error(&err);
    awq_report_note("resumable");
    awq_log_set_json(false);
}

static void json_lines_are_objects_of_what_the_text_says(void **state)
{
    char *text = captured(state, say_json), *rest = text;
    const char *const expected[] = {
        "{\"level\": \"info\", \"rank\": 3, \"message\": \"worker ready\", \"worker\": 2, "
        "\"device\": "
        "\"CPU, 8 \\\"fast\\\" threads with b=2\", \"share\": 0.5, \"done\": \"34%\", "
        "\"left\": \"1h02m\", \"experts\": \"3\", \"qkv\": 0.25}",
        "{\"level\": \"error\", \"rank\": 3, \"message\": \"cannot open 'a=b ?\?': x=1\"}",
        "{\"level\": \"note\", \"rank\": 3, \"message\": \"resumable\"}"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        json_t *line = json_loads(rest, JSON_DISABLE_EOF_CHECK, NULL);
        json_t *wanted = json_loads(expected[i], 0, NULL);
        assert_non_null(line);
        assert_non_null(wanted);
        assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))), 20);
        assert_non_null(json_object_get(line, "host"));
        json_object_del(line, "time");
        json_object_del(line, "host");
        assert_true(json_equal(line, wanted));
        json_decref(line);
        json_decref(wanted);
        rest = strchr(rest, '\n') + 1;
    }
    assert_int_equal(*rest, '\0');
    free(text);
}

static void say_before_mpi(void)
{
    awq_log_init(-1, AWQ_LOG_DEBUG);
    awq_log(AWQ_LOG_DEBUG, "early");
}

static void before_mpi_there_is_no_rank(void **state)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = '\0';
    char *text = captured(state, say_before_mpi);
    assert_contains(text, "debug [");
    assert_contains(strchr(text, '['), host);
    free(text);
}

static void say_reports(void)
{
    awq_log_init(0, AWQ_LOG_QUIET);
    awq_error err;
    awq_fail(&err, AWQ_ERR_INPUT, "no model");
    awq_report_error(&err);
    awq_report_warning("alpha %d", 3);
    awq_log(AWQ_LOG_INFO, "not shown");
    awq_problems problems;
    awq_problems_init(&problems);
    awq_problems_add(&problems, AWQ_ERR_INPUT, "first");
    awq_problems_add(&problems, AWQ_ERR_INPUT, "second");
    awq_report_problems(&problems);
    awq_problems_release(&problems);
}

static void reports_appear_at_any_level(void **state)
{
    char *text = captured(state, say_reports);
    assert_string_equal(text, "awqrun: error: no model\nawqrun: warning: alpha 3\n"
                              "awqrun: error: first\nawqrun: error: second\n");
    free(text);
}

static void say_forged(void)
{
    awq_error err;
    awq_fail(&err, AWQ_ERR_INPUT, "tensor 'a\nawqrun: error: b\033[2J'");
    awq_report_error(&err);
}

static void control_characters_cannot_forge_a_line(void **state)
{
    char *text = captured(state, say_forged);
    assert_string_equal(text, "awqrun: error: tensor 'a?awqrun: error: b?[2J'\n");
    free(text);
}

static void say_with_bar(void)
{
    awq_log_init(0, AWQ_LOG_QUIET);
    awq_log_set_bar("50 %");
    awq_report_warning("w");
    awq_log_set_bar(NULL);
    awq_log_set_bar(NULL);
}

static void a_bar_is_erased_and_redrawn_around_a_line(void **state)
{
    char *text = captured(state, say_with_bar);
    assert_string_equal(text, "\r\033[K50 %\r\033[Kawqrun: warning: w\n50 %\r\033[K");
    free(text);
}

static void *say_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < 500; i++) awq_report_warning("a line that stays in one piece");
    return NULL;
}

static void say_from_threads(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, say_often, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void lines_of_threads_stay_whole(void **state)
{
    char *text = captured(state, say_from_threads);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
        assert_string_equal(line, "awqrun: warning: a line that stays in one piece");
    assert_int_equal(lines, 2000);
    free(text);
}

static void say_at_length(void)
{
    static char words[5000];
    memset(words, 'x', sizeof words - 1);
    awq_log_init(0, AWQ_LOG_INFO);
    awq_log(AWQ_LOG_INFO, "%s", words);
    awq_report_warning("%s", words);
    awq_log_set_bar(words);
    awq_log_set_bar(NULL);
}

static void long_lines_are_cut_and_end(void **state)
{
    char *text = captured(state, say_at_length);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text < 2048);
    assert_memory_equal(end + 1, "awqrun: warning: x", 18);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(json_lines_are_objects_of_what_the_text_says),
        scratch_test(a_line_has_time_level_rank_host_phrase),
        scratch_test(before_mpi_there_is_no_rank),
        scratch_test(reports_appear_at_any_level),
        scratch_test(control_characters_cannot_forge_a_line),
        scratch_test(a_bar_is_erased_and_redrawn_around_a_line),
        scratch_test(lines_of_threads_stay_whole),
        scratch_test(long_lines_are_cut_and_end),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
