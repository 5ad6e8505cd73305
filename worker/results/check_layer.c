/* SPDX-License-Identifier: MIT */
#include "worker/results/check_layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/path.h"
#include "jobs/run/run_directory.h"
#include "layers/forward/tensor_load.h"
#include "worker/results/packed_layer.h"

awq_status awq_verify_open(awq_worker *worker, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored; /* the coordinator has found it, too */
    awq_problems problems;
    const char *out = worker->told.job.options.out;
    if (awq_path_join(path, out, AWQ_STATISTICS_NAME, err)) return err->status;
    awq_problems_init(&problems);
    worker->examined.made = awq_checkpoint_survey(out, &problems);
    awq_problems_release(&problems);
    worker->examined.recorded = !awq_tensor_sums_read(path, &worker->examined.sums, &ignored);
    if (worker->examined.made) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_IO, "cannot open '%s', which the coordinator could", out);
}

void awq_verify_close(awq_worker *worker)
{
    awq_unfolder_free(worker->examined.unfolder);
    awq_tensor_sums_release(&worker->examined.sums);
    awq_checkpoint_close(worker->examined.made);
}

/* ---- each tensor by itself ---- */

/* The layer of the model that a tensor is of; -1: of none. */
static int64_t layer_of(const awq_model *model, const char *name)
{
    int64_t layer = model ? awq_root_layer_of(model->root, name) : -1;
    return layer < 0 || layer >= model->layers ? -1 : layer;
}

static void check_tensor(const awq_examined *examined, const awq_tensor *tensor, const char *shard,
                         awq_layer_checks *checks, awq_problems *problems)
{
    const awq_tensor_sums *sums = &examined->sums;
    size_t index = awq_tensor_sums_find(sums, tensor->name);
    awq_error err;
    checks->tensors++;
    if (index < sums->count) {
        uint32_t crc = awq_crc32(0, tensor->data, tensor->bytes);
        checks->summed++;
        if (crc != sums->crc[index] || tensor->bytes != sums->bytes[index])
            awq_problems_add(problems, AWQ_ERR_CORRUPT,
                             "tensor '%s' in '%s' is not what was written: its crc32 is %08x, "
                             "recorded is %08x",
                             tensor->name, shard, crc, sums->crc[index]);
    }
    bool copied = awq_checkpoint_is_copied(examined->made, tensor->name); /* finite or not */
    if (!copied && awq_dtype_is_weight(tensor->dtype) && awq_tensor_check_finite(tensor, &err)) {
        awq_error_wrap(&err, "tensor in '%s'", shard);
        awq_problems_add_error(problems, &err);
    }
    awq_safetensors_dont_need(tensor);
}

static awq_status check_tensors(awq_worker *worker, int64_t layer, awq_layer_checks *checks,
                                awq_problems *problems, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(worker->examined.made);
    for (size_t i = 0; i < awq_checkpoint_shard_count(worker->examined.made); i++) {
        const awq_safetensors *file = awq_checkpoint_shard(worker->examined.made, i);
        const char *shard = awq_checkpoint_shard_name(worker->examined.made, i);
        for (size_t j = 0; file && j < awq_safetensors_count(file); j++) {
            const awq_tensor *tensor = awq_safetensors_at(file, j);
            if (layer_of(model, tensor->name) != layer) continue;
            if (awq_worker_check(worker, err)) return err->status;
            check_tensor(&worker->examined, tensor, shard, checks, problems);
        }
    }
    return AWQ_OK;
}

/* ---- each linear's tensors with each other ---- */

/* Whether opening has found all of its tensors. */
static bool is_packed_here(const awq_checkpoint *made, int64_t layer, int linear)
{
    const awq_model *model = awq_checkpoint_model(made);
    const awq_linear_spec *spec = &awq_model_layer(model, layer)->linear[linear];
    awq_part parts[AWQ_MAX_PARTS];
    if (!awq_model_packs(model, layer, linear)) return false;
    int count = awq_format_parts(&model->quantization, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++)
        if (!awq_checkpoint_linear(made, layer, linear, parts[i].suffix)) return false;
    return true;
}

/* In two formats parts of a linear say something of one another: a shape, zero points as products
 * with the scales. In the others any word is a code, and any code in range. */
