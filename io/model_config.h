/* SPDX-License-Identifier: MIT
 * io/model_config.h - config.json's keys, read into an awq_model. Inside io only.
 *
 * Each reader takes what its errors call the file, and adds a problem for whatever is wrong. */
#ifndef AWQ_IO_MODEL_CONFIG_H
#define AWQ_IO_MODEL_CONFIG_H

#include "io/model.h"

/* Where the keys come from, and where complaints go. */
typedef struct awq_config_reader {
    const json_t *object;
    const char *name; /* of the file, for messages */
    awq_problems *problems;
} awq_config_reader;

/* awq_model_from_config, with the file's path for the messages. */
bool awq_model_config_read(const json_t *config, const char *name, awq_model *out,
                           awq_problems *problems);

/* Far above any model, and small enough that no product of sizes overflows. */
enum { AWQ_MAX_WIDTH = 1 << 20 };

/* A size from 1 to max; fallback 0: the key must be there. Returns 0 after a problem. */
int64_t awq_config_read_size(const awq_config_reader *reader, const char *key, int64_t fallback,
                             int64_t max);

/* num_experts and so on, in the families that have them; layers and intermediate are known. */
void awq_config_read_experts(const awq_config_reader *reader, awq_model *model);

/* rope_parameters, or rope_theta and rope_scaling; rope->theta is what a silent file means. */
void awq_config_read_rope(const awq_config_reader *reader, awq_rope *rope);

/* quantization_config; the model's sizes are known. */
void awq_config_read_quantization(const awq_config_reader *reader, awq_model *model);

#endif
