/* SPDX-License-Identifier: MIT
 * What a quantization asks of its model: that the format can hold it, and what --skip keeps. */
#include <stdio.h>
#include <string.h>

#include "coordinator/check/check.h"
#include "io/core/log.h"
#include "jobs/options/skip.h"

/* ---- what the format can hold ---- */

/* A list of what was said, of which each is said once. */
typedef struct said {
    char reason[16][AWQ_REASON_BYTES];
    int count;
} said;

static bool is_said(said *list, const char *reason)
{
    for (int i = 0; i < list->count; i++)
        if (!strcmp(list->reason[i], reason)) return true;
    if (list->count < (int)(sizeof list->reason / sizeof *list->reason))
        snprintf(list->reason[list->count++], AWQ_REASON_BYTES, "%s", reason);
    return false;
}

static void check_linear(const awq_linear_spec *linear, const awq_quantization *quantization,
                         said *list, awq_problems *problems)
{
    char reason[AWQ_REASON_BYTES];
    if (quantization->group_size > 0 && linear->in % quantization->group_size) {
        snprintf(reason, sizeof reason, "--group-size %lld does not divide the %lld inputs of ",
                 (long long)quantization->group_size, (long long)linear->in);
        if (!is_said(list, reason))
            awq_problems_add(problems, AWQ_ERR_INPUT, "%s%s; use one that does, or -1", reason,
                             linear->name);
    }
    if (!awq_format_holds_linear(quantization, linear->out, linear->in, reason) &&
        !is_said(list, reason))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "%s %s; use another --format, or keep it in full precision by --skip",
                         linear->name, reason);
}

/* One line for each width that does not fit, with the first linear that has it. */
static void check_linears(const awq_model *model, const awq_quantization *quantization,
                          awq_problems *problems)
{
    said list = {.count = 0};
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++)
            if (!awq_model_keeps_all(model, kind, i))
                check_linear(&model->kind[kind].linear[i], quantization, &list, problems);
}

static bool check_group_size(const awq_options *options, awq_problems *problems)
{
    static const int64_t sizes[] = {-1, 32, 64, 128, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (options->recipe.group_size == sizes[i]) return true;
    awq_problems_add(problems, AWQ_ERR_USAGE, "--group-size takes 32, 64, 128, 256 or -1, not %lld",
                     (long long)options->recipe.group_size);
    return false;
}

static bool check_bits(const awq_options *options, awq_problems *problems)
{
    char reason[AWQ_REASON_BYTES];
    awq_quantization quantization = {.format = options->recipe.format,
                                     .bits = (int)options->recipe.bits};
    if (awq_format_holds(&quantization, reason)) return true;
    awq_problems_add(problems, AWQ_ERR_USAGE, "--bits %lld: %s", (long long)options->recipe.bits,
                     reason);
    return false;
}

/* ---- what --skip keeps in full precision ---- */

/* Says the first layer where of the linears that engines load as this one some are kept, and others
 * not. */
static void warn_of_split(const awq_model *model, const char *fused)
{
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const awq_layer_spec *spec = awq_model_layer(model, layer);
        bool kept = false, quantized = false;
        for (int i = 0; i < spec->linears; i++) {
            if (spec->linear[i].fused != fused) continue;
            kept = kept || awq_model_keeps(model, layer, i);
            quantized = quantized || !awq_model_keeps(model, layer, i);
        }
        if (!kept || !quantized) continue;
        awq_report_warning("--skip keeps some of %s of layer %lld in full precision and not "
                           "others; vLLM loads these as one linear, and cannot load that",
                           fused, (long long)layer);
        return;
    }
}

/* Each once. */
static void warn_of_fused(const awq_model *model)
{
    const char *told[8];
    int count = 0;
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears && count < 8; i++) {
            const char *fused = model->kind[kind].linear[i].fused;
            int at = 0;
            while (at < count && told[at] != fused) at++;
            if (!fused || at < count) continue;
            told[count++] = fused;
            warn_of_split(model, fused);
        }
}

