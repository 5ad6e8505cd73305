/* SPDX-License-Identifier: MIT
 * make_checkpoint DIR SEQUENCES LENGTH - random weights and tokens for the model that
 * DIR/config.json describes: a bfloat16 checkpoint in shards, and DIR/tokens.h5.
 *
 * Activations get the outliers that large models have: in each stream three channels in a hundred
 * are 20 to 60 times larger than the others, where they are made (the norm's weight, the rows of v
 * and up), and as much smaller where they are read, so that the function stays tame. All cores make
 * rows, which are streamed to disk; the same arguments give the same bytes on any number of them.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/expected.h"
#include "io/files/path.h"
#include "io/files/shards.h"
#include "io/formats/quantization_config.h"
#include "io/text/tokens.h"
#include "worker/cores.h"

static const uint64_t shard_bytes = 5000000000;

/* ---- random numbers ---- */

/* splitmix64: each number moves the state by as much. */
static const uint64_t random_step = 0x9e3779b97f4a7c15u;

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += random_step;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In [0, 1). */
static float next_uniform(uint64_t *state)
{
    return (float)(next_random(state) >> 40) * 0x1p-24f;
}

/* Four bytes' sum: close to normal, of variance 1. */
static float normal_of(uint32_t bits)
{
    int32_t sum = (int32_t)((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24));
    return (float)(sum - 510) * (1 / 147.8f);
}

static void fill_normal(float *to, int64_t count, uint64_t *state)
{
    for (int64_t i = 0; i < count; i++) to[i] = normal_of((uint32_t)(next_random(state) >> 32));
}

/* ---- what a tensor is made of ---- */

/* Factors of a scale group's channels, where they are made, which is at the free ones, and
 * (inverse) where they are read. */
typedef struct stream {
    float *made, *read;
    float *rows; /* `made` as the rows of a producing linear, others 1; NULL: a norm makes them */
} stream;

typedef struct maker {
    awq_model model;
    stream *streams[AWQ_MAX_KINDS]; /* [groups] */
    awq_tensor *tensors;            /* in the order of the forward pass; names owned */
    size_t count;
} maker;

/* value = (centre + scale * normal * rows[r]) * columns[c] - offset */
typedef struct recipe {
    const float *rows, *columns; /* NULL: ones */
    float scale, centre, offset;
} recipe;

static void spread_over_rows(const awq_rows *rows, int64_t out, stream *to)
{
    for (int64_t i = 0; i < out; i++) to->rows[i] = 1;
    for (int64_t i = 0; i < awq_rows_count(rows); i++) to->rows[awq_rows_at(rows, i)] = to->made[i];
}

static bool make_stream(const awq_layer_spec *layer, const awq_group_spec *group, uint64_t seed,
                        stream *to)
{
    int64_t count = awq_free_channels(group);
    const awq_rows *rows = &group->producer.rows;
    bool by_rows = group->producer.by == AWQ_BY_ROWS;
    int64_t out = by_rows ? layer->linear[rows->linear].out : 0;
    to->made = malloc((size_t)count * sizeof *to->made);
    to->read = malloc((size_t)group->channels * sizeof *to->read);
    to->rows = by_rows ? malloc((size_t)out * sizeof *to->rows) : NULL;
    if (!to->made || !to->read || (by_rows && !to->rows)) return false;
    for (int64_t i = 0; i < count; i++) {
        bool outlier = next_uniform(&seed) < 0.03f;
        float factor = 20 + 40 * next_uniform(&seed);
        to->made[i] = outlier ? factor : 1;
    }
    for (int64_t i = 0; i < group->channels; i++)
        to->read[i] = 1 / to->made[awq_free_channel(group, i)];
    if (by_rows) spread_over_rows(rows, out, to);
    return true;
}

/* Norms' before those of rows: checkpoints are to stay the same. */
static uint64_t seed_of(const awq_layer_spec *layer, int group)
{
    if (group == layer->half[AWQ_HALF_ATTENTION].group) return 1;
    if (group == layer->half[AWQ_HALF_MLP].group) return 2;
    return group == layer->linear[layer->attention.o].group ? 3 : 1 + (uint64_t)group;
}

static bool make_streams(maker *m)
{
    for (int kind = 0; kind < m->model.kinds; kind++) {
        const awq_layer_spec *layer = &m->model.kind[kind];
        m->streams[kind] = calloc((size_t)layer->groups, sizeof *m->streams[kind]);
        for (int i = 0; i < layer->groups; i++)
            if (!m->streams[kind] ||
                !make_stream(layer, &layer->group[i], seed_of(layer, i), &m->streams[kind][i]))
                return false;
    }
    return true;
}

/* Whether a tensor's name in its layer is that of a module's, and what follows. */
static const char *suffix_of(const char *tensor, const char *module)
{
    size_t length = strlen(module);
    return !strncmp(tensor, module, length) && tensor[length] == '.' ? tensor + length + 1 : NULL;
}

