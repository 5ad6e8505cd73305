/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/path.h"
#include "io/records/layer_record.h"
#include "jobs/run/run_directory.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/io/tiny_model.h"

awq_checkpoint *fixture_open(const char *directory)
{
    awq_problems problems;
    awq_problems_init(&problems);
    awq_checkpoint *checkpoint = awq_checkpoint_open(directory, &problems);
    if (!checkpoint) fail_msg("%s", problems.items[0].text);
    awq_problems_release(&problems);
    return checkpoint;
}

awq_checkpoint *fixture_model(void **state, const char *name, bool tied, const char *extra)
{
    static tiny_model model;
    awq_error err;
    char text[512];
    const char *directory = scratch_path(state, name);
    must(awq_path_make_directory(directory, &err));
    tiny_fill(&model, false);
    if (tied) tiny_remove(&model, TINY_HEAD);
    snprintf(text, sizeof text, "%s%s", tied ? ", \"tie_word_embeddings\": true" : "", extra);
    tiny_write(&model, directory, text);
    return fixture_open(directory);
}

static void write_tensors(const awq_model *model, const char *path, int64_t layer, int64_t bytes,
                          awq_layer_record *record)
{
    awq_error err;
    awq_safetensors_writer *writer;
    char names[2][AWQ_NAME_BYTES];
    awq_linear_tensor_name(names[0], model, layer, LINEAR_Q, "qweight");
    awq_vector_tensor_name(names[1], model, layer, NORM_INPUT, 0);
    awq_tensor tensors[2] = {
        {.name = names[0], .dtype = AWQ_I32, .dims = 2, .shape = {bytes / 8, 2}},
        {.name = names[1], .dtype = AWQ_F16, .dims = 1, .shape = {bytes / 2}}};
    char *data = malloc((size_t)bytes);
    assert_non_null(data);
    memset(data, 'a' + (int)layer, (size_t)bytes);
    must(awq_safetensors_create(path, tensors, 2, &writer, &err));
    for (int i = 0; i < 2; i++) must(awq_safetensors_append(writer, data, (size_t)bytes, &err));
    must(awq_safetensors_commit(writer, &record->tensors_crc, &record->tensors_bytes, &err));
    awq_safetensors_writer_free(writer);
    free(data);
}

void fixture_write_record(const char *run, int64_t layer, const char *fingerprint, int64_t bytes)
{
    awq_error err;
    awq_layer_record record;
    char path[AWQ_PATH_BYTES];
    awq_model model = tiny_describe();
    awq_layer_record_init(&record);
    must(awq_layer_record_shape(&record, awq_model_layer(&model, layer), &err));
    record.layer = layer;
    record.tokens = 28;
    must(awq_run_layer_path(path, run, layer, "safetensors", &err));
    write_tensors(&model, path, layer, bytes, &record);
    must(awq_run_layer_path(path, run, layer, "h5", &err));
    must(awq_layer_record_write(path, &record, fingerprint, &err));
    awq_layer_record_release(&record);
    awq_model_release(&model);
}

void fixture_write_boundary(const char *run, const awq_boundary_shape *shape,
                            const char *fingerprint)
{
    awq_error err;
    awq_boundary_writer *writer;
    char path[AWQ_PATH_BYTES];
    int64_t tile_values = shape->tile_sequences * shape->length * shape->hidden;
    int64_t tiles = (shape->sequences + shape->tile_sequences - 1) / shape->tile_sequences;
    float *states = malloc((size_t)(tiles * tile_values) * sizeof *states);
    assert_non_null(states);
    for (int64_t i = 0; i < tiles * tile_values; i++) states[i] = (float)i / 8;
    must(awq_run_boundary_path(path, run, shape->layer, &err));
    must(awq_boundary_create(path, shape, fingerprint, &writer, &err));
    for (int64_t i = 0; i < tiles; i++)
        must(awq_boundary_write(writer, i, states + i * tile_values, &err));
    must(awq_boundary_commit(writer, &err));
    awq_boundary_writer_free(writer);
    free(states);
}

void fixture_damage(const char *path, long offset)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(file);
    assert_true(byte >= 0);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    assert_true(fputc(byte ^ 0xff, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void assert_problem(const awq_problems *problems, const char *part)
{
    for (size_t i = 0; i < problems->count; i++)
        if (strstr(problems->items[i].text, part)) return;
    for (size_t i = 0; i < problems->count; i++) print_error("%s\n", problems->items[i].text);
    fail_msg("no problem contains '%s'", part);
}

const awq_option *fixture_option(const char *name)
{
    for (int i = 0; i < awq_option_count; i++)
        if (!strcmp(awq_option_table[i].name, name)) return &awq_option_table[i];
    fail_msg("no option %s", name);
    return NULL;
}

int fixture_options_open(void **state)
{
    awq_error err;
    awq_options *options = malloc(sizeof *options);
    if (!options || awq_options_init(options, &err)) return -1;
    *state = options;
    return 0;
}

int fixture_options_close(void **state)
{
    awq_options_release(*state);
    free(*state);
    return 0;
}

const char *fixture_other_choice(const awq_option *option)
{
    static char first[64];
    const char *last = strrchr(option->argument, '|') + 1;
    snprintf(first, sizeof first, "%.*s", (int)strcspn(option->argument, "|"), option->argument);
    return option->fallback && !strcmp(option->fallback, last) ? first : last;
}
