/* SPDX-License-Identifier: MIT */
#include "io/model_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"

enum { MAX_HEADS = 1 << 16 };

/* What transformers assumes where config.json is silent. */
typedef struct family_defaults {
    int64_t max_positions;
    int64_t head_dim;  /* 0: hidden / heads */
    double rope_theta; /* 0: 10000 */
    bool qkv_bias;     /* always there */
    bool has_qkv_bias_key;
    bool has_attention_bias_key;
    bool has_mlp_bias_key;
    bool qk_norm;
    bool has_window;        /* sliding_window by itself */
    bool has_window_switch; /* use_sliding_window */
} family_defaults;

static const family_defaults defaults[] = {
    [AWQ_LLAMA] = {.max_positions = 2048, .has_attention_bias_key = true, .has_mlp_bias_key = true},
    [AWQ_MISTRAL] = {.max_positions = 131072, .has_window = true},
    [AWQ_QWEN2] = {.max_positions = 32768, .qkv_bias = true, .has_window_switch = true},
    [AWQ_QWEN3] = {.max_positions = 32768,
                   .head_dim = 128,
                   .has_attention_bias_key = true,
                   .qk_norm = true,
                   .has_window_switch = true},
    [AWQ_MIXTRAL] = {.max_positions = 131072, .rope_theta = 1e6, .has_window = true},
    [AWQ_QWEN2_MOE] = {.max_positions = 32768,
                       .qkv_bias = true,
                       .has_qkv_bias_key = true,
                       .has_window_switch = true},
    [AWQ_QWEN3_MOE] = {.max_positions = 32768,
                       .has_attention_bias_key = true,
                       .qk_norm = true,
                       .has_window_switch = true},
};

static void complain(const awq_config_reader *reader, const char *what, const char *value)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': %s%.100s", reader->name, what, value);
}

static bool read_family(const awq_config_reader *reader, awq_family *out)
{
    const char *type =
        awq_json_string(reader->object, "model_type", "", reader->name, reader->problems);
#define AWQ_FAMILY_MATCH(family, text)                                                             \
    if (!strcmp(type, text)) {                                                                     \
        *out = family;                                                                             \
        return true;                                                                               \
    }
    AWQ_FAMILY_LIST(AWQ_FAMILY_MATCH)
#undef AWQ_FAMILY_MATCH
#define AWQ_FAMILY_TEXT(family, text) ", " text
    const char *supported = AWQ_FAMILY_LIST(AWQ_FAMILY_TEXT);
#undef AWQ_FAMILY_TEXT
    if (!*type)
        complain(reader, "key 'model_type' is missing; supported are ", supported + 2);
    else
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': model_type '%.60s' is not supported; supported are %s",
                         reader->name, type, supported + 2);
    return false;
}

int64_t awq_config_read_size(const awq_config_reader *reader, const char *key, int64_t fallback,
                             int64_t max)
{
    size_t before = reader->problems->count;
    const json_t *value = json_object_get(reader->object, key);
    int64_t size = awq_json_integer(reader->object, key, fallback, reader->name, reader->problems);
    if (reader->problems->count > before) return 0;
    if (size >= 1 && size <= max) return size;
    if ((!value || json_is_null(value)) && !fallback)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is missing", reader->name,
                         key);
    else
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key '%s' is %lld, expected 1 to %lld", reader->name, key,
                         (long long)size, (long long)max);
    return 0;
}

static void require_multiple(const awq_config_reader *reader, const char *key, int64_t value,
                             const char *of_key, int64_t of)
{
    if (value && of && value % of)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s %lld is not a multiple of %s %lld", reader->name, key,
                         (long long)value, of_key, (long long)of);
}

static void read_head_dim(const awq_config_reader *reader, awq_model *model)
{
    const json_t *value = json_object_get(reader->object, "head_dim");
    int64_t fallback = defaults[model->family].head_dim;
    if (fallback || (value && !json_is_null(value))) {
        model->head_dim = awq_config_read_size(reader, "head_dim", fallback, AWQ_MAX_WIDTH);
    } else if (model->hidden && model->heads) {
        require_multiple(reader, "hidden_size", model->hidden, "num_attention_heads", model->heads);
        model->head_dim = model->hidden / model->heads;
    }
    if (model->head_dim % 2)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': head_dim %lld is odd, which RoPE cannot rotate", reader->name,
                         (long long)model->head_dim);
    if (model->head_dim * model->heads > AWQ_MAX_WIDTH)
        complain(reader, "num_attention_heads times head_dim is too large", "");
}

