/* SPDX-License-Identifier: MIT
 * The layer that `awqrun verify --layer` makes again: compared with the checkpoint's where a
 * quantization would publish it. */
#include <string.h>

#include "worker/record.h"
#include "worker/state.h"

awq_status awq_verify_made_again(awq_worker *worker, awq_quantized_layer *layer, awq_error *err)
{
    awq_layer_checks checks = {0};
    awq_problems problems;
    awq_problems_init(&problems);
    const awq_checkpoint *source = worker->checkpoint[0];
    /* packed as the checkpoint is now: it may have been converted */
    const awq_quantization *quantization = &awq_checkpoint_model(worker->made)->quantization;
    awq_status status = awq_record_compare(source, quantization, layer, worker->made, &problems,
                                           &checks.compared, err);
    checks.tensors = checks.compared + (int64_t)problems.count;
    if (!status)
        awq_verify_tell(worker, AWQ_LETTER_MADE_AGAIN, layer->record.layer, &checks, NULL,
                        &problems);
    awq_problems_release(&problems);
    return status;
}
