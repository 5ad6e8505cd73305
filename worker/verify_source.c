/* SPDX-License-Identifier: MIT */
#include "worker/verify_source.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/run_directory.h"
#include "layers/decoder_load.h"

typedef struct layer_run {
    awq_worker *worker;
    const awq_model *model;
    int64_t layer;
    const awq_layer_record *record; /* NULL: none, so that folding cannot be undone */
    awq_layer_checks *checks;
    awq_problems *problems;
} layer_run;

/* ---- tensors that are not quantized ---- */

static bool same_kind(const awq_tensor *a, const awq_tensor *b)
{
    return a->dtype == b->dtype && awq_tensor_elements(a) == awq_tensor_elements(b);
}

static void must_be_equal(const layer_run *run, const char *name)
{
    const awq_tensor *made = awq_checkpoint_find(run->worker->made, name);
    const awq_tensor *source = awq_checkpoint_find(run->worker->checkpoint[0], name);
    if (!made || !source) return;
    run->checks->compared++;
    if (!same_kind(made, source) || memcmp(made->data, source->data, made->bytes))
        awq_problems_add(run->problems, AWQ_ERR_CORRUPT,
                         "tensor '%s' is not the source's, bit for bit", name);
    awq_safetensors_dont_need(source);
}

/* divisors: what the folding divided the vector by. */
static void must_be_folded(const layer_run *run, const char *name, const float *divisors)
{
    const awq_tensor *made = awq_checkpoint_find(run->worker->made, name);
    const awq_tensor *source = awq_checkpoint_find(run->worker->checkpoint[0], name);
    if (!made || !source) return;
    run->checks->compared++;
    int64_t first = same_kind(made, source) ? awq_unfold_mismatch(made, source, divisors) : 0;
    if (first >= 0)
        awq_problems_add(run->problems, AWQ_ERR_CORRUPT,
                         "tensor '%s' is not the source's divided by the layer's scales, first at "
                         "element %lld",
                         name, (long long)first);
}

static void check_norms(const layer_run *run)
{
    for (int i = 0; i < AWQ_NORMS; i++) {
        char name[AWQ_NAME_BYTES];
        awq_norm norm = (awq_norm)i;
        if (!awq_model_has_norm(run->model, norm)) continue;
        awq_norm_tensor_name(name, run->layer, norm);
        bool folded = norm == AWQ_INPUT_NORM || norm == AWQ_POST_NORM;
        if (!folded)
            must_be_equal(run, name);
        else if (run->record)
            must_be_folded(run, name, awq_unfold_norm_scales(run->record, norm));
    }
}

static awq_status check_bias(const layer_run *run, awq_linear linear, awq_error *err)
{
    char name[AWQ_NAME_BYTES];
    int64_t out, in;
    awq_linear_shape(run->model, linear, &out, &in);
    awq_linear_tensor_name(name, run->layer, linear, "bias");
    bool divided = linear == AWQ_V || linear == AWQ_UP;
    if (!divided) must_be_equal(run, name);
    if (!divided || !run->record) return AWQ_OK;
    float *rows = malloc((size_t)out * sizeof *rows);
    if (!rows) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to check '%s'", name);
    awq_unfold_rows(run->model, run->record, linear, rows);
    must_be_folded(run, name, rows);
    free(rows);
    return AWQ_OK;
}

/* ---- quantized ones ---- */

/* Whether all of a linear's tensors are there, and its scales finite. */
static bool is_measurable(const layer_run *run, awq_linear linear)
{
    static const char *const parts[] = {"qweight", "qzeros", "scales"};
    awq_error ignored;
    const awq_tensor *tensor = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        tensor = awq_checkpoint_linear(run->worker->made, run->layer, linear, parts[i]);
        if (!tensor) return false;
    }
    return !awq_tensor_check_finite(tensor, &ignored) &&
           awq_checkpoint_linear(run->worker->checkpoint[0], run->layer, linear, "weight");
}

static awq_status measure_linear(const layer_run *run, awq_linear linear, awq_error *err)
{
    awq_worker *worker = run->worker;
    awq_distance distance;
    if (!run->record || !is_measurable(run, linear)) return AWQ_OK;
    if (!worker->unfolder &&
        awq_unfolder_create(worker->device, run->model, &worker->unfolder, err))
        return err->status;
    if (awq_worker_check(worker, err) ||
        awq_unfold_measure(worker->unfolder, worker->made, worker->checkpoint[0], run->layer,
                           linear, run->record, &distance, err))
        return err->status;
    run->checks->relative[linear] = distance.relative;
    run->checks->steps[linear] = distance.steps;
    awq_safetensors_dont_need(
        awq_checkpoint_linear(worker->checkpoint[0], run->layer, linear, "weight"));
    return AWQ_OK;
}

static awq_status check_layer(const layer_run *run, awq_error *err)
{
    check_norms(run);
    for (int i = 0; i < AWQ_LINEARS; i++) {
        if (run->model->bias[i] && check_bias(run, (awq_linear)i, err)) return err->status;
        if (measure_linear(run, (awq_linear)i, err)) return err->status;
    }
    return AWQ_OK;
}

/* ---- */

/* The layer's scales, if they are recorded for a model of these sizes. */
static bool read_record(const layer_run *run, awq_layer_record *record)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    awq_layer_record_init(record);
    if (!run->worker->recorded ||
        awq_path_join(path, run->worker->job.options.out, AWQ_STATISTICS_NAME, &ignored) ||
        awq_layer_records_read(path, run->layer, record, &ignored))
        return false;
    bool fits = true;
    for (int i = 0; i < AWQ_LINEARS; i++) {
        int64_t out, in;
        awq_linear_shape(run->model, (awq_linear)i, &out, &in);
        fits = fits && record->group[awq_linear_group((awq_linear)i)].channels == in;
    }
    return fits;
}

awq_status awq_verify_source(awq_worker *worker, int64_t layer, awq_layer_checks *checks,
                             awq_problems *problems, awq_error *err)
{
    layer_run run = {.worker = worker,
                     .model = awq_checkpoint_model(worker->made),
                     .layer = layer,
                     .checks = checks,
                     .problems = problems};
    awq_layer_record record;
    if (layer < 0) {
        must_be_equal(&run, AWQ_EMBEDDING_NAME);
        must_be_equal(&run, AWQ_FINAL_NORM_NAME);
        must_be_equal(&run, AWQ_HEAD_NAME);
        return AWQ_OK;
    }
    if (read_record(&run, &record)) run.record = &record;
    awq_status status = check_layer(&run, err);
    awq_layer_record_release(&record);
    return status;
}
