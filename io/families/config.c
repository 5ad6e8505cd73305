/* SPDX-License-Identifier: MIT */
#include "io/families/config.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/json.h"

enum { MAX_HEADS = 1 << 16 };

/* ---- what readers share ---- */

void awq_config_complain(const awq_config_reader *reader, const char *what, const char *value)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': %s%.100s", reader->name, what, value);
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

bool awq_config_read_bool(const awq_config_reader *reader, const char *key, bool fallback)
{
    return awq_json_bool(reader->object, key, fallback, reader->name, reader->problems);
}

void awq_config_refuse_null(const awq_config_reader *reader, const char *key)
{
    if (json_is_null(json_object_get(reader->object, key)))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key '%s' is null, and means something else where it is left out",
                         reader->name, key);
}

bool awq_config_says(const awq_config_reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->object, key);
    return value && !json_is_null(value);
}

double awq_config_read_positive(const awq_config_reader *reader, const json_t *object,
                                const char *key, double fallback)
{
    size_t before = reader->problems->count;
    const json_t *said = json_object_get(object, key);
    double value = awq_json_number(object, key, fallback, reader->name, reader->problems);
    if ((!said || json_is_null(said)) && !isnan(fallback)) return fallback;
    if (reader->problems->count == before && !(value >= FLT_MIN && value <= FLT_MAX))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key '%s' must be a number above zero%s", reader->name, key,
                         value > 0 ? ", and one that float32 holds" : "");
    return value;
}

/* ---- keys of other families ---- */

/* Keys that change what a model computes, the families that have them, and the value that says
 * nothing (NAN: there is none). A family that does not have a key does not compute what it asks
 * for. */
static const struct {
    const char *key;
    unsigned flag;
    double neutral;
} arithmetic_keys[] = {
    {"attn_logit_softcapping", AWQ_KEY_SOFTCAPS, NAN},
    {"final_logit_softcapping", AWQ_KEY_SOFTCAPS, NAN},
    {"query_pre_attn_scalar", AWQ_KEY_QUERY_SCALAR, NAN},
    {"use_bidirectional_attention", 0, 0},
    {"attention_chunk_size", AWQ_KEY_CHUNKS, NAN},
    {"attn_temperature_tuning", AWQ_KEY_TEMPERATURE, 0},
    {"no_rope_layers", AWQ_KEY_NO_ROPE, NAN},
    {"no_rope_layer_interval", AWQ_KEY_NO_ROPE, NAN},
    {"attention_multiplier", AWQ_KEY_MULTIPLIERS, NAN},
    {"embedding_multiplier", AWQ_KEY_MULTIPLIERS, 1},
    {"residual_multiplier", AWQ_KEY_MULTIPLIERS, 1},
    {"logits_scaling", AWQ_KEY_MULTIPLIERS, 1},
    {"logit_scale", AWQ_KEY_LOGIT_SCALE, 1},
    {"use_parallel_residual", AWQ_KEY_PARALLEL, 0},
    {"rope_local_base_freq", AWQ_KEY_LOCAL_ROPE, NAN},
    {"swiglu_limit", AWQ_KEY_SWIGLU, NAN},
    {"swiglu_alpha", AWQ_KEY_SWIGLU, NAN},
    {"lm_head_bias", AWQ_KEY_HEAD_BIAS, 0},
    {"clip_qkv", AWQ_KEY_CLAMP, NAN},
    {"qk_layernorm", AWQ_KEY_QK_LAYERNORM, 0},
    {"moe_norm_min", 0, 1e-12},
    {"compression_ratio", 0, 1},
    {"rotary_dim", AWQ_KEY_ROTARY_DIM, NAN},
    {"score_func", 0, NAN},
    {"route_norm", 0, NAN},
    {"mup_enabled", AWQ_KEY_MUP, 0},
    {"use_cla", 0, 0},
    {"use_mla", 0, 0},
    {"n_group", 0, 1},
    {"topk_group", 0, 1},
    {"n_shared_experts", 0, 0},
    {"num_shared_experts", 0, 0},
    {"moe_num_shared_experts", 0, 0},
    {"shared_intermediate_size", 0, 0},
    {"routed_scaling_factor", 0, 1},
    {"router_scaling_factor", 0, 1},
    {"route_scale", 0, 1},
    {"first_k_dense_replace", 0, 0},
    {"num_dense_layers", 0, 0},
    {"moe_layer_freq", 0, 1},
    {"topk_method", 0, NAN},
    {"scoring_func", 0, NAN},
    {"q_lora_rank", AWQ_KEY_LATENT, NAN},
    {"kv_lora_rank", AWQ_KEY_LATENT, NAN},
    {"qk_nope_head_dim", AWQ_KEY_LATENT, NAN},
    {"qk_rope_head_dim", AWQ_KEY_LATENT, NAN},
    {"v_head_dim", AWQ_KEY_LATENT, NAN},
    {"index_topk", AWQ_KEY_LATENT, NAN},
    {"linear_num_key_heads", AWQ_KEY_DELTA, NAN},
    {"linear_num_value_heads", AWQ_KEY_DELTA, NAN},
    {"full_attention_interval", AWQ_KEY_DELTA, NAN},
    {"global_head_dim", 0, NAN},
    {"num_global_key_value_heads", 0, NAN},
    {"per_layer_config", 0, NAN},
    {"attention_k_eq_v", 0, 0},
    {"num_kv_shared_layers", 0, 0},
    {"use_double_wide_mlp", 0, 0},
    {"hidden_size_per_layer_input", 0, 0},
    {"enable_moe_block", 0, 0},
};

