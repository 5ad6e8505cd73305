/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "io/files/json.h"
#include "io/files/path.h"
#include "jobs/run/run_directory.h"

/* HDF5 1.10 loses a chunk's buffer when the chunk's checksum is wrong. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\n";
}

static void make(void **state, const char *name)
{
    awq_error err;
    must(awq_path_make_directory(scratch_path(state, name), &err));
}

static void touch(void **state, const char *name)
{
    scratch_write_text(scratch_path(state, name), "{}");
}

/* ---- inspect ---- */

static void expect_state(void **state, awq_out_state expected, const char *foreign)
{
    awq_error err;
    awq_out_state is;
    char name[256] = "?";
    must(awq_out_inspect(scratch_path(state, "out"), &is, name, &err));
    assert_int_equal(is, expected);
    assert_string_equal(name, foreign);
}

static void what_is_missing_or_empty_is_free(void **state)
{
    expect_state(state, AWQ_OUT_FREE, "");
    make(state, "out");
    expect_state(state, AWQ_OUT_FREE, "");
    make(state, "out/.awqrun"); /* killed before the job.json */
    touch(state, "out/.awqrun/lock");
    expect_state(state, AWQ_OUT_FREE, "");
}

static void a_job_json_makes_it_started(void **state)
{
    make(state, "out/.awqrun");
    touch(state, "out/.awqrun/job.json");
    expect_state(state, AWQ_OUT_STARTED, "");
    touch(state, "out/model-00001-of-00002.safetensors");
    touch(state, "out/model.safetensors.index.json");
    touch(state, "out/tokenizer.json");
    touch(state, "out/.config.json.node7.12.tmp");
    expect_state(state, AWQ_OUT_STARTED, "");
}

static void a_config_with_our_statistics_makes_it_complete(void **state)
{
    make(state, "out");
    touch(state, "out/config.json");
    touch(state, "out/awqrun.h5");
    touch(state, "out/model.safetensors");
    expect_state(state, AWQ_OUT_COMPLETE, "");
    make(state, "out/.awqrun");
    touch(state, "out/.awqrun/job.json");
    expect_state(state, AWQ_OUT_COMPLETE, "");
    touch(state, "out/README.md"); /* ours, and somebody wrote about it */
    expect_state(state, AWQ_OUT_COMPLETE, "README.md");
}

static void somebody_elses_checkpoint_is_foreign(void **state)
{
    make(state, "out");
    touch(state, "out/model.safetensors");
    touch(state, "out/config.json");
    expect_state(state, AWQ_OUT_FOREIGN, "config.json");
}

static void a_stranger_in_a_started_run_is_named(void **state)
{
    make(state, "out/.awqrun");
    touch(state, "out/.awqrun/job.json");
    touch(state, "out/zzz");
    touch(state, "out/notes.txt");
    touch(state, "out/model-1-of.safetensors");
    expect_state(state, AWQ_OUT_FOREIGN, "model-1-of.safetensors");
}

static void a_file_is_no_output_directory(void **state)
{
    awq_error err;
    awq_out_state is;
    char name[256];
    touch(state, "out");
    assert_int_equal(awq_out_inspect(scratch_path(state, "out"), &is, name, &err), AWQ_ERR_IO);
    assert_contains(err.text, "Not a directory");
}

/* ---- prepare ---- */

static void prepare(void **state, const char *fingerprint, size_t differences)
{
    awq_error err;
    awq_options options;
    awq_problems problems;
    awq_problems_init(&problems);
    must(awq_options_init(&options, &err));
    json_t *object = json_pack("{s:s}", "backend", fingerprint);
    must(awq_run_prepare(scratch_path(state, "run"), object, &options, &problems, &err));
    assert_int_equal(problems.count, differences);
    if (differences) assert_problem(&problems, "backend: ");
    json_decref(object);
    awq_options_release(&options);
    awq_problems_release(&problems);
}

static void flip_bit(const char *path, long offset)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ 1, file); /* a digit stays a digit, so the JSON mostly stays sound */
    fclose(file);
}

static void a_flipped_bit_in_the_job_never_refuses_it(void **state)
{
    struct stat info;
    prepare(state, "cpu", 0);
    assert_int_equal(stat(scratch_path(state, "run/job.json"), &info), 0);
    for (long offset = 0; offset < info.st_size; offset += 3) {
        flip_bit(scratch_path(state, "run/job.json"), offset);
        prepare(state, "cpu", 0);
    }
}

