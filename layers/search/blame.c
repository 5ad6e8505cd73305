/* SPDX-License-Identifier: MIT
 * layers/search/blame.c - whose fault it is that a squared error is not a finite number. */
#include <math.h>

#include "layers/forward/extent.h"
#include "layers/search/quantizer.h"

static awq_status blame_activations(const awq_quantizer *quantizer, int linear, awq_error *err)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    const char *name = awq_linear_short_name(spec);
    const awq_group_record *record = &quantizer->out->record.group[spec->group];
    for (int64_t i = 0; i < record->channels; i++)
        if (!isfinite(record->mean_abs[i]))
            return awq_fail(err, AWQ_ERR_NUMERIC,
                            "%s: its calibration activations are not finite in channel %lld: the "
                            "model overflows in the compute type",
                            name, (long long)i);
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "%s: the squares of its calibration activations overflow float32", name);
}

awq_status awq_blame_nonfinite(awq_quantizer *quantizer, int linear, awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    int64_t index;
    if (quantizer->be->find_nonfinite(quantizer->device, quantizer->d,
                                      (size_t)awq_extent_elements(extent), &index, err))
        return err->status;
    if (index < 0) return blame_activations(quantizer, linear, err);
    int64_t group_size = awq_quantizer_grid(quantizer, linear).group_size;
    char name[AWQ_NAME_BYTES];
    return awq_fail(
        err, AWQ_ERR_NUMERIC,
        "'%s': the scale of row %lld, group %lld overflows float16, in which AWQ "
        "stores it; the weights are damaged, or too large for AWQ",
        awq_linear_tensor_name(name, quantizer->model, quantizer->decoder->index, linear, "weight"),
        (long long)(index / extent.in), (long long)(index % extent.in / group_size));
}
