/* SPDX-License-Identifier: MIT
 * Plans are small enough to try thousands of them against what a plan promises. */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "jobs/plan/plan.h"

enum { MAX_LAYERS = 24 };

typedef struct plan_case {
    int64_t layers;
    bool done[MAX_LAYERS], boundary[MAX_LAYERS];
    int64_t stage_layers;
    int workers;
} plan_case;

/* xorshift: the same cases on every machine. */
static uint64_t random_bits(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static int64_t below(uint64_t *seed, int64_t limit)
{
    return (int64_t)((random_bits(seed) >> 20) % (uint64_t)limit);
}

/* How many of a hundred layers are done, and have a boundary, differs from case to case. */
static plan_case random_case(uint64_t *seed)
{
    plan_case c = {.layers = 1 + below(seed, MAX_LAYERS),
                   .stage_layers = 1 + below(seed, 9),
                   .workers = (int)(1 + below(seed, 6))};
    int64_t done = below(seed, 101), boundary = below(seed, 60);
    for (int64_t i = 0; i < c.layers; i++) {
        c.done[i] = below(seed, 100) < done;
        c.boundary[i] = below(seed, 100) < boundary;
    }
    return c;
}

typedef void (*property)(const plan_case *c, const awq_plan *plan);

static void for_many_plans(property holds)
{
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 5000; i++) {
        awq_error err;
        awq_plan plan;
        plan_case c = random_case(&seed);
        must(awq_plan_create(
            c.layers, c.done, c.boundary,
            &(awq_plan_shape){.stage_layers = c.stage_layers, .workers = c.workers}, &plan, &err));
        holds(&c, &plan);
        awq_plan_release(&plan);
    }
}

/* times[layer]: in how many stages a layer is. */
static void count_stages(const awq_plan *plan, int times[MAX_LAYERS])
{
    memset(times, 0, MAX_LAYERS * sizeof *times);
    for (int64_t i = 0; i < plan->stage_count; i++)
        for (int64_t j = 0; j < plan->stages[i].count; j++) {
            assert_in_range(plan->stages[i].first + j, 0, plan->layers - 1);
            times[plan->stages[i].first + j]++;
        }
}

static void undone_once(const plan_case *c, const awq_plan *plan)
{
    int times[MAX_LAYERS];
    count_stages(plan, times);
    for (int64_t i = 0; i < c->layers; i++)
        if (c->done[i])
            assert_in_range(times[i], 0, 1);
        else
            assert_int_equal(times[i], 1);
}

static void every_undone_layer_is_in_one_stage(void **state)
{
    (void)state;
    for_many_plans(undone_once);
}

static void bounded(const plan_case *c, const awq_plan *plan)
{
    assert_int_equal(plan->stage_layers, c->stage_layers);
    for (int64_t i = 0; i < plan->stage_count; i++) {
        assert_in_range(plan->stages[i].count, 1, c->stage_layers);
        if (i)
            assert_true(plan->stages[i].first >=
                        plan->stages[i - 1].first + plan->stages[i - 1].count);
    }
}

static void stages_are_in_order_and_never_too_large(void **state)
{
    (void)state;
    for_many_plans(bounded);
}

static void fed(const plan_case *c, const awq_plan *plan)
{
    for (int64_t i = 0; i < plan->stage_count; i++) {
        const awq_stage *stage = &plan->stages[i], *before = i ? stage - 1 : NULL;
        bool follows = before && before->first + before->count == stage->first;
        switch (stage->input) {
        case AWQ_INPUT_EMBEDDING:
            assert_int_equal(stage->first, 0);
            break;
        case AWQ_INPUT_BOUNDARY:
            assert_true(stage->first > 0 && c->boundary[stage->first]);
            break;
        case AWQ_INPUT_STAGE:
            assert_true(follows && before->sends_on);
            break;
        default:
            fail();
        }
        if (before) assert_int_equal(before->sends_on, stage->input == AWQ_INPUT_STAGE);
    }
    if (plan->stage_count) assert_false(plan->stages[plan->stage_count - 1].sends_on);
}

static void the_input_of_every_stage_exists(void **state)
{
    (void)state;
    for_many_plans(fed);
}

