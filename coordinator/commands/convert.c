/* SPDX-License-Identifier: MIT
 * awqrun convert: a quantized checkpoint, ours or not, in another format, the same codes, zero
 * points and scales. Each file appears whole and config.json last, so it is safe to run again after
 * a crash: what was written is written anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/assemble/companions.h"
#include "coordinator/assemble/conversion.h"
#include "coordinator/check/check.h"
#include "coordinator/commands/commands.h"
#include "io/core/fault.h"
#include "io/core/log.h"
#include "io/files/json.h"
#include "io/files/publish.h"
#include "io/records/layer_record.h"
#include "jobs/options/amounts.h"
#include "jobs/plan/job.h"
#include "jobs/run/run_lock.h"

typedef struct convert_run {
    const awq_options *options;
    awq_inputs inputs;
    awq_quantization to;
    awq_conversion *conversion;
    char directory[AWQ_PATH_BYTES]; /* OUT/.awqrun */
    awq_run_lock *lock;
} convert_run;

/* ---- what can be refused at the start ---- */

/* How many scales another type would change. */
typedef struct inexact {
    int64_t count, scales;
    const char *tensor; /* the first */
    float value;
} inexact;

static void count_inexact(const awq_tensor *tensor, awq_dtype dtype, inexact *found)
{
    const char *data = tensor->data;
    size_t bytes = awq_dtype_bytes(tensor->dtype);
    int64_t elements = awq_tensor_elements(tensor);
    found->scales += elements;
    for (int64_t i = 0; i < elements; i++) {
        unsigned char stored[sizeof(float)];
        float value, back;
        awq_widen(&value, data + (size_t)i * bytes, tensor->dtype, 1);
        awq_narrow(stored, &value, dtype, 1);
        awq_widen(&back, stored, dtype, 1);
        if (back == value) continue;
        if (!found->count++) {
            found->tensor = tensor->name;
            found->value = value;
        }
    }
}

static inexact count_all_inexact(const awq_checkpoint *from, awq_dtype dtype)
{
    inexact found = {0};
    const awq_model *model = awq_checkpoint_model(from);
    for (int64_t layer = 0; layer < model->layers; layer++)
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++) {
            const awq_linear_spec *spec = &awq_model_layer(model, layer)->linear[linear];
            awq_part parts[AWQ_MAX_PARTS];
            if (!awq_model_packs(model, layer, linear)) continue;
            int count = awq_format_parts(&model->quantization, spec->out, spec->in, parts);
            for (int i = 0; i < count; i++)
                if (parts[i].scales)
                    count_inexact(awq_checkpoint_linear(from, layer, linear, parts[i].suffix),
                                  dtype, &found);
        }
    return found;
}

static void check_scales(const convert_run *run, awq_problems *problems)
{
    inexact found = count_all_inexact(run->inputs.model, run->to.scales);
    const char *format = awq_format_name(run->to.format);
    if (found.count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "%lld of %lld scales of '%s' are not exact in %s, which %s stores them "
                         "in (the first is %.9g, in '%s'); quantize the full-precision model with "
                         "--format %s instead",
                         (long long)found.count, (long long)found.scales, run->options->model,
                         awq_dtype_name(run->to.scales), format, (double)found.value, found.tensor,
                         format);
}

/* The first linear that does not fit. */
static bool check_linears(const convert_run *run, awq_problems *problems)
{
    const awq_model *model = awq_checkpoint_model(run->inputs.model);
    char reason[AWQ_REASON_BYTES];
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++) {
            const awq_linear_spec *linear = &model->kind[kind].linear[i];
            if (awq_model_keeps_all(model, kind, i) ||
                awq_format_holds_linear(&run->to, linear->out, linear->in, reason))
                continue;
            awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': %s %s", run->options->model,
                             linear->name, reason);
            return false;
        }
    return true;
}

/* What is copied stays as it is, and cannot be in the old format. */
static bool check_copied(const convert_run *run, awq_problems *problems)
{
    const awq_checkpoint *model = run->inputs.model;
    for (size_t i = 0; i < awq_checkpoint_copies(model); i++) {
        const char *name = awq_checkpoint_copied(model, i)->name, *suffix = strrchr(name, '.');
        if (!suffix || (strcmp(suffix, ".qweight") && strcmp(suffix, ".weight_packed"))) continue;
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s': '%s' is quantized, and not one of the text model's layers, which "
                         "alone are converted; quantize the source in the other format",
                         run->options->model, name);
        return false;
    }
    return true;
}

static void check_format(convert_run *run, awq_problems *problems)
{
    const awq_model *model = awq_checkpoint_model(run->inputs.model);
    char reason[AWQ_REASON_BYTES];
    if (!model->quantized) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' is not quantized; awqrun quantize writes every format",
                         run->options->model);
        return;
    }
    run->to = model->quantization;
    run->to.format = run->options->recipe.format;
    run->to.scales = awq_format_scale_dtype(run->to.format, model->dtype);
    run->to.symmetric = run->options->recipe.symmetric ||
                        (run->to.format == AWQ_FORMAT_COMPRESSED && model->quantization.symmetric);
    if (!awq_format_holds(&run->to, reason))
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': %s", run->options->model, reason);
    else if (check_linears(run, problems) && check_copied(run, problems))
        check_scales(run, problems);
}