static void a_first_run_writes_its_job(void **state)
{
    awq_error err;
    json_t *job;
    prepare(state, "cpu", 0);
    assert_true(awq_path_is_directory(scratch_path(state, "run/layers")));
    assert_true(awq_path_is_directory(scratch_path(state, "run/boundaries")));
    must(awq_json_read(scratch_path(state, "run/job.json"), 1 << 20, &job, &err));
    const json_t *fingerprint = json_object_get(job, "fingerprint");
    assert_string_equal(json_string_value(json_object_get(job, "awqrun")), AWQ_VERSION);
    assert_string_equal(json_string_value(json_object_get(fingerprint, "backend")), "cpu");
    assert_non_null(json_object_get(json_object_get(job, "options"), "alpha-steps"));
    json_decref(job);
}

static void a_second_run_of_the_same_job_changes_nothing(void **state)
{
    prepare(state, "cpu", 0);
    char *before = scratch_read(scratch_path(state, "run/job.json"), NULL);
    prepare(state, "cpu", 0);
    char *after = scratch_read(scratch_path(state, "run/job.json"), NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_run_says_who_began_it(void **state)
{
    char kind[AWQ_KIND_BYTES] = "before";
    awq_run_kind(scratch_path(state, "run"), kind);
    assert_string_equal(kind, "");
    prepare(state, "cpu on OpenBLAS 0.3.21 Haswell", 0);
    awq_run_kind(scratch_path(state, "run"), kind);
    assert_string_equal(kind, "cpu on OpenBLAS 0.3.21 Haswell");
    flip_bit(scratch_path(state, "run/job.json"), 30);
    awq_run_kind(scratch_path(state, "run"), kind);
    assert_string_equal(kind, "");
}

static void another_job_is_refused_and_changes_nothing(void **state)
{
    prepare(state, "cpu", 0);
    prepare(state, "cuda", 1);
    prepare(state, "cpu", 0);
}

static void a_damaged_job_is_written_anew(void **state)
{
    prepare(state, "cpu", 0);
    scratch_write_text(scratch_path(state, "run/job.json"), "{\"fingerpr");
    prepare(state, "cuda", 0);
    prepare(state, "cuda", 0);
}

static void stale_temporaries_are_swept(void **state)
{
    prepare(state, "cpu", 0);
    touch(state, "run/.job.json.node7.12.tmp");
    touch(state, "run/layers/.00001.h5.node7.12.tmp");
    touch(state, "run/boundaries/.00001.h5.node7.12.tmp");
    touch(state, "run/layers/00001.h5");
    prepare(state, "cpu", 0);
    assert_int_equal(scratch_count(scratch_path(state, "run")), 3);
    assert_int_equal(scratch_count(scratch_path(state, "run/layers")), 1);
    assert_int_equal(scratch_count(scratch_path(state, "run/boundaries")), 0);
}

/* ---- scan ---- */

static const awq_boundary_shape shape = {
    .layer = 1, .sequences = 7, .tile_sequences = 3, .length = 4, .hidden = 5};

static void write_layer(void **state)
{
    prepare(state, "cpu", 0);
    fixture_write_record(scratch_path(state, "run"), shape.layer, "job", 512);
    fixture_write_boundary(scratch_path(state, "run"), &shape, "job");
}

static void expect_scan(void **state, bool done, bool boundary)
{
    awq_error err;
    bool is_done = !done, is_on_disk = !boundary;
    must(awq_run_scan(scratch_path(state, "run"), "job", &shape, &is_done, &is_on_disk, &err));
    assert_int_equal(is_done, done);
    assert_int_equal(is_on_disk, boundary);
    assert_int_equal(awq_path_exists(scratch_path(state, "run/layers/00001.h5")), done);
    assert_int_equal(awq_path_exists(scratch_path(state, "run/boundaries/00001.h5")), boundary);
}

static void nothing_is_done_in_a_new_run(void **state)
{
    prepare(state, "cpu", 0);
    expect_scan(state, false, false);
}

static void a_sound_record_and_boundary_are_found(void **state)
{
    write_layer(state);
    expect_scan(state, true, true);
    expect_scan(state, true, true);
}

static void tensors_without_statistics_are_not_done(void **state)
{
    write_layer(state);
    assert_int_equal(unlink(scratch_path(state, "run/layers/00001.h5")), 0);
    expect_scan(state, false, true);
}

static void statistics_without_tensors_are_removed(void **state)
{
    write_layer(state);
    assert_int_equal(unlink(scratch_path(state, "run/layers/00001.safetensors")), 0);
    expect_scan(state, false, true);
    assert_int_equal(scratch_count(scratch_path(state, "run/layers")), 0);
}

static void a_record_with_one_wrong_byte_is_removed(void **state)
{
    write_layer(state);
    fixture_damage(scratch_path(state, "run/layers/00001.safetensors"), -7);
    expect_scan(state, false, true);
    assert_int_equal(scratch_count(scratch_path(state, "run/layers")), 0);
    write_layer(state);
    fixture_damage(scratch_path(state, "run/layers/00001.h5"), 1500);
    expect_scan(state, false, true);
}

static void a_torn_record_is_removed(void **state)
{
    write_layer(state);
    assert_int_equal(truncate(scratch_path(state, "run/layers/00001.safetensors"), 600), 0);
    expect_scan(state, false, true);
    write_layer(state);
    assert_int_equal(truncate(scratch_path(state, "run/layers/00001.h5"), 0), 0);
    expect_scan(state, false, true);
    write_layer(state);
    assert_int_equal(truncate(scratch_path(state, "run/boundaries/00001.h5"), 1000), 0);
    expect_scan(state, true, false);
}

static void another_jobs_record_and_boundary_are_removed(void **state)
{
    prepare(state, "cpu", 0);
    fixture_write_record(scratch_path(state, "run"), shape.layer, "other", 512);
    fixture_write_boundary(scratch_path(state, "run"), &shape, "other");
    expect_scan(state, false, false);
}

static void a_record_of_another_layer_is_removed(void **state)
{
    static const char *const extensions[] = {"h5", "safetensors"};
    const char *run = scratch_path(state, "run");
    awq_error err;
    prepare(state, "cpu", 0);
    fixture_write_record(run, 0, "job", 512);
    for (int i = 0; i < 2; i++) {
        char from[AWQ_PATH_BYTES], to[AWQ_PATH_BYTES];
        must(awq_run_layer_path(from, run, 0, extensions[i], &err));
        must(awq_run_layer_path(to, run, shape.layer, extensions[i], &err));
        assert_int_equal(rename(from, to), 0);
    }
    expect_scan(state, false, false);
}

static void a_boundary_with_one_wrong_byte_is_removed(void **state)
{
    static const float last = 83 / 8.0f; /* of the last whole tile's values */
    size_t bytes;
    write_layer(state);
    char *data = scratch_read(scratch_path(state, "run/boundaries/00001.h5"), &bytes);
    long at = -1;
    for (size_t i = 0; i + sizeof last <= bytes && at < 0; i++)
        if (!memcmp(data + i, &last, sizeof last)) at = (long)i;
    free(data);
    assert_true(at > 0);
    fixture_damage(scratch_path(state, "run/boundaries/00001.h5"), at);
    expect_scan(state, true, false);
}

static void a_boundary_of_other_tiles_is_removed(void **state)
{
    awq_boundary_shape other = shape;
    other.tile_sequences = 2;
    prepare(state, "cpu", 0);
    fixture_write_boundary(scratch_path(state, "run"), &other, "job");
    expect_scan(state, false, false);
}

/* What cannot be opened now may be sound: hours of work are not thrown away for that. Root opens
 * everything, but not with all descriptors in use. */
static void expect_scan_without_descriptors(void **state)
{
    awq_error err;
    bool done, boundary;
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    awq_status status =
        awq_run_scan(scratch_path(state, "run"), "job", &shape, &done, &boundary, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, AWQ_ERR_IO);
    assert_contains(err.text, "Too many open files");
}

static void what_cannot_be_opened_is_an_error_and_stays(void **state)
{
    write_layer(state);
    expect_scan_without_descriptors(state);
    expect_scan(state, true, true);
    assert_int_equal(unlink(scratch_path(state, "run/layers/00001.h5")), 0);
    expect_scan_without_descriptors(state);
    expect_scan(state, false, true);
}

/* ---- discard ---- */

static void discarding_a_run_leaves_its_lock(void **state)
{
    awq_error err;
    write_layer(state);
    touch(state, "run/lock");
    touch(state, "run/status.json");
    must(awq_run_discard(scratch_path(state, "run"), &err));
    assert_int_equal(scratch_count(scratch_path(state, "run")), 1);
    assert_true(awq_path_exists(scratch_path(state, "run/lock")));
    must(awq_run_discard(scratch_path(state, "run"), &err));
}

static void complete_checkpoint(void **state)
{
    static const char *const names[] = {"out/config.json",
                                        "out/awqrun.h5",
                                        "out/tokenizer.json",
                                        "out/model-00001-of-00002.safetensors",
                                        "out/model-00002-of-00002.safetensors",
                                        "out/model.safetensors.index.json",
                                        NULL};
    make(state, "out");
    for (int i = 0; names[i]; i++) touch(state, names[i]);
}

static void discarding_a_checkpoint_leaves_what_is_not_ours(void **state)
{
    awq_error err;
    complete_checkpoint(state);
    touch(state, "out/README.md");
    make(state, "out/.awqrun");
    must(awq_out_discard(scratch_path(state, "out"), &err));
    assert_int_equal(scratch_count(scratch_path(state, "out")), 2);
    assert_true(awq_path_exists(scratch_path(state, "out/README.md")));
    assert_true(awq_path_is_directory(scratch_path(state, "out/.awqrun")));
}

static void a_discarded_checkpoint_is_free(void **state)
{
    awq_error err;
    complete_checkpoint(state);
    must(awq_out_discard(scratch_path(state, "out"), &err));
    expect_state(state, AWQ_OUT_FREE, "");
}

/* A directory in a file's place stops discarding half-way, as a kill would. */
static void half_a_discarded_checkpoint_is_still_ours(void **state)
{
    awq_error err;
    complete_checkpoint(state);
    assert_int_equal(unlink(scratch_path(state, "out/tokenizer.json")), 0);
    make(state, "out/tokenizer.json/x");
    assert_int_equal(awq_out_discard(scratch_path(state, "out"), &err), AWQ_ERR_IO);
    assert_contains(err.text, "tokenizer.json");
    assert_false(awq_path_exists(scratch_path(state, "out/config.json")));
    expect_state(state, AWQ_OUT_STARTED, "");
    must(awq_path_remove_tree(scratch_path(state, "out/tokenizer.json"), &err));
    must(awq_out_discard(scratch_path(state, "out"), &err));
    expect_state(state, AWQ_OUT_FREE, "");
}

/* ---- paths ---- */

static void paths_have_five_digits_at_least(void **state)
{
    (void)state;
    awq_error err;
    char path[AWQ_PATH_BYTES];
    must(awq_run_layer_path(path, "/r", 17, "h5", &err));
    assert_string_equal(path, "/r/layers/00017.h5");
    must(awq_run_boundary_path(path, "/r", 123456, &err));
    assert_string_equal(path, "/r/boundaries/123456.h5");
}

static void a_path_that_is_too_long_is_an_error(void **state)
{
    (void)state;
    awq_error err;
    char path[AWQ_PATH_BYTES], run[AWQ_PATH_BYTES];
    memset(run, 'r', sizeof run - 1);
    run[sizeof run - 1] = '\0';
    assert_true(awq_run_layer_path(path, run, 0, "h5", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(what_is_missing_or_empty_is_free),
        scratch_test(a_job_json_makes_it_started),
        scratch_test(a_config_with_our_statistics_makes_it_complete),
        scratch_test(somebody_elses_checkpoint_is_foreign),
        scratch_test(a_stranger_in_a_started_run_is_named),
        scratch_test(a_file_is_no_output_directory),
        scratch_test(a_first_run_writes_its_job),
        scratch_test(a_flipped_bit_in_the_job_never_refuses_it),
        scratch_test(a_second_run_of_the_same_job_changes_nothing),
        scratch_test(a_run_says_who_began_it),
        scratch_test(another_job_is_refused_and_changes_nothing),
        scratch_test(a_damaged_job_is_written_anew),
        scratch_test(stale_temporaries_are_swept),
        scratch_test(nothing_is_done_in_a_new_run),
        scratch_test(a_sound_record_and_boundary_are_found),
        scratch_test(tensors_without_statistics_are_not_done),
        scratch_test(statistics_without_tensors_are_removed),
        scratch_test(a_record_with_one_wrong_byte_is_removed),
        scratch_test(a_torn_record_is_removed),
        scratch_test(another_jobs_record_and_boundary_are_removed),
        scratch_test(a_record_of_another_layer_is_removed),
        scratch_test(a_boundary_with_one_wrong_byte_is_removed),
        scratch_test(a_boundary_of_other_tiles_is_removed),
        scratch_test(what_cannot_be_opened_is_an_error_and_stays),
        scratch_test(discarding_a_run_leaves_its_lock),
        scratch_test(discarding_a_checkpoint_leaves_what_is_not_ours),
        scratch_test(a_discarded_checkpoint_is_free),
        scratch_test(half_a_discarded_checkpoint_is_still_ours),
        cmocka_unit_test(paths_have_five_digits_at_least),
        cmocka_unit_test(a_path_that_is_too_long_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
