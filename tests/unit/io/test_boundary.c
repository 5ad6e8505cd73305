/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/files/path.h"
#include "io/records/boundary.h"
#include "scratch.h"

enum { SEQUENCES = 7, TILE = 3, LENGTH = 4, HIDDEN = 5, VALUES = LENGTH * HIDDEN };

/* HDF5 1.10 loses a chunk's buffer when the chunk's checksum is wrong. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\n";
}

static const awq_boundary_shape shape = {.layer = 40,
                                         .sequences = SEQUENCES,
                                         .tile_sequences = TILE,
                                         .length = LENGTH,
                                         .hidden = HIDDEN};

static float states[SEQUENCES * VALUES];

static int fill(void **state)
{
    (void)state;
    for (int i = 0; i < SEQUENCES * VALUES; i++) states[i] = (float)i / 8;
    return 0;
}

static void write_boundary(const char *path)
{
    static const int order[] = {2, 0, 1};
    awq_error err;
    awq_boundary_writer *writer;
    if (awq_boundary_create(path, &shape, "job", &writer, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            awq_boundary_write(writer, order[i], states + order[i] * TILE * VALUES, &err), AWQ_OK);
    assert_false(awq_path_exists(path));
    assert_int_equal(awq_boundary_commit(writer, &err), AWQ_OK);
    assert_true(awq_path_exists(path));
    awq_boundary_writer_free(writer);
}

static void tiles_read_back_whatever_their_order(void **state)
{
    awq_error err;
    awq_boundary *boundary;
    float tile[TILE * VALUES];
    const char *path = scratch_path(state, "a.h5");
    write_boundary(path);
    assert_int_equal(awq_boundary_open(path, &shape, "job", &boundary, &err), AWQ_OK);
    assert_int_equal(awq_boundary_read(boundary, 1, tile, &err), AWQ_OK);
    assert_memory_equal(tile, states + TILE * VALUES, sizeof tile);
    assert_int_equal(awq_boundary_read(boundary, 2, tile, &err), AWQ_OK);
    assert_memory_equal(tile, states + 2 * TILE * VALUES, VALUES * sizeof *tile);
    assert_int_equal(awq_boundary_read(boundary, 3, tile, &err), AWQ_ERR_INTERNAL);
    assert_int_equal(awq_boundary_read(boundary, -1, tile, &err), AWQ_ERR_INTERNAL);
    awq_boundary_close(boundary);
    awq_boundary_close(NULL);
}

static void missing_and_repeated_tiles_are_bugs(void **state)
{
    awq_error err;
    awq_boundary_writer *writer;
    const char *path = scratch_path(state, "a.h5");
    assert_int_equal(awq_boundary_create(path, &shape, "job", &writer, &err), AWQ_OK);
    assert_int_equal(awq_boundary_write(writer, 0, states, &err), AWQ_OK);
    assert_int_equal(awq_boundary_write(writer, 0, states, &err), AWQ_ERR_INTERNAL);
    assert_int_equal(awq_boundary_write(writer, 3, states, &err), AWQ_ERR_INTERNAL);
    assert_int_equal(awq_boundary_commit(writer, &err), AWQ_ERR_INTERNAL);
    assert_contains(err.text, "2 tiles are missing");
    awq_boundary_writer_free(writer);
    awq_boundary_writer_free(NULL);
    assert_int_equal(scratch_count(*state), 0);
}

static void shapes_that_cannot_be_are_refused(void **state)
{
    awq_error err;
    awq_boundary_writer *writer;
    awq_boundary_shape bad = shape;
    const char *path = scratch_path(state, "a.h5");
    bad.length = 0;
    assert_int_equal(awq_boundary_create(path, &bad, "job", &writer, &err), AWQ_ERR_INTERNAL);
    bad = shape;
    bad.hidden = 1 << 20;
    bad.length = 1 << 12;
    assert_int_equal(awq_boundary_create(path, &bad, "job", &writer, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "use smaller tiles");
    assert_int_equal(awq_boundary_create(scratch_path(state, "no/a"), &shape, "job", &writer, &err),
                     AWQ_ERR_IO);
    assert_contains(err.text, "No such file or directory");
}

static void expect_corrupt(const char *path, const awq_boundary_shape *expected,
                           const char *fingerprint, const char *part)
{
    awq_error err;
    awq_boundary *boundary;
    assert_int_equal(awq_boundary_open(path, expected, fingerprint, &boundary, &err),
                     AWQ_ERR_CORRUPT);
    assert_contains(err.text, part);
}

static void another_jobs_boundary_is_refused(void **state)
{
    awq_error err;
    awq_boundary *boundary;
    awq_boundary_shape other = shape;
    const char *path = scratch_path(state, "a.h5");
    assert_int_equal(awq_boundary_open(path, &shape, "job", &boundary, &err), AWQ_ERR_IO);
    write_boundary(path);
    expect_corrupt(path, &shape, "jab", "belongs to another job");
    other.layer = 41;
    expect_corrupt(path, &other, "job", "that enter layer 41 of this job");
    other = shape;
    other.tile_sequences = 2;
    expect_corrupt(path, &other, "job", "of this job");
    other = shape;
    other.hidden = 6;
    expect_corrupt(path, &other, "job", "of this job");
    scratch_write_text(path, "text");
    expect_corrupt(path, &shape, "job", "is not an HDF5 file");
}

/* Reads all that can be read; false: something was refused. */
static bool reads_well(const char *path, float all[SEQUENCES * VALUES])
{
    awq_error err;
    awq_boundary *boundary;
    if (awq_boundary_open(path, &shape, "job", &boundary, &err)) return false;
    bool ok = true;
    for (int tile = 0; tile < 3 && ok; tile++)
        ok = !awq_boundary_read(boundary, tile, all + tile * TILE * VALUES, &err);
    awq_boundary_close(boundary);
    return ok;
}

