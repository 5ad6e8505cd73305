/* SPDX-License-Identifier: MIT
 * What can be seen without the bytes of tensors: headers, config, index, what awqrun.h5 records,
 * the source. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/check/check.h"
#include "coordinator/verify/verify.h"
#include "io/files/json.h"
#include "io/files/path.h"
#include "io/records/layer_record.h"
#include "io/records/tensor_sums.h"
#include "jobs/run/run_directory.h"

static void unchecked(awq_verification *v, const char *sentence)
{
    awq_problems_add(&v->unchecked, AWQ_OK, "%s", sentence);
}

static void check_files(awq_verification *v)
{
    awq_checkpoint_check_index(v->made, &v->structure);
    awq_checkpoint_find_leftovers(v->made, &v->structure);
    if (!v->model) {
        unchecked(v, "tensors against config.json, which does not describe a model");
        return;
    }
    if (v->model->quantized) return;
    awq_problems_add(&v->structure, AWQ_ERR_INPUT,
                     "'%s' is not quantized: its config.json has no quantization_config, and no "
                     "tensor is packed",
                     v->options->out);
}

static bool is_there(const awq_verification *v, const char *name)
{
    for (size_t i = 0; i < awq_checkpoint_shard_count(v->made); i++) {
        const awq_safetensors *file = awq_checkpoint_shard(v->made, i);
        if (file && awq_safetensors_find(file, name)) return true;
    }
    return false;
}

static bool all_are_open(const awq_verification *v)
{
    for (size_t i = 0; i < awq_checkpoint_shard_count(v->made); i++)
        if (!awq_checkpoint_shard(v->made, i)) return false;
    return true;
}

/* Tensors that were written and are gone, unless config.json or the index call for them: then it
 * was said. */
static void check_recorded_names(awq_verification *v, const awq_tensor_sums *sums)
{
    for (size_t i = 0; all_are_open(v) && i < sums->count; i++) {
        const char *name = awq_tensor_sums_name(sums, i);
        if (!is_there(v, name) && !awq_checkpoint_calls_for(v->made, name))
            awq_problems_add(&v->structure, AWQ_ERR_INPUT,
                             "'%s' lacks tensor '%s', which was written", v->options->out, name);
    }
}

/* Of what stands beside the model any tensor would do, and only the record tells a stranger. */
static void check_strangers(awq_verification *v, const awq_tensor_sums *sums)
{
    for (size_t i = 0; sums->count && i < awq_checkpoint_copies(v->made); i++) {
        const char *name = awq_checkpoint_copied(v->made, i)->name;
        if (awq_tensor_sums_find(sums, name) == sums->count)
            awq_problems_add(&v->structure, AWQ_ERR_INPUT,
                             "'%s' holds tensor '%s', which was not written", v->options->out,
                             name);
    }
}

static awq_status read_job(const char *path, json_t **job, awq_error *err)
{
    char *text;
    if (awq_layer_records_job(path, &text, err)) return err->status;
    awq_status status = awq_json_parse(text, strlen(text), path, job, err);
    free(text);
    return status;
}

static void read_statistics(awq_verification *v)
{
    char path[AWQ_PATH_BYTES];
    awq_tensor_sums sums = {0};
    awq_error err;
    if (awq_path_join(path, v->options->out, AWQ_STATISTICS_NAME, &err) || !awq_path_exists(path)) {
        unchecked(v, "tensors against their crc32: there is no " AWQ_STATISTICS_NAME
                     ", which awqrun writes beside a checkpoint");
        return;
    }
    if (awq_tensor_sums_read(path, &sums, &err) || read_job(path, &v->job, &err)) {
        awq_problems_add_error(&v->structure, &err);
        unchecked(v, "tensors against their crc32: " AWQ_STATISTICS_NAME " is damaged");
    } else {
        v->recorded = true;
        v->sums = sums.count;
        check_recorded_names(v, &sums);
        check_strangers(v, &sums);
        if (!sums.count)
            unchecked(v, "tensors against their crc32: this version of " AWQ_STATISTICS_NAME
                         " holds none");
    }
    awq_tensor_sums_release(&sums);
}

/* The source must be sound itself; another model is a finding, and not compared with. */
static void open_source(awq_verification *v, awq_problems *problems)
{
    char what[128];
    if (!v->options->model) return;
    v->source = awq_checkpoint_open(v->options->model, problems);
    if (!v->source) return;
    awq_checkpoint_dequantize(v->source);
    const awq_model *source = awq_checkpoint_model(v->source);
    if (source->quantized)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "--model '%s' is quantized; give the full-precision model",
                         v->options->model);
    bool differ = v->model && awq_models_differ(v->model, source, what, sizeof what);
    if (v->model && !differ && v->model->root != source->root) {
        differ = true;
        snprintf(what, sizeof what, "names that begin with '%s', not '%s'", source->root->decoder,
                 v->model->root->decoder);
    }
    if (v->model && !differ) {
        if (!v->recorded)
            unchecked(v, "folded weights against the source: without the scales in a "
                         "sound " AWQ_STATISTICS_NAME " the folding cannot be undone");
        return;
    }
    if (v->model)
        awq_problems_add(&v->structure, AWQ_ERR_INPUT, "the source '%s' is another model: %s",
                         v->options->model, what);
    unchecked(v, v->model ? "weights against the source, which is another model"
                          : "weights against the source: config.json does not describe a model");
    awq_checkpoint_close(v->source);
    v->source = NULL;
}

bool awq_verify_structure(awq_verification *v, awq_problems *problems)
{
    v->made = awq_checkpoint_survey(v->options->out, &v->structure);
    for (size_t i = 0; !v->made && i < v->structure.count; i++)
        awq_problems_add_error(problems, &v->structure.items[i]);
    if (!v->made) return false;
    v->model = awq_checkpoint_model(v->made);
    v->parts = 1 + (v->model ? v->model->layers : 0);
    check_files(v);
    read_statistics(v);
    open_source(v, problems);
    if (!problems->count && v->layer >= 0) awq_verify_check_reproducible(v, problems);
    return !problems->count;
}
