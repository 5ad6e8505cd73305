/* SPDX-License-Identifier: MIT */
#include "worker/results/packed_layer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/format.h"

enum { MOST_THREADS = 16 }; /* of a layer's packing, beside the one that asks for it */

/* What a layer is packed with. First all tensors are listed, in the order of the file; then each
 * linear's are filled, by whichever thread comes to it: bytes depend on the linear alone. */
typedef struct packing {
    awq_packed_layer packed;
    const awq_checkpoint *checkpoint;
    const awq_model *model;
    const awq_layer_spec *spec;
    awq_quantization quantization;
    const awq_quantized_layer *result;
    int64_t layer;
    atomic_int next;       /* linear that no thread has come to */
    pthread_mutex_t mutex; /* guards the next two */
    bool failed;
    awq_error error; /* the first */
} packing;

static awq_status no_memory(awq_error *err)
{
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a layer");
}

/* ---- the list ---- */

/* Adds a tensor of a type and shape with room for its data; returns room for its name. NULL: no
 * memory. */
static char *add_alike(awq_packed_layer *packed, const awq_tensor *shape)
{
    awq_tensor *tensor = &packed->tensor[packed->count];
    *tensor = *shape;
    tensor->name = packed->name[packed->count];
    tensor->data = NULL;
    tensor->bytes = (uint64_t)awq_tensor_elements(tensor) * awq_dtype_bytes(shape->dtype);
    packed->data[packed->count] = malloc(tensor->bytes + !tensor->bytes);
    return packed->data[packed->count] ? packed->name[packed->count++] : NULL;
}

/* One of one or two dimensions; cols 0: one. */
static char *add(awq_packed_layer *packed, awq_dtype dtype, int64_t rows, int64_t cols)
{
    return add_alike(packed,
                     &(awq_tensor){.dtype = dtype, .dims = cols ? 2 : 1, .shape = {rows, cols}});
}

/* In the type that the source's values have: `cols` 0 is the bias. */
static awq_status list_like(packing *job, int linear, const char *suffix, int64_t cols,
                            awq_error *err)
{
    awq_weight source;
    bool found = cols ? awq_checkpoint_weight(job->checkpoint, job->layer, linear, &source)
                      : awq_checkpoint_bias(job->checkpoint, job->layer, linear, &source);
    if (!found)
        return awq_fail(err, AWQ_ERR_INTERNAL,
                        "the source has no %s of %s, which opening it has seen", suffix,
                        job->spec->linear[linear].name);
    char *name = add(&job->packed, source.dtype, source.rows, cols);
    if (!name) return no_memory(err);
    awq_linear_tensor_name(name, job->model, job->layer, linear, suffix);
    return AWQ_OK;
}

static awq_status list_codes(packing *job, int linear, awq_error *err)
{
    const awq_linear_spec *spec = &job->spec->linear[linear];
    awq_part parts[AWQ_MAX_PARTS];
    int count = awq_format_parts(&job->quantization, spec->out, spec->in, parts);
    for (int i = 0; i < count; i++) {
        char *name = add(&job->packed, parts[i].dtype, parts[i].shape[0],
                         parts[i].dims > 1 ? parts[i].shape[1] : 0);
        if (!name) return no_memory(err);
        awq_linear_tensor_name(name, job->model, job->layer, linear, parts[i].suffix);
    }
    return AWQ_OK;
}

static bool is_here(const packing *job, int linear)
{
    return awq_layer_part_has_linear(job->spec, job->result->part, linear);
}

/* What another part will give is listed by what it will be. */
static awq_status list_linear(packing *job, int linear, awq_error *err)
{
    const awq_quantized_linear *result = &job->result->linear[linear];
    bool here = is_here(job, linear);
    bool kept = here ? result->weight != NULL : awq_model_keeps(job->model, job->layer, linear);
    bool bias = here ? result->bias != NULL : job->spec->linear[linear].bias;
    int64_t in = job->spec->linear[linear].in;
    awq_status status =
        kept ? list_like(job, linear, "weight", in, err) : list_codes(job, linear, err);
    return status || !bias ? status : list_like(job, linear, "bias", 0, err);
}

