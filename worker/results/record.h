/* SPDX-License-Identifier: MIT
 * worker/results/record.h - a quantized layer becomes a durable layer record
 * (io/records/layer_record.h).
 */
#ifndef AWQ_WORKER_RESULTS_RECORD_H
#define AWQ_WORKER_RESULTS_RECORD_H

#include "io/checkpoint/checkpoint.h"
#include "layers/quantize/quantize.h"

/* Packs layer->record.layer, on so many threads, and publishes RUN/layers/NNNNN.safetensors, then
 * .h5. Sets the record's tensors_bytes, tensors_crc and write seconds. */
awq_status awq_record_publish(const char *run, const char *fingerprint,
                              const awq_checkpoint *checkpoint,
                              const awq_quantization *quantization, int threads,
                              awq_quantized_layer *layer, awq_error *err);

/* Packs a layer in the same way, and compares its tensors with those of a checkpoint; one that it
 * lacks is passed over. Adds a problem for each tensor with other bytes; *equal counts those that
 * are the same. */
awq_status awq_record_compare(const awq_checkpoint *source, const awq_quantization *quantization,
                              const awq_quantized_layer *layer, const awq_checkpoint *made,
                              awq_problems *problems, int64_t *equal, awq_error *err);

#endif