static recipe linear_recipe(const awq_linear_spec *linear, const stream *streams,
                            const char *suffix)
{
    const float *rows = linear->absorbs >= 0 ? streams[linear->absorbs].rows : NULL;
    if (!strcmp(suffix, "bias")) return (recipe){.scale = 0.1f, .columns = rows};
    return (recipe){.scale = 0.7f / sqrtf((float)linear->in),
                    .rows = rows,
                    .columns = streams[linear->group].read};
}

static recipe norm_recipe(const awq_vector_spec *norm, const stream *streams)
{
    return (recipe){.scale = 0.1f,
                    .centre = 1,
                    .columns = norm->absorbs >= 0 ? streams[norm->absorbs].made : NULL,
                    .offset = norm->offset ? 1 : 0};
}

static recipe recipe_of(const maker *m, const awq_tensor *tensor)
{
    static const char layers[] = "model.layers.";
    char *name = NULL;
    if (!strncmp(tensor->name, layers, strlen(layers))) {
        int64_t index = strtoll(tensor->name + strlen(layers), &name, 10);
        const awq_layer_spec *layer = awq_model_layer(&m->model, index);
        const stream *streams = m->streams[m->model.kind_of[index]];
        for (int i = 0; i < layer->linears; i++) {
            const char *suffix = suffix_of(name + 1, layer->linear[i].name);
            if (suffix) return linear_recipe(&layer->linear[i], streams, suffix);
        }
        for (int i = 0; i < layer->vectors; i++)
            if (!strcmp(name + 1, layer->vector[i].name))
                return norm_recipe(&layer->vector[i], streams);
    }
    if (tensor->dims == 1) /* the last norm */
        return (recipe){.scale = 0.1f, .centre = 1, .offset = m->model.final_norm.offset ? 1 : 0};
    char first[AWQ_NAME_BYTES];
    bool embedding = !strcmp(tensor->name, awq_end_tensor_name(first, &m->model, AWQ_EMBEDDING));
    return (recipe){.scale = embedding ? 1 : 0.7f / sqrtf((float)tensor->shape[1])};
}

/* Some rows of a tensor, and which thread makes which: of every `threads` one. */
enum { MAX_THREADS = 256, BLOCK_BYTES = 8 << 20 };

typedef struct block {
    const recipe *recipe;
    uint64_t seed; /* the tensor's */
    int64_t first, rows, cols;
    uint16_t *stored;
} block;

typedef struct share {
    const block *block;
    float *values; /* room for a row */
    int64_t begin, step;
} share;

static void make_row(const block *b, int64_t row, float *values)
{
    const recipe *r = b->recipe;
    uint64_t state = b->seed + (uint64_t)((b->first + row) * b->cols) * random_step;
    float scale = r->rows ? r->scale * r->rows[b->first + row] : r->scale;
    fill_normal(values, b->cols, &state);
    for (int64_t c = 0; c < b->cols; c++)
        values[c] = (r->centre + scale * values[c]) * (r->columns ? r->columns[c] : 1) - r->offset;
    awq_narrow(b->stored + row * b->cols, values, AWQ_BF16, (size_t)b->cols);
}

static void *make_share(void *context)
{
    const share *mine = context;
    for (int64_t row = mine->begin; row < mine->block->rows; row += mine->step)
        make_row(mine->block, row, mine->values);
    return NULL;
}

/* A thread that cannot be started has its share made here. */
static void make_block(const block *b, float *values, int threads)
{
    share shares[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    bool started[MAX_THREADS];
    for (int i = 0; i < threads; i++) {
        shares[i] = (share){b, values + i * b->cols, i, threads};
        started[i] = i && !pthread_create(&ids[i], NULL, make_share, &shares[i]);
    }
    for (int i = 0; i < threads; i++)
        if (!started[i]) make_share(&shares[i]);
    for (int i = 0; i < threads; i++)
        if (started[i]) pthread_join(ids[i], NULL);
}

/* ---- files ---- */

static awq_status append_tensor(const maker *m, awq_safetensors_writer *writer, size_t index,
                                awq_error *err)
{
    const awq_tensor *tensor = &m->tensors[index];
    int64_t cols = tensor->shape[tensor->dims - 1], rows = awq_tensor_elements(tensor) / cols;
    size_t row_bytes = (size_t)cols * sizeof(uint16_t);
    int64_t at_once = 1 + BLOCK_BYTES / (int64_t)row_bytes;
    int cores = awq_cores_allowed(), threads = cores < MAX_THREADS ? cores : MAX_THREADS;
    recipe r = recipe_of(m, tensor);
    block b = {.recipe = &r, .seed = 1000 + index, .cols = cols};
    float *values = malloc((size_t)(threads * cols) * sizeof *values);
    b.stored = malloc((size_t)(at_once < rows ? at_once : rows) * row_bytes);
    awq_status status = AWQ_OK;
    if (!values || !b.stored) status = awq_fail(err, AWQ_ERR_MEMORY, "no memory for rows");
    for (; !status && b.first < rows; b.first += b.rows) {
        b.rows = rows - b.first < at_once ? rows - b.first : at_once;
        make_block(&b, values, threads);
        status = awq_safetensors_append(writer, b.stored, (size_t)b.rows * row_bytes, err);
    }
    free(values);
    free(b.stored);
    return status;
}

static awq_status write_shard(const maker *m, const char *directory, const awq_shard *shard,
                              awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_safetensors_writer *writer;
    if (awq_path_join(path, directory, shard->name, err) ||
        awq_safetensors_create(path, m->tensors + shard->first, shard->count, &writer, err))
        return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < shard->count; i++)
        status = append_tensor(m, writer, shard->first + i, err);
    if (!status) status = awq_safetensors_commit(writer, NULL, NULL, err);
    awq_safetensors_writer_free(writer);
    return status;
}

