/* SPDX-License-Identifier: MIT */
#include "layers/search/quantizer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/gram.h"
#include "layers/forward/extent.h"

awq_grid awq_quantizer_grid(const awq_quantizer *quantizer, int linear)
{
    return awq_recipe_grid(quantizer->recipe, quantizer->model, quantizer->spec->linear[linear].in);
}

/* ---- what linears are measured by ---- */

awq_measure awq_quantizer_measure(const awq_quantizer *quantizer, int linear)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    return (awq_measure){spec->group, spec->expert};
}

/* To the Gram matrix of what an expert reads all tokens' is added, as if it were of as many tokens
 * as there are channels: an expert that saw few is measured by what all are like, one that saw many
 * by its own (docs/quality.md). */
static awq_status add_common(const awq_quantizer *quantizer, awq_error *err)
{
    int group = quantizer->spec->half[AWQ_HALF_MLP].group;
    int64_t channels = quantizer->spec->group[group].channels;
    float *weight = awq_allocate((size_t)channels * sizeof *weight, "weights of rows", err);
    if (!weight) return err->status;
    for (int64_t i = 0; i < channels; i++)
        weight[i] = (float)channels / (float)quantizer->statistics->tokens;
    quantizer->be->upload(quantizer->device, quantizer->columns, weight,
                          (size_t)channels * sizeof *weight);
    free(weight);
    const float *all = quantizer->statistics->gram[group];
    for (int64_t first = 0; first < channels; first += AWQ_GRAM_BLOCK) { /* block columns */
        int64_t at = awq_gram_index(channels, 0, first), width = awq_gram_width(channels, first);
        quantizer->be->scatter_add(quantizer->device, quantizer->own.gram + at, all + at, NULL,
                                   quantizer->columns, first + width, width);
    }
    return AWQ_OK;
}

awq_status awq_quantizer_hold(awq_quantizer *quantizer, int expert, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    if (expert == AWQ_NOBODY || expert == quantizer->held) return AWQ_OK;
    const awq_mlp_spec *mlp = &spec->mlps.mlp[expert];
    int group = spec->half[AWQ_HALF_MLP].group;
    quantizer->held = AWQ_NOBODY;
    if (awq_expert_statistics_make(&(awq_forward){.device = quantizer->device,
                                                  .model = quantizer->model,
                                                  .decoder = quantizer->decoder,
                                                  .scratch = quantizer->scratch,
                                                  .statistics = quantizer->statistics},
                                   mlp, &quantizer->own, err))
        return err->status;
    quantizer->be->gram_finish(quantizer->device, quantizer->own.gram, spec->group[group].channels);
    quantizer->be->gram_finish(quantizer->device, quantizer->own.down_gram,
                               spec->linear[mlp->down].in);
    if (add_common(quantizer, err)) return err->status;
    quantizer->held = expert;
    int64_t tokens = awq_statistics_tokens(quantizer->statistics, spec->linear[mlp->down].group);
    return awq_quantizer_step(quantizer, AWQ_PHASE_GRAM,
                              (double)tokens * awq_expert_statistics_flops(spec, mlp), err);
}

const float *awq_quantizer_gram(const awq_quantizer *quantizer, int linear)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    assert(spec->expert == AWQ_NOBODY || spec->expert == quantizer->held);
    if (quantizer->spec->group[spec->group].expert >= 0) return quantizer->own.down_gram;
    return spec->expert >= 0 ? quantizer->own.gram : quantizer->statistics->gram[spec->group];
}

const void *awq_quantizer_form(awq_quantizer *quantizer, int linear)
{
    awq_measure by = awq_quantizer_measure(quantizer, linear);
    if (by.group == quantizer->formed.group && by.expert == quantizer->formed.expert)
        return quantizer->form;
    quantizer->be->prepare_form(quantizer->device, quantizer->form,
                                awq_quantizer_gram(quantizer, linear),
                                quantizer->spec->linear[linear].in);
    quantizer->formed = by;
    return quantizer->form;
}

const double *awq_quantizer_abs_sum(const awq_quantizer *quantizer, int group)
{
    int expert = quantizer->spec->group[group].expert;
    assert(expert == AWQ_NOBODY || expert == quantizer->held);
    return expert >= 0 ? quantizer->own.abs_sum : quantizer->statistics->abs_sum[group];
}

/* ---- what the steps share ---- */

bool awq_is_clipped(const awq_quantizer *quantizer, int linear)
{
    return quantizer->recipe->clip != AWQ_CLIP_OFF && quantizer->spec->linear[linear].clipped;
}

double awq_clip_flops(awq_clip_shape shape, awq_extent extent, const awq_grid *grid)
{
    return 2.0 * awq_clip_trials(shape) * (double)awq_extent_elements(extent) *
           (double)grid->group_size;
}

