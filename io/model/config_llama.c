/* SPDX-License-Identifier: MIT
 * io/model/config_llama.c - model_types that are not known but say nothing that llama does not:
 * many models are llama's under a name of their own. Whether their tensors are, opening shows. */
#include <string.h>

#include "io/model/config.h"

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

const char *awq_config_unlike_llama(const awq_config_reader *reader)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)reader->object, key,
                        value) if (!is_known(key)) return key;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!awq_config_says(reader, needed[i])) return needed[i];
    return NULL;
}
