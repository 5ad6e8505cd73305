/* SPDX-License-Identifier: MIT */
#include "layers/quantize/quantize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/log.h"
#include "layers/quantize/steps.h"

enum { UNSEEN_SHOWN = 16 }; /* experts in a line of the log */

void awq_quantized_layer_init(awq_quantized_layer *layer)
{
    *layer = (awq_quantized_layer){0};
    awq_layer_record_init(&layer->record);
}

void awq_quantized_layer_release(awq_quantized_layer *layer)
{
    for (int linear = 0; linear < layer->linears; linear++) {
        free(layer->linear[linear].bias);
        free(layer->linear[linear].weight);
    }
    free(layer->linear);
    if (layer->from && layer->memory)
        awq_result_memory_give(layer->from, layer->memory);
    else
        free(layer->memory);
    for (int i = 0; i < AWQ_MAX_VECTORS; i++) free(layer->vector[i]);
    awq_layer_record_release(&layer->record);
    awq_quantized_layer_init(layer);
}

/* One line a layer, of experts that no calibration token went to. */
static void tell_unseen(const awq_quantizer *quantizer)
{
    const awq_layer_record *record = &quantizer->out->record;
    char list[200] = "";
    int64_t unseen = 0;
    for (int i = 0; i < record->groups; i++) {
        const awq_group_record *group = &record->group[i];
        size_t used = strlen(list);
        if (group->expert < 0 || group->tokens || !group->scales) continue;
        if (unseen++ < UNSEEN_SHOWN)
            snprintf(list + used, sizeof list - used, "%s%lld", used ? "," : "",
                     (long long)group->expert);
        else if (unseen == UNSEEN_SHOWN + 1)
            snprintf(list + used, sizeof list - used, ",..");
    }
    if (unseen)
        AWQ_LOG(AWQ_LOG_INFO, "experts without calibration tokens, their down is rounded plainly",
                AWQ_WHOLE("layer", quantizer->decoder->index), AWQ_WHOLE("count", unseen),
                AWQ_TEXT("experts", list));
}

static awq_status take_steps(awq_quantizer *quantizer, awq_error *err)
{
    if (awq_quantizer_open(quantizer, err)) return err->status;
    const awq_layer_spec *spec = quantizer->spec;
    if (awq_fold_check_begin(quantizer, quantizer->kept, err)) return err->status;
    for (int group = 0; group < spec->groups; group++)
        if (quantizer->statistics->gram[group] && awq_search_group(quantizer, group, err))
            return err->status; /* experts' are searched with the one that they read */
    tell_unseen(quantizer);
    if (awq_fold_plan(quantizer, err)) return err->status;
    for (int linear = 0; linear < spec->linears; linear++)
        if (quantizer->decoder->weight[linear] && awq_quantize_linear(quantizer, linear, err))
            return err->status;
    if (awq_quantize_finish(quantizer, err)) return err->status;
    awq_tell_small_scales(quantizer);
    return awq_fold_check_layer(quantizer, quantizer->kept, err);
}

awq_status awq_quantize_layer(const awq_layer_input *input, awq_quantized_layer *out,
                              awq_error *err)
{
    awq_quantized_layer layer;
    awq_quantized_layer_init(&layer);
    layer.from = input->memory;
    layer.part = input->decoder->part;
    layer.record.layer = input->decoder->index;
    layer.record.tokens = input->statistics->tokens;
    awq_quantizer quantizer = {.device = input->device,
                               .model = input->model,
                               .decoder = input->decoder,
                               .statistics = input->statistics,
                               .scratch = input->scratch,
                               .kept = input->kept,
                               .recipe = input->recipe,
                               .watch = input->watch,
                               .exchange = input->exchange,
                               .out = &layer};
    awq_status status = take_steps(&quantizer, err);
    awq_quantizer_close(&quantizer);
    if (status)
        awq_quantized_layer_release(&layer);
    else
        *out = layer;
    return status;
}
