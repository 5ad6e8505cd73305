/* SPDX-License-Identifier: MIT
 * io/formats/quantization_config.h - config.json, all of it: the model, and how its linears are
 * quantized already, if they are. */
#ifndef AWQ_IO_FORMATS_QUANTIZATION_CONFIG_H
#define AWQ_IO_FORMATS_QUANTIZATION_CONFIG_H

#include "io/model/model.h"

/* Reads config.json's object. What is wrong becomes problems; returns false if any was added. A
 * quantization_config that io/formats has no format for is a problem. Release the result. */
bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems);
/* The same, with the file's path for the messages, and how tensors are named. */
bool awq_model_config_read(const json_t *config, const char *path, const awq_root *root,
                           awq_model *out, awq_problems *problems);
/* config.json's quantization_config, its own or its text_config's; NULL: none. Borrowed. */
json_t *awq_config_quantization(const json_t *config);

#endif
