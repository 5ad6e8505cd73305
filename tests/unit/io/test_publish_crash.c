/* SPDX-License-Identifier: MIT
 * Kills a child at each named point and looks at what is left. */
#define _XOPEN_SOURCE 700 /* setenv */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/files/path.h"
#include "io/files/publish.h"
#include "io/files/safetensors.h"
#include "scratch.h"

static void write_bytes(const char *path)
{
    awq_error err;
    (void)awq_publish_bytes(path, "new", 3, &err);
}

static void write_tensors(const char *path)
{
    const awq_tensor tensor = {.name = "t", .dtype = AWQ_U8, .dims = 1, .shape = {4}};
    awq_error err;
    awq_safetensors_writer *writer;
    if (awq_safetensors_create(path, &tensor, 1, &writer, &err)) return;
    for (int i = 0; i < 4; i++) awq_safetensors_append(writer, "x", 1, &err);
    awq_safetensors_commit(writer, NULL, NULL, &err);
    awq_safetensors_writer_free(writer);
}

/* Runs `write` in a child with AWQ_FAULT=fault; whether it was killed. */
static bool is_killed(const char *fault, void (*write)(const char *path), const char *path)
{
    pid_t child = fork();
    if (!child) {
        setenv("AWQ_FAULT", fault, 1);
        write(path);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void expect_content(const char *path, const char *expected)
{
    char *content = scratch_read(path, NULL);
    assert_string_equal(content, expected);
    free(content);
}

static void killed_before_the_rename_the_old_file_stays(void **state)
{
    static const char *const points[] = {"publish-before-fsync", "publish-before-rename"};
    awq_error err;
    int removed;
    const char *path = scratch_path(state, "file");
    scratch_write_text(path, "old");
    for (size_t i = 0; i < 2; i++) {
        assert_true(is_killed(points[i], write_bytes, path));
        expect_content(path, "old");
        assert_int_equal(awq_publish_sweep(*state, &removed, &err), AWQ_OK);
        assert_int_equal(removed, 1);
    }
}

static void killed_after_the_rename_the_new_file_is_whole(void **state)
{
    const char *path = scratch_path(state, "file");
    scratch_write_text(path, "old");
    assert_true(is_killed("publish-before-directory-fsync", write_bytes, path));
    expect_content(path, "new");
    assert_int_equal(scratch_count(*state), 1);
}

static void the_nth_hit_kills(void **state)
{
    const char *path = scratch_path(state, "tensors");
    assert_true(is_killed("safetensors-append:4", write_tensors, path));
    assert_false(awq_path_exists(path));
    assert_false(is_killed("safetensors-append:5", write_tensors, path));
    assert_true(awq_path_exists(path));
}

static void other_names_do_not_kill(void **state)
{
    assert_false(is_killed("publish-before", write_bytes, scratch_path(state, "file")));
    assert_false(is_killed("publish-before-fsync-x", write_bytes, scratch_path(state, "file")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(killed_before_the_rename_the_old_file_stays),
        scratch_test(killed_after_the_rename_the_new_file_is_whole),
        scratch_test(the_nth_hit_kills),
        scratch_test(other_names_do_not_kill),
    };
    return cmocka_run_group_tests_name("publish_crash", tests, NULL, NULL);
}
