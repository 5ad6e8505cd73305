/* SPDX-License-Identifier: MIT */
#include <hdf5.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/files/path.h"
#include "io/records/layer_record.h"
#include "model_of.h"
#include "scratch.h"
#include "tiny_model.h"

enum { CHANNELS = 48, CANDIDATES = 21 };

static awq_model model;

static int describe(void **state)
{
    (void)state;
    model = tiny_describe();
    return 0;
}

static int forget(void **state)
{
    (void)state;
    awq_model_release(&model);
    return 0;
}

/* A record of which every number differs; group o was not searched. */
static void fill(awq_layer_record *record, int64_t layer)
{
    awq_error err;
    awq_layer_record_init(record);
    assert_int_equal(awq_layer_record_shape(record, &model.kind[0], &err), AWQ_OK);
    record->layer = layer;
    record->tokens = 65536;
    record->fold_error = 1e-6;
    record->tensors_bytes = 9;
    record->tensors_crc = 0xcbf43926u;
    for (int g = 0; g < DENSE_GROUPS; g++) {
        awq_group_record *group = &record->group[g];
        if (g == GROUP_O) continue;
        group->tokens = 65536 - g;
        group->channels = CHANNELS + g;
        group->candidates = CANDIDATES;
        group->chosen = g == GROUP_DOWN ? -1 : 11;
        group->mean_abs = malloc((size_t)group->channels * sizeof *group->mean_abs);
        group->scales = malloc((size_t)group->channels * sizeof *group->scales);
        group->alpha = malloc(CANDIDATES * sizeof *group->alpha);
        group->duo = malloc(CANDIDATES);
        group->loss = malloc(CANDIDATES * sizeof *group->loss);
        group->measured = malloc(CANDIDATES * sizeof *group->measured);
        for (int i = 0; i < group->channels; i++) {
            group->mean_abs[i] = (float)i * 0.25f + (float)g;
            group->scales[i] = 1.0f + (float)i / 3;
        }
        for (int i = 0; i < CANDIDATES; i++) {
            group->alpha[i] = i / 20.0;
            group->duo[i] = i % 2;
            group->loss[i] = i == 5 ? NAN : 1.0 / (i + g + 1);
            group->measured[i] = i % 2 ? 0.25 : 1;
        }
    }
    for (int i = 0; i < DENSE_LINEARS; i++) {
        awq_linear_record *linear = &record->linear[i];
        linear->loss_rounding = 4.0 + i;
        linear->loss = 1.0 + i;
        linear->energy = 100.0 + i;
        linear->groups = 1000 + i;
        linear->clipped_groups = 10 + i;
        linear->damp = i / 10.0;
        linear->clip_shapes = i % 3;
        for (int j = 0; j < i % 3 * AWQ_CLIP_STEPS; j++)
            linear->clip_counts[j / AWQ_CLIP_STEPS][j % AWQ_CLIP_STEPS] = 100 * i + j;
    }
    for (int i = 0; i < AWQ_PHASES; i++) record->seconds[i] = i + 0.5;
    record->when.worker = 3;
    snprintf(record->when.host, sizeof record->when.host, "node07");
    for (int i = 0; i < AWQ_SPANS; i++) {
        record->when.begin[i] = 1.7e9 + i;
        record->when.end[i] = 1.7e9 + i + 0.75;
    }
}

static void expect_same(const awq_layer_record *a, const awq_layer_record *b)
{
    assert_int_equal(a->layer, b->layer);
    assert_int_equal(a->tokens, b->tokens);
    assert_true(a->fold_error == b->fold_error);
    assert_int_equal(a->tensors_bytes, b->tensors_bytes);
    assert_int_equal(a->tensors_crc, b->tensors_crc);
    assert_int_equal(a->linears, b->linears);
    assert_memory_equal(a->linear, b->linear, (size_t)a->linears * sizeof *a->linear);
    assert_memory_equal(a->seconds, b->seconds, sizeof a->seconds);
    assert_int_equal(a->when.worker, b->when.worker);
    assert_string_equal(a->when.host, b->when.host);
    assert_memory_equal(a->when.begin, b->when.begin, sizeof a->when.begin);
    assert_memory_equal(a->when.end, b->when.end, sizeof a->when.end);
    assert_int_equal(a->groups, b->groups);
    for (int g = 0; g < a->groups; g++) {
        const awq_group_record *x = &a->group[g], *y = &b->group[g];
        size_t channels = (size_t)x->channels, candidates = (size_t)x->candidates;
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->expert, y->expert);
        assert_int_equal(x->tokens, y->tokens);
        assert_int_equal(x->channels, y->channels);
        assert_int_equal(x->candidates, y->candidates);
        assert_int_equal(x->chosen, y->chosen);
        if (!channels) continue;
        assert_memory_equal(x->mean_abs, y->mean_abs, channels * sizeof *x->mean_abs);
        assert_memory_equal(x->scales, y->scales, channels * sizeof *x->scales);
        assert_memory_equal(x->alpha, y->alpha, candidates * sizeof *x->alpha);
        assert_memory_equal(x->duo, y->duo, candidates);
        assert_memory_equal(x->loss, y->loss, candidates * sizeof *x->loss);
        assert_memory_equal(x->measured, y->measured, candidates * sizeof *x->measured);
    }
}

