/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "jobs/run/run_status.h"

static awq_worker_status workers[2] = {
    {.host = "node07",
     .device = "NVIDIA H100",
     .progress = {.stage = 1, .layer = 12, .tile = 3, .phase = AWQ_PHASE_FORWARD},
     .heard_seconds = 2},
    {.host = "node08", .device = "8 cores", .progress = {.stage = -1, .layer = -1, .tile = -1}}};

static awq_run_status running(void)
{
    return (awq_run_status){.state = AWQ_RUN_RUNNING,
                            .layers = 80,
                            .layers_done = 31,
                            .fraction = 0.385,
                            .eta_seconds = 3700,
                            .elapsed_seconds = 125,
                            .workers = workers,
                            .worker_count = 2};
}

/* What is printed `later` seconds after it was written. The caller frees. */
static char *printed(void **state, const awq_run_status *status, double later)
{
    awq_error err;
    json_t *object;
    char *text = NULL;
    size_t bytes = 0;
    must(awq_run_status_write(*state, status, &err));
    must(awq_run_status_read(*state, &object, &err));
    FILE *file = open_memstream(&text, &bytes);
    double updated = json_number_value(json_object_get(object, "updated"));
    awq_run_status_print(file, "/out", object, updated + later);
    fclose(file);
    json_decref(object);
    return text;
}

static void a_status_reads_back(void **state)
{
    awq_error err;
    json_t *object;
    awq_run_status status = running();
    setenv("SLURM_JOB_ID", "4711", 1);
    must(awq_run_status_write(*state, &status, &err));
    unsetenv("SLURM_JOB_ID");
    must(awq_run_status_read(*state, &object, &err));
    assert_string_equal(json_string_value(json_object_get(object, "state")), "running");
    assert_string_equal(json_string_value(json_object_get(object, "slurm_job")), "4711");
    assert_int_equal(json_integer_value(json_object_get(object, "layers")), 80);
    assert_int_equal(json_integer_value(json_object_get(object, "pid")), getpid());
    assert_true(json_real_value(json_object_get(object, "fraction")) == 0.385);
    const json_t *worker = json_array_get(json_object_get(object, "workers"), 0);
    assert_string_equal(json_string_value(json_object_get(worker, "phase")), "forward");
    assert_int_equal(json_integer_value(json_object_get(worker, "worker")), 1);
    assert_int_equal(json_integer_value(json_object_get(worker, "tile")), 3);
    json_decref(object);
}

static void a_running_job_is_told_in_three_lines_and_one_a_worker(void **state)
{
    awq_run_status status = running();
    char *text = printed(state, &status, 5);
    assert_contains(text, "/out: running, 31 of 80 layers done, 38% of the work, 2m05s so far, "
                          "about 1h01m left\n");
    assert_contains(text, "updated 5s ago\n");
    assert_contains(text,
                    "  worker 1  node07  NVIDIA H100  layer 12 tile 3  forward  heard 7s ago\n");
    assert_contains(text, "  worker 2  node08  8 cores  idle  heard 5s ago\n");
    assert_null(strstr(text, "no news"));
    assert_null(strstr(text, "last error"));
    free(text);
}

static void a_job_that_fell_silent_may_be_dead(void **state)
{
    awq_run_status status = running();
    char *text = printed(state, &status, 300);
    assert_contains(text, "  no news for 5m00s: the job may be dead; start it again to resume\n");
    free(text);
}

static void an_ended_job_has_no_time_left_and_is_not_dead(void **state)
{
    awq_run_status status = running();
    status.state = AWQ_RUN_FAILED;
    snprintf(status.error, sizeof status.error, "layer 12: no space left");
    char *text = printed(state, &status, 300);
    assert_contains(text, "/out: failed, 31 of 80");
    assert_contains(text, "  last error: layer 12: no space left\n");
    assert_null(strstr(text, " left\n  coordinator"));
    assert_null(strstr(text, "no news"));
    free(text);
}

static void an_unknown_rest_is_not_told(void **state)
{
    awq_run_status status = running();
    status.eta_seconds = -1;
    status.worker_count = 0;
    char *text = printed(state, &status, 0);
    assert_null(strstr(text, "about"));
    free(text);
}

static void every_state_has_a_name(void **state)
{
    static const char *const names[] = {"running", "merging", "interrupted", "failed", "complete"};
    for (int i = 0; i < 5; i++) {
        awq_run_status status = running();
        status.state = (awq_run_state)i;
        char *text = printed(state, &status, 0), start[32];
        snprintf(start, sizeof start, "/out: %s,", names[i]);
        assert_contains(text, start);
        free(text);
    }
}

/* An error can quote a file's bytes, or be cut inside of a character. */
static void an_error_that_is_no_utf8_is_told_all_the_same(void **state)
{
    awq_run_status status = running();
    snprintf(status.error, sizeof status.error, "cannot open '/mod\xe8le': gone \xc3");
    char *text = printed(state, &status, 0);
    assert_contains(text, "  last error: cannot open '/mod?le': gone ?\n");
    free(text);
}

static void a_damaged_status_is_an_error(void **state)
{
    awq_error err;
    json_t *object;
    scratch_write_text(scratch_path(state, "status.json"), "{\"state\": \"runn");
    assert_int_equal(awq_run_status_read(*state, &object, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "status.json");
    assert_int_equal(unlink(scratch_path(state, "status.json")), 0);
    assert_int_equal(awq_run_status_read(*state, &object, &err), AWQ_ERR_IO);
}

static void a_status_of_the_wrong_shape_is_printed_as_far_as_it_goes(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    json_t *object = json_loads("{\"state\": 3, \"workers\": [1, {\"stage\": \"x\"}]}", 0, NULL);
    FILE *file = open_memstream(&text, &bytes);
    awq_run_status_print(file, "/out", object, 1e9);
    fclose(file);
    assert_contains(text, "/out: ");
    free(text);
    json_decref(object);
}

static void a_directory_that_is_missing_is_an_error(void **state)
{
    awq_error err;
    awq_run_status status = running();
    assert_int_equal(awq_run_status_write(scratch_path(state, "no"), &status, &err), AWQ_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_status_reads_back),
        scratch_test(a_running_job_is_told_in_three_lines_and_one_a_worker),
        scratch_test(a_job_that_fell_silent_may_be_dead),
        scratch_test(an_ended_job_has_no_time_left_and_is_not_dead),
        scratch_test(an_unknown_rest_is_not_told),
        scratch_test(every_state_has_a_name),
        scratch_test(an_error_that_is_no_utf8_is_told_all_the_same),
        scratch_test(a_damaged_status_is_an_error),
        cmocka_unit_test(a_status_of_the_wrong_shape_is_printed_as_far_as_it_goes),
        scratch_test(a_directory_that_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
