/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_sparse_record.c - the record of a layer with experts. */
#include <hdf5.h>
#include <stdlib.h>

#include "io/layer_record.h"
#include "scratch.h"

enum { TOKENS = 100, LAYER = 0 };

/* Of four experts and a shared one. */
static awq_model sparse_model(void)
{
    awq_model model = {.family = AWQ_QWEN2_MOE, .layers = 1};
    model.experts = (awq_experts){4, 2, 8, 8, false};
    model.sparse[LAYER] = true;
    return model;
}

static void fill(awq_layer_record *record, const awq_model *model)
{
    awq_error err;
    awq_layer_record_init(record);
    assert_int_equal(awq_layer_record_shape(record, model, LAYER, &err), AWQ_OK);
    record->layer = LAYER;
    record->tokens = TOKENS;
    for (awq_group g = 0; g < record->groups; g++) {
        awq_group_record *group = &record->group[g];
        if (!*group->name) continue;
        group->tokens = g < AWQ_DENSE_GROUPS ? TOKENS : 7 * (g - AWQ_DENSE_GROUPS);
        group->channels = 2;
        group->mean_abs = calloc(2, sizeof *group->mean_abs);
        group->scales = calloc(2, sizeof *group->scales);
        group->mean_abs[1] = (float)g;
    }
    for (awq_linear i = 0; i < record->linears; i++) record->linear[i].loss = 0.5 + i;
}

static void write_record(const char *path)
{
    awq_error err;
    awq_layer_record record;
    awq_model model = sparse_model();
    fill(&record, &model);
    assert_int_equal(awq_layer_record_write(path, &record, "job", &err), AWQ_OK);
    awq_layer_record_release(&record);
}

static void a_sparse_layer_is_read_as_it_was_written(void **state)
{
    awq_error err;
    awq_layer_record record, back;
    awq_model model = sparse_model();
    const char *path = scratch_path(state, "00000.h5");
    write_record(path);
    fill(&record, &model);
    assert_int_equal(awq_layer_record_read(path, "job", &back, &err), AWQ_OK);
    assert_int_equal(back.groups, awq_model_groups(&model));
    assert_int_equal(back.linears, awq_model_linears(&model));
    for (awq_group g = 0; g < back.groups; g++) {
        assert_string_equal(back.group[g].name, record.group[g].name);
        if (!*back.group[g].name) continue;
        assert_int_equal(back.group[g].tokens, record.group[g].tokens);
        assert_true(back.group[g].mean_abs[1] == (float)g);
    }
    for (awq_linear i = 0; i < back.linears; i++) {
        assert_string_equal(back.linear[i].name, record.linear[i].name);
        if (!*back.linear[i].name) continue;
        assert_int_equal(back.linear[i].group, awq_linear_group(&model, i));
        assert_true(back.linear[i].loss == 0.5 + i);
    }
    awq_layer_record_release(&back);
    awq_layer_record_release(&record);
}

static void names_are_those_of_the_layout(void **state)
{
    (void)state;
    awq_layer_record record;
    awq_model model = sparse_model();
    fill(&record, &model);
    assert_string_equal(record.linear[AWQ_GATE].name, "");
    assert_string_equal(record.linear[awq_mlp_linear(3, AWQ_UP)].name, "experts.2.up_proj");
    assert_string_equal(record.linear[awq_mlp_linear(5, AWQ_DOWN)].name, "shared_expert.down_proj");
    assert_string_equal(record.linear[awq_model_linear(&model, AWQ_ROUTER)].name, "gate");
    assert_string_equal(record.linear[awq_model_linear(&model, AWQ_SHARED_GATE)].name,
                        "shared_expert_gate");
    assert_string_equal(record.group[awq_mlp_down_group(1)].name, "experts.0.down");
    assert_string_equal(record.group[awq_mlp_down_group(5)].name, "shared_expert.down");
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
    hid_t layer = H5Gopen2(file, "layers/00000", H5P_DEFAULT);
    hid_t group = H5Gopen2(layer, object, H5P_DEFAULT);
    hid_t found = H5Aopen(group, attribute, H5P_DEFAULT);
    assert_true(H5Awrite(found, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(found);
    H5Gclose(group);
    H5Gclose(layer);
    H5Fclose(file);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
    const struct {
        const char *object, *attribute;
        int64_t value;
    } wrong[] = {{"linears/experts.1.up_proj", "index", 1 << 20},
                 {"linears/experts.1.up_proj", "index", -1},
                 {"linears/experts.1.up_proj", "index", 2},  /* a dense layer's */
                 {"linears/experts.1.up_proj", "index", 10}, /* another's */
                 {"linears/experts.1.up_proj", "group", 99},
                 {"linears/experts.1.up_proj", "group", 3}, /* not in this layer */
                 {"groups/experts.1.down", "index", 1 << 20}};
    awq_error err;
    awq_layer_record back;
    const char *path = scratch_path(state, "awqrun.h5");
    write_changed(state, "linears/experts.1.up_proj", "index", awq_mlp_linear(2, AWQ_UP));
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
    return cmocka_run_group_tests_name("sparse_record", tests, NULL, NULL);
}
