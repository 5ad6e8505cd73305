/* SPDX-License-Identifier: MIT
 * layers/quantize/steps.h - the work of awq_quantize_layer, in the steps that it takes them:
 *
 *   awq_quantizer_open        device work space, statistics finished (work_space.c)
 *   awq_fold_check_begin      what the layer gives as it is, for the proof at the end
 *   awq_search_group          each scale group, on the original weights
 *   awq_fold_plan             norms and rows that absorb the scales
 *   awq_quantize_linear       each linear: fold, clip, quantize, measure (quantize_linear.c)
 *   awq_quantize_finish       their results are here (quantize_linear.c)
 *   awq_tell_small_scales     a warning (small_scales.c)
 *   awq_fold_check_layer      the layer with folded weights gives the old output
 *   awq_quantizer_close
 *
 * Internal: tests take the steps one by one to spoil something in between. */
#ifndef AWQ_LAYERS_QUANTIZE_STEPS_H
#define AWQ_LAYERS_QUANTIZE_STEPS_H

#include "layers/fold/fold.h"
#include "layers/fold/fold_check.h"
#include "layers/search/quantizer.h"

/* The caller has set device .. out; `out` is initialised. Close it also after a failure. */
awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err);
void awq_quantizer_close(awq_quantizer *quantizer);

awq_status awq_quantize_linear(awq_quantizer *quantizer, int linear, awq_error *err);
/* Once all linears are: waits for what they leave on its way, and checks it. */
awq_status awq_quantize_finish(awq_quantizer *quantizer, awq_error *err);
/* On stderr, once all linears are quantized: that some of them lose more than by their bits. */
void awq_tell_small_scales(const awq_quantizer *quantizer);

#endif