static awq_status write_index(const maker *m, const char *directory, const awq_shards *shards,
                              awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, directory, "model.safetensors.index.json", err)) return err->status;
    json_t *index = awq_shards_index(shards, m->tensors);
    int failed = !index || json_dump_file(index, path, JSON_INDENT(2));
    json_decref(index);
    return failed ? awq_fail(err, AWQ_ERR_IO, "cannot write '%s'", path) : AWQ_OK;
}

static awq_status write_weights(const maker *m, const char *directory, awq_error *err)
{
    awq_shards shards;
    if (awq_shards_plan(m->tensors, m->count, shard_bytes, &shards, err)) return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < shards.count; i++)
        status = write_shard(m, directory, &shards.items[i], err);
    if (!status && shards.count > 1) status = write_index(m, directory, &shards, err);
    awq_shards_release(&shards);
    return status;
}

static awq_status write_tokens(const maker *m, const char *directory, int64_t sequences,
                               int64_t length, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    uint64_t seed = 7;
    int64_t count = sequences * length;
    awq_tokens tokens = {.sequences = sequences, .length = length};
    if (awq_path_join(path, directory, "tokens.h5", err)) return err->status;
    tokens.ids = malloc((size_t)count * sizeof *tokens.ids);
    if (!tokens.ids) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the tokens");
    for (int64_t i = 0; i < count; i++)
        tokens.ids[i] = (int32_t)(next_random(&seed) % (uint64_t)m->model.vocab);
    awq_status status = awq_tokens_write(path, &tokens, err);
    awq_tokens_release(&tokens);
    return status;
}

/* ---- main ---- */

static awq_status read_config(const char *directory, awq_model *model, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    json_error_t where;
    if (awq_path_join(path, directory, "config.json", err)) return err->status;
    json_t *config = json_load_file(path, 0, &where);
    if (!config) return awq_fail(err, AWQ_ERR_INPUT, "cannot read '%s': %s", path, where.text);
    awq_problems problems;
    awq_problems_init(&problems);
    awq_status status = AWQ_OK;
    if (!awq_model_from_config(config, model, &problems)) {
        *err = problems.items[0];
        status = err->status;
    }
    awq_problems_release(&problems);
    json_decref(config);
    return status;
}

static void add_tensor(const awq_expected *expected, void *context)
{
    maker *m = context;
    awq_tensor tensor = expected->tensor;
    tensor.name = strdup(tensor.name);
    tensor.dtype = AWQ_BF16;
    tensor.bytes = 2 * (uint64_t)awq_tensor_elements(&tensor);
    awq_tensor *more = realloc(m->tensors, (m->count + 1) * sizeof *more);
    if (!more || !tensor.name) {
        fprintf(stderr, "make_checkpoint: no memory\n");
        exit(1);
    }
    m->tensors = more;
    m->tensors[m->count++] = tensor;
}

static void release(maker *m)
{
    for (int kind = 0; kind < m->model.kinds; kind++) {
        for (int i = 0; m->streams[kind] && i < m->model.kind[kind].groups; i++) {
            free(m->streams[kind][i].made);
            free(m->streams[kind][i].read);
            free(m->streams[kind][i].rows);
        }
        free(m->streams[kind]);
    }
    for (size_t i = 0; i < m->count; i++) free((void *)(uintptr_t)m->tensors[i].name);
    free(m->tensors);
    awq_model_release(&m->model);
}

int main(int argc, char **argv)
{
    maker m = {0};
    const awq_checkpoint_tensors none = {0}; /* yet */
    awq_error err;
    long long sequences = argc == 4 ? atoll(argv[2]) : 0, length = argc == 4 ? atoll(argv[3]) : 0;
    if (sequences < 1 || length < 1) {
        fprintf(stderr, "usage: make_checkpoint DIR SEQUENCES LENGTH\n");
        return 2;
    }
    awq_status status = read_config(argv[1], &m.model, &err);
    if (!status && !make_streams(&m)) status = awq_fail(&err, AWQ_ERR_MEMORY, "no memory");
    if (!status) awq_expected_visit(&m.model, &none, add_tensor, &m);
    if (!status) status = write_weights(&m, argv[1], &err);
    if (!status) status = write_tokens(&m, argv[1], sequences, length, &err);
    if (status) fprintf(stderr, "make_checkpoint: %s\n", err.text);
    release(&m);
    return status ? 1 : 0;
}
