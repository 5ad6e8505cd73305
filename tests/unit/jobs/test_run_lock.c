/* SPDX-License-Identifier: MIT
 * A record lock belongs to a process, so whoever else wants it here is a forked child. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "jobs/run/run_lock.h"

/* Takes the lock in a child; its status, and its sentence into `text`. */
static awq_status take_in_child(const char *run, char text[AWQ_ERROR_TEXT_BYTES])
{
    int ends[2];
    awq_error err = {AWQ_OK, ""};
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        awq_run_lock *lock;
        if (!awq_run_lock_take(run, &lock, &err)) err = (awq_error){AWQ_OK, ""};
        _exit(write(ends[1], &err, sizeof err) != sizeof err);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &err, sizeof err), sizeof err);
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    memcpy(text, err.text, AWQ_ERROR_TEXT_BYTES);
    return err.status;
}

/* A child that holds the lock until it is killed. */
static pid_t hold_in_child(const char *run)
{
    int ends[2];
    char held = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        awq_error err;
        awq_run_lock *lock;
        held = !awq_run_lock_take(run, &lock, &err);
        if (write(ends[1], &held, 1) == 1)
            for (;;) pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &held, 1), 1);
    close(ends[0]);
    assert_true(held);
    return child;
}

static void kill_and_wait(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_second_taker_is_told_who_has_it(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    char text[AWQ_ERROR_TEXT_BYTES], host[256] = "", owner[512];
    setenv("SLURM_JOB_ID", "4711", 1);
    must(awq_run_lock_take(*state, &lock, &err));
    unsetenv("SLURM_JOB_ID");
    gethostname(host, sizeof host - 1);
    snprintf(owner, sizeof owner, "host %s, pid %ld, SLURM job 4711", host, (long)getpid());
    assert_int_equal(take_in_child(*state, text), AWQ_ERR_BUSY);
    assert_contains(text, owner);
    assert_contains(text, "another job works on this output directory");
    assert_int_equal(take_in_child(*state, text), AWQ_ERR_BUSY); /* the refusal changed nothing */
    assert_contains(text, owner);
    awq_run_lock_release(lock);
}

static void a_released_lock_is_free_and_empty(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    struct stat file;
    char text[AWQ_ERROR_TEXT_BYTES];
    for (int i = 0; i < 2; i++) {
        must(awq_run_lock_take(*state, &lock, &err));
        awq_run_lock_release(lock);
        assert_int_equal(stat(scratch_path(state, "lock"), &file), 0);
        assert_int_equal(file.st_size, 0);
    }
    assert_int_equal(take_in_child(*state, text), AWQ_OK);
    awq_run_lock_release(NULL);
    awq_run_lock_touch(NULL);
}

static void the_lock_of_a_killed_owner_is_taken_over(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    pid_t child = hold_in_child(*state);
    assert_int_equal(awq_run_lock_take(*state, &lock, &err), AWQ_ERR_BUSY);
    kill_and_wait(child);
    must(awq_run_lock_take(*state, &lock, &err)); /* at once, on the same host */
    char *content = scratch_read(scratch_path(state, "lock"), NULL);
    char pid[64];
    snprintf(pid, sizeof pid, "\"pid\": %ld", (long)getpid());
    assert_contains(content, pid);
    free(content);
    awq_run_lock_release(lock);
}

static void write_owner(void **state, const char *text, int age)
{
    const char *path = scratch_path(state, "lock");
    scratch_write_text(path, text);
    struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static const char elsewhere[] = "{\"host\": \"elsewhere\", \"pid\": 12, \"slurm_job\": \"77\"}\n";

static void an_owner_elsewhere_lives_by_its_heartbeat(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    write_owner(state, elsewhere, 0);
    assert_int_equal(awq_run_lock_take(*state, &lock, &err), AWQ_ERR_BUSY);
    assert_contains(err.text, "host elsewhere, pid 12, SLURM job 77");
    write_owner(state, elsewhere, AWQ_LOCK_SILENCE_SECONDS - 10);
    assert_int_equal(awq_run_lock_take(*state, &lock, &err), AWQ_ERR_BUSY);
    char *content = scratch_read(scratch_path(state, "lock"), NULL);
    assert_string_equal(content, elsewhere);
    free(content);
}

static void an_owner_elsewhere_that_fell_silent_is_dead(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    write_owner(state, elsewhere, AWQ_LOCK_SILENCE_SECONDS + 1);
    must(awq_run_lock_take(*state, &lock, &err));
    awq_run_lock_release(lock);
}

static void a_lock_released_elsewhere_is_free_at_once(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    write_owner(state, "", 0);
    must(awq_run_lock_take(*state, &lock, &err));
    awq_run_lock_release(lock);
}

static void a_damaged_lock_is_taken_over(void **state)
{
    static const char *const texts[] = {"{\"host\": \"else", "null", "[1]", "{\"host\": 3}", NULL};
    for (int i = 0; texts[i]; i++) {
        awq_error err;
        awq_run_lock *lock;
        write_owner(state, texts[i], 0);
        must(awq_run_lock_take(*state, &lock, &err));
        awq_run_lock_release(lock);
    }
}

static void a_heartbeat_renews_the_time(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    struct stat file;
    const char *path = scratch_path(state, "lock");
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    must(awq_run_lock_take(*state, &lock, &err));
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    awq_run_lock_touch(lock);
    assert_int_equal(stat(path, &file), 0);
    assert_true(difftime(time(NULL), file.st_mtime) < 10);
    awq_run_lock_release(lock);
}

static void a_directory_that_is_missing_is_an_error(void **state)
{
    awq_error err;
    awq_run_lock *lock;
    assert_int_equal(awq_run_lock_take(scratch_path(state, "no"), &lock, &err), AWQ_ERR_IO);
    assert_contains(err.text, "No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_second_taker_is_told_who_has_it),
        scratch_test(a_released_lock_is_free_and_empty),
        scratch_test(the_lock_of_a_killed_owner_is_taken_over),
        scratch_test(an_owner_elsewhere_lives_by_its_heartbeat),
        scratch_test(an_owner_elsewhere_that_fell_silent_is_dead),
        scratch_test(a_lock_released_elsewhere_is_free_at_once),
        scratch_test(a_damaged_lock_is_taken_over),
        scratch_test(a_heartbeat_renews_the_time),
        scratch_test(a_directory_that_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