static void read_sizes(const awq_config_reader *reader, awq_model *model)
{
    model->layers = awq_config_read_size(reader, "num_hidden_layers", 0, AWQ_MAX_LAYERS);
    model->hidden = awq_config_read_size(reader, "hidden_size", 0, AWQ_MAX_WIDTH);
    model->intermediate = awq_config_read_size(reader, "intermediate_size", 0, AWQ_MAX_WIDTH);
    model->vocab = awq_config_read_size(reader, "vocab_size", 0, INT32_MAX);
    model->max_positions = awq_config_read_size(reader, "max_position_embeddings",
                                                defaults[model->family].max_positions, INT32_MAX);
    model->heads = awq_config_read_size(reader, "num_attention_heads", 0, MAX_HEADS);
    model->kv_heads = model->heads;
    if (model->heads)
        model->kv_heads =
            awq_config_read_size(reader, "num_key_value_heads", model->heads, MAX_HEADS);
    require_multiple(reader, "num_attention_heads", model->heads, "num_key_value_heads",
                     model->kv_heads);
    read_head_dim(reader, model);
}

static bool read_bool(const awq_config_reader *reader, const char *key)
{
    return awq_json_bool(reader->object, key, false, reader->name, reader->problems);
}

static bool has_qkv_bias(const awq_config_reader *reader, const family_defaults *family)
{
    if (!family->has_qkv_bias_key) return family->qkv_bias;
    return awq_json_bool(reader->object, "qkv_bias", family->qkv_bias, reader->name,
                         reader->problems);
}

static void read_biases(const awq_config_reader *reader, awq_model *model)
{
    const family_defaults *family = &defaults[model->family];
    bool attention = family->has_attention_bias_key && read_bool(reader, "attention_bias");
    bool mlp = family->has_mlp_bias_key && read_bool(reader, "mlp_bias");
    bool qkv = has_qkv_bias(reader, family);
    for (int kind = AWQ_Q; kind <= AWQ_DOWN; kind++)
        model->bias[kind] = kind <= AWQ_O ? attention : mlp;
    for (int kind = AWQ_Q; kind <= AWQ_V; kind++) model->bias[kind] |= qkv;
}

/* Windows that all layers share are kept for the job to judge; others are refused. */
static void read_window(const awq_config_reader *reader, awq_model *model)
{
    const json_t *layer_types = json_object_get(reader->object, "layer_types");
    const json_t *type;
    size_t i;
    if (defaults[model->family].has_window_switch && read_bool(reader, "use_sliding_window"))
        complain(reader, "use_sliding_window is not supported", "");
    json_array_foreach(layer_types, i, type)
    {
        const char *text = json_string_value(type);
        if (text && !strcmp(text, "full_attention")) continue;
        complain(reader, "layer_types holds a type that is not supported: ", text ? text : "?");
        break;
    }
    const json_t *window = json_object_get(reader->object, "sliding_window");
    if (defaults[model->family].has_window && window && !json_is_null(window))
        model->sliding_window = awq_config_read_size(reader, "sliding_window", 0, INT32_MAX);
}

static void read_activation(const awq_config_reader *reader)
{
    const char *name =
        awq_json_string(reader->object, "hidden_act", "silu", reader->name, reader->problems);
    if (strcmp(name, "silu") != 0)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': hidden_act '%.60s' is not supported; supported is silu",
                         reader->name, name);
}

static void read_norm_eps(const awq_config_reader *reader, awq_model *model)
{
    double eps =
        awq_json_number(reader->object, "rms_norm_eps", 1e-6, reader->name, reader->problems);
    if (!(eps > 0 && eps < 1)) complain(reader, "rms_norm_eps is not between 0 and 1", "");
    model->norm_eps = (float)eps;
}

static void read_dtype(const awq_config_reader *reader, awq_model *model)
{
    const char *name =
        awq_json_string(reader->object, "torch_dtype", "bfloat16", reader->name, reader->problems);
    name = awq_json_string(reader->object, "dtype", name, reader->name, reader->problems);
    if (!strcmp(name, "bfloat16"))
        model->dtype = AWQ_BF16;
    else if (!strcmp(name, "float16"))
        model->dtype = AWQ_F16;
    else if (!strcmp(name, "float32"))
        model->dtype = AWQ_F32;
    else
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': dtype '%.60s' is not supported; supported are bfloat16, float16, "
                         "float32",
                         reader->name, name);
}

bool awq_model_config_read(const json_t *config, const char *name, awq_model *out,
                           awq_problems *problems)
{
    const awq_config_reader reader = {config, name, problems};
    size_t before = problems->count;
    awq_model model = {0};
    if (!read_family(&reader, &model.family)) return false;
    model.qk_norm = defaults[model.family].qk_norm;
    read_sizes(&reader, &model);
    awq_config_read_experts(&reader, &model);
    read_biases(&reader, &model);
    read_window(&reader, &model);
    read_activation(&reader);
    read_norm_eps(&reader, &model);
    read_dtype(&reader, &model);
    model.tied = read_bool(&reader, "tie_word_embeddings");
    model.rope.theta = defaults[model.family].rope_theta;
    if (!model.rope.theta) model.rope.theta = 10000;
    awq_config_read_rope(&reader, &model.rope);
    awq_config_read_quantization(&reader, &model);
    if (problems->count > before) return false;
    *out = model;
    return true;
}

bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems)
{
    return awq_model_config_read(config, "config.json", out, problems);
}
