/* SPDX-License-Identifier: MIT */
#include "layers/quantize.h"

#include <stdlib.h>

#include "layers/quantizer.h"

awq_quantize_options awq_quantize_options_default(void)
{
    return (awq_quantize_options){
        .grid = {.bits = 4, .group_size = 128, .zero_point = true},
        .alpha_steps = 20,
        .duo = AWQ_DUO_ON,
        .o_proj_tied = true,
        .rounding = AWQ_ROUNDING_FEEDBACK,
        .clip = AWQ_CLIP_AFTER,
    };
}

void awq_quantized_layer_init(awq_quantized_layer *layer)
{
    *layer = (awq_quantized_layer){0};
    awq_layer_record_init(&layer->record);
}

void awq_quantized_layer_release(awq_quantized_layer *layer)
{
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        free(layer->linear[linear].codes);
        free(layer->linear[linear].scales);
        free(layer->linear[linear].zeros);
        free(layer->linear[linear].bias);
        free(layer->linear[linear].weight);
    }
    for (int norm = 0; norm < AWQ_NORMS; norm++) free(layer->norm[norm]);
    awq_layer_record_release(&layer->record);
    awq_quantized_layer_init(layer);
}

static awq_status take_steps(awq_quantizer *quantizer, awq_error *err)
{
    if (awq_quantizer_open(quantizer, err)) return err->status;
    for (int group = 0; group < AWQ_GROUPS; group++)
        if (awq_search_group(quantizer, (awq_group)group, err)) return err->status;
    if (awq_fold_plan(quantizer, err)) return err->status;
    for (int linear = 0; linear < AWQ_LINEARS; linear++)
        if (awq_quantize_linear(quantizer, (awq_linear)linear, err)) return err->status;
    return awq_fold_check_layer(quantizer, quantizer->kept, err);
}

awq_status awq_quantize_layer(awq_device *device, const awq_model *model, awq_decoder *decoder,
                              awq_statistics *statistics, awq_scratch *scratch,
                              const awq_kept_tokens *kept, const awq_quantize_options *options,
                              const awq_quantize_watch *watch, awq_quantized_layer *out,
                              awq_error *err)
{
    awq_quantized_layer layer;
    awq_quantized_layer_init(&layer);
    layer.record.layer = decoder->index;
    layer.record.tokens = statistics->tokens;
    awq_quantizer quantizer = {.device = device,
                               .model = model,
                               .decoder = decoder,
                               .statistics = statistics,
                               .scratch = scratch,
                               .kept = kept,
                               .options = options,
                               .watch = watch,
                               .out = &layer};
    awq_status status = take_steps(&quantizer, err);
    awq_quantizer_close(&quantizer);
    if (status)
        awq_quantized_layer_release(&layer);
    else
        *out = layer;
    return status;
}
