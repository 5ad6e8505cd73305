/* SPDX-License-Identifier: MIT */
#include "worker/results/check_layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/run/run_directory.h"
#include "layers/forward/tensor_load.h"

typedef struct layer_run {
    awq_worker *worker;
    const awq_model *model;
    const awq_layer_spec *spec; /* NULL: what is in no layer */
    int64_t layer;
    const awq_layer_record *record; /* NULL: none, so that folding cannot be undone */
    awq_layer_checks *checks;
    awq_linear_checks *linears;
    awq_problems *problems;
} layer_run;

/* ---- tensors that are not quantized ---- */

static bool same_kind(const awq_tensor *a, const awq_tensor *b)
{
    return a->dtype == b->dtype && a->dims == b->dims &&
           !memcmp(a->shape, b->shape, (size_t)a->dims * sizeof a->shape[0]);
}

static void compare(const layer_run *run, const awq_tensor *made, const awq_tensor *source)
{
    if (!made || !source) return;
    run->checks->compared++;
    if (!same_kind(made, source) || memcmp(made->data, source->data, made->bytes))
        awq_problems_add(run->problems, AWQ_ERR_CORRUPT,
                         "tensor '%s' is not the source's, bit for bit", made->name);
    awq_safetensors_dont_need(source);
}

static void must_be_equal(const layer_run *run, const char *name)
{
    compare(run, awq_checkpoint_find(run->worker->examined.made, name),
            awq_checkpoint_find(run->worker->has.checkpoint[0], name));
}

/* What is in no layer; of what is copied all must be there. */
static awq_status check_ends(const layer_run *run, awq_error *err)
{
    const awq_checkpoint *source = run->worker->has.checkpoint[0];
    char name[AWQ_NAME_BYTES];
    for (awq_end end = 0; end < AWQ_ENDS; end++)
        if (awq_model_stores(run->model, end))
            must_be_equal(run, awq_end_tensor_name(name, run->model, end));
    for (size_t i = 0; i < awq_checkpoint_copies(source); i++) {
        const char *copied = awq_checkpoint_copied(source, i)->name;
        if (awq_worker_check(run->worker, err)) return err->status;
        must_be_equal(run, copied);
        if (!run->worker->examined.sums.count &&
            !awq_checkpoint_find(run->worker->examined.made, copied))
            awq_problems_add(run->problems, AWQ_ERR_INPUT,
                             "tensor '%s', which the source has beside the model, is missing",
                             copied);
    }
    return AWQ_OK;
}

/* divisors: what the folding divided the vector by, plus 1 if `offset`. */
static void must_be_folded(const layer_run *run, const char *name, bool offset,
                           const float *divisors)
{
    const awq_tensor *made = awq_checkpoint_find(run->worker->examined.made, name);
    const awq_tensor *source = awq_checkpoint_find(run->worker->has.checkpoint[0], name);
    if (!made || !source) return;
    run->checks->compared++;
    int64_t first =
        same_kind(made, source) ? awq_unfold_mismatch(made, source, offset, divisors) : 0;
    if (first >= 0)
        awq_problems_add(run->problems, AWQ_ERR_CORRUPT,
                         "tensor '%s' is not the source's divided by the layer's scales, first at "
                         "element %lld",
                         name, (long long)first);
}

/* In the source it may have another name. */
static void check_vector(const layer_run *run, int index)
{
    char name[AWQ_NAME_BYTES];
    const awq_vector_spec *vector = &run->spec->vector[index];
    const awq_checkpoint *made = run->worker->examined.made;
    const awq_checkpoint *source = run->worker->has.checkpoint[0];
    for (int piece = 0; piece < awq_vector_pieces(vector); piece++) {
        awq_vector_tensor_name(name, run->model, run->layer, index, piece);
        if (vector->absorbs < 0)
            compare(run, awq_checkpoint_vector(made, run->layer, index, piece),
                    awq_checkpoint_vector(source, run->layer, index, piece));
        else if (run->record)
            must_be_folded(run, name, vector->offset, run->record->group[vector->absorbs].scales);
    }
}

static awq_status check_bias(const layer_run *run, int linear, awq_error *err)
{
    char name[AWQ_NAME_BYTES];
    const awq_linear_spec *spec = &run->spec->linear[linear];
    awq_linear_tensor_name(name, run->model, run->layer, linear, "bias");
    bool divided = spec->absorbs >= 0;
    if (!divided) must_be_equal(run, name);
    if (!divided || !run->record) return AWQ_OK;
    float *rows = malloc((size_t)spec->out * sizeof *rows);
    if (!rows) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to check '%s'", name);
    awq_status status = awq_unfold_rows(run->spec, run->record, linear, rows, err);
    if (!status) must_be_folded(run, name, false, rows);
    free(rows);
    return status;
}

