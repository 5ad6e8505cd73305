/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/path.h"
#include "io/files/publish.h"
#include "scratch.h"

static void a_file_appears_only_when_committed(void **state)
{
    awq_error err;
    awq_publish *file;
    uint32_t crc;
    uint64_t bytes;
    const char *path = scratch_path(state, "file");
    assert_int_equal(awq_publish_open(path, 9, &file, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, "12345", 5, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, "6789", 4, &err), AWQ_OK);
    assert_false(awq_path_exists(path));
    assert_int_equal(awq_publish_commit(file, &crc, &bytes, &err), AWQ_OK);
    awq_publish_free(file);
    assert_int_equal(crc, 0xcbf43926u);
    assert_int_equal(bytes, 9);
    char *content = scratch_read(path, NULL);
    assert_string_equal(content, "123456789");
    free(content);
    assert_int_equal(scratch_count(*state), 1);
}

/* Larger than what is written at once, and than what the disk is given at once. */
static void a_large_file_is_written_and_summed_in_pieces(void **state)
{
    enum { BYTES = 9000001 };
    awq_error err;
    awq_publish *file;
    uint32_t crc, written_crc;
    uint64_t bytes;
    const char *path = scratch_path(state, "file");
    char *data = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) data[i] = (char)(i * i >> 7);
    assert_int_equal(awq_publish_open(path, BYTES + 5, &file, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, "12345", 5, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, data, BYTES, &err), AWQ_OK);
    assert_int_equal(awq_publish_commit(file, &crc, &bytes, &err), AWQ_OK);
    awq_publish_free(file);
    free(data);
    assert_int_equal(bytes, BYTES + 5);
    assert_int_equal(awq_file_crc32(path, &written_crc, &bytes, &err), AWQ_OK);
    assert_int_equal(crc, written_crc);
    assert_int_equal(bytes, BYTES + 5);
}

static void freeing_removes_what_was_not_committed(void **state)
{
    awq_error err;
    awq_publish *file;
    const char *path = scratch_path(state, "file");
    scratch_write_text(path, "old");
    assert_int_equal(awq_publish_open(path, 0, &file, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, "new", 3, &err), AWQ_OK);
    assert_int_equal(scratch_count(*state), 2);
    awq_publish_free(file);
    awq_publish_free(NULL);
    assert_int_equal(scratch_count(*state), 1);
    char *content = scratch_read(path, NULL);
    assert_string_equal(content, "old");
    free(content);
}

static void a_file_replaces_the_one_before(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "file");
    scratch_write_text(path, "a longer old one");
    assert_int_equal(awq_publish_bytes(path, "new", 3, &err), AWQ_OK);
    char *content = scratch_read(path, NULL);
    assert_string_equal(content, "new");
    free(content);
}

static void a_missing_directory_is_named(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "none/file");
    assert_int_equal(awq_publish_bytes(path, "new", 3, &err), AWQ_ERR_IO);
    assert_contains(err.text, "none/file': No such file or directory");
}

static void a_directory_in_the_way_leaves_nothing_behind(void **state)
{
    awq_error err;
    assert_int_equal(awq_path_make_directory(scratch_path(state, "d/x"), &err), AWQ_OK);
    assert_int_equal(awq_publish_bytes(scratch_path(state, "d"), "new", 3, &err), AWQ_ERR_IO);
    assert_contains(err.text, "cannot write '");
    assert_int_equal(scratch_count(*state), 1);
}

/* In a child, because the limit stays. Exits 0 if the error is as wanted. */
static int write_over_the_limit(const char *path)
{
    static const char data[65536];
    awq_error err;
    awq_publish *file;
    struct rlimit limit = {4096, 4096};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (awq_publish_open(path, sizeof data, &file, &err)) return 1;
    if (awq_publish_write(file, data, sizeof data, &err) != AWQ_ERR_IO) return 2;
    if (!strstr(err.text, "file size limit reached, 65536 bytes needed; raise the limit")) return 3;
    if (!strstr(err.text, path)) return 4;
    if (awq_publish_commit(file, NULL, NULL, &err) != AWQ_ERR_INTERNAL) return 5;
    awq_publish_free(file);
    return 0;
}

