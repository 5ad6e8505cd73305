/* SPDX-License-Identifier: MIT
 * layers/search/module_loss.h - AutoAWQ's loss (docs/awq.md 2.5): the mean squared error of the
 * attention's or the MLP's output when q, k, v or gate, up are quantized and nothing else is.
 *
 * Of dense layers only. It is measured on the kept tokens, tile by tile in order. The trial layer
 * is what would be served: the norm divided by the scales, the consumers Q(W s). */
#ifndef AWQ_LAYERS_SEARCH_MODULE_LOSS_H
#define AWQ_LAYERS_SEARCH_MODULE_LOSS_H

#include "layers/search/quantizer.h"

/* Whether a group's consumers are scored by a module's output. */
bool awq_module_has(const awq_layer_spec *spec, int group);

/* Device bytes for `kept` tokens in tiles of `rows`. */
uint64_t awq_module_loss_bytes(const awq_model *model, int64_t kept, int64_t rows,
                               size_t compute_bytes);
/* quantizer->module; close it also after a failure. */
awq_status awq_module_loss_open(awq_quantizer *quantizer, awq_error *err);
void awq_module_loss_close(awq_quantizer *quantizer);

/* Runs the unquantized module of a group that has one. */
awq_status awq_module_loss_begin(awq_quantizer *quantizer, int group, awq_error *err);
/* The loss at the scales in the group's record, which are also in quantizer->columns; `clipped`:
 * consumers are clipped first, as far as they are clipped at all. */
awq_status awq_module_loss_measure(awq_quantizer *quantizer, int group, bool clipped, double *loss,
                                   awq_error *err);

#endif