static void write_record(const char *path, int64_t layer)
{
    awq_error err;
    awq_layer_record record;
    fill(&record, layer);
    if (awq_layer_record_write(path, &record, "job 1", &err)) fail_msg("%s", err.text);
    awq_layer_record_release(&record);
}

static void a_record_reads_back(void **state)
{
    awq_error err;
    awq_layer_record record, back;
    const char *path = scratch_path(state, "00017.h5");
    fill(&record, 17);
    write_record(path, 17);
    assert_int_equal(awq_layer_record_read(path, "job 1", &back, &err), AWQ_OK);
    expect_same(&record, &back);
    awq_layer_record_release(&back);
    assert_int_equal(awq_layer_record_read(path, NULL, &back, &err), AWQ_OK);
    expect_same(&record, &back);
    awq_layer_record_release(&back);
    awq_layer_record_release(&record);
    assert_int_equal(scratch_count(*state), 1);
}

static void equal_records_are_equal_bytes(void **state)
{
    size_t bytes, again_bytes;
    write_record(scratch_path(state, "a.h5"), 3);
    sleep(1);
    write_record(scratch_path(state, "b.h5"), 3);
    char *first = scratch_read(scratch_path(state, "a.h5"), &bytes);
    char *again = scratch_read(scratch_path(state, "b.h5"), &again_bytes);
    assert_int_equal(bytes, again_bytes);
    assert_memory_equal(first, again, bytes);
    free(first);
    free(again);
}

static void relative_errors_are_of_sums(void **state)
{
    (void)state;
    awq_layer_record record;
    awq_error err;
    awq_layer_record_init(&record);
    assert_int_equal(awq_layer_record_shape(&record, &model.kind[0], &err), AWQ_OK);
    assert_true(awq_layer_record_relative_error(&record) == 0);
    record.linear[LINEAR_Q] = (awq_linear_record){.loss_rounding = 16, .loss = 1, .energy = 60};
    record.linear[LINEAR_DOWN] = (awq_linear_record){.loss_rounding = 9, .loss = 3, .energy = 40};
    assert_true(awq_layer_record_relative_error(&record) == 0.2);
    assert_true(awq_layer_record_rounding_error(&record) == 0.5);
    awq_layer_record_release(&record);
}

static void names_are_those_of_the_layout(void **state)
{
    (void)state;
    static const char *const linears[DENSE_LINEARS] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                       "gate_proj", "up_proj", "down_proj"};
    static const int groups[DENSE_LINEARS] = {GROUP_QKV,     GROUP_QKV,     GROUP_QKV, GROUP_O,
                                              GROUP_GATE_UP, GROUP_GATE_UP, GROUP_DOWN};
    awq_layer_record record;
    fill(&record, 0);
    assert_int_equal(record.groups, DENSE_GROUPS);
    assert_int_equal(record.linears, DENSE_LINEARS);
    assert_string_equal(record.group[GROUP_QKV].name, "qkv");
    assert_string_equal(record.group[GROUP_O].name, "o");
    assert_string_equal(record.group[GROUP_GATE_UP].name, "gate_up");
    assert_string_equal(record.group[GROUP_DOWN].name, "down");
    for (int i = 0; i < DENSE_LINEARS; i++) {
        assert_string_equal(record.linear[i].name, linears[i]);
        assert_int_equal(record.linear[i].group, groups[i]);
        assert_int_equal(record.linear[i].expert, -1);
    }
    awq_layer_record_release(&record);
    assert_string_equal(awq_phase_name(AWQ_PHASE_PACK), "pack");
    assert_string_equal(awq_span_name(AWQ_SPAN_FLOW), "flow");
}

