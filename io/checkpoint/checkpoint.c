/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/expected.h"
#include "io/checkpoint/parts.h"
#include "io/files/file.h"
#include "io/files/json.h"
#include "io/files/path.h"
#include "io/formats/quantization_config.h"

#define CONFIG_NAME "config.json"

enum { MAX_CONFIG_BYTES = 16 << 20 };

struct awq_checkpoint {
    char *directory;
    json_t *config;
    size_t config_bytes;
    uint32_t config_crc;
    awq_model model;
    bool described; /* config.json is one of a model */
    awq_checkpoint_files files;
    awq_checkpoint_tensors tensors;
};

/* false: this is no model directory, and one problem says so. */
static bool check_directory(const char *directory, char config[AWQ_PATH_BYTES],
                            awq_problems *problems)
{
    awq_error err;
    if (awq_path_join(config, directory, CONFIG_NAME, &err)) {
        awq_problems_add_error(problems, &err);
        return false;
    }
    errno = 0;
    if (!awq_path_is_directory(directory))
        awq_problems_add(problems, AWQ_ERR_INPUT, "cannot open model '%s': %s", directory,
                         strerror(errno ? errno : ENOTDIR));
    else if (!awq_path_exists(config))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' has no " CONFIG_NAME ": it is not a Hugging Face model directory",
                         directory);
    else
        return true;
    return false;
}

/* The object of config.json; false: it is none. */
static bool read_config(awq_checkpoint *checkpoint, const char *path, awq_problems *problems)
{
    awq_error err;
    char *text;
    if (awq_file_read(path, MAX_CONFIG_BYTES, &text, &checkpoint->config_bytes, &err)) {
        awq_problems_add_error(problems, &err);
        return false;
    }
    checkpoint->config_crc = awq_crc32(0, text, checkpoint->config_bytes);
    awq_status status =
        awq_json_parse(text, checkpoint->config_bytes, path, &checkpoint->config, &err);
    free(text);
    if (status) awq_problems_add_error(problems, &err);
    return !status;
}

/* What `config` says of a model whose tensors are named as the files have it. */
static void describe(awq_checkpoint *checkpoint, const json_t *config, const char *path,
                     awq_problems *problems)
{
    const awq_root *root = awq_checkpoint_files_root(&checkpoint->files);
    awq_model *model = &checkpoint->model;
    checkpoint->described = awq_model_config_read(config, path, root, model, problems);
    if (checkpoint->described)
        model->headless = awq_checkpoint_files_lack_head(&checkpoint->files, model);
}

static awq_checkpoint *create(const char *directory, awq_problems *problems)
{
    awq_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (checkpoint) checkpoint->directory = strdup(directory);
    if (checkpoint && checkpoint->directory) return checkpoint;
    free(checkpoint);
    awq_problems_add(problems, AWQ_ERR_MEMORY, "cannot open '%s': no memory", directory);
    return NULL;
}

awq_checkpoint *awq_checkpoint_open(const char *directory, awq_problems *problems)
{
    size_t before = problems->count;
    char config_path[AWQ_PATH_BYTES];
    if (!check_directory(directory, config_path, problems)) return NULL;
    awq_checkpoint *checkpoint = create(directory, problems);
    if (!checkpoint) return NULL;
    bool read = read_config(checkpoint, config_path, problems);
    bool listed = awq_checkpoint_files_open(directory, &checkpoint->files, problems);
    if (read) describe(checkpoint, checkpoint->config, config_path, problems);
    if (listed)
        awq_checkpoint_tensors_check(&checkpoint->files,
                                     checkpoint->described ? &checkpoint->model : NULL, directory,
                                     AWQ_NAME_SOME, &checkpoint->tensors, problems);
    if (problems->count == before) return checkpoint;
    awq_checkpoint_close(checkpoint);
    return NULL;
}

