/* SPDX-License-Identifier: MIT
 * layers/channel_means.h - what the candidates are made of: mean|x| and the consumers' mean
 * relative weight, per channel that is free to choose.
 *
 * Channels are free unless grouped-query attention ties them (docs/awq.md 2.6): o's channel
 * (head, d) is fed by v's row (head / repeat, d), so the heads of a group share a scale; the free
 * channels of o are then [kv_heads * head_dim], and means are taken over the heads. */
#ifndef AWQ_LAYERS_CHANNEL_MEANS_H
#define AWQ_LAYERS_CHANNEL_MEANS_H

#include "layers/quantizer.h"

/* How many channels of a group are free. */
int64_t awq_free_channels(const awq_model *model, awq_group group);
/* The free channel that `channel` follows. */
int64_t awq_free_channel(const awq_model *model, awq_group group, int64_t channel);

/* mean_abs [channels] of the group's input. */
awq_status awq_mean_abs(awq_quantizer *quantizer, awq_group group, float *mean_abs, awq_error *err);

/* to [free] = the mean of from [channels] over the channels that follow each. */
void awq_tie_channels(const awq_model *model, awq_group group, const float *from, float *to);

/* m = (1 - smooth) m + smooth mean(m). */
void awq_smooth_means(float *m, int64_t channels, double smooth);

/* w [channels] = mean over the quantized consumers' rows, one at least, of |W| / (max|W| of its
 * group + 1e-6). */
awq_status awq_mean_weight(awq_quantizer *quantizer, awq_group group, float *w, awq_error *err);

#endif
