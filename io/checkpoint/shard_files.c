/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/parts.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/json.h"
#include "io/files/path.h"

enum { MAX_INDEX_BYTES = 100000000 };

/* A file of this directory, and not a hidden one. */
static bool is_file_name(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/');
}

static int compare_strings(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

static bool no_memory(const char *directory, awq_problems *problems)
{
    awq_problems_add(problems, AWQ_ERR_MEMORY, "cannot open '%s': no memory", directory);
    return false;
}

static bool add_shard(awq_checkpoint_files *files, const char *name)
{
    char *copy = strdup(name);
    if (copy) files->shards[files->count++].name = copy;
    return copy != NULL;
}

/* One shard for each of the sorted names, which repeat. Bad names become problems, once each. */
static bool add_unique(awq_checkpoint_files *files, const char **names, size_t count,
                       const char *index_path, awq_problems *problems)
{
    for (size_t i = 0; i < count; i++) {
        if (i && !strcmp(names[i], names[i - 1])) continue;
        if (!is_file_name(names[i]))
            awq_problems_add(problems, AWQ_ERR_INPUT,
                             "'%s': '%.200s' is not the name of a file in this directory",
                             index_path, names[i]);
        else if (!add_shard(files, names[i]))
            return no_memory(index_path, problems);
    }
    return true;
}

/* The shard names of a weight_map, as many as it has entries; NULL: a problem was added. */
static const char **collect_names(json_t *weight_map, const char *index_path,
                                  awq_problems *problems)
{
    const char **names = malloc((json_object_size(weight_map) + 1) * sizeof *names);
    if (!names) {
        no_memory(index_path, problems);
        return NULL;
    }
    size_t count = 0;
    const char *tensor;
    json_t *shard;
    json_object_foreach(weight_map, tensor, shard)
    {
        names[count++] = json_string_value(shard);
        if (names[count - 1]) continue;
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s': weight_map: the shard of '%.200s' is not a string", index_path,
                         tensor);
        free(names);
        return NULL;
    }
    qsort(names, count, sizeof *names, compare_strings);
    return names;
}

static bool list_from_index(awq_checkpoint_files *files, const char *index_path,
                            awq_problems *problems)
{
    awq_error err;
    if (awq_json_read(index_path, MAX_INDEX_BYTES, &files->index, &err)) {
        awq_problems_add_error(problems, &err);
        return false;
    }
    files->weight_map = json_object_get(files->index, "weight_map");
    size_t count = json_object_size(files->weight_map);
    if (!count) {
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': weight_map is missing or empty",
                         index_path);
        return false;
    }
    const char **names = collect_names(files->weight_map, index_path, problems);
    if (!names) return false;
    files->shards = calloc(count, sizeof *files->shards);
    bool ok = files->shards ? add_unique(files, names, count, index_path, problems)
                            : no_memory(index_path, problems);
    free(names);
    return ok;
}

/* Copies the name of a pickled weights file, if there is one. */
static bool find_pickled(const char *directory, char out[256])
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    bool found = false;
    while (stream && !found && (entry = readdir(stream))) {
        size_t length = strlen(entry->d_name);
        found = !strncmp(entry->d_name, "pytorch_model", 13) && length > 4 &&
                !strcmp(entry->d_name + length - 4, ".bin");
        if (found) memcpy(out, entry->d_name, length + 1);
    }
    if (stream) closedir(stream);
    return found;
}

static bool list_shards(const char *directory, awq_checkpoint_files *files, awq_problems *problems)
{
    awq_error err;
    char index[AWQ_PATH_BYTES], single[AWQ_PATH_BYTES];
    if (awq_path_join(index, directory, AWQ_INDEX_NAME, &err) ||
        awq_path_join(single, directory, AWQ_SINGLE_NAME, &err)) {
        awq_problems_add_error(problems, &err);
        return false;
    }
    if (awq_path_exists(index)) return list_from_index(files, index, problems);
    if (awq_path_exists(single)) {
        files->shards = calloc(1, sizeof *files->shards);
        if (files->shards && add_shard(files, AWQ_SINGLE_NAME)) return true;
        return no_memory(directory, problems);
    }
    char pickled[256];
    if (find_pickled(directory, pickled))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' holds pickled weights ('%s'); convert them to safetensors first",
                         directory, pickled);
    else
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' has no weights: neither " AWQ_INDEX_NAME " nor " AWQ_SINGLE_NAME,
                         directory);
    return false;
}

bool awq_checkpoint_files_open(const char *directory, awq_checkpoint_files *files,
                               awq_problems *problems)
{
    awq_error err;
    char path[AWQ_PATH_BYTES];
    *files = (awq_checkpoint_files){0};
    if (!list_shards(directory, files, problems)) return false;
    for (size_t i = 0; i < files->count; i++)
        if (awq_path_join(path, directory, files->shards[i].name, &err) ||
            awq_safetensors_open(path, &files->shards[i].file, &err))
            awq_problems_add_error(problems, &err);
    return true;
}

void awq_checkpoint_files_close(awq_checkpoint_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        awq_safetensors_close(files->shards[i].file);
        free(files->shards[i].name);
    }
    free(files->shards);
    json_decref(files->index);
    *files = (awq_checkpoint_files){0};
}