awq_checkpoint *awq_checkpoint_survey(const char *directory, awq_problems *problems)
{
    char config_path[AWQ_PATH_BYTES];
    if (!check_directory(directory, config_path, problems)) return NULL;
    awq_checkpoint *checkpoint = create(directory, problems);
    if (!checkpoint) return NULL;
    if (!awq_checkpoint_files_open(directory, &checkpoint->files, problems)) {
        awq_checkpoint_close(checkpoint);
        return NULL;
    }
    if (read_config(checkpoint, config_path, problems)) {
        json_t *config = awq_checkpoint_claims_check(checkpoint->config, &checkpoint->files,
                                                     directory, problems);
        if (config) describe(checkpoint, config, config_path, problems);
        json_decref(config);
    }
    awq_checkpoint_tensors_check(&checkpoint->files,
                                 checkpoint->described ? &checkpoint->model : NULL, directory,
                                 AWQ_NAME_ALL, &checkpoint->tensors, problems);
    return checkpoint;
}

bool awq_checkpoint_calls_for(const awq_checkpoint *checkpoint, const char *name)
{
    return json_object_get(checkpoint->files.weight_map, name) ||
           (checkpoint->described &&
            awq_expected_has(&checkpoint->model, &checkpoint->tensors, name));
}

void awq_checkpoint_close(awq_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    free(checkpoint->tensors.items);
    free(checkpoint->tensors.copied);
    awq_model_release(&checkpoint->model);
    awq_checkpoint_files_close(&checkpoint->files);
    json_decref(checkpoint->config);
    free(checkpoint->directory);
    free(checkpoint);
}

const awq_model *awq_checkpoint_model(const awq_checkpoint *checkpoint)
{
    return checkpoint->described ? &checkpoint->model : NULL;
}

const json_t *awq_checkpoint_config(const awq_checkpoint *checkpoint)
{
    return checkpoint->config;
}

const char *awq_checkpoint_directory(const awq_checkpoint *checkpoint)
{
    return checkpoint->directory;
}

void awq_checkpoint_keep(awq_checkpoint *checkpoint, int64_t layer, int linear)
{
    awq_model_keep(&checkpoint->model, layer, linear);
}

const awq_tensor *awq_checkpoint_find(const awq_checkpoint *checkpoint, const char *name)
{
    const awq_checkpoint_tensor *found = awq_checkpoint_tensors_find(&checkpoint->tensors, name);
    return found ? found->tensor : NULL;
}

const awq_tensor *awq_checkpoint_linear(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                                        const char *suffix)
{
    char name[AWQ_NAME_BYTES];
    return awq_checkpoint_find(
        checkpoint, awq_linear_tensor_name(name, &checkpoint->model, layer, linear, suffix));
}

void awq_checkpoint_dequantize(awq_checkpoint *checkpoint)
{
    awq_model *model = &checkpoint->model;
    if (!model->quantized || model->quantization.format != AWQ_FORMAT_COMPRESSED) return;
    model->quantized = false;
    memset(model->kept, 0, sizeof model->kept);
}

bool awq_checkpoint_weight(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                           awq_weight *out)
{
    return awq_weight_find(&checkpoint->tensors, &checkpoint->model, layer, linear, out);
}

bool awq_checkpoint_bias(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                         awq_weight *out)
{
    return awq_bias_find(&checkpoint->tensors, &checkpoint->model, layer, linear, out);
}

awq_status awq_checkpoint_unpack(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                                 awq_linear_codes *out, awq_error *err)
{
    const awq_quantization *quantization = &checkpoint->model.quantization;
    const awq_tensor *tensors[AWQ_MAX_PARTS] = {NULL};
    awq_part parts[AWQ_MAX_PARTS];
    const awq_linear_spec *spec = &awq_model_layer(&checkpoint->model, layer)->linear[linear];
    int count = awq_format_parts(quantization, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++)
        tensors[i] = awq_checkpoint_linear(checkpoint, layer, linear, parts[i].suffix);
    awq_linear_codes codes;
    if (awq_linear_codes_init(&codes, quantization, spec->out, spec->in, err)) return err->status;
    if (awq_format_unpack(quantization, tensors, &codes, err)) {
        awq_linear_codes_release(&codes);
        return err->status;
    }
    *out = codes;
    return AWQ_OK;
}

