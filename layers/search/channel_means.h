/* SPDX-License-Identifier: MIT
 * layers/search/channel_means.h - what the candidates are made of: mean|x| and the consumers' mean
 * relative weight, per channel that is free to choose.
 *
 * Channels are free unless the group ties them (docs/awq.md 2.6): under grouped-query attention the
 * heads of a group share a scale, and means are taken over the heads. */
#ifndef AWQ_LAYERS_SEARCH_CHANNEL_MEANS_H
#define AWQ_LAYERS_SEARCH_CHANNEL_MEANS_H

#include "layers/search/quantizer.h"

/* mean_abs [channels] of the group's input. */
awq_status awq_mean_abs(awq_quantizer *quantizer, int group, float *mean_abs, awq_error *err);

/* to [free] = the mean of from [channels] over the channels that follow each. */
void awq_tie_channels(const awq_group_spec *group, const float *from, float *to);

/* m = (1 - smooth) m + smooth mean(m). */
void awq_smooth_means(float *m, int64_t channels, double smooth);

/* w [channels] = mean over the quantized consumers' rows, one at least, of |W| / (max|W| of its
 * group + 1e-6). */
awq_status awq_mean_weight(awq_quantizer *quantizer, int group, float *w, awq_error *err);

#endif
