/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_part.c - parts of a sparse layer: who has what, and the share of a record on
 * its way. */
#include <stdlib.h>
#include <string.h>

#include "io/records/parcel.h"
#include "model_of.h"
#include "scratch.h"

enum { EXPERTS = 5, CHANNELS = 3, CANDIDATES = 2 };

/* One layer of five experts and a shared one. */
static awq_model model;
static const awq_layer_spec *layer;

static int describe(void **state)
{
    (void)state;
    model =
        model_of("{\"model_type\": \"qwen2_moe\", \"hidden_size\": 16, \"intermediate_size\": 32,"
                 " \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"vocab_size\": 24,"
                 " \"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 8,"
                 " \"shared_expert_intermediate_size\": 8}");
    layer = awq_model_layer(&model, 0);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    awq_model_release(&model);
    return 0;
}

/* The part of `count` that has a linear; all: -1. */
static int only_part_with(const char *linear, int32_t count)
{
    int found = 0, part = -1;
    for (int32_t i = 0; i < count; i++) {
        if (!awq_layer_part_has_linear(layer, (awq_layer_part){i, count},
                                       linear_named(layer, linear)))
            continue;
        found++;
        part = i;
    }
    assert_true(found == 1 || found == count);
    return found == 1 ? part : -1;
}

static void experts_are_shared_out_in_order_as_evenly_as_can_be(void **state)
{
    (void)state;
    for (int32_t count = 1; count <= EXPERTS; count++) {
        int64_t next = 0;
        for (int32_t i = 0; i < count; i++) {
            awq_layer_part part = {i, count};
            assert_int_equal(awq_layer_part_first_expert(layer, part), next);
            next = awq_layer_part_end_expert(layer, part);
            int64_t has = next - awq_layer_part_first_expert(layer, part);
            assert_in_range(has, EXPERTS / count, (EXPERTS + count - 1) / count);
        }
        assert_int_equal(next, EXPERTS);
    }
    assert_int_equal(awq_layer_part_most(layer), EXPERTS);
}

static void attention_is_the_firsts_and_what_comes_behind_experts_the_lasts(void **state)
{
    (void)state;
    assert_int_equal(only_part_with("q_proj", 3), 0);
    assert_int_equal(only_part_with("o_proj", 3), 0);
    assert_int_equal(only_part_with("experts.0.up_proj", 3), 0);
    assert_int_equal(only_part_with("experts.1.down_proj", 3), 1);
    assert_int_equal(only_part_with("experts.4.gate_proj", 3), 2);
    assert_int_equal(only_part_with("shared_expert.down_proj", 3), 2);
    assert_int_equal(only_part_with("shared_expert_gate", 3), 2);
    assert_int_equal(only_part_with("gate", 3), -1); /* each routes for itself */
    for (int32_t i = 0; i < 3; i++)
        assert_true(
            awq_layer_part_has_group(layer, (awq_layer_part){i, 3}, group_named(layer, "gate_up")));
}

/* In the order of the parts: the layer's, since the router is the last one's to write. */
static void each_linear_and_group_is_owned_once(void **state)
{
    (void)state;
    for (int32_t count = 0; count <= EXPERTS; count++) {
        int linears = 0, groups = 0;
        for (int32_t i = 0; i < (count ? count : 1); i++) {
            awq_layer_part part = {i, count};
            for (int linear = 0; linear < layer->linears; linear++)
                if (awq_layer_part_owns_linear(layer, part, linear))
                    assert_int_equal(linear, linears++);
            for (int group = 0; group < layer->groups; group++)
                groups += awq_layer_part_owns_group(layer, part, group);
        }
        assert_int_equal(linears, layer->linears);
        assert_int_equal(groups, layer->groups);
    }
}

/* ---- records ---- */

static float *floats(int count, float first)
{
    float *values = calloc((size_t)count, sizeof *values);
    for (int i = 0; i < count; i++) values[i] = first + (float)i;
    return values;
}

static double *doubles(int count, double first)
{
    double *values = calloc((size_t)count, sizeof *values);
    for (int i = 0; i < count; i++) values[i] = first + i;
    return values;
}