static awq_status plan(convert_run *run, awq_problems *problems, awq_error *err)
{
    uint64_t bytes = 0;
    if (awq_conversion_create(run->inputs.model, &run->to, (uint64_t)run->options->max_shard_size,
                              &run->conversion, err) ||
        awq_path_join(run->directory, run->options->out, AWQ_RUN_DIRECTORY_NAME, err))
        return err->status;
    const awq_shards *shards = awq_conversion_shards(run->conversion);
    for (size_t i = 0; i < shards->count; i++) bytes += shards->items[i].bytes;
    awq_check_room(run->options->out, bytes, problems);
    return AWQ_OK;
}

/* ---- the work ---- */

/* Says in OUT/.awqrun/job.json whose files these are; another job's are refused. */
static awq_status claim(convert_run *run, awq_problems *problems, awq_error *err)
{
    if (awq_path_make_directory(run->directory, err) ||
        awq_run_lock_take(run->directory, &run->lock, err))
        return err->status;
    if (run->options->restart &&
        (awq_out_discard(run->options->out, err) || awq_run_discard(run->directory, err)))
        return err->status;
    json_t *model = awq_checkpoint_fingerprint(run->inputs.model);
    json_t *job =
        json_pack("{s:i, s:s, s:b, s:I, s:o}", "format", AWQ_RUN_FORMAT, "convert to",
                  awq_format_name(run->to.format), "symmetric", (int)run->to.symmetric,
                  "max-shard-size", (json_int_t)run->options->max_shard_size, "model", model);
    if (!job) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the job's fingerprint");
    awq_status status = awq_run_prepare(run->directory, job, run->options, problems, err);
    json_decref(job);
    if (!status && problems->count)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s' holds the run of another job (differences above); give another "
                         "--out, or --restart to discard it",
                         run->directory);
    return status;
}

static awq_status write_json(const convert_run *run, const char *name, json_t *object,
                             awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (!object) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", name);
    awq_status status = awq_path_join(path, run->options->out, name, err);
    if (!status) status = awq_json_write(path, object, err);
    json_decref(object);
    return status;
}

static awq_status write_shards(const convert_run *run, awq_error *err)
{
    const awq_shards *shards = awq_conversion_shards(run->conversion);
    int removed;
    if (awq_publish_sweep(run->options->out, &removed, err)) return err->status;
    for (size_t i = 0; i < shards->count; i++) {
        awq_run_lock_touch(run->lock);
        if (awq_conversion_write(run->conversion, &shards->items[i], run->options->out, err))
            return err->status;
        AWQ_LOG(AWQ_LOG_VERBOSE, "shard written", AWQ_TEXT("name", shards->items[i].name));
        AWQ_FAULT_POINT("convert-after-shard");
    }
    if (shards->count == 1) return AWQ_OK;
    return write_json(run, "model.safetensors.index.json", awq_conversion_index(run->conversion),
                      err);
}

/* Everything, config.json last. The statistics of the layers are the same, the tensors are others;
 * a checkpoint that is not awqrun's has none. */
static awq_status write_all(const convert_run *run, awq_error *err)
{
    char from[AWQ_PATH_BYTES], to[AWQ_PATH_BYTES];
    const awq_options *options = run->options;
    const awq_checkpoint *model = run->inputs.model;
    if (write_shards(run, err) || awq_companions_copy(options->model, options->out, err) ||
        awq_path_join(from, options->model, AWQ_STATISTICS_NAME, err) ||
        awq_path_join(to, options->out, AWQ_STATISTICS_NAME, err))
        return err->status;
    if (awq_path_exists(from) &&
        awq_layer_records_copy(from, to, awq_conversion_sums(run->conversion), err))
        return err->status;
    return write_json(run, "config.json", awq_checkpoint_format_config(model, &run->to), err);
}

static void print_summary(const convert_run *run)
{
    const awq_shards *shards = awq_conversion_shards(run->conversion);
    const awq_model *model = awq_checkpoint_model(run->inputs.model);
    printf("%s: %s as %s, %d bits, groups of %lld, the same codes\n", run->options->out,
           awq_format_title(model->quantization.format), awq_format_title(run->to.format),
           run->to.bits, (long long)run->to.group_size);
    for (size_t i = 0; i < shards->count; i++) {
        char bytes[32];
        awq_format_bytes(bytes, (double)shards->items[i].bytes);
        printf("  %-34s %10s\n", shards->items[i].name, bytes);
    }
}

static awq_status convert(convert_run *run, awq_problems *problems, awq_error *err)
{
    if (plan(run, problems, err) || problems->count) return problems->count ? AWQ_OK : err->status;
    awq_status status = claim(run, problems, err);
    if (!status && !problems->count) status = write_all(run, err);
    if (!status && !problems->count) status = awq_path_remove_tree(run->directory, err);
    awq_run_lock_release(run->lock);
    if (!status && !problems->count) print_summary(run);
    return status;
}

int awq_command_convert(const awq_call *call)
{
    convert_run run = {.options = call->options};
    awq_out_state state;
    awq_problems problems;
    awq_error err;
    int code = AWQ_EXIT_DONE;
    awq_problems_init(&problems);
    awq_check_source(call->options, &run.inputs, &problems);
    if (run.inputs.model) check_format(&run, &problems);
    awq_check_output(run.options, &run.inputs, &state, &problems);
    if (state == AWQ_OUT_COMPLETE && !run.options->restart)
        awq_problems_add(&problems, AWQ_ERR_INPUT,
                         "'%s' holds a complete checkpoint; give another --out, or --restart to "
                         "replace it",
                         run.options->out);
    if (!problems.count && convert(&run, &problems, &err)) code = awq_exit_failed(&err);
    if (problems.count) code = awq_exit_problems(&problems);
    awq_problems_release(&problems);
    awq_conversion_free(run.conversion);
    awq_inputs_release(&run.inputs);
    return code;
}