/* The definition, layer by layer: a layer is run when it is undone, or a later undone one has no
 * boundary in between to start from. */
static bool is_needed(const plan_case *c, int64_t layer)
{
    for (int64_t i = layer; i < c->layers; i++) {
        if (i > layer && c->boundary[i]) return false;
        if (!c->done[i]) return true;
    }
    return false;
}

static void frugal(const plan_case *c, const awq_plan *plan)
{
    int times[MAX_LAYERS];
    int64_t forward_only = 0, left = 0;
    count_stages(plan, times);
    for (int64_t i = 0; i < c->layers; i++) {
        assert_int_equal(times[i], is_needed(c, i));
        assert_int_equal(plan->done[i], c->done[i]);
        forward_only += times[i] && c->done[i];
        left += !c->done[i];
    }
    assert_int_equal(plan->forward_only, forward_only);
    assert_int_equal(plan->layers_left, left);
}

static void nothing_is_run_that_no_undone_layer_needs(void **state)
{
    (void)state;
    for_many_plans(frugal);
}

static void in_turn(const plan_case *c, const awq_plan *plan)
{
    for (int64_t i = 0; i < plan->stage_count; i++)
        assert_int_equal(plan->stages[i].worker, i % c->workers);
}

static void stages_go_to_the_workers_in_turn(void **state)
{
    (void)state;
    for_many_plans(in_turn);
}

/* Within what is run, a stage ends only where it is full, at a boundary, or at a gap. */
static void filled(const plan_case *c, const awq_plan *plan)
{
    for (int64_t i = 0; i + 1 < plan->stage_count; i++) {
        const awq_stage *stage = &plan->stages[i], *next = stage + 1;
        bool gap = stage->first + stage->count != next->first;
        assert_true(gap || c->boundary[next->first] || stage->count == c->stage_layers);
    }
}

static void split_at_files(const plan_case *c, const awq_plan *plan)
{
    for (int64_t i = 0; i < plan->stage_count; i++)
        for (int64_t j = 1; j < plan->stages[i].count; j++)
            assert_false(c->boundary[plan->stages[i].first + j]);
}

static void a_boundary_on_disk_begins_a_stage(void **state)
{
    (void)state;
    for_many_plans(split_at_files);
}

static void stages_are_as_large_as_they_may_be(void **state)
{
    (void)state;
    for_many_plans(filled);
}

static void a_fresh_run_of_five_layers_on_two_workers(void **state)
{
    (void)state;
    awq_error err;
    awq_plan plan;
    must(awq_plan_create(5, NULL, NULL, &(awq_plan_shape){.stage_layers = 2, .workers = 2}, &plan,
                         &err));
    const awq_stage expected[] = {
        {.first = 0, .count = 2, .worker = 0, .input = AWQ_INPUT_EMBEDDING, .sends_on = 1},
        {.first = 2, .count = 2, .worker = 1, .input = AWQ_INPUT_STAGE, .sends_on = 1},
        {.first = 4, .count = 1, .worker = 0, .input = AWQ_INPUT_STAGE}};
    assert_int_equal(plan.stage_count, 3);
    assert_memory_equal(plan.stages, expected, sizeof expected);
    assert_int_equal(plan.layers_left, 5);
    assert_int_equal(plan.forward_only, 0);
    awq_plan_release(&plan);
    assert_null(plan.stages);
}

static void a_finished_run_has_no_stages(void **state)
{
    (void)state;
    awq_error err;
    awq_plan plan;
    const bool done[3] = {true, true, true}, boundary[3] = {false, true, false};
    must(awq_plan_create(3, done, boundary, &(awq_plan_shape){.stage_layers = 2, .workers = 4},
                         &plan, &err));
    assert_int_equal(plan.stage_count, 0);
    assert_int_equal(plan.layers_left, 0);
    assert_int_equal(plan.forward_only, 0);
    awq_plan_release(&plan);
}

/* ---- layers in parts ---- */

enum { SPARSE = 1, EXPERTS = 6 };