static void expect_corrupt(const char *path, const char *fingerprint, const char *part)
{
    awq_error err;
    awq_layer_record record;
    assert_int_equal(awq_layer_record_read(path, fingerprint, &record, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, part);
    assert_contains(err.text, path);
}

static void foreign_and_missing_records_are_refused(void **state)
{
    awq_error err;
    awq_layer_record record;
    const char *path = scratch_path(state, "a.h5");
    assert_int_equal(awq_layer_record_read(path, NULL, &record, &err), AWQ_ERR_IO);
    assert_contains(err.text, "No such file or directory");
    write_record(path, 1);
    expect_corrupt(path, "job 2", "belongs to another job");
    expect_corrupt(path, "job", "belongs to another job");
    expect_corrupt(*state, "job 1", "not a regular file");
    scratch_write_text(path, "short");
    expect_corrupt(path, "job 1", "is truncated");
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    expect_corrupt(path, "job 1", "its checksum is wrong");
}

static void every_truncation_is_corrupt(void **state)
{
    size_t bytes;
    const char *path = scratch_path(state, "a.h5");
    write_record(path, 1);
    char *whole = scratch_read(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut += 97) {
        scratch_write(path, whole, cut);
        expect_corrupt(path, NULL, "");
    }
    free(whole);
}

static void every_flipped_byte_is_corrupt(void **state)
{
    size_t bytes;
    const char *path = scratch_path(state, "a.h5");
    write_record(path, 1);
    char *content = scratch_read(path, &bytes);
    for (size_t i = 0; i < bytes; i += i < 1024 ? 1 : 13) {
        content[i] ^= 0x10;
        scratch_write(path, content, bytes);
        expect_corrupt(path, NULL, "");
        content[i] ^= 0x10;
    }
    free(content);
}

static void a_layer_is_done_when_its_tensors_match(void **state)
{
    awq_error err;
    const char *h5 = scratch_path(state, "a.h5"), *tensors = scratch_path(state, "a.safetensors");
    write_record(h5, 1);
    assert_int_equal(awq_layer_record_check(h5, tensors, 1, "job 1", &err), AWQ_ERR_IO);
    scratch_write_text(tensors, "123456789");
    assert_int_equal(awq_layer_record_check(h5, tensors, 1, "job 1", &err), AWQ_OK);
    assert_int_equal(awq_layer_record_check(h5, tensors, 1, "job 2", &err), AWQ_ERR_CORRUPT);
    assert_int_equal(awq_layer_record_check(h5, tensors, 2, "job 1", &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "is the record of layer 1, not of layer 2");
    scratch_write_text(tensors, "123456780");
    assert_int_equal(awq_layer_record_check(h5, tensors, 1, "job 1", &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "another crc32");
    scratch_write_text(tensors, "12345678");
    assert_int_equal(awq_layer_record_check(h5, tensors, 1, "job 1", &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "has 8 bytes, its record says 9");
}

/* What merge does: the data was read by someone else, and only its sums are known. */
static void a_record_vouches_for_the_sums_of_its_tensors(void **state)
{
    awq_error err;
    awq_safetensors *file;
    awq_layer_record record = {0};
    awq_safetensors_writer *writer;
    const char *path = scratch_path(state, "a.safetensors");
    const awq_tensor tensors[] = {{.name = "one", .dtype = AWQ_U8, .dims = 1, .shape = {6}},
                                  {.name = "two", .dtype = AWQ_U8, .dims = 1, .shape = {3}}};
    assert_int_equal(awq_safetensors_create(path, tensors, 2, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, "123456789", 9, &err), AWQ_OK);
    assert_int_equal(
        awq_safetensors_commit(writer, &record.tensors_crc, &record.tensors_bytes, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_OK);
    uint32_t crc[2] = {awq_crc32(0, "123456", 6), awq_crc32(0, "789", 3)};
    assert_int_equal(awq_layer_record_vouch(&record, file, crc, &err), AWQ_OK);
    crc[0] = awq_crc32(0, "123457", 6);
    assert_int_equal(awq_layer_record_vouch(&record, file, crc, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "another crc32");
    record.tensors_bytes++;
    assert_int_equal(awq_layer_record_vouch(&record, file, crc, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "its record says");
    awq_safetensors_close(file);
}

static void records_are_gathered(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "awqrun.h5");
    char *job = malloc(100001); /* beyond what an attribute of the old format holds */
    memset(job, 'j', 100000);
    job[100000] = '\0';
    write_record(scratch_path(state, "00000.h5"), 0);
    write_record(scratch_path(state, "00001.h5"), 1);
    if (awq_layer_records_gather(
            *state, &(awq_gathered){.layers = 2, .version = "0.1.0", .job = job}, path, &err))
        fail_msg("%s", err.text);
    free(job);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    float mean_abs[CHANNELS];
    hid_t set = H5Dopen2(file, "/layers/00001/groups/qkv/mean_abs", H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, mean_abs) >= 0);
    assert_true(mean_abs[4] == 1.0f);
    H5Dclose(set);
    assert_true(H5Aexists_by_name(file, "/layers/00001", "tokens", H5P_DEFAULT) > 0);
    assert_true(H5Aexists_by_name(file, "/", "job", H5P_DEFAULT) > 0);
    H5Fclose(file);
    assert_int_equal(scratch_count(*state), 3);
}

static void gathered_records_read_back(void **state)
{
    awq_error err;
    awq_layer_records records;
    awq_layer_record expected, back;
    const char *path = scratch_path(state, "awqrun.h5");
    write_record(scratch_path(state, "00000.h5"), 0);
    write_record(scratch_path(state, "00001.h5"), 1);
    assert_int_equal(
        awq_layer_records_gather(
            *state, &(awq_gathered){.layers = 2, .version = "0.1.0", .job = "{}"}, path, &err),
        AWQ_OK);
    assert_int_equal(awq_layer_records_open(path, &records, &err), AWQ_OK);
    assert_int_equal(records.layers, 2);
    assert_string_equal(records.version, "0.1.0");
    assert_string_equal(records.job, "{}");
    assert_string_equal(records.fingerprint, "job 1");
    awq_layer_records_release(&records);
    fill(&expected, 1);
    assert_int_equal(awq_layer_records_read(path, 1, &back, &err), AWQ_OK);
    expect_same(&expected, &back);
    awq_layer_record_release(&back);
    awq_layer_record_release(&expected);
    assert_int_equal(awq_layer_records_read(path, 2, &back, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "lacks parts of the record of layer 2");
}

static void a_file_that_is_not_gathered_records_is_refused(void **state)
{
    awq_error err;
    awq_layer_records records;
    const char *path = scratch_path(state, "awqrun.h5");
    assert_int_equal(awq_layer_records_open(path, &records, &err), AWQ_ERR_IO);
    scratch_write_text(path, "short");
    assert_int_equal(awq_layer_records_open(path, &records, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "is truncated");
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    assert_int_equal(awq_layer_records_open(path, &records, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "checksum is wrong; expected the statistics of a checkpoint");
    write_record(path, 0);
    assert_int_equal(awq_layer_records_open(path, &records, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "is HDF5, but not the statistics of a checkpoint");
}

static void gathering_stops_at_a_bad_record(void **state)
{
    awq_error err;
    const char *path = scratch_path(state, "awqrun.h5");
    write_record(scratch_path(state, "00000.h5"), 0);
    assert_int_equal(
        awq_layer_records_gather(*state, &(awq_gathered){.layers = 2, .version = "0", .job = "{}"},
                                 path, &err),
        AWQ_ERR_IO);
    assert_contains(err.text, "00001.h5': No such file or directory");
    write_record(scratch_path(state, "00001.h5"), 7);
    assert_int_equal(
        awq_layer_records_gather(*state, &(awq_gathered){.layers = 2, .version = "0", .job = "{}"},
                                 path, &err),
        AWQ_ERR_CORRUPT);
    assert_contains(err.text, "is not the record of layer 1");
    assert_int_equal(
        awq_layer_records_gather(*state, &(awq_gathered){.layers = 1, .version = "0", .job = "{}"},
                                 scratch_path(state, "no/x"), &err),
        AWQ_ERR_IO);
    assert_int_equal(scratch_count(*state), 2);
}

static void *write_many(void *path)
{
    for (int i = 0; i < 20; i++) write_record(path, i);
    return NULL;
}

static void threads_write_different_records(void **state)
{
    pthread_t threads[4];
    char paths[4][AWQ_PATH_BYTES];
    for (int i = 0; i < 4; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d.h5", (const char *)*state, i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, paths[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        awq_error err;
        awq_layer_record record;
        pthread_join(threads[i], NULL);
        assert_int_equal(awq_layer_record_read(paths[i], "job 1", &record, &err), AWQ_OK);
        assert_int_equal(record.layer, 19);
        awq_layer_record_release(&record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_record_reads_back),
        scratch_test(equal_records_are_equal_bytes),
        cmocka_unit_test(relative_errors_are_of_sums),
        cmocka_unit_test(names_are_those_of_the_layout),
        scratch_test(foreign_and_missing_records_are_refused),
        scratch_test(every_truncation_is_corrupt),
        scratch_test(every_flipped_byte_is_corrupt),
        scratch_test(a_layer_is_done_when_its_tensors_match),
        scratch_test(a_record_vouches_for_the_sums_of_its_tensors),
        scratch_test(records_are_gathered),
        scratch_test(gathered_records_read_back),
        scratch_test(a_file_that_is_not_gathered_records_is_refused),
        scratch_test(gathering_stops_at_a_bad_record),
        scratch_test(threads_write_different_records),
    };
    return cmocka_run_group_tests_name("layer_record", tests, describe, forget);
}
