/* SPDX-License-Identifier: MIT
 * io/checkpoint/copied.c - what of a checkpoint's tensors is the text model's, and what stands
 * beside it and is copied bit for bit: towers, projectors, layers that predict further tokens,
 * heads of another kind. Found by names alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/parts.h"

static bool any_of_a_layer(const awq_checkpoint_files *files, const awq_root *root)
{
    for (size_t i = 0; i < files->count; i++) {
        const awq_safetensors *file = files->shards[i].file;
        for (size_t j = 0; file && j < awq_safetensors_count(file); j++)
            if (awq_root_layer_of(root, awq_safetensors_at(file, j)->name) >= 0) return true;
    }
    return false;
}

static bool have(const awq_checkpoint_files *files, const char *name)
{
    bool found = json_object_get(files->weight_map, name) != NULL;
    for (size_t i = 0; !found && i < files->count; i++)
        found = files->shards[i].file && awq_safetensors_find(files->shards[i].file, name);
    return found;
}

static bool have_embedding(const awq_checkpoint_files *files, const awq_root *root)
{
    char name[AWQ_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s.weight", root->decoder, root->embedding);
    return have(files, name);
}

/* The first whose layers are there, with their embedding if any root's is. */
const awq_root *awq_checkpoint_files_root(const awq_checkpoint_files *files)
{
    const awq_root *of_layers = NULL, *root;
    for (int i = 0; (root = awq_root_at(i)); i++) {
        if (!any_of_a_layer(files, root)) continue;
        if (have_embedding(files, root)) return root;
        if (!of_layers) of_layers = root;
    }
    return of_layers ? of_layers : awq_root_at(0);
}

bool awq_checkpoint_files_lack_head(const awq_checkpoint_files *files, const awq_model *model)
{
    char name[AWQ_NAME_BYTES];
    if (model->tied || (model->generates && !model->root->base)) return false;
    return !have(files, awq_end_tensor_name(name, model, AWQ_HEAD));
}

bool awq_checkpoint_copies_name(const awq_model *model, const char *name)
{
    if (awq_model_owns(model, name) || !awq_safetensors_name_fits(name)) return false;
    int64_t layer = awq_root_layer_of(model->root, name);
    return layer < 0 || layer < model->layers + model->further;
}

bool awq_checkpoint_tensors_list(const awq_checkpoint_files *files, awq_checkpoint_tensors *tensors)
{
    tensors->copied = calloc(tensors->count + 1, sizeof *tensors->copied);
    for (size_t i = 0; tensors->copied && i < files->count; i++) {
        const awq_safetensors *file = files->shards[i].file;
        for (size_t j = 0; file && j < awq_safetensors_count(file); j++) {
            const awq_tensor *tensor = awq_safetensors_at(file, j);
            const awq_checkpoint_tensor *item = awq_checkpoint_tensors_find(tensors, tensor->name);
            if (item && item->tensor == tensor && item->copied)
                tensors->copied[tensors->copies++] = tensor;
        }
    }
    return tensors->copied;
}

/* ---- the modules that are named in config.json ---- */

/* "visual.proj" of "visual.proj.weight", if that is a matrix, and "mtp.experts" of
 * "mtp.experts.down_proj", if that is a stack of them, into out; false: it is neither. */
static bool is_linear(const awq_tensor *tensor, char out[AWQ_NAME_BYTES])
{
    const char *last = strrchr(tensor->name, '.');
    bool weight = last && !strcmp(last, ".weight");
    size_t length = last ? (size_t)(last - tensor->name) : 0;
    bool stack = tensor->dims == 3 && awq_name_is_of_experts(tensor->name, length);
    if (!length || length >= AWQ_NAME_BYTES || !(stack || (weight && tensor->dims == 2)))
        return false;
    memcpy(out, tensor->name, length);
    out[length] = '\0';
    return true;
}

static bool is_last(const json_t *list, const char *name)
{
    const char *last = json_string_value(json_array_get(list, json_array_size(list) - 1));
    return last && !strcmp(last, name);
}

json_t *awq_checkpoint_copied_modules(const awq_checkpoint_tensors *tensors)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < tensors->copies; i++) {
        char name[AWQ_NAME_BYTES];
        if (!is_linear(tensors->copied[i], name) || is_last(list, name)) continue;
        if (!json_array_append_new(list, json_string(name))) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}