/* A model of which each layer is dense or has six experts. */
static void make_model(awq_model *model, uint64_t *seed)
{
    *model = (awq_model){.kinds = 2};
    model->kind[0].half[AWQ_HALF_MLP].out_norm = -1;
    model->kind[SPARSE].half[AWQ_HALF_MLP].out_norm = -1;
    model->kind[SPARSE].mlps.routing.experts = EXPERTS;
    for (int64_t i = 0; i < MAX_LAYERS; i++) model->kind_of[i] = below(seed, 3) ? SPARSE : 0;
}

/* The plan is that of whole layers, one a stage, with sparse ones split: the parts follow each
 * other and are fed by each other, and no worker has two of a layer. */
static void check_split(const awq_plan *whole, const awq_plan *split, const awq_plan_shape *shape)
{
    int64_t at = 0;
    for (int64_t i = 0; i < whole->stage_count; i++) {
        const awq_stage *layer = &whole->stages[i];
        bool sparse = shape->model->kind_of[layer->first] == SPARSE;
        int64_t parts = sparse && shape->parts < EXPERTS ? shape->parts : sparse ? EXPERTS : 1;
        for (int64_t part = 0; part < parts; part++, at++) {
            const awq_stage *stage = &split->stages[at];
            assert_int_equal(stage->first, layer->first);
            assert_int_equal(stage->count, 1);
            assert_int_equal(stage->part.index, part);
            assert_int_equal(stage->part.count, parts > 1 ? parts : 0);
            assert_int_equal(stage->input, part ? AWQ_INPUT_STAGE : layer->input);
            assert_int_equal(stage->sends_on, part + 1 < parts || layer->sends_on);
            assert_int_equal(stage->worker, at % shape->workers);
        }
        assert_true(parts <= shape->workers);
    }
    assert_int_equal(at, split->stage_count);
    assert_int_equal(split->forward_only, whole->forward_only);
    assert_int_equal(split->stage_layers, 1);
}

static void parts_of_a_layer_are_stages_in_a_row_on_other_workers(void **state)
{
    (void)state;
    static awq_model model;
    uint64_t seed = 362436069;
    for (int i = 0; i < 2000; i++) {
        awq_error err;
        awq_plan whole, split;
        plan_case c = random_case(&seed);
        make_model(&model, &seed);
        c.workers++;
        awq_plan_shape shape = {.stage_layers = 1, .workers = c.workers};
        must(awq_plan_create(c.layers, c.done, c.boundary, &shape, &whole, &err));
        shape = (awq_plan_shape){.stage_layers = c.stage_layers,
                                 .workers = c.workers,
                                 .parts = 2 + below(&seed, c.workers - 1),
                                 .model = &model};
        must(awq_plan_create(c.layers, c.done, c.boundary, &shape, &split, &err));
        check_split(&whole, &split, &shape);
        awq_plan_release(&whole);
        awq_plan_release(&split);
    }
}

/* A layer of 1000 beside 50: six experts of 150 each, of what is read ahead too, and 10 for a part
 * in any case. */
static const awq_hello mixture = {.layer_bytes = 1000,
                                  .fixed_bytes = 1050,
                                  .expert_bytes = {150, 150},
                                  .part_bytes = 10,
                                  .experts = EXPERTS,
                                  .spare_experts = EXPERTS};

static int64_t parts(int64_t layers, int workers, int64_t wanted, int64_t held, uint64_t budget)
{
    awq_hello needs = mixture;
    needs.budget_bytes = budget;
    return awq_plan_parts(layers, workers,
                          &(awq_options){.expert_parts = wanted, .stage_layers = held}, &needs);
}

static void a_part_takes_its_experts_share(void **state)
{
    (void)state;
    awq_hello part = awq_plan_part_needs(&mixture, 1);
    assert_int_equal(awq_plan_stage_bytes(&part, 1), 2050);
    part = awq_plan_part_needs(&mixture, 2); /* three of six are elsewhere */
    assert_int_equal(awq_plan_stage_bytes(&part, 1), 2050 + 10 - 2 * 3 * 150);
    part = awq_plan_part_needs(&mixture, 4); /* the largest part has two */
    assert_int_equal(awq_plan_stage_bytes(&part, 1), 2050 + 10 - 2 * 4 * 150);
    awq_hello dense = mixture; /* a dense layer is as large as two experts less */
    dense.spare_experts = 2;
    part = awq_plan_part_needs(&dense, 4);
    assert_int_equal(awq_plan_stage_bytes(&part, 1), 2050 + 10 - 2 * 2 * 150);
}