static void refuse_foreign_keys(const awq_config_reader *reader, const awq_family *family)
{
    for (size_t i = 0; i < sizeof arithmetic_keys / sizeof *arithmetic_keys; i++) {
        const char *key = arithmetic_keys[i].key;
        const json_t *value = json_object_get(reader->object, key);
        double number = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
        bool silent = (json_is_number(value) || json_is_boolean(value)) &&
                      number == arithmetic_keys[i].neutral;
        if (awq_config_says(reader, key) && !silent && !(family->keys & arithmetic_keys[i].flag) &&
            !awq_mixture_reads(family->mixture, key) && !awq_layers_read(family, key))
            awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                             "'%s': key '%s' is not supported for model_type '%s'", reader->name,
                             key, family->model_type);
    }
}

/* ---- sizes ---- */

static void require_multiple(const awq_config_reader *reader, const char *key, int64_t value,
                             const char *of_key, int64_t of)
{
    if (value && of && value % of)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s %lld is not a multiple of %s %lld", reader->name, key,
                         (long long)value, of_key, (long long)of);
}

/* Of latent attention it is read elsewhere. */
static void read_head_dim(const awq_config_reader *reader, awq_config *config)
{
    int64_t fallback = config->family->head_dim;
    if (config->family->latent) return;
    if (fallback || awq_config_says(reader, "head_dim")) {
        config->head_dim = awq_config_read_size(reader, "head_dim", fallback, AWQ_MAX_WIDTH);
    } else if (config->hidden && config->heads) {
        require_multiple(reader, "hidden_size", config->hidden, "num_attention_heads",
                         config->heads);
        config->head_dim = config->hidden / config->heads;
    }
    config->value_dim = config->head_dim;
    if (config->head_dim % 2)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': head_dim %lld is odd, which RoPE cannot rotate", reader->name,
                         (long long)config->head_dim);
    if (config->head_dim * config->heads > AWQ_MAX_WIDTH)
        awq_config_complain(reader, "num_attention_heads times head_dim is too large", "");
}

/* Whether intermediate_size is any MLP's: not where all are experts, with a width of their own. */
static bool has_dense_width(const awq_mixture *mixture)
{
    return !mixture || !mixture->width_key || mixture->layers != AWQ_SPARSE_ALL ||
           mixture->enabled_key;
}

