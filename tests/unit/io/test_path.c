/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath, symlink */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/path.h"
#include "scratch.h"

static void joining_adds_one_slash(void **state)
{
    (void)state;
    awq_error err;
    char out[AWQ_PATH_BYTES];
    assert_int_equal(awq_path_join(out, "/a", "b", &err), AWQ_OK);
    assert_string_equal(out, "/a/b");
    assert_int_equal(awq_path_join(out, "/a/", "b", &err), AWQ_OK);
    assert_string_equal(out, "/a/b");
}

static void a_path_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    awq_error err;
    char out[AWQ_PATH_BYTES], name[AWQ_PATH_BYTES];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(awq_path_join(out, "/a", name, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "too long");
    assert_int_equal(awq_path_make_directory(name, &err), AWQ_ERR_IO);
}

static void resolving_goes_as_far_as_the_path_exists(void **state)
{
    awq_error err;
    char out[AWQ_PATH_BYTES], expected[AWQ_PATH_BYTES];
    char *real = realpath(*state, NULL);
    assert_non_null(real);
    assert_int_equal(symlink(*state, scratch_path(state, "link")), 0);
    assert_int_equal(awq_path_resolve(out, scratch_path(state, "link/new/./deep/../x"), &err),
                     AWQ_OK);
    assert_int_equal(awq_path_join(expected, real, "new/x", &err), AWQ_OK);
    assert_string_equal(out, expected);
    assert_int_equal(awq_path_resolve(out, "/no/such/thing", &err), AWQ_OK);
    assert_string_equal(out, "/no/such/thing");
    assert_int_equal(awq_path_resolve(out, "/no/../../..", &err), AWQ_OK);
    assert_string_equal(out, "/");
    free(real);
}

static void a_bare_name_resolves_to_the_working_directory(void **state)
{
    (void)state;
    awq_error err;
    char out[AWQ_PATH_BYTES], here[AWQ_PATH_BYTES];
    assert_int_equal(awq_path_resolve(here, ".", &err), AWQ_OK);
    assert_int_equal(awq_path_resolve(out, "surely-not-there", &err), AWQ_OK);
    assert_true(awq_path_inside(out, here));
    assert_int_equal(awq_path_resolve(out, "", &err), AWQ_ERR_INPUT);
}

static void a_path_below_a_file_is_resolved_for_others_to_refuse(void **state)
{
    awq_error err;
    char out[AWQ_PATH_BYTES];
    scratch_write_text(scratch_path(state, "file"), "x");
    assert_int_equal(awq_path_resolve(out, scratch_path(state, "file/below"), &err), AWQ_OK);
    assert_contains(out, "/file/below");
    assert_int_equal(awq_path_make_directory(out, &err), AWQ_ERR_IO);
    assert_contains(err.text, "Not a directory");
}

static void inside_compares_whole_components(void **state)
{
    (void)state;
    assert_true(awq_path_inside("/a/b", "/a/b"));
    assert_true(awq_path_inside("/a/b/c", "/a/b"));
    assert_false(awq_path_inside("/a/bc", "/a/b"));
    assert_false(awq_path_inside("/a", "/a/b"));
    assert_true(awq_path_inside("/a", "/"));
}

static void directories_are_made_with_their_parents(void **state)
{
    awq_error err;
    const char *deep = scratch_path(state, "a/b/c");
    assert_int_equal(awq_path_make_directory(deep, &err), AWQ_OK);
    assert_int_equal(awq_path_make_directory(deep, &err), AWQ_OK);
    assert_true(awq_path_is_directory(deep));
    scratch_write_text(scratch_path(state, "a/file"), "x");
    assert_int_equal(awq_path_make_directory(scratch_path(state, "a/file"), &err), AWQ_ERR_IO);
    assert_contains(err.text, "Not a directory");
    assert_int_equal(awq_path_make_directory(scratch_path(state, "a/file/d"), &err), AWQ_ERR_IO);
}

static void removing_a_tree_leaves_what_links_point_to(void **state)
{
    awq_error err;
    assert_int_equal(awq_path_make_directory(scratch_path(state, "keep"), &err), AWQ_OK);
    assert_int_equal(awq_path_make_directory(scratch_path(state, "tree/a/b"), &err), AWQ_OK);
    scratch_write_text(scratch_path(state, "keep/file"), "x");
    scratch_write_text(scratch_path(state, "tree/a/file"), "x");
    assert_int_equal(symlink(scratch_path(state, "keep"), scratch_path(state, "tree/link")), 0);
    assert_int_equal(awq_path_remove_tree(scratch_path(state, "tree"), &err), AWQ_OK);
    assert_false(awq_path_exists(scratch_path(state, "tree")));
    assert_true(awq_path_exists(scratch_path(state, "keep/file")));
    assert_int_equal(awq_path_remove_tree(scratch_path(state, "tree"), &err), AWQ_OK);
    assert_int_equal(awq_path_remove_tree(scratch_path(state, "keep/file/x"), &err), AWQ_ERR_IO);
}

static void free_bytes_of_a_path_to_come(void **state)
{
    awq_error err;
    uint64_t bytes = 0;
    assert_int_equal(awq_path_free_bytes(scratch_path(state, "new/deep"), &bytes, &err), AWQ_OK);
    assert_true(bytes > 0);
    scratch_write_text(scratch_path(state, "file"), "x");
    assert_int_equal(awq_path_free_bytes(scratch_path(state, "file/x"), &bytes, &err), AWQ_ERR_IO);
}

static void files_are_read_whole(void **state)
{
    awq_error err;
    char *data;
    size_t bytes;
    uint32_t crc;
    uint64_t size;
    const char *path = scratch_path(state, "file");
    scratch_write_text(path, "123456789");
    assert_int_equal(awq_file_read(path, 9, &data, &bytes, &err), AWQ_OK);
    assert_int_equal(bytes, 9);
    assert_string_equal(data, "123456789");
    free(data);
    assert_int_equal(awq_file_crc32(path, &crc, &size, &err), AWQ_OK);
    assert_int_equal(crc, 0xcbf43926u);
    assert_int_equal(size, 9);
}

static void files_that_cannot_be_read_say_why(void **state)
{
    awq_error err;
    char *data;
    size_t bytes;
    uint32_t crc;
    uint64_t size;
    const char *fifo = scratch_path(state, "fifo"), *path = scratch_path(state, "file");
    scratch_write_text(path, "123456789");
    assert_int_equal(awq_file_read(path, 8, &data, &bytes, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "9 bytes, at most 8 expected");
    assert_int_equal(awq_file_read(*state, 8, &data, &bytes, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(awq_file_crc32(fifo, &crc, &size, &err), AWQ_ERR_INPUT);
    assert_int_equal(awq_file_crc32(scratch_path(state, "none"), &crc, &size, &err), AWQ_ERR_IO);
    assert_contains(err.text, "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joining_adds_one_slash),
        cmocka_unit_test(a_path_that_does_not_fit_is_refused),
        scratch_test(resolving_goes_as_far_as_the_path_exists),
        cmocka_unit_test(a_bare_name_resolves_to_the_working_directory),
        scratch_test(a_path_below_a_file_is_resolved_for_others_to_refuse),
        cmocka_unit_test(inside_compares_whole_components),
        scratch_test(directories_are_made_with_their_parents),
        scratch_test(removing_a_tree_leaves_what_links_point_to),
        scratch_test(free_bytes_of_a_path_to_come),
        scratch_test(files_are_read_whole),
        scratch_test(files_that_cannot_be_read_say_why),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