static void a_layer_is_in_as_few_parts_as_fit(void **state)
{
    (void)state;
    assert_int_equal(parts(80, 8, 0, 0, 2050), 1);
    assert_int_equal(parts(80, 8, 0, 0, 2049), 2);
    assert_int_equal(parts(80, 8, 0, 0, 1160), 2);
    assert_int_equal(parts(80, 8, 0, 0, 1159), 3);
    assert_int_equal(parts(80, 8, 0, 0, 1), EXPERTS); /* which is refused then */
    assert_int_equal(parts(80, 2, 0, 0, 1), 2);
    assert_int_equal(parts(80, 1, 0, 0, 1), 1);
}

static void workers_to_spare_take_parts(void **state)
{
    (void)state;
    assert_int_equal(parts(4, 4, 0, 0, 5000), 1);
    assert_int_equal(parts(4, 7, 0, 0, 5000), 1);
    assert_int_equal(parts(4, 8, 0, 0, 5000), 2);
    assert_int_equal(parts(1, 8, 0, 0, 5000), EXPERTS);
    assert_int_equal(parts(1, 8, 0, 1, 5000), 1); /* --stage-layers says what is held */
}

static void wanted_parts_are_at_most_as_many_as_workers_and_experts(void **state)
{
    (void)state;
    assert_int_equal(parts(4, 8, 3, 0, 1), 3);
    assert_int_equal(parts(4, 2, 3, 0, 5000), 2);
    assert_int_equal(parts(4, 8, 8, 0, 5000), EXPERTS);
    assert_int_equal(parts(1, 8, 1, 0, 5000), 1);
    awq_hello dense = {.budget_bytes = 1};
    assert_int_equal(awq_plan_parts(1, 8, &(awq_options){.expert_parts = 3}, &dense), 1);
}

/* ---- how many layers a stage may hold ---- */

static int64_t stage_layers(int64_t layers, int workers, int64_t wanted, uint64_t budget)
{
    awq_error err;
    int64_t out = -1;
    must(awq_plan_stage_layers(
        layers, workers, wanted,
        &(awq_hello){.budget_bytes = budget, .layer_bytes = 100, .fixed_bytes = 50}, &out, &err));
    return out;
}

static int64_t boundaries(int64_t stages, int64_t workers, bool all)
{
    return awq_plan_boundaries(&(awq_plan){.stage_count = stages}, workers, all);
}

static void two_boundaries_of_each_worker_are_on_disk_at_once(void **state)
{
    (void)state;
    assert_int_equal(boundaries(80, 1, false), 2);
    assert_int_equal(boundaries(80, 8, false), 16);
    assert_int_equal(boundaries(80, 8, true), 79);
    assert_int_equal(boundaries(3, 8, false), 2);
    assert_int_equal(boundaries(1, 1, false), 0);
    assert_int_equal(boundaries(0, 1, false), 0); /* every layer is done: only the merge is left */
    assert_int_equal(boundaries(0, 1, true), 0);
}

static void an_even_share_is_taken_where_it_fits(void **state)
{
    (void)state;
    assert_int_equal(stage_layers(80, 8, 0, 1000000), 10);
    assert_int_equal(stage_layers(81, 8, 0, 1000000), 11);
    assert_int_equal(stage_layers(3, 8, 0, 1000000), 1);
    assert_int_equal(stage_layers(0, 8, 0, 1000000), 1);
}

static void memory_limits_a_stage(void **state)
{
    (void)state;
    assert_int_equal(stage_layers(80, 8, 0, 50 + 400), 4);
    assert_int_equal(stage_layers(80, 8, 0, 50 + 499), 4);
    assert_int_equal(stage_layers(80, 8, 0, 50 + 100), 1);
}

static void a_wanted_number_is_taken_as_far_as_it_fits(void **state)
{
    (void)state;
    assert_int_equal(stage_layers(80, 8, 3, 50 + 400), 3);
    assert_int_equal(stage_layers(80, 8, 20, 50 + 400), 4);
    assert_int_equal(stage_layers(80, 8, 20, 1000000), 20);
}

