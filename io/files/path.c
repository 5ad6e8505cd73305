/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath */
#include "io/files/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

awq_status awq_path_join(char out[AWQ_PATH_BYTES], const char *directory, const char *name,
                         awq_error *err)
{
    size_t length = strlen(directory), tail = strlen(name);
    bool slash = !length || directory[length - 1] != '/';
    if (length + slash + tail >= AWQ_PATH_BYTES)
        return awq_fail(err, AWQ_ERR_INPUT, "path '%.100s...' is too long: at most %d bytes",
                        directory, AWQ_PATH_BYTES - 1);
    memcpy(out, directory, length);
    if (slash) out[length++] = '/';
    memcpy(out + length, name, tail + 1);
    return AWQ_OK;
}

/* Cuts the last component off; what is cut, or NULL when there is nothing before it. */
static char *cut_last(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash || length <= 1) return NULL;
    *slash = '\0';
    return slash + 1;
}

/* Adds one component that does not exist to a resolved path. */
static awq_status append_component(char path[AWQ_PATH_BYTES], const char *name, awq_error *err)
{
    char joined[AWQ_PATH_BYTES];
    if (!*name || !strcmp(name, ".")) return AWQ_OK;
    if (!strcmp(name, "..")) {
        if (!cut_last(path) || !*path) strcpy(path, "/");
        return AWQ_OK;
    }
    if (awq_path_join(joined, path, name, err)) return err->status;
    strcpy(path, joined);
    return AWQ_OK;
}

static awq_status resolve_missing(char out[AWQ_PATH_BYTES], char *path, awq_error *err)
{
    const char *name = cut_last(path);
    if (!name) { /* a bare name: relative to here */
        if (awq_path_resolve(out, ".", err)) return err->status;
        return append_component(out, path, err);
    }
    if (awq_path_resolve(out, *path ? path : "/", err)) return err->status;
    return append_component(out, name, err);
}

awq_status awq_path_resolve(char out[AWQ_PATH_BYTES], const char *path, awq_error *err)
{
    if (!*path) return awq_fail(err, AWQ_ERR_INPUT, "a path is empty");
    char *real = realpath(path, NULL);
    int error = errno;
    char *copy = real ? NULL : strdup(path);
    awq_status status = AWQ_OK;
    if (real && strlen(real) < AWQ_PATH_BYTES)
        strcpy(out, real);
    else if (!real && (error == ENOENT || error == ENOTDIR) && copy)
        status = resolve_missing(out, copy, err);
    else
        status = awq_fail(err, AWQ_ERR_IO, "cannot resolve '%.200s': %s", path,
                          strerror(real ? ENAMETOOLONG : error));
    free(real);
    free(copy);
    return status;
}

bool awq_path_inside(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    while (length && directory[length - 1] == '/') length--;
    return !strncmp(path, directory, length) && (!path[length] || path[length] == '/');
}

bool awq_path_is_directory(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

bool awq_path_exists(const char *path)
{
    struct stat status;
    return !stat(path, &status);
}

static bool make_one(const char *path)
{
    if (!mkdir(path, 0777)) return true;
    int error = errno; /* another process may have made it just now */
    if (awq_path_is_directory(path)) return true;
    errno = error == EEXIST ? ENOTDIR : error;
    return false;
}

awq_status awq_path_make_directory(const char *path, awq_error *err)
{
    char part[AWQ_PATH_BYTES];
    if (strlen(path) >= sizeof part)
        return awq_fail(err, AWQ_ERR_INPUT, "path '%.100s...' is too long", path);
    strcpy(part, path);
    for (char *slash = strchr(part + 1, '/'); *part && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!make_one(part))
            return awq_fail(err, AWQ_ERR_IO, "cannot create directory '%s': %s", part,
                            strerror(errno));
        *slash = '/';
    }
    if (!make_one(path))
        return awq_fail(err, AWQ_ERR_IO, "cannot create directory '%s': %s", path, strerror(errno));
    return AWQ_OK;
}

static bool remove_at(int parent, const char *name);

/* Removes what the directory holds; false: errno says why. Closes fd. */
static bool remove_entries(int fd)
{
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return false;
    }
    bool ok = true;
    struct dirent *entry;
    while (ok && (errno = 0, entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = remove_at(dirfd(directory), entry->d_name);
    if (ok && errno) ok = false;
    int error = errno;
    closedir(directory);
    errno = error;
    return ok;
}

static bool remove_at(int parent, const char *name)
{
    if (!unlinkat(parent, name, 0) || errno == ENOENT) return true;
    if (errno != EISDIR && errno != EPERM) return false;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT;
    if (!remove_entries(fd)) return false;
    return !unlinkat(parent, name, AT_REMOVEDIR) || errno == ENOENT;
}

awq_status awq_path_remove_tree(const char *path, awq_error *err)
{
    if (remove_at(AT_FDCWD, path)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
}

awq_status awq_path_free_bytes(const char *path, uint64_t *bytes, awq_error *err)
{
    char place[AWQ_PATH_BYTES];
    struct statvfs status;
    if (awq_path_resolve(place, path, err)) return err->status;
    while (statvfs(place, &status)) {
        int error = errno;
        if (error != ENOENT || !cut_last(place))
            return awq_fail(err, AWQ_ERR_IO, "cannot ask for the free space of '%s': %s", path,
                            strerror(error));
        if (!*place) strcpy(place, "/");
    }
    *bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return AWQ_OK;
}