static awq_status list_tensors(packing *job, awq_error *err)
{
    awq_layer_part part = job->result->part;
    for (int linear = 0; linear < job->spec->linears; linear++) {
        job->packed.first[linear] = job->packed.count;
        if (!awq_layer_part_is_last(part) && !awq_layer_part_owns_linear(job->spec, part, linear))
            continue;
        if (list_linear(job, linear, err)) return err->status;
    }
    job->packed.first[job->spec->linears] = job->packed.count;
    return AWQ_OK;
}

/* ---- their data ---- */

static void fill_values(const awq_packed_layer *packed, size_t index, const float *values)
{
    const awq_tensor *tensor = &packed->tensor[index];
    awq_narrow(packed->data[index], values, tensor->dtype, (size_t)awq_tensor_elements(tensor));
}

static awq_status fill_linear(const packing *job, int linear, awq_error *err)
{
    const awq_packed_layer *packed = &job->packed;
    const awq_linear_spec *spec = &job->spec->linear[linear];
    const awq_quantized_linear *result = &job->result->linear[linear];
    size_t first = packed->first[linear], end = packed->first[linear + 1];
    if (first == end || !is_here(job, linear)) return AWQ_OK;
    if (result->bias) fill_values(packed, end - 1, result->bias);
    if (result->weight) {
        fill_values(packed, first, result->weight);
        return AWQ_OK;
    }
    int64_t groups = awq_quantization_groups(&job->quantization, spec->in);
    size_t all_groups = (size_t)(spec->out * groups);
    float *scales = malloc(all_groups * sizeof *scales + 1);
    if (!scales) return no_memory(err);
    awq_widen(scales, result->scales, AWQ_F16, all_groups);
    awq_linear_words words = {spec->out, spec->in, groups, result->words, result->zeros, scales};
    awq_status status = awq_format_pack(&job->quantization, &words, packed->data + first, err);
    free(scales);
    return status ? awq_error_wrap(err, "%s", spec->name) : AWQ_OK;
}

/* One of the threads. */
static void *fill_linears(void *context)
{
    packing *job = context;
    awq_error err;
    for (int linear; (linear = atomic_fetch_add(&job->next, 1)) < job->spec->linears;) {
        if (!fill_linear(job, linear, &err)) continue;
        pthread_mutex_lock(&job->mutex);
        if (!job->failed) job->error = err;
        job->failed = true;
        pthread_mutex_unlock(&job->mutex);
    }
    return NULL;
}

/* A thread that cannot be started is done without. */
static awq_status fill_tensors(packing *job, int threads, awq_error *err)
{
    pthread_t thread[MOST_THREADS];
    int count = 0;
    while (count < threads - 1 && count < MOST_THREADS &&
           !pthread_create(&thread[count], NULL, fill_linears, job))
        count++;
    fill_linears(job);
    while (count) pthread_join(thread[--count], NULL);
    if (job->failed) *err = job->error;
    return job->failed ? err->status : AWQ_OK;
}

/* `values` [all pieces]; NULL: as in the checkpoint. */
static awq_status pack_piece(packing *job, int vector, int piece, const float *values,
                             awq_error *err)
{
    const awq_tensor *source = awq_checkpoint_vector(job->checkpoint, job->layer, vector, piece);
    char *name = add_alike(&job->packed, source);
    if (!name) return no_memory(err);
    awq_vector_tensor_name(name, job->model, job->layer, vector, piece);
    size_t index = job->packed.count - 1;
    if (values)
        fill_values(&job->packed, index, values + piece * awq_tensor_elements(source));
    else
        memcpy(job->packed.data[index], source->data, source->bytes);
    return AWQ_OK;
}