/* ---- quantized ones ---- */

/* A linear kept in full precision is folded and rounded to its type, no more. */
static const double most_of_rounding = 0x1p-8;

/* Whether all tensors of a linear are there, and its numbers finite: else it was said already. */
static bool is_whole(const layer_run *run, int linear)
{
    awq_part parts[AWQ_MAX_PARTS] = {{.suffix = "weight", .scales = true}};
    const awq_linear_spec *spec = &run->spec->linear[linear];
    int count = 1;
    awq_error ignored;
    if (awq_model_packs(run->model, run->layer, linear))
        count = awq_format_parts(&run->model->quantization, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++) {
        const awq_tensor *tensor =
            awq_checkpoint_linear(run->worker->examined.made, run->layer, linear, parts[i].suffix);
        if (!tensor || (parts[i].scales && awq_tensor_check_finite(tensor, &ignored))) return false;
    }
    return true;
}

/* Tokens that went to the linear's expert, as recorded, for each channel that it reads. */
static double find_fed(const layer_run *run, int linear)
{
    const awq_linear_spec *spec = &run->spec->linear[linear];
    for (int group = 0; spec->expert >= 0 && group < run->spec->groups; group++)
        if (run->spec->group[group].expert == spec->expert)
            return (double)run->record->group[group].tokens / (double)spec->in;
    return INFINITY;
}

static awq_status measure_linear(const layer_run *run, int linear, awq_error *err)
{
    awq_worker *worker = run->worker;
    const awq_checkpoint *source = worker->has.checkpoint[0];
    awq_distance distance;
    char name[AWQ_NAME_BYTES];
    if (!run->record || !is_whole(run, linear)) return AWQ_OK;
    if (!worker->examined.unfolder &&
        awq_unfolder_create(worker->has.device, run->model, &worker->examined.unfolder, err))
        return err->status;
    if (awq_worker_check(worker, err)) return err->status;
    awq_status status = awq_unfold_measure(worker->examined.unfolder, worker->examined.made, source,
                                           run->layer, linear, run->record, &distance, err);
    if (status == AWQ_ERR_INPUT || status == AWQ_ERR_NUMERIC) return AWQ_OK; /* said already */
    if (status) return status;
    bool packed = awq_model_packs(run->model, run->layer, linear);
    if (packed)
        run->linears[linear] =
            (awq_linear_checks){distance.relative, distance.steps, find_fed(run, linear)};
    else
        run->checks->compared++;
    if (!packed && !(distance.folded <= most_of_rounding))
        awq_problems_add(run->problems, AWQ_ERR_NUMERIC,
                         "tensor '%s', which is kept in full precision, is not the source's folded "
                         "and rounded: its relative error is %.2g",
                         awq_linear_tensor_name(name, run->model, run->layer, linear, "weight"),
                         distance.folded);
    awq_weight weight;
    if (awq_checkpoint_weight(source, run->layer, linear, &weight)) awq_weight_dont_need(&weight);
    return AWQ_OK;
}

/* ---- the layer ---- */

/* The layer's scales, if they are recorded for a model of these sizes. */
static bool read_record(const layer_run *run, awq_layer_record *record)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    awq_layer_record_init(record);
    if (!run->worker->examined.recorded ||
        awq_path_join(path, run->worker->told.job.options.out, AWQ_STATISTICS_NAME, &ignored) ||
        awq_layer_records_read(path, run->layer, record, &ignored))
        return false;
    bool fits = record->groups == run->spec->groups;
    for (int group = 0; fits && group < record->groups; group++)
        fits = record->group[group].channels == run->spec->group[group].channels;
    return fits;
}

awq_status awq_verify_source(awq_worker *worker, int64_t layer, awq_layer_checks *checks,
                             awq_linear_checks *linears, awq_problems *problems, awq_error *err)
{
    layer_run run = {.worker = worker,
                     .model = awq_checkpoint_model(worker->examined.made),
                     .layer = layer,
                     .checks = checks,
                     .linears = linears,
                     .problems = problems};
    awq_layer_record record;
    if (layer < 0) {
        return check_ends(&run, err);
    }
    run.spec = awq_model_layer(run.model, layer);
    if (read_record(&run, &record)) run.record = &record;
    for (int i = 0; i < run.spec->vectors; i++) check_vector(&run, i);
    awq_status status = AWQ_OK;
    for (int linear = 0; !status && linear < run.spec->linears; linear++) {
        if (run.spec->linear[linear].bias) status = check_bias(&run, linear, err);
        if (!status) status = measure_linear(&run, linear, err);
    }
    awq_layer_record_release(&record);
    return status;
}
