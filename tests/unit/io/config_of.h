/* SPDX-License-Identifier: MIT
 * tests/unit/io/config_of.h - small configs, and what is expected of the models that they
 * describe. */
#ifndef AWQ_TESTS_UNIT_IO_CONFIG_OF_H
#define AWQ_TESTS_UNIT_IO_CONFIG_OF_H

#include "model_of.h"

/* Of config_of: four layers, four heads, of which two of keys. */
enum { HEAD_DIM = 16 };
#define SIZES                                                                                      \
    ", \"intermediate_size\": 96, \"num_hidden_layers\": 4, \"num_attention_heads\": 4,"           \
    " \"num_key_value_heads\": 2, \"vocab_size\": 100"

/* config.json of a family with SIZES, and with keys added (from the comma on). Valid until the next
 * call. */
const char *config_of(const char *family, int hidden, const char *extra);
/* A config.json with exactly one problem, which says `part`. */
void expect_problem(const char *config, const char *part);
/* The windows of four layers, which are of one kind or two. */
void expect_windows(const awq_model *model, const int64_t windows[4]);

#endif
