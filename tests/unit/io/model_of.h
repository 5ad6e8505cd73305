/* SPDX-License-Identifier: MIT
 * tests/unit/io/model_of.h - a model by what its config.json says, and the parts of its layers by
 * name. */
#ifndef AWQ_TESTS_UNIT_IO_MODEL_OF_H
#define AWQ_TESTS_UNIT_IO_MODEL_OF_H

#include "io/model/model.h"

/* The model that a config.json of this text describes. Fails the test if there is any problem.
 * Release the result. */
awq_model model_of(const char *config);

/* Where a layer has the linear "experts.3.up_proj", the group "gate_up", the norm
 * "input_layernorm"; fails the test if it has none of that name. */
int linear_named(const awq_layer_spec *layer, const char *short_name);
int group_named(const awq_layer_spec *layer, const char *name);
int norm_named(const awq_layer_spec *layer, const char *name);
bool has_linear(const awq_layer_spec *layer, const char *short_name);
bool has_group(const awq_layer_spec *layer, const char *name);

/* The same by number, of a dense layer whose linears are not fused and whose norms are those of
 * inputs and heads; test_layer.c proves the numbers. */
enum { LINEAR_Q, LINEAR_K, LINEAR_V, LINEAR_O, LINEAR_GATE, LINEAR_UP, LINEAR_DOWN, DENSE_LINEARS };
enum { GROUP_QKV, GROUP_O, GROUP_GATE_UP, GROUP_DOWN, DENSE_GROUPS };
enum { NORM_INPUT, NORM_POST, NORM_Q, NORM_K };

#endif