/* What a part has of it, all different. */
static void fill(awq_layer_record *record, awq_layer_part part)
{
    awq_error err;
    awq_layer_record_init(record);
    assert_int_equal(awq_layer_record_shape(record, layer, &err), AWQ_OK);
    record->seconds[AWQ_PHASE_SEARCH] = 1;
    for (int i = 0; i < record->groups; i++) {
        awq_group_record *group = &record->group[i];
        if (!awq_layer_part_has_group(layer, part, i)) continue;
        group->tokens = 10 + i;
        group->channels = CHANNELS;
        group->candidates = i % 2 ? CANDIDATES : 0;
        group->mean_abs = floats(CHANNELS, (float)i);
        group->scales = floats(CHANNELS, (float)i + 0.5f);
        group->alpha = doubles(CANDIDATES, i);
        group->duo = calloc(CANDIDATES, 1);
        group->loss = doubles(CANDIDATES, i + 0.25);
        group->measured = doubles(CANDIDATES, i + 0.5);
    }
    for (int i = 0; i < record->linears; i++)
        if (awq_layer_part_has_linear(layer, part, i)) record->linear[i].loss = 1 + i;
}

static unsigned char *parcel_of(awq_layer_part part, uint64_t *bytes)
{
    awq_layer_record record;
    fill(&record, part);
    *bytes = awq_record_parcel_write(&record, layer, part, NULL);
    unsigned char *parcel = malloc(*bytes);
    assert_int_equal(awq_record_parcel_write(&record, layer, part, parcel), *bytes);
    awq_layer_record_release(&record);
    return parcel;
}

static void records_of_parts_add_up_to_the_layers(void **state)
{
    (void)state;
    awq_error err;
    awq_layer_record whole, record;
    fill(&whole, (awq_layer_part){0, 0});
    fill(&record, (awq_layer_part){2, 3});
    for (awq_layer_part part = {0, 3}; part.index < 2; part.index++) {
        uint64_t bytes, used;
        unsigned char *parcel = parcel_of(part, &bytes);
        assert_int_equal(awq_record_parcel_read(&record, layer, part, parcel, bytes, &used, &err),
                         AWQ_OK);
        assert_int_equal(used, bytes);
        free(parcel);
    }
    assert_true(record.seconds[AWQ_PHASE_SEARCH] == 3);
    assert_memory_equal(record.linear, whole.linear, (size_t)whole.linears * sizeof *whole.linear);
    for (int i = 0; i < whole.groups; i++) {
        const awq_group_record *ours = &record.group[i], *theirs = &whole.group[i];
        assert_string_equal(ours->name, theirs->name);
        assert_int_equal(ours->tokens, theirs->tokens);
        assert_memory_equal(ours->scales, theirs->scales, CHANNELS * sizeof *ours->scales);
        assert_memory_equal(ours->loss, theirs->loss,
                            (size_t)theirs->candidates * sizeof *ours->loss);
        assert_memory_equal(ours->measured, theirs->measured,
                            (size_t)theirs->candidates * sizeof *ours->measured);
    }
    awq_layer_record_release(&record);
    awq_layer_record_release(&whole);
}

static void a_parcel_that_is_cut_short_is_refused_at_any_byte(void **state)
{
    (void)state;
    awq_layer_part first = {0, 2}, last = {1, 2};
    uint64_t bytes, used = 7;
    unsigned char *parcel = parcel_of(first, &bytes);
    for (uint64_t cut = 0; cut < bytes; cut++) {
        awq_error err;
        awq_layer_record record;
        unsigned char *part = malloc(cut + 1); /* for a sanitizer to see its end */
        memcpy(part, parcel, cut);
        fill(&record, last);
        assert_int_equal(awq_record_parcel_read(&record, layer, first, part, cut, &used, &err),
                         AWQ_ERR_INTERNAL);
        assert_int_equal(used, 7);
        awq_layer_record_release(&record);
        free(part);
    }
    free(parcel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_are_shared_out_in_order_as_evenly_as_can_be),
        cmocka_unit_test(attention_is_the_firsts_and_what_comes_behind_experts_the_lasts),
        cmocka_unit_test(each_linear_and_group_is_owned_once),
        cmocka_unit_test(records_of_parts_add_up_to_the_layers),
        cmocka_unit_test(a_parcel_that_is_cut_short_is_refused_at_any_byte),
    };
    return cmocka_run_group_tests_name("part", tests, describe, forget);
}