/* A flipped byte that is not noticed lies where nothing is stored. */
static void a_flipped_byte_never_changes_what_is_read(void **state)
{
    size_t bytes;
    float all[SEQUENCES * VALUES];
    const char *path = scratch_path(state, "a.h5");
    write_boundary(path);
    char *content = scratch_read(path, &bytes);
    for (size_t i = 0; i < bytes; i++) {
        content[i] ^= 0x10;
        scratch_write(path, content, bytes);
        if (reads_well(path, all)) assert_memory_equal(all, states, sizeof states);
        content[i] ^= 0x10;
    }
    free(content);
}

static void every_truncation_is_refused(void **state)
{
    size_t bytes;
    float all[SEQUENCES * VALUES];
    const char *path = scratch_path(state, "a.h5");
    write_boundary(path);
    char *content = scratch_read(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut += 11) {
        scratch_write(path, content, cut);
        assert_false(reads_well(path, all));
    }
    free(content);
}

/* Writes four tiles under a file size limit, in a child, because the limit stays; small tiles are
 * kept by HDF5 until the end. Exits 0 if the error is as wanted. */
static int write_over_the_limit(const char *path, int64_t hidden, const char *needed)
{
    const awq_boundary_shape large = {
        .layer = 1, .sequences = 4, .tile_sequences = 1, .length = 64, .hidden = hidden};
    awq_error err;
    awq_boundary_writer *writer;
    struct rlimit limit = {300000, 300000};
    float *tile = calloc((size_t)hidden, 64 * sizeof *tile);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (awq_boundary_create(path, &large, "job", &writer, &err)) return 1;
    awq_status status = AWQ_OK;
    for (int i = 0; i < 4 && !status; i++) status = awq_boundary_write(writer, i, tile, &err);
    if (!status) status = awq_boundary_commit(writer, &err);
    free(tile);
    if (status != AWQ_ERR_IO) return 2;
    if (!strstr(err.text, "file size limit reached") || !strstr(err.text, needed)) return 3;
    if (awq_boundary_commit(writer, &err) != AWQ_ERR_INTERNAL) return 4;
    awq_boundary_writer_free(writer);
    return 0;
}

static void expect_full(void **state, int64_t hidden, const char *needed)
{
    int status;
    const char *path = scratch_path(state, "a.h5");
    pid_t child = fork();
    if (!child) _exit(write_over_the_limit(path, hidden, needed));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(scratch_count(*state), 0);
}

static void a_full_disk_names_path_and_bytes(void **state)
{
    expect_full(state, 1 << 13, "8388608 bytes needed");
}

static void a_disk_that_is_full_at_the_end_does_so_too(void **state)
{
    expect_full(state, 1 << 10, "1048576 bytes needed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(tiles_read_back_whatever_their_order),
        scratch_test(missing_and_repeated_tiles_are_bugs),
        scratch_test(shapes_that_cannot_be_are_refused),
        scratch_test(another_jobs_boundary_is_refused),
        scratch_test(a_flipped_byte_never_changes_what_is_read),
        scratch_test(every_truncation_is_refused),
        scratch_test(a_full_disk_names_path_and_bytes),
        scratch_test(a_disk_that_is_full_at_the_end_does_so_too),
    };
    return cmocka_run_group_tests_name("boundary", tests, fill, NULL);
}