static void read_sizes(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    const awq_sizes silent = reader->outer ? config->family->sizes : (awq_sizes){0};
    config->layers =
        awq_config_read_size(reader, "num_hidden_layers", silent.layers, AWQ_MAX_LAYERS);
    config->hidden = awq_config_read_size(reader, "hidden_size", silent.hidden, AWQ_MAX_WIDTH);
    if (has_dense_width(config->family->mixture) || awq_config_says(reader, "intermediate_size"))
        config->intermediate =
            awq_config_read_size(reader, "intermediate_size", silent.intermediate, AWQ_MAX_WIDTH);
    model->vocab = awq_config_read_size(reader, "vocab_size", silent.vocab, INT32_MAX);
    model->max_positions = awq_config_read_size(reader, "max_position_embeddings",
                                                config->family->max_positions, INT32_MAX);
    config->heads = awq_config_read_size(reader, "num_attention_heads", silent.heads, MAX_HEADS);
    config->kv_heads = config->heads;
    if (config->heads)
        config->kv_heads =
            awq_config_read_size(reader, "num_key_value_heads",
                                 silent.kv_heads ? silent.kv_heads : config->heads, MAX_HEADS);
    require_multiple(reader, "num_attention_heads", config->heads, "num_key_value_heads",
                     config->kv_heads);
    read_head_dim(reader, config);
}

/* ---- the rest ---- */

static void read_activation(const awq_config_reader *reader, awq_config *config)
{
    static const char *const names[] = {[AWQ_SILU] = "silu",
                                        [AWQ_GELU_TANH] = "gelu_pytorch_tanh",
                                        [AWQ_GELU] = "gelu",
                                        [AWQ_RELU2] = "relu2",
                                        [AWQ_SWIGLU_OAI] = "silu"};
    const awq_family *family = config->family;
    const char *key = family->activation_key ? family->activation_key : "hidden_act";
    const char *computed = names[family->activation], *also = family->activation_name;
    const char *name =
        awq_json_string(reader->object, key, computed, reader->name, reader->problems);
    if (!strcmp(name, "swish")) name = "silu"; /* as transformers has it */
    if (strcmp(name, computed) != 0 && !(also && !strcmp(name, also)))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s '%.60s' is not supported; supported is %s", reader->name, key,
                         name, computed);
    if (!(family->keys & AWQ_KEY_SWIGLU)) return;
    config->limit = awq_config_read_factor(reader, "swiglu_limit", 7);
    if (awq_config_read_factor(reader, "swiglu_alpha", 1.702) != 1.702f)
        awq_config_complain(reader, "a swiglu_alpha that is not 1.702 is not supported", "");
}

static void read_norm_eps(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    const awq_family *family = config->family;
    const char *key = family->eps_key ? family->eps_key : "rms_norm_eps";
    double eps =
        awq_json_number(reader->object, key, family->norm_eps > 0 ? family->norm_eps : 1e-6,
                        reader->name, reader->problems);
    if (!(eps >= FLT_MIN && eps < 1)) awq_config_complain(reader, key, " is not between 0 and 1");
    model->norm_eps = config->norm_eps = (float)eps;
    model->final_norm = (awq_final_norm){.offset = family->norm_offset,
                                         .centered = family->norm_centered,
                                         .bias = family->norm_bias};
}