static void a_failed_write_names_path_and_bytes_and_is_never_published(void **state)
{
    const char *path = scratch_path(state, "file");
    pid_t child = fork();
    if (!child) _exit(write_over_the_limit(path));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(scratch_count(*state), 0);
}

static void a_full_disk_says_what_to_do(void **state)
{
    (void)state;
    awq_error err;
    awq_publish_fail(&err, "/d/f", ENOSPC, 4294967296);
    assert_string_equal(err.text, "cannot write '/d/f': no space left on device, 4294967296 bytes "
                                  "needed; free space and run the same command again");
    awq_publish_fail(&err, "/d/f", EDQUOT, 0);
    assert_string_equal(err.text, "cannot write '/d/f': disk quota exceeded; free space and run "
                                  "the same command again");
    awq_publish_fail(&err, "/d/f", EROFS, 7);
    assert_string_equal(err.text, "cannot write '/d/f': Read-only file system");
}

static void writing_to_a_full_device_fails_in_words(void **state)
{
    awq_error err;
    awq_publish *file;
    const char *path = scratch_path(state, "full");
    char *temporary = awq_publish_temporary(path);
    assert_int_equal(symlink("/dev/full", temporary), 0);
    assert_int_equal(awq_publish_open(path, 12, &file, &err), AWQ_OK);
    assert_int_equal(awq_publish_write(file, "x", 1, &err), AWQ_ERR_IO);
    assert_contains(err.text, "no space left on device, 12 bytes needed");
    awq_publish_free(file);
    free(temporary);
}

static void a_library_file_is_renamed(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "x.h5");
    char *temporary = awq_publish_temporary(path);
    scratch_write_text(temporary, "content");
    assert_int_equal(awq_publish_rename(temporary, path, &err), AWQ_OK);
    assert_true(awq_path_exists(path));
    assert_int_equal(awq_publish_rename(temporary, path, &err), AWQ_ERR_IO);
    assert_contains(err.text, "No such file");
    free(temporary);
}

static void a_bare_name_is_published_in_the_working_directory(void **state)
{
    awq_error err;
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(*state), 0);
    assert_int_equal(awq_publish_bytes("bare", "x", 1, &err), AWQ_OK);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(scratch_count(*state), 1);
}

static void sweeping_removes_temporaries_and_nothing_else(void **state)
{
    static const char *const kept[] = {"file",     ".hidden",       ".x.tmp",         ".12.tmp",
                                       ".a.b.tmp", "a.host.12.tmp", ".name.12.tmp.h5"};
    awq_error err;
    int removed;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        scratch_write_text(scratch_path(state, kept[i]), "x");
    char *temporary = awq_publish_temporary(scratch_path(state, "00017.h5"));
    scratch_write_text(temporary, "x");
    free(temporary);
    scratch_write_text(scratch_path(state, ".00017.safetensors.node07.123.tmp"), "x");
    assert_int_equal(awq_publish_sweep(*state, &removed, &err), AWQ_OK);
    assert_int_equal(removed, 2);
    assert_int_equal(scratch_count(*state), (int)(sizeof kept / sizeof *kept));
    assert_int_equal(awq_publish_sweep(scratch_path(state, "none"), NULL, &err), AWQ_OK);
    assert_int_equal(awq_publish_sweep(scratch_path(state, "file"), NULL, &err), AWQ_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_file_appears_only_when_committed),
        scratch_test(a_large_file_is_written_and_summed_in_pieces),
        scratch_test(freeing_removes_what_was_not_committed),
        scratch_test(a_file_replaces_the_one_before),
        scratch_test(a_missing_directory_is_named),
        scratch_test(a_directory_in_the_way_leaves_nothing_behind),
        scratch_test(a_failed_write_names_path_and_bytes_and_is_never_published),
        cmocka_unit_test(a_full_disk_says_what_to_do),
        scratch_test(writing_to_a_full_device_fails_in_words),
        scratch_test(a_library_file_is_renamed),
        scratch_test(a_bare_name_is_published_in_the_working_directory),
        scratch_test(sweeping_removes_temporaries_and_nothing_else),
    };
    return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