bool awq_quantizer_keeps(const awq_quantizer *quantizer, int linear)
{
    return awq_model_keeps(quantizer->model, quantizer->decoder->index, linear);
}

bool awq_quantizer_keeps_group(const awq_quantizer *quantizer, int index)
{
    const awq_group_spec *group = &quantizer->spec->group[index];
    for (int i = 0; i < group->count; i++)
        if (!awq_quantizer_keeps(quantizer, awq_group_reader(quantizer->spec, group, i)))
            return false;
    return true;
}

bool awq_quantizer_shares(const awq_quantizer *quantizer, int group)
{
    return quantizer->exchange && group == quantizer->spec->half[AWQ_HALF_MLP].group;
}

awq_status awq_quantizer_step(awq_quantizer *quantizer, awq_phase phase, double flops,
                              awq_error *err)
{
    const awq_quantize_watch *watch = quantizer->watch;
    quantizer->be->lap(quantizer->device, &quantizer->out->record.seconds[phase]);
    if (watch && watch->step && !watch->step(watch->context, phase, flops))
        return awq_fail(err, AWQ_ERR_INTERRUPTED, "stopped while quantizing, as asked");
    return AWQ_OK;
}

awq_status awq_quantizer_spend(awq_quantizer *quantizer, double flops, awq_error *err)
{
    if (flops > quantizer->planned) flops = quantizer->planned;
    quantizer->planned -= flops;
    return awq_quantizer_step(quantizer, AWQ_PHASE_SEARCH, flops, err);
}

void *awq_allocate(size_t bytes, const char *what, awq_error *err)
{
    void *memory = malloc(bytes + !bytes);
    if (!memory) awq_fail(err, AWQ_ERR_MEMORY, "no memory for %s: %zu bytes", what, bytes);
    return memory;
}

float *awq_vector_download(awq_device *device, const float *from, int64_t count, awq_error *err)
{
    size_t bytes = (size_t)count * sizeof(float);
    float *host = awq_allocate(bytes, "a vector", err);
    if (host && device->backend->download(device, host, from, bytes, err)) {
        free(host);
        return NULL;
    }
    return host;
}

void awq_trial_codes(awq_quantizer *quantizer, int linear, const void *weight, awq_extent extent,
                     const float *scales, bool clipped, double *flops)
{
    const awq_backend *be = quantizer->be;
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    be->fold(quantizer->device, quantizer->folded, weight, scales, NULL, extent);
    if (clipped) {
        be->clip_search(quantizer->device, &quantizer->clip, quantizer->folded,
                        awq_quantizer_gram(quantizer, linear), scales, extent, &grid);
        *flops += awq_clip_flops(quantizer->clip.shape, extent, &grid);
    }
    be->quantize(quantizer->device, quantizer->codes, quantizer->steps, quantizer->zeros,
                 quantizer->folded, clipped ? &quantizer->clip : NULL, extent, &grid);
}

/* ---- whose fault it is that a squared error is not a finite number ---- */

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

/* `group` is of all, row by row. */
static awq_status blame_group(const awq_quantizer *quantizer, int linear, int64_t group,
                              awq_error *err)
{
    char name[AWQ_NAME_BYTES];
    int64_t groups =
        quantizer->spec->linear[linear].in / awq_quantizer_grid(quantizer, linear).group_size;
    return awq_fail(
        err, AWQ_ERR_NUMERIC,
        "'%s': the scale of row %lld, group %lld overflows float16, in which AWQ "
        "stores it; the weights are damaged, or too large for AWQ",
        awq_linear_tensor_name(name, quantizer->model, quantizer->decoder->index, linear, "weight"),
        (long long)(group / groups), (long long)(group % groups));
}

awq_status awq_blame_nonfinite(awq_quantizer *quantizer, int linear, awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    int64_t index, size = awq_quantizer_grid(quantizer, linear).group_size;
    if (quantizer->be->find_nonfinite(quantizer->device, quantizer->d,
                                      (size_t)awq_extent_elements(extent), &index, err))
        return err->status;
    return index < 0 ? blame_activations(quantizer, linear, err)
                     : blame_group(quantizer, linear, index / size, err);
}

awq_status awq_blame_scales(const awq_quantizer *quantizer, int linear, awq_error *err)
{
    const uint16_t *scales = quantizer->out->linear[linear].scales;
    int64_t groups = quantizer->out->record.linear[linear].groups;
    for (int64_t i = 0; i < groups; i++)
        if (!isfinite(awq_float_from_f16(scales[i]))) return blame_group(quantizer, linear, i, err);
    return blame_activations(quantizer, linear, err);
}
