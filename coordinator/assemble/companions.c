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

static awq_status copy_stream(FILE *from, const char *source, awq_publish *to, awq_error *err)
{
    char buffer[65536];
    size_t bytes;
    while ((bytes = fread(buffer, 1, sizeof buffer, from)))
        if (awq_publish_write(to, buffer, bytes, err)) return err->status;
    if (ferror(from))
        return awq_fail(err, AWQ_ERR_IO, "cannot read '%s': %s", source, strerror(errno));
    return awq_publish_commit(to, NULL, NULL, err);
}

/* One that is no regular file, or has just gone, is left out. */
static awq_status copy_file(const char *directory, const char *out, const char *name,
                            awq_error *err)
{
    char source[AWQ_PATH_BYTES], target[AWQ_PATH_BYTES];
    struct stat info;
    if (awq_path_join(source, directory, name, err) || awq_path_join(target, out, name, err))
        return err->status;
    if (stat(source, &info) || !S_ISREG(info.st_mode)) return AWQ_OK;
    FILE *from = fopen(source, "rb");
    if (!from) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", source, strerror(errno));
    awq_publish *to = NULL;
    awq_status status = awq_publish_open(target, (uint64_t)info.st_size, &to, err);
    if (!status) status = copy_stream(from, source, to, err);
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