static void a_layer_that_does_not_fit_says_what_to_do(void **state)
{
    (void)state;
    awq_error err;
    int64_t out = -1;
    awq_hello needs = {
        .budget_bytes = 2000000000, .layer_bytes = 1500000000, .fixed_bytes = 600000000};
    assert_int_equal(awq_plan_stage_layers(80, 8, 0, &needs, &out, &err), AWQ_ERR_MEMORY);
    assert_int_equal(out, -1);
    assert_contains(err.text, "one decoder layer needs 2.10 GB");
    assert_contains(err.text, "may use 2.00 GB");
    assert_contains(err.text, "lower --tile-tokens, raise --device-memory");
    needs = (awq_hello){.budget_bytes = 600, .layer_bytes = 100, .fixed_bytes = 600};
    assert_int_equal(awq_plan_stage_layers(80, 8, 4, &needs, &out, &err), AWQ_ERR_MEMORY);
    needs = (awq_hello){.budget_bytes = 180,
                        .layer_bytes = 100,
                        .fixed_bytes = 50,
                        .inputs_bytes = 40,
                        .inputs_layers = 1};
    assert_int_equal(awq_plan_stage_layers(80, 8, 4, &needs, &out, &err), AWQ_ERR_MEMORY);
    assert_contains(err.text, "or --inputs-memory");
}

/* What experts read is in memory for the first layers of a stage, in files for the others. */
static void inputs_of_experts_count_where_they_are(void **state)
{
    (void)state;
    awq_hello needs = {
        .fixed_bytes = 50, .layer_bytes = 100, .inputs_bytes = 40, .inputs_layers = 3};
    assert_int_equal(awq_plan_stage_bytes(&needs, 2), 50 + 2 * 140);
    assert_int_equal(awq_plan_stage_bytes(&needs, 5), 50 + 5 * 100 + 3 * 40);
    assert_int_equal(awq_plan_host_bytes(&needs, 5), 0);
    assert_int_equal(awq_plan_file_bytes(&needs, 3), 0);
    assert_int_equal(awq_plan_file_bytes(&needs, 5), 2 * 40);
    needs.host_bytes = 7; /* beside a GPU */
    assert_int_equal(awq_plan_stage_bytes(&needs, 5), 50 + 5 * 100);
    assert_int_equal(awq_plan_host_bytes(&needs, 5), 7 + 3 * 40);
    awq_error err;
    int64_t out;
    needs.host_bytes = 0;
    needs.budget_bytes = 50 + 4 * 100 + 3 * 40;
    must(awq_plan_stage_layers(80, 8, 0, &needs, &out, &err));
    assert_int_equal(out, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_undone_layer_is_in_one_stage),
        cmocka_unit_test(inputs_of_experts_count_where_they_are),
        cmocka_unit_test(stages_are_in_order_and_never_too_large),
        cmocka_unit_test(the_input_of_every_stage_exists),
        cmocka_unit_test(nothing_is_run_that_no_undone_layer_needs),
        cmocka_unit_test(stages_go_to_the_workers_in_turn),
        cmocka_unit_test(a_boundary_on_disk_begins_a_stage),
        cmocka_unit_test(stages_are_as_large_as_they_may_be),
        cmocka_unit_test(a_fresh_run_of_five_layers_on_two_workers),
        cmocka_unit_test(a_finished_run_has_no_stages),
        cmocka_unit_test(two_boundaries_of_each_worker_are_on_disk_at_once),
        cmocka_unit_test(parts_of_a_layer_are_stages_in_a_row_on_other_workers),
        cmocka_unit_test(a_part_takes_its_experts_share),
        cmocka_unit_test(a_layer_is_in_as_few_parts_as_fit),
        cmocka_unit_test(workers_to_spare_take_parts),
        cmocka_unit_test(wanted_parts_are_at_most_as_many_as_workers_and_experts),
        cmocka_unit_test(an_even_share_is_taken_where_it_fits),
        cmocka_unit_test(memory_limits_a_stage),
        cmocka_unit_test(a_wanted_number_is_taken_as_far_as_it_fits),
        cmocka_unit_test(a_layer_that_does_not_fit_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
