/* SPDX-License-Identifier: MIT */
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/json.h"
#include "io/files/path.h"
#include "model_of.h"
#include "scratch.h"

static const char config_start[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 16, \"intermediate_size\": 32,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    " \"vocab_size\": 24, \"max_position_embeddings\": 64";

enum { HIDDEN = 16, INTERMEDIATE = 32, LAYERS = 2, VOCAB = 24, KEY = 8, GROUP = 8 };

void tiny_add(tiny_model *model, const char *name, awq_dtype dtype, int64_t rows, int64_t cols)
{
    size_t i = model->count++;
    assert_true(i < TINY_MAX_TENSORS);
    snprintf(model->names[i], sizeof model->names[i], "%s", name);
    model->tensors[i] = (awq_tensor){
        .name = model->names[i], .dtype = dtype, .dims = cols ? 2 : 1, .shape = {rows, cols}};
}

/* "model.layers.1.mlp.up_proj.weight" */
static void add_tensor(tiny_model *model, int layer, const char *module, const char *suffix,
                       awq_dtype dtype, int64_t rows, int64_t cols)
{
    char name[AWQ_NAME_BYTES];
    snprintf(name, sizeof name, "model.layers.%d.%s.%s", layer, module, suffix);
    tiny_add(model, name, dtype, rows, cols);
}

static void add_linear(tiny_model *model, int layer, int linear, bool quantized)
{
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                        "mlp.down_proj"};
    static const int64_t rows[] = {HIDDEN, KEY, KEY, HIDDEN, INTERMEDIATE, INTERMEDIATE, HIDDEN};
    int64_t out = rows[linear], in = linear == LINEAR_DOWN ? INTERMEDIATE : HIDDEN;
    const char *name = names[linear];
    if (!quantized) {
        add_tensor(model, layer, name, "weight", AWQ_BF16, out, in);
        return;
    }
    add_tensor(model, layer, name, "qweight", AWQ_I32, in, out / 8);
    add_tensor(model, layer, name, "qzeros", AWQ_I32, in / GROUP, out / 8);
    add_tensor(model, layer, name, "scales", AWQ_F16, in / GROUP, out);
}

void tiny_fill(tiny_model *model, bool quantized)
{
    memset(model, 0, sizeof *model);
    tiny_add(model, TINY_EMBEDDING, AWQ_BF16, VOCAB, HIDDEN);
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int linear = 0; linear < DENSE_LINEARS; linear++)
            add_linear(model, layer, linear, quantized);
        add_tensor(model, layer, "input_layernorm", "weight", AWQ_BF16, HIDDEN, 0);
        add_tensor(model, layer, "post_attention_layernorm", "weight", AWQ_BF16, HIDDEN, 0);
    }
    tiny_add(model, TINY_FINAL_NORM, AWQ_BF16, HIDDEN, 0);
    tiny_add(model, TINY_HEAD, AWQ_BF16, VOCAB, HIDDEN);
}

awq_tensor *tiny_find(tiny_model *model, const char *name)
{
    for (size_t i = 0; i < model->count; i++)
        if (!strcmp(model->names[i], name)) return &model->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

void tiny_remove(tiny_model *model, const char *name)
{
    awq_tensor *tensor = tiny_find(model, name);
    size_t at = (size_t)(tensor - model->tensors);
    model->count--;
    for (size_t i = at; i < model->count; i++) {
        memcpy(model->names[i], model->names[i + 1], sizeof model->names[i]);
        model->tensors[i] = model->tensors[i + 1];
        model->tensors[i].name = model->names[i];
    }
}

awq_model tiny_describe(void)
{
    char text[sizeof config_start + 1];
    snprintf(text, sizeof text, "%s}", config_start);
    return model_of(text);
}

void tiny_write_config(const char *directory, const char *extra)
{
    char text[4096], path[AWQ_PATH_BYTES];
    snprintf(path, sizeof path, "%s/config.json", directory);
    snprintf(text, sizeof text, "%s%s}", config_start, extra);
    scratch_write_text(path, text);
}

void tiny_write_shard(const tiny_model *model, const char *directory, const char *file,
                      size_t first, size_t count)
{
    static const char zeros[4096];
    char path[AWQ_PATH_BYTES];
    awq_error err;
    awq_safetensors_writer *writer;
    snprintf(path, sizeof path, "%s/%s", directory, file);
    if (awq_safetensors_create(path, model->tensors + first, count, &writer, &err))
        fail_msg("%s", err.text);
    for (size_t i = first; i < first + count; i++) {
        size_t bytes = (size_t)awq_tensor_elements(&model->tensors[i]) *
                       awq_dtype_bytes(model->tensors[i].dtype);
        assert_true(bytes <= sizeof zeros);
        assert_int_equal(awq_safetensors_append(writer, zeros, bytes, &err), AWQ_OK);
    }
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);
}

void tiny_write_index(const tiny_model *model, const char *directory, size_t split, const char *a,
                      const char *b)
{
    char path[AWQ_PATH_BYTES];
    awq_error err;
    json_t *map = json_object();
    for (size_t i = 0; i < model->count; i++)
        json_object_set_new(map, model->names[i], json_string(i < split ? a : b));
    json_t *index = json_pack("{s:o}", "weight_map", map);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", directory);
    assert_int_equal(awq_json_write(path, index, &err), AWQ_OK);
    json_decref(index);
}

void tiny_write(const tiny_model *model, const char *directory, const char *extra)
{
    tiny_write_config(directory, extra);
    tiny_write_shard(model, directory, "model.safetensors", 0, model->count);
}
