/* SPDX-License-Identifier: MIT
 * worker/quantize_options.h - from a job's options to the arithmetic's: what is quantized with, and
 * what its memory is counted from, cannot differ. */
#ifndef AWQ_WORKER_QUANTIZE_OPTIONS_H
#define AWQ_WORKER_QUANTIZE_OPTIONS_H

#include "io/model.h"
#include "jobs/options.h"
#include "layers/quantize.h"

awq_quantize_options awq_worker_quantize_options(const awq_options *options,
                                                 const awq_model *model);

#endif
