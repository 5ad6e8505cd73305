/* SPDX-License-Identifier: MIT */
#include "coordinator/assemble/companions.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "io/files/path.h"
#include "io/files/publish.h"
#include "jobs/run/run_directory.h"

/* One that is no regular file, or has just gone, is left out. */
static awq_status copy_file(const char *directory, const char *out, const char *name,
                            awq_error *err)
{
    char source[AWQ_PATH_BYTES], target[AWQ_PATH_BYTES], buffer[65536];
    size_t bytes;
    struct stat info;
    if (awq_path_join(source, directory, name, err) || awq_path_join(target, out, name, err))
        return err->status;
    if (stat(source, &info) || !S_ISREG(info.st_mode)) return AWQ_OK;
    FILE *from = fopen(source, "rb");
    if (!from) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", source, strerror(errno));
    awq_publish *to = NULL;
    awq_status status = awq_publish_open(target, (uint64_t)info.st_size, &to, err);
    while (!status && (bytes = fread(buffer, 1, sizeof buffer, from)))
        status = awq_publish_write(to, buffer, bytes, err);
    if (!status && ferror(from))
        status = awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", source, strerror(errno));
    if (!status) status = awq_publish_commit(to, NULL, NULL, err);
    awq_publish_free(to);
    fclose(from);
    return status;
}

awq_status awq_companions_copy(const char *from, const char *to, awq_error *err)
{
    DIR *directory = opendir(from);
    if (!directory) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", from, strerror(errno));
    awq_status status = AWQ_OK;
    for (struct dirent *entry; !status && (entry = readdir(directory));)
        if (awq_output_is_companion(entry->d_name))
            status = copy_file(from, to, entry->d_name, err);
    closedir(directory);
    return status;
}
