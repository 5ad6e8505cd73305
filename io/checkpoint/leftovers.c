/* SPDX-License-Identifier: MIT
 * Files of a checkpoint's directory that a loader would read although they do not belong to it:
 * left by another checkpoint that was here, or put there by somebody. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/parts.h"

/* transformers takes model.safetensors before an index; engines without an index take every
 * *.safetensors; vLLM and transformers read a second quantization's configuration. */
static const char *const patterns[] = {"*.safetensors",
                                       "*.safetensors.index.json",
                                       "pytorch_model*",
                                       "consolidated.*",
                                       "*.gguf",
                                       "adapter_config.json",
                                       "quantize_config.json",
                                       "quant_config.json",
                                       "hf_quant_config.json",
                                       NULL};

static bool is_read_by_loaders(const char *name)
{
    for (int i = 0; patterns[i]; i++)
        if (!fnmatch(patterns[i], name, FNM_PERIOD)) return true;
    return false;
}

static bool belongs(const awq_checkpoint *checkpoint, const char *name)
{
    if (!strcmp(name, AWQ_INDEX_NAME)) return awq_checkpoint_index(checkpoint) != NULL;
    for (size_t i = 0; i < awq_checkpoint_shard_count(checkpoint); i++)
        if (!strcmp(name, awq_checkpoint_shard_name(checkpoint, i))) return true;
    return false;
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

void awq_checkpoint_find_leftovers(const awq_checkpoint *checkpoint, awq_problems *problems)
{
    const char *directory = awq_checkpoint_directory(checkpoint);
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, by_name);
    if (count < 0) {
        awq_problems_add(problems, AWQ_ERR_IO, "cannot list '%s': %s", directory, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (is_read_by_loaders(name) && !belongs(checkpoint, name))
            awq_problems_add(problems, AWQ_ERR_INPUT,
                             "'%s/%s' is no part of the checkpoint, and a loader may read it; "
                             "remove it",
                             directory, name);
        free(entries[i]);
    }
    free(entries);
}

void awq_checkpoint_check_index(const awq_checkpoint *checkpoint, awq_problems *problems)
{
    const json_t *metadata = json_object_get(awq_checkpoint_index(checkpoint), "metadata");
    const json_t *total = json_object_get(metadata, "total_size");
    uint64_t bytes = 0;
    if (!total) return;
    for (size_t i = 0; i < awq_checkpoint_shard_count(checkpoint); i++) {
        const awq_safetensors *file = awq_checkpoint_shard(checkpoint, i);
        if (!file) return; /* that is a problem already */
        for (size_t j = 0; j < awq_safetensors_count(file); j++)
            bytes += awq_safetensors_at(file, j)->bytes;
    }
    if (json_is_integer(total) && (uint64_t)json_integer_value(total) == bytes) return;
    char *text = json_dumps(total, JSON_ENCODE_ANY);
    awq_problems_add(
        problems, AWQ_ERR_INPUT,
        "'%s/" AWQ_INDEX_NAME "': total_size is %.40s, and the tensors have %llu bytes",
        awq_checkpoint_directory(checkpoint), text ? text : "?", (unsigned long long)bytes);
    free(text);
}