static awq_status pack_vectors(packing *job, awq_error *err)
{
    awq_layer_part part = job->result->part;
    if (part.index && !awq_layer_part_is_last(part)) return AWQ_OK; /* the first one's */
    for (int i = 0; i < job->spec->vectors; i++)
        for (int piece = 0; piece < awq_vector_pieces(&job->spec->vector[i]); piece++)
            if (pack_piece(job, i, piece, job->result->vector[i], err)) return err->status;
    return AWQ_OK;
}

/* Tensors that there will be at most. */
static size_t most_tensors(const awq_layer_spec *spec)
{
    size_t most = (size_t)(AWQ_MAX_PARTS + 1) * (size_t)spec->linears;
    for (int i = 0; i < spec->vectors; i++) most += (size_t)awq_vector_pieces(&spec->vector[i]);
    return most;
}

awq_status awq_pack_layer(const awq_checkpoint *checkpoint, const awq_quantization *quantization,
                          const awq_quantized_layer *result, int threads, awq_packed_layer *out,
                          awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    const awq_layer_spec *spec = awq_model_layer(model, result->record.layer);
    size_t linears = (size_t)spec->linears;
    size_t most = most_tensors(spec);
    packing job = {.packed = {.tensor = calloc(most, sizeof *out->tensor),
                              .name = calloc(most, sizeof *out->name),
                              .data = calloc(most, sizeof *out->data),
                              .first = calloc(linears + 1, sizeof *out->first)},
                   .checkpoint = checkpoint,
                   .model = model,
                   .spec = spec,
                   .quantization = *quantization,
                   .result = result,
                   .layer = result->record.layer};
    const awq_packed_layer *packed = &job.packed;
    awq_status status = AWQ_OK;
    if (!packed->tensor || !packed->name || !packed->data || !packed->first)
        status = no_memory(err);
    pthread_mutex_init(&job.mutex, NULL);
    if (!status) status = list_tensors(&job, err);
    if (!status) status = fill_tensors(&job, threads, err);
    if (!status) status = pack_vectors(&job, err);
    pthread_mutex_destroy(&job.mutex);
    *out = job.packed;
    return status;
}

/* ---- from part to part ---- */

uint64_t awq_packed_layer_copy(const awq_packed_layer *packed, unsigned char *to)
{
    uint64_t used = 0;
    for (size_t i = 0; i < packed->count; i++) {
        if (to) memcpy(to + used, packed->data[i], packed->tensor[i].bytes);
        used += packed->tensor[i].bytes;
    }
    return used;
}

/* The tensors from `first` to `end`; false: there is not enough for them. */
static bool fill_some(awq_packed_layer *packed, size_t first, size_t end,
                      const unsigned char **from, uint64_t *left)
{
    for (size_t i = first; i < end; i++) {
        uint64_t bytes = packed->tensor[i].bytes;
        if (bytes > *left) return false;
        memcpy(packed->data[i], *from, bytes);
        *from += bytes;
        *left -= bytes;
    }
    return true;
}

awq_status awq_packed_layer_fill(awq_packed_layer *packed, const awq_layer_spec *layer,
                                 awq_layer_part part, const unsigned char *from, uint64_t bytes,
                                 awq_error *err)
{
    bool ok = true;
    for (int i = 0; ok && i < layer->linears; i++)
        if (awq_layer_part_owns_linear(layer, part, i))
            ok = fill_some(packed, packed->first[i], packed->first[i + 1], &from, &bytes);
    if (ok && !part.index)
        ok = fill_some(packed, packed->first[layer->linears], packed->count, &from, &bytes);
    if (ok && !bytes) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "part %d of %d of a layer came with other tensors",
                    part.index + 1, part.count);
}

void awq_packed_layer_release(awq_packed_layer *packed)
{
    for (size_t i = 0; i < packed->count; i++) free(packed->data[i]);
    free(packed->tensor);
    free(packed->name);
    free(packed->data);
    free(packed->first);
}
