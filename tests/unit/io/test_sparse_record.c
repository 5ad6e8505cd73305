/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_sparse_record.c - the record of a layer with experts. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/records/layer_record.h"
#include "model_of.h"
#include "scratch.h"

enum { TOKENS = 100, LAYER = 0, EXPERTS = 4 };

/* Of four experts and a shared one. */
static awq_model model;
static const awq_layer_spec *layer;

static int describe(void **state)
{
    (void)state;
    model =
        model_of("{\"model_type\": \"qwen2_moe\", \"hidden_size\": 16, \"intermediate_size\": 32,"
                 " \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"vocab_size\": 24,"
                 " \"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 8,"
                 " \"shared_expert_intermediate_size\": 8}");
    layer = awq_model_layer(&model, LAYER);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    awq_model_release(&model);
    return 0;
}

/* Different numbers of tokens for each expert, none for the first. */
static void fill(awq_layer_record *record)
{
    awq_error err;
    awq_layer_record_init(record);
    assert_int_equal(awq_layer_record_shape(record, layer, &err), AWQ_OK);
    record->layer = LAYER;
    record->tokens = TOKENS;
    for (int g = 0; g < record->groups; g++) {
        awq_group_record *group = &record->group[g];
        group->tokens = group->expert < 0 ? TOKENS : 7 * group->expert;
        group->channels = 2;
        group->mean_abs = calloc(2, sizeof *group->mean_abs);
        group->scales = calloc(2, sizeof *group->scales);
        group->mean_abs[1] = (float)g;
    }
    for (int i = 0; i < record->linears; i++) record->linear[i].loss = 0.5 + i;
}

static void write_record(const char *path)
{
    awq_error err;
    awq_layer_record record;
    fill(&record);
    assert_int_equal(awq_layer_record_write(path, &record, "job", &err), AWQ_OK);
    awq_layer_record_release(&record);
}

static void a_sparse_layer_is_read_as_it_was_written(void **state)
{
    awq_error err;
    awq_layer_record record, back;
    const char *path = scratch_path(state, "00000.h5");
    write_record(path);
    fill(&record);
    assert_int_equal(awq_layer_record_read(path, "job", &back, &err), AWQ_OK);
    assert_int_equal(back.groups, layer->groups);
    assert_int_equal(back.linears, layer->linears);
    for (int g = 0; g < back.groups; g++) {
        assert_string_equal(back.group[g].name, layer->group[g].name);
        assert_int_equal(back.group[g].expert, layer->group[g].expert);
        assert_int_equal(back.group[g].tokens, record.group[g].tokens);
        assert_true(back.group[g].mean_abs[1] == (float)g);
    }
    for (int i = 0; i < back.linears; i++) {
        assert_string_equal(back.linear[i].name, awq_linear_short_name(&layer->linear[i]));
        assert_int_equal(back.linear[i].group, layer->linear[i].group);
        assert_int_equal(back.linear[i].expert, layer->linear[i].expert);
        assert_true(back.linear[i].loss == 0.5 + i);
    }
    awq_layer_record_release(&back);
    awq_layer_record_release(&record);
}

/* The names of the layer's linears and groups, of which it has no others. */
static void names_are_those_of_the_layout(void **state)
{
    (void)state;
    static const char *const before[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    static const char *const behind[] = {"gate", "shared_expert_gate"};
    static const char *const types[] = {"gate_proj", "up_proj", "down_proj"};
    awq_layer_record record;
    fill(&record);
    assert_int_equal(record.linears, 4 + 3 * (EXPERTS + 1) + 2);
    assert_int_equal(record.groups, 3 + EXPERTS + 1);
    for (int i = 0; i < 4; i++) assert_string_equal(record.linear[i].name, before[i]);
    for (int i = 0; i < 3 * (EXPERTS + 1); i++) {
        char name[AWQ_RECORD_NAME_BYTES] = "shared_expert.";
        if (i / 3 < EXPERTS) snprintf(name, sizeof name, "experts.%d.", i / 3);
        strcat(name, types[i % 3]);
        assert_string_equal(record.linear[4 + i].name, name);
        assert_int_equal(record.linear[4 + i].expert, i / 3 < EXPERTS ? i / 3 : -1);
    }
    for (int i = 0; i < 2; i++)
        assert_string_equal(record.linear[record.linears - 2 + i].name, behind[i]);
    assert_string_equal(record.group[3].name, "experts.0.down");
    assert_string_equal(record.group[3 + EXPERTS].name, "shared_expert.down");
    awq_layer_record_release(&record);
}

/* /layers/00000 of a gathered file with one attribute changed. */
static void write_changed(void **state, const char *object, const char *attribute, int64_t value)
{
    awq_error err;
    const char *path = scratch_path(state, "awqrun.h5");
    const awq_gathered head = {.layers = 1, .version = "0", .job = "{}"};
    write_record(scratch_path(state, "00000.h5"));
    assert_int_equal(awq_layer_records_gather(*state, &head, path, &err), AWQ_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t opened = H5Gopen2(file, "layers/00000", H5P_DEFAULT);
    hid_t group = H5Gopen2(opened, object, H5P_DEFAULT);
    hid_t found = H5Aopen(group, attribute, H5P_DEFAULT);
    assert_true(H5Awrite(found, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(found);
    H5Gclose(group);
    H5Gclose(opened);
    H5Fclose(file);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
    const struct {
        const char *object, *attribute;
        int64_t value;
    } wrong[] = {{"linears/experts.1.up_proj", "index", 1 << 20},
                 {"linears/experts.1.up_proj", "index", layer->linears},
                 {"linears/experts.1.up_proj", "index", -1},
                 {"linears/experts.1.up_proj", "index", 2},  /* v_proj's */
                 {"linears/experts.1.up_proj", "index", 10}, /* another expert's */
                 {"linears/experts.1.up_proj", "group", 99},
                 {"linears/experts.1.up_proj", "group", layer->groups},
                 {"linears/experts.1.up_proj", "group", -1},
                 {"linears/experts.1.up_proj", "expert", -2},
                 {"linears/gate", "expert", 0}, /* of a name that no expert's has */
                 {"groups/experts.1.down", "expert", -2},
                 {"groups/experts.1.down", "index", 0}, /* qkv's */
                 {"groups/experts.1.down", "index", layer->groups},
                 {"groups/experts.1.down", "index", 1 << 20}};
    awq_error err;
    awq_layer_record back;
    const char *path = scratch_path(state, "awqrun.h5");
    write_changed(state, "linears/experts.1.up_proj", "index",
                  linear_named(layer, "experts.1.up_proj"));
    assert_int_equal(awq_layer_records_read(path, LAYER, &back, &err), AWQ_OK); /* as it was */
    awq_layer_record_release(&back);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_changed(state, wrong[i].object, wrong[i].attribute, wrong[i].value);
        assert_int_equal(awq_layer_records_read(path, LAYER, &back, &err), AWQ_ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_sparse_layer_is_read_as_it_was_written),
        cmocka_unit_test(names_are_those_of_the_layout),
        scratch_test(numbers_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("sparse_record", tests, describe, forget);
}
