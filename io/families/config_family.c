/* SPDX-License-Identifier: MIT
 * io/families/config_family.c - whose config.json it is: which of its objects describes the text
 * model (in a wrapper, which has towers and projectors beside it, its text_config), and which
 * family that is of. Keys that may stand in either object are looked up as transformers does. */
#include <stdio.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

/* ---- wrappers ---- */

static const json_t *said(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

awq_config_reader awq_config_reader_of(const json_t *config, const char *path,
                                       awq_problems *problems, char name[AWQ_CONFIG_NAME_BYTES])
{
    const json_t *text = said(config, "text_config");
    snprintf(name, AWQ_CONFIG_NAME_BYTES, "%s%s", path, text ? ", text_config" : "");
    if (!text) return (awq_config_reader){config, NULL, name, problems};
    if (!json_is_object(text))
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': key 'text_config' is not an object", path);
    return (awq_config_reader){text, config, name, problems};
}

const json_t *awq_config_text_first(const awq_config_reader *reader, const char *key)
{
    if (said(reader->object, key)) return reader->object;
    return said(reader->outer, key) ? reader->outer : NULL;
}

const json_t *awq_config_outer_first(const awq_config_reader *reader, const char *key)
{
    if (said(reader->outer, key)) return reader->outer;
    return said(reader->object, key) ? reader->object : NULL;
}

/* Classes of transformers whose head is that of the vocabulary. */
static bool generates(const char *class_name)
{
    static const char *const parts[] = {"ForCausalLM", "ForConditionalGeneration", "LMHeadModel"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(class_name, parts[i])) return true;
    return false;
}

bool awq_config_generates(const awq_config_reader *reader)
{
    const json_t *object = awq_config_outer_first(reader, "architectures"), *item;
    const json_t *list = json_object_get(object, "architectures");
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *class_name = json_string_value(item);
        if (!class_name || generates(class_name)) return true;
    }
    return !json_array_size(list);
}

/* ---- llama under another name ---- */

/* What llama's config.json may hold, and what changes no arithmetic in any. */
static const char *const known[] = {"architectures",
                                    "attention_bias",
                                    "attention_dropout",
                                    "attn_implementation",
                                    "auto_map",
                                    "bos_token_id",
                                    "compression_config",
                                    "dtype",
                                    "eos_token_id",
                                    "finetuning_task",
                                    "gradient_checkpointing",
                                    "head_dim",
                                    "hidden_act",
                                    "hidden_size",
                                    "id2label",
                                    "initializer_range",
                                    "intermediate_size",
                                    "is_decoder",
                                    "is_encoder_decoder",
                                    "label2id",
                                    "max_position_embeddings",
                                    "mlp_bias",
                                    "model_type",
                                    "num_attention_heads",
                                    "num_hidden_layers",
                                    "num_key_value_heads",
                                    "output_attentions",
                                    "output_hidden_states",
                                    "pad_token_id",
                                    "pretraining_tp",
                                    "quantization_config",
                                    "return_dict",
                                    "rms_norm_eps",
                                    "rope_parameters",
                                    "rope_scaling",
                                    "rope_theta",
                                    "sep_token_id",
                                    "tie_word_embeddings",
                                    "tokenizer_class",
                                    "torch_dtype",
                                    "transformers_version",
                                    "unk_token_id",
                                    "use_cache",
                                    "vocab_size"};

static bool is_known(const char *key)
{
    if (*key == '_') return true; /* transformers' own notes */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], key)) return true;
    return false;
}

/* What llama cannot do without; silence in another's config.json might mean anything. */
static const char *const needed[] = {
    "hidden_act",        "hidden_size",  "intermediate_size", "num_attention_heads",
    "num_hidden_layers", "rms_norm_eps", "vocab_size",        "max_position_embeddings"};

/* What looks like llama in config.json and is not: RoPE in pairs of neighbours, norms behind. */
static const char *const others[] = {"emu3_text_model", "glm4v_text", "glm_ocr_text"};

/* Whether a model_type can be printed and kept as it is. */
static bool is_word(const char *type)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    return strlen(type) < AWQ_TYPE_BYTES && !type[strspn(type, letters)];
}

/* The first key that keeps a model_type that is not known from being llama under another name: one
 * that llama does not have, or lacks. NULL: it is llama. Whether its tensors are, opening shows. */
static const char *find_unlike(const awq_config_reader *reader, const char *type)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i], type)) return "model_type";
    if (!is_word(type)) return "model_type";
    json_object_foreach((json_t *)(uintptr_t)reader->object, key,
                        value) if (!is_known(key)) return key;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!awq_config_says(reader, needed[i])) return needed[i];
    return NULL;
}

/* ---- the family ---- */

const awq_family *awq_config_read_family(const awq_config_reader *reader,
                                         char unknown_type[AWQ_TYPE_BYTES])
{
    static const char list[] = "'awqrun version --models' lists what is";
    const char *type =
        awq_json_string(reader->object, "model_type", "", reader->name, reader->problems);
    const awq_family *family = awq_family_find(type);
    const char *unlike = family || !*type ? NULL : find_unlike(reader, type);
    if (family) return family;
    if (!*type)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key 'model_type' is missing; %s",
                         reader->name, list);
    else if (unlike)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': model_type '%.60s' is not supported; %s (nor is it llama under "
                         "another name: its key '%.60s' %s)",
                         reader->name, type, list, unlike,
                         awq_config_says(reader, unlike) || !is_known(unlike) ? "is not llama's"
                                                                              : "is missing");
    if (!*type || unlike) return NULL;
    snprintf(unknown_type, AWQ_TYPE_BYTES, "%s", type);
    return awq_family_find("llama");
}
