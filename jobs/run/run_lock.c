/* SPDX-License-Identifier: MIT */
#include "jobs/run/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/core/log.h"
#include "io/files/path.h"

enum { OWNER_BYTES = 1024 };

struct awq_run_lock {
    int fd;
};

/* "host node07, pid 4711, SLURM job 12" */
static void describe_owner(const json_t *owner, char *out, size_t bytes)
{
    const char *host = json_string_value(json_object_get(owner, "host"));
    const char *job = json_string_value(json_object_get(owner, "slurm_job"));
    int used = snprintf(out, bytes, "host %s, pid %lld", host ? host : "?",
                        (long long)json_integer_value(json_object_get(owner, "pid")));
    if (job && *job && used > 0 && (size_t)used < bytes)
        snprintf(out + used, bytes - (size_t)used, ", SLURM job %s", job);
}

/* An owner on another host is only known by its heartbeat. */
static bool other_host_alive(int fd, const json_t *owner)
{
    char host[256] = "?";
    struct stat file;
    gethostname(host, sizeof host - 1);
    const char *owner_host = json_string_value(json_object_get(owner, "host"));
    if (!owner_host || !strcmp(owner_host, host) || fstat(fd, &file)) return false;
    return difftime(time(NULL), file.st_mtime) < AWQ_LOCK_SILENCE_SECONDS;
}

/* Fails while somebody works here, and tells of one who ended without emptying the file. */
static awq_status check_owner(int fd, const char *path, awq_error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool held = fcntl(fd, F_SETLK, &whole) && (errno == EACCES || errno == EAGAIN);
    struct stat file;
    char text[OWNER_BYTES], who[512];
    ssize_t bytes = pread(fd, text, sizeof text, 0);
    json_t *owner = bytes > 0 ? json_loadb(text, (size_t)bytes, 0, NULL) : NULL;
    describe_owner(owner, who, sizeof who);
    awq_status status = AWQ_OK;
    if (!held && !fstat(fd, &file) && file.st_nlink == 0) /* removed after it was opened here */
        status = awq_fail(err, AWQ_ERR_BUSY, "the job that held lock '%s' has just ended", path);
    else if (held || (owner && other_host_alive(fd, owner)))
        status = awq_fail(err, AWQ_ERR_BUSY,
                          "another job works on this output directory (%s, lock '%s'); wait for "
                          "it, or end it first",
                          who, path);
    else if (owner)
        awq_report_warning("the last job here ended without a word (%s); resuming from what it "
                           "left",
                           who);
    json_decref(owner);
    return status;
}

static awq_status write_owner(int fd, const char *path, awq_error *err)
{
    char self[OWNER_BYTES], host[256] = "?";
    gethostname(host, sizeof host - 1);
    const char *job = getenv("SLURM_JOB_ID");
    snprintf(self, sizeof self, "{\"host\": \"%s\", \"pid\": %ld, \"slurm_job\": \"%.64s\"}\n",
             host, (long)getpid(), job ? job : "");
    size_t bytes = strlen(self);
    if (ftruncate(fd, 0) || pwrite(fd, self, bytes, 0) != (ssize_t)bytes || fsync(fd))
        return awq_fail(err, AWQ_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    return AWQ_OK;
}

awq_status awq_run_lock_take(const char *run, awq_run_lock **out, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, "lock", err)) return err->status;
    awq_run_lock *lock = malloc(sizeof *lock);
    if (!lock) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the lock");
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0) {
        free(lock);
        return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    }
    if (check_owner(lock->fd, path, err) || write_owner(lock->fd, path, err)) {
        close(lock->fd);
        free(lock);
        return err->status;
    }
    *out = lock;
    return AWQ_OK;
}

void awq_run_lock_touch(awq_run_lock *lock)
{
    if (lock) futimens(lock->fd, NULL);
}

void awq_run_lock_release(awq_run_lock *lock)
{
    if (!lock) return;
    if (ftruncate(lock->fd, 0)) awq_log(AWQ_LOG_VERBOSE, "lock not emptied");
    close(lock->fd);
    free(lock);
}
