/* SPDX-License-Identifier: MIT
 * io/families/build.h - what the builders of a layer's parts share. The order in which linears and
 * groups are added is the order in which they are searched, and part of a job's bytes. Inside
 * io/families only. */
#ifndef AWQ_IO_MODEL_BUILD_H
#define AWQ_IO_MODEL_BUILD_H

#include "io/families/config.h"

/* An index into layer->vector, named by a format of static length; no scales are absorbed. */
int awq_build_vector(awq_layer_spec *layer, int64_t width, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a family calls a module, or what that is called mostly. */
const char *awq_build_name(const char *own, const char *usual);
/* An index into layer->norm: one of the family's kind over `cols` channels, with weights for
 * `width` of them. */
int awq_build_norm(const awq_config *config, awq_layer_spec *layer, const char *name, int64_t cols,
                   int64_t width);

/* One without weights. */
int awq_build_plain_norm(const awq_config *config, awq_layer_spec *layer, int64_t cols);

awq_producer awq_build_no_one(void);
awq_producer awq_build_by_norm(int norm); /* -1: no one */
awq_producer awq_build_by_rows(awq_rows rows);

/* An index into layer->group: a group called PREFIX NAME of the input that `producer` makes. */
int awq_build_group(awq_layer_spec *layer, int expert, const char *prefix, const char *name,
                    int64_t channels, awq_producer producer);
/* A linear that reads a group's input. */
awq_linear_spec *awq_build_linear(awq_layer_spec *layer, awq_half half, int group, int64_t out,
                                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* `times` runs of `count` rows of a linear; all. */
awq_rows awq_build_rows(const awq_layer_spec *layer, const awq_linear_spec *linear, int64_t first,
                        int64_t count, int64_t period, int64_t times);
awq_rows awq_build_all_rows(const awq_layer_spec *layer, const awq_linear_spec *linear);

/* The attention of layer `index`, of whichever kind it is, and the group that reads its input
 * (build_attention.c). */
void awq_build_attention(const awq_config *config, int64_t index, awq_layer_spec *layer);
/* Latent attention, and a gated delta net, of a layer whose attention has what all kinds have. */
void awq_build_latent(const awq_config *config, int64_t index, awq_layer_spec *layer);
void awq_build_delta(const awq_config *config, awq_layer_spec *layer);
/* What reads a group of what the heads put out, and adds to the residual: "MODULE.o_proj". */
void awq_build_o(const awq_config *config, awq_layer_spec *layer, int group, const char *module);

/* The MLPs of layer `index`, which read the group of layer->half[AWQ_HALF_MLP] (build_mlps.c). */
void awq_build_mlps(const awq_config *config, int64_t index, awq_layer_spec *layer);

#endif