static awq_status check_codes(awq_worker *worker, int64_t layer, awq_problems *problems,
                              awq_error *err)
{
    const awq_checkpoint *made = worker->examined.made;
    const awq_model *model = awq_checkpoint_model(made);
    if (layer < 0 || !model || !model->quantized ||
        (model->quantization.format != AWQ_FORMAT_GEMV_FAST &&
         model->quantization.format != AWQ_FORMAT_COMPRESSED))
        return AWQ_OK;
    for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++) {
        awq_linear_codes codes;
        if (awq_worker_check(worker, err)) return err->status;
        if (!is_packed_here(made, layer, linear)) continue;
        awq_status status = awq_checkpoint_unpack(made, layer, linear, &codes, err);
        if (!status)
            awq_linear_codes_release(&codes);
        else if (status == AWQ_ERR_INPUT)
            awq_problems_add_error(problems, err);
        else
            return status;
    }
    return AWQ_OK;
}

/* ---- the layer ---- */

static void tell(awq_worker *worker, int32_t kind, int64_t layer, const awq_layer_checks *checks,
                 const awq_linear_checks *linears, const awq_problems *problems)
{
    size_t findings = problems->count * sizeof *problems->items;
    size_t distances = (size_t)checks->linears * sizeof *linears;
    awq_letter *letter = awq_letter_create(kind, layer, (int64_t)problems->count,
                                           sizeof *checks + distances + findings);
    if (letter) {
        memcpy(letter->payload, checks, sizeof *checks);
        if (distances) memcpy(letter->payload + sizeof *checks, linears, distances);
        if (findings)
            memcpy(letter->payload + sizeof *checks + distances, problems->items, findings);
    }
    awq_worker_tell(worker, letter);
}

awq_status awq_worker_verify(awq_worker *worker, int64_t layer, awq_error *err)
{
    awq_layer_checks checks = {0};
    awq_problems problems;
    const awq_model *model = awq_checkpoint_model(worker->examined.made);
    checks.linears = model && layer >= 0 ? awq_model_layer(model, layer)->linears : 0;
    awq_linear_checks *linears = malloc((size_t)checks.linears * sizeof *linears + 1);
    if (!linears) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to compare a layer's linears");
    for (int64_t i = 0; i < checks.linears; i++) linears[i] = (awq_linear_checks){-1, -1, INFINITY};
    awq_problems_init(&problems);
    awq_worker_progress(worker, -1, layer, -1, AWQ_PHASE_READ, 0);
    awq_status status = check_tensors(worker, layer, &checks, &problems, err);
    if (!status) status = check_codes(worker, layer, &problems, err);
    if (!status && worker->has.checkpoint[0] && model)
        status = awq_verify_source(worker, layer, &checks, linears, &problems, err);
    if (!status) tell(worker, AWQ_LETTER_VERIFIED, layer, &checks, linears, &problems);
    awq_problems_release(&problems);
    free(linears);
    return status;
}

/* ---- a layer that was reproduced ---- */

static void compare_bytes(const awq_tensor *tensor, const void *data, const awq_tensor *other,
                          awq_problems *problems, int64_t *equal)
{
    const unsigned char *a = data, *b = other->data;
    uint64_t count = 0;
    if (other->bytes != tensor->bytes || other->dtype != tensor->dtype)
        count = tensor->bytes;
    else
        for (uint64_t i = 0; i < tensor->bytes; i++) count += a[i] != b[i];
    if (!count)
        ++*equal;
    else
        awq_problems_add(problems, AWQ_ERR_CORRUPT,
                         "tensor '%s': reproduced, it has %llu of %llu bytes other than here",
                         tensor->name, (unsigned long long)count,
                         (unsigned long long)tensor->bytes);
}

awq_status awq_verify_reproduced(awq_worker *worker, awq_quantized_layer *layer, awq_error *err)
{
    awq_layer_checks checks = {0};
    awq_problems problems;
    awq_packed_layer packed;
    const awq_checkpoint *made = worker->examined.made;
    awq_problems_init(&problems);
    /* packed as the checkpoint is now: it may have been converted */
    awq_status status =
        awq_pack_layer(worker->has.checkpoint[0], &awq_checkpoint_model(made)->quantization, layer,
                       1, &packed, err);
    for (size_t i = 0; !status && i < packed.count; i++) {
        const awq_tensor *other = awq_checkpoint_find(made, packed.tensor[i].name);
        if (!other) continue; /* that is said elsewhere */
        compare_bytes(&packed.tensor[i], packed.data[i], other, &problems, &checks.compared);
    }
    awq_packed_layer_release(&packed);
    checks.tensors = checks.compared + (int64_t)problems.count;
    if (!status) tell(worker, AWQ_LETTER_REPRODUCED, layer->record.layer, &checks, NULL, &problems);
    awq_problems_release(&problems);
    return status;
}