const awq_tensor *awq_checkpoint_vector(const awq_checkpoint *checkpoint, int64_t layer, int vector,
                                        int piece)
{
    return awq_vector_find(&checkpoint->tensors, &checkpoint->model, layer, vector, piece);
}

const awq_tensor *awq_checkpoint_end(const awq_checkpoint *checkpoint, awq_end end)
{
    char name[AWQ_NAME_BYTES];
    if (end == AWQ_HEAD && checkpoint->model.tied) end = AWQ_EMBEDDING;
    return awq_checkpoint_find(checkpoint, awq_end_tensor_name(name, &checkpoint->model, end));
}

size_t awq_checkpoint_copies(const awq_checkpoint *checkpoint)
{
    return checkpoint->tensors.copies;
}

const awq_tensor *awq_checkpoint_copied(const awq_checkpoint *checkpoint, size_t index)
{
    return checkpoint->tensors.copied[index];
}

uint64_t awq_checkpoint_copied_bytes(const awq_checkpoint *checkpoint)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < checkpoint->tensors.copies; i++)
        sum += checkpoint->tensors.copied[i]->bytes;
    return sum;
}

bool awq_checkpoint_is_copied(const awq_checkpoint *checkpoint, const char *name)
{
    const awq_checkpoint_tensor *found = awq_checkpoint_tensors_find(&checkpoint->tensors, name);
    return found && found->copied;
}

json_t *awq_checkpoint_format_config(const awq_checkpoint *checkpoint,
                                     const awq_quantization *quantization)
{
    json_t *copied = awq_checkpoint_copied_modules(&checkpoint->tensors);
    if (!copied) return NULL;
    json_t *config =
        awq_format_config(checkpoint->config, &checkpoint->model, copied, quantization);
    json_decref(copied);
    return config;
}

size_t awq_checkpoint_shard_count(const awq_checkpoint *checkpoint)
{
    return checkpoint->files.count;
}

const char *awq_checkpoint_shard_name(const awq_checkpoint *checkpoint, size_t index)
{
    return checkpoint->files.shards[index].name;
}

const awq_safetensors *awq_checkpoint_shard(const awq_checkpoint *checkpoint, size_t index)
{
    return checkpoint->files.shards[index].file;
}

const json_t *awq_checkpoint_index(const awq_checkpoint *checkpoint)
{
    return checkpoint->files.index;
}

uint64_t awq_checkpoint_bytes(const awq_checkpoint *checkpoint)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < checkpoint->tensors.count; i++)
        sum += checkpoint->tensors.items[i].tensor->bytes;
    return sum;
}

json_t *awq_checkpoint_fingerprint(const awq_checkpoint *checkpoint)
{
    json_t *list = json_array();
    bool ok = list != NULL; /* appending takes the reference, and refuses NULL */
    for (size_t i = 0; ok && i < checkpoint->files.count; i++) {
        const awq_shard_file *shard = &checkpoint->files.shards[i];
        uint64_t bytes;
        (void)awq_safetensors_bytes(shard->file, &bytes);
        ok = !json_array_append_new(
            list, json_pack("{s:s, s:I, s:I}", "file", shard->name, "bytes", (json_int_t)bytes,
                            "header_crc32", (json_int_t)awq_safetensors_header_crc(shard->file)));
    }
    awq_storage source = {.plain = true};
    const char *unknown = checkpoint->described ? checkpoint->model.unknown_type : "";
    if (checkpoint->described && !checkpoint->model.quantized)
        source = awq_checkpoint_storage(checkpoint);
    if (ok)
        ok = !json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:s*, s:s*}", "file",
                                                    CONFIG_NAME, "bytes",
                                                    (json_int_t)checkpoint->config_bytes, "crc32",
                                                    (json_int_t)checkpoint->config_crc, "weights",
                                                    source.plain ? NULL : source.text, "taken_as",
                                                    *unknown ? checkpoint->model.family : NULL));
    if (ok) return list;
    json_decref(list);
    return NULL;
}
