/* SPDX-License-Identifier: MIT
 * worker/record.h - a quantized layer becomes a durable layer record (io/layer_record.h). */
#ifndef AWQ_WORKER_RECORD_H
#define AWQ_WORKER_RECORD_H

#include "io/checkpoint.h"
#include "layers/quantize.h"

/* Packs layer->record.layer and publishes RUN/layers/NNNNN.safetensors, then .h5. Sets the
 * record's tensors_bytes, tensors_crc and write seconds. */
awq_status awq_record_publish(const char *run, const char *fingerprint,
                              const awq_checkpoint *checkpoint,
                              const awq_quantization *quantization, awq_quantized_layer *layer,
                              awq_error *err);

#endif
