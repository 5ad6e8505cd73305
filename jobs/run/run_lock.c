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

static void describe_self(char out[OWNER_BYTES])
{
    char host[256] = "?";
    gethostname(host, sizeof host - 1);
    const char *job = getenv("SLURM_JOB_ID");
    snprintf(out, OWNER_BYTES, "{\"host\": \"%s\", \"pid\": %ld, \"slurm_job\": \"%.64s\"}\n", host,
             (long)getpid(), job ? job : "");
}

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

static json_t *read_owner(int fd)
{
    char text[OWNER_BYTES];
    ssize_t bytes = pread(fd, text, sizeof text, 0);
    return bytes > 0 ? json_loadb(text, (size_t)bytes, 0, NULL) : NULL;
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

static awq_status busy(const char *path, const json_t *owner, awq_error *err)
{
    char who[512];
    describe_owner(owner, who, sizeof who);
    return awq_fail(err, AWQ_ERR_BUSY,
                    "another job works on this output directory (%s, lock '%s'); wait for it, or "
                    "end it first",
                    who, path);
}

/* The last owner may have removed its directory after the file was opened here. */
static bool is_removed(int fd)
{
    struct stat file;
    return !fstat(fd, &file) && file.st_nlink == 0;
}

static awq_status take(int fd, const char *path, awq_error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool held = fcntl(fd, F_SETLK, &whole) && (errno == EACCES || errno == EAGAIN);
    json_t *owner = read_owner(fd);
    awq_status status = AWQ_OK;
    if (!held && is_removed(fd))
        status = awq_fail(err, AWQ_ERR_BUSY, "the job that held lock '%s' has just ended", path);
    else if (held || (owner && other_host_alive(fd, owner)))
        status = busy(path, owner, err);
    if (!status && owner) {
        char who[512];
        describe_owner(owner, who, sizeof who);
        awq_report_warning("the last job here ended without a word (%s); resuming from what it "
                           "left",
                           who);
    }
    json_decref(owner);
    if (status) return status;
    char self[OWNER_BYTES];
    describe_self(self);
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
    if (take(lock->fd, path, err)) {
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
