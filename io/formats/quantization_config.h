/* SPDX-License-Identifier: MIT
 * io/formats/quantization_config.h - config.json, all of it: the model, and how its linears are
 * quantized already, if they are. */
#ifndef AWQ_IO_FORMATS_QUANTIZATION_CONFIG_H
#define AWQ_IO_FORMATS_QUANTIZATION_CONFIG_H

#include "io/model/model.h"

/* Reads config.json's object. What is wrong becomes problems; returns false if any was added. A
 * quantization_config that io/formats has no format for is a problem. Release the result. */
bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems);
/* The same, with the file's path for the messages. */
bool awq_model_config_read(const json_t *config, const char *name, awq_model *out,
                           awq_problems *problems);

#endif
