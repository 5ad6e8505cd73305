/* SPDX-License-Identifier: MIT
 * What a quantization asks of its model: that the format can hold it, and what --skip leaves. */
#include <string.h>

#include "coordinator/check.h"
#include "io/log.h"
#include "jobs/skip.h"

/* ---- what the format can hold ---- */

static int64_t group_of(const awq_quantization *quantization, int64_t in)
{
    return quantization->group_size < 0 ? in : quantization->group_size;
}

/* Whether an earlier linear of the model that is quantized had the same to be said about it. */
static bool is_said(const awq_model *model, const awq_quantization *quantization, awq_linear linear,
                    const char *reason)
{
    char earlier[AWQ_REASON_BYTES];
    int64_t out, in, columns;
    awq_linear_shape(model, linear, &out, &columns);
    for (awq_linear other = 0; other < linear; other++) {
        if (awq_model_leaves_all(model, other)) continue;
        awq_linear_shape(model, other, &out, &in);
        if (!reason && in == columns) return true;
        if (reason && !awq_format_holds_linear(quantization, out, in, earlier) &&
            !strcmp(reason, earlier))
            return true;
    }
    return false;
}

/* One line for each width that does not fit, with the first linear that has it. */
static void check_linears(const awq_model *model, const awq_quantization *quantization,
                          awq_problems *problems)
{
    char reason[AWQ_REASON_BYTES], name[AWQ_NAME_BYTES];
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        int64_t out, in;
        if (awq_model_leaves_all(model, linear)) continue;
        awq_linear_shape(model, linear, &out, &in);
        if (in % group_of(quantization, in) && !is_said(model, quantization, linear, NULL))
            awq_problems_add(problems, AWQ_ERR_INPUT,
                             "--group-size %lld does not divide the %lld inputs of %s; use one "
                             "that does, or -1",
                             (long long)quantization->group_size, (long long)in,
                             awq_linear_name(name, model, linear));
        if (!awq_format_holds_linear(quantization, out, in, reason) &&
            !is_said(model, quantization, linear, reason))
            awq_problems_add(problems, AWQ_ERR_INPUT, "%s %s", awq_linear_name(name, model, linear),
                             reason);
    }
}

static bool check_group_size(const awq_options *options, awq_problems *problems)
{
    static const int64_t sizes[] = {-1, 32, 64, 128, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (options->group_size == sizes[i]) return true;
    awq_problems_add(problems, AWQ_ERR_USAGE, "--group-size takes 32, 64, 128, 256 or -1, not %lld",
                     (long long)options->group_size);
    return false;
}

static bool check_bits(const awq_options *options, awq_problems *problems)
{
    char reason[AWQ_REASON_BYTES];
    awq_quantization quantization = {.format = (awq_format)options->format,
                                     .bits = (int)options->bits};
    if (awq_format_holds(&quantization, reason)) return true;
    awq_problems_add(problems, AWQ_ERR_USAGE, "--bits %lld: %s", (long long)options->bits, reason);
    return false;
}

/* ---- what --skip leaves ---- */

/* Linears that vLLM loads as one: q, k and v; gate and up of an MLP; all of a layer's experts. */
static int fused_with(const awq_model *model, awq_linear linear)
{
    awq_kind kind = awq_linear_kind(model, linear);
    int mlp = awq_linear_mlp(linear);
    if (kind <= AWQ_V) return 0;
    if (linear >= AWQ_DENSE_LINEARS && kind <= AWQ_DOWN && mlp <= (int)model->experts.count)
        return 1;
    return kind == AWQ_GATE || kind == AWQ_UP ? 2 : -1;
}

static const char *const fused_names[] = {"q_proj, k_proj and v_proj", "the experts",
                                          "gate_proj and up_proj"};
enum { FUSED = sizeof fused_names / sizeof *fused_names };

/* Whether some of them are skipped in a layer and others not. */
static bool is_split(const awq_model *model, int64_t layer, int fused)
{
    bool left = false, quantized = false;
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        if (!awq_layer_has(model, layer, linear) || fused_with(model, linear) != fused) continue;
        left = left || awq_model_leaves(model, layer, linear);
        quantized = quantized || !awq_model_leaves(model, layer, linear);
    }
    return left && quantized;
}

/* The first layer of each. */
static void warn_of_fused(const awq_model *model)
{
    for (int fused = 0; fused < FUSED; fused++)
        for (int64_t layer = 0; layer < model->layers; layer++) {
            if (!is_split(model, layer, fused)) continue;
            awq_report_warning("--skip leaves some of %s of layer %lld in full precision and not "
                               "others; vLLM loads these as one linear, and cannot load that",
                               fused_names[fused], (long long)layer);
            break;
        }
}

static bool is_left_altogether(const awq_model *model)
{
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (!awq_model_leaves_all(model, linear)) return false;
    return true;
}

static void check_skip(const awq_options *options, awq_checkpoint *checkpoint,
                       awq_problems *problems)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    int64_t left;
    awq_error err;
    if (awq_job_skip(options, checkpoint, &left, &err))
        awq_problems_add_error(problems, &err);
    else if (options->skip && !left)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--skip '%.200s' matches no linear of '%s'; they have names such as "
                         "model.layers.0.mlp.down_proj",
                         options->skip, options->model);
    else if (is_left_altogether(model))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--skip '%.200s' matches every linear of '%s': nothing would be quantized",
                         options->skip, options->model);
    else
        warn_of_fused(model);
}

void awq_check_quantizable(const awq_options *options, const awq_inputs *inputs,
                           awq_problems *problems)
{
    bool known = check_group_size(options, problems);
    known = check_bits(options, problems) && known;
    if (!inputs->model) return;
    const awq_model *model = awq_checkpoint_model(inputs->model);
    if (model->quantized) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "model '%s' is already quantized to %d bits; give the full-precision one",
                         options->model, model->quantization.bits);
        return;
    }
    check_skip(options, inputs->model, problems);
    if (options->objective == AWQ_OPTION_OBJECTIVE_MODULE && model->experts.count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--objective module is not for a mixture of experts, such as '%s': the "
                         "experts' outputs depend on where the router sends each token; use "
                         "--objective linear",
                         options->model);
    awq_quantization quantization = awq_job_quantization(options, model);
    if (known) check_linears(model, &quantization, problems);
}