/* Float8, or codes: numbers of 32 bits at most that are no weight's. */
static bool is_quantized(const awq_tensor *tensor)
{
    return tensor->dims > 1 && !awq_dtype_is_weight(tensor->dtype) && tensor->dtype != AWQ_BOOL &&
           awq_dtype_bytes(tensor->dtype) <= sizeof(float);
}

/* What is quantized means nothing without its scales, and the output's config.json will speak of
 * another quantization. */
static void warn_of_copied(const awq_checkpoint *checkpoint)
{
    size_t count = 0;
    const awq_tensor *first = NULL;
    for (size_t i = 0; i < awq_checkpoint_copies(checkpoint); i++) {
        const awq_tensor *tensor = awq_checkpoint_copied(checkpoint, i);
        if (!is_quantized(tensor)) continue;
        if (!count++) first = tensor;
    }
    if (count)
        awq_report_warning("%zu tensors beside the text model are quantized already (%s) and are "
                           "copied so, such as '%.200s'; engines that load them need to be told, "
                           "since the output's config.json does not say how",
                           count, awq_dtype_name(first->dtype), first->name);
}

static bool is_kept_altogether(const awq_model *model)
{
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++)
            if (!awq_model_keeps_all(model, kind, i)) return false;
    return true;
}

static bool has_absorbed(const awq_model *model)
{
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++)
            if (model->kind[kind].linear[i].absorbed) return true;
    return false;
}

static void check_skip(const awq_options *options, awq_checkpoint *checkpoint,
                       awq_problems *problems)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    int last = awq_model_layer(model, 0)->linears - 1;
    char name[AWQ_NAME_BYTES];
    int64_t kept;
    awq_error err;
    while (last && awq_model_layer(model, 0)->linear[last].exempt) last--;
    if (awq_job_skip(options, checkpoint, &kept, &err))
        awq_problems_add_error(problems, &err);
    else if (options->skip && !kept)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--skip '%.200s' matches no linear of '%s'; they have names such as %s",
                         options->skip, options->model, awq_linear_full_name(name, model, 0, last));
    else if (options->kv_b_proj == AWQ_ABSORBED_QUANTIZE && !has_absorbed(model))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--kv-b-proj quantize: '%s' has no latent attention, and no such linear; "
                         "leave the option out",
                         options->model);
    else if (is_kept_altogether(model))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--skip '%.200s' matches every linear of '%s': nothing would be quantized",
                         options->skip, options->model);
    else
        warn_of_fused(model);
}

static void warn_of_coarse(const awq_options *options, const awq_checkpoint *checkpoint)
{
    awq_storage storage = awq_checkpoint_storage(checkpoint);
    if (storage.coarse)
        awq_report_warning("model '%s' is quantized already (%s); this quantizes what that has "
                           "left, and adds its error to that; give the full-precision model if "
                           "there is one",
                           options->model, storage.text);
}

void awq_warn_of_unknown(const char *path, const awq_model *model)
{
    if (*model->unknown_type)
        awq_report_warning("model '%s' has model_type '%s', which is not known; its config.json "
                           "says nothing that %s's does not, so it is taken as %s",
                           path, model->unknown_type, model->family, model->family);
}

void awq_check_quantizable(const awq_options *options, const awq_inputs *inputs,
                           awq_problems *problems)
{
    bool known = check_group_size(options, problems);
    known = check_bits(options, problems) && known;
    if (!inputs->model) return;
    const awq_model *model = awq_checkpoint_model(inputs->model);
    awq_checkpoint_dequantize(inputs->model);
    if (model->quantized) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "model '%s' is already quantized to %d bits; give the full-precision one",
                         options->model, model->quantization.bits);
        return;
    }
    awq_warn_of_unknown(options->model, model);
    warn_of_coarse(options, inputs->model);
    check_skip(options, inputs->model, problems);
    warn_of_copied(inputs->model);
    if (options->recipe.objective == AWQ_OBJECTIVE_MODULE && awq_model_experts(model))
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--objective module is not for a mixture of experts, such as '%s': the "
                         "experts' outputs depend on where the router sends each token; use "
                         "--objective linear",
                         options->model);
    awq_quantization quantization = awq_recipe_quantization(&options->recipe, model->dtype);
    if (known) check_linears(model, &quantization, problems);
}