static void read_dtype(const awq_config_reader *reader, awq_model *model)
{
    const json_t *older = awq_config_outer_first(reader, "torch_dtype");
    const json_t *newer = awq_config_outer_first(reader, "dtype");
    const char *name =
        awq_json_string(older, "torch_dtype", "bfloat16", reader->name, reader->problems);
    name = awq_json_string(newer, "dtype", name, reader->name, reader->problems);
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

/* What stands beside the layers and their norm: which head, and what is not the model's. */
static void read_ends(const awq_config_reader *reader, const awq_family *family, awq_model *model)
{
    const json_t *object = awq_config_text_first(reader, "tie_word_embeddings");
    model->tied =
        awq_json_bool(object, "tie_word_embeddings", family->tied, reader->name, reader->problems);
    model->generates = awq_config_generates(reader);
    model->further = awq_json_integer(reader->object, "num_nextn_predict_layers", 0, reader->name,
                                      reader->problems);
    if (model->further < 0 || model->further > AWQ_MAX_LAYERS)
        awq_config_complain(reader, "num_nextn_predict_layers is no number of layers", "");
    model->root = awq_root_at(0);
}

float awq_config_root(int64_t width, awq_dtype dtype)
{
    float root = sqrtf((float)width);
    unsigned char stored[sizeof root];
    awq_narrow(stored, &root, dtype, 1);
    awq_widen(&root, stored, dtype, 1);
    return root;
}

/* The root of the width, or, where mup_enabled says so, as it is. */
static float embedding_scale(const awq_config_reader *reader, const awq_config *config,
                             awq_dtype dtype)
{
    if (config->family->keys & AWQ_KEY_MUP)
        return awq_config_read_bool(reader, "mup_enabled", false) ? sqrtf((float)config->hidden)
                                                                  : 1;
    return config->family->embedding_scaled ? awq_config_root(config->hidden, dtype) : 1;
}

/* Of families that say them; last, since one is in the place of the scale that is read before. */
static void read_multipliers(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    unsigned keys = config->family->keys;
    config->residual_scale = model->logits_scale = 1;
    if (keys & AWQ_KEY_LOGIT_SCALE)
        model->logits_scale =
            awq_config_read_factor(reader, "logit_scale", config->family->logit_scale);
    if (!(keys & AWQ_KEY_MULTIPLIERS)) return;
    config->scale = awq_config_read_factor(reader, "attention_multiplier", 1);
    config->residual_scale = awq_config_read_factor(reader, "residual_multiplier", 1);
    model->embedding_scale = awq_config_read_factor(reader, "embedding_multiplier", 1);
    model->logits_scale = 1 / awq_config_read_factor(reader, "logits_scaling", 1);
}

/* Parallel halves, and the head's bias. */
static void read_block(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    unsigned keys = config->family->keys;
    config->parallel = config->family->block == AWQ_PARALLEL;
    if (keys & AWQ_KEY_PARALLEL)
        config->parallel = awq_config_read_bool(reader, "use_parallel_residual", false);
    if (keys & AWQ_KEY_HEAD_BIAS)
        model->head_bias = awq_config_read_bool(reader, "lm_head_bias",
                                                keys & AWQ_KEY_USE_BIAS && config->mlp_bias);
}

/* All but layers and quantization. */
static void read_model(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    const awq_family *family = config->family;
    refuse_foreign_keys(reader, family);
    read_sizes(reader, config, model);
    awq_config_read_experts(reader, config);
    awq_config_read_latent(reader, config, model);
    awq_config_read_attention(reader, config, model);
    awq_config_read_delta(reader, config);
    model->layers = config->layers;
    model->hidden = model->residual = config->hidden;
    read_dtype(reader, model);
    awq_config_read_layers(reader, config, model);
    awq_config_read_rope(reader, config, model);
    read_activation(reader, config);
    read_norm_eps(reader, config, model);
    model->family = family->model_type;
    read_ends(reader, family, model);
    read_block(reader, config, model);
    model->embedding_scale = embedding_scale(reader, config, model->dtype);
    read_multipliers(reader, config, model);
}

bool awq_model_describe(const awq_config_reader *reader, awq_model *out)
{
    size_t before = reader->problems->count;
    awq_model model = {0};
    awq_config config = {.family = awq_config_read_family(reader, model.unknown_type)};
    if (!config.family) return false;
    read_model(reader, &config, &model);
    if (reader->problems->count == before) awq_model_build(reader, &config, &model);
    if (reader->problems->count > before)
        awq_model_release(&model);
    else
        *out = model;
    return reader->problems->count == before;
}
