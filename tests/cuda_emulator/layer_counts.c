/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/layer_counts.c - one layer of Llama-70B, 128 sequences of 512 tokens in tiles
 * of 4,096, with default options: how many launches, waits and bytes to the host it is. Nothing is
 * computed (counts.h). */
#include <stdlib.h>
#include <string.h>

#include "layers/fold/fold_check.h"
#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
#include "layers/forward/scratch.h"
#include "layers/quantize/quantize.h"
#include "tests/cuda_emulator/counts.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/layers/check.h"

enum { SMALL = 4 << 20 };
/* Products count as launches; bytes of results. */
enum { MOST_LAUNCHES = 6000, MOST_WAITS = 60 };
static const double most_bytes = 0.45e9;
enum { TILES = 16, SEQUENCES = 8, LENGTH = 512, ROWS = SEQUENCES * LENGTH };

static const char config[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 8192,"
    " \"intermediate_size\": 28672, \"num_attention_heads\": 64, \"num_key_value_heads\": 8,"
    " \"vocab_size\": 128256, \"rms_norm_eps\": 1e-5, \"rope_theta\": 500000,"
    " \"torch_dtype\": \"bfloat16\"}";

static awq_model model;
static const awq_backend *be;
static awq_device *device;
static awq_decoder decoder;
static awq_scratch *scratch;
static awq_statistics statistics;
static float *hidden, *kept;
static awq_result_memory *memory;

/* ---- what would have come to the host ---- */

/* Losses of rows come candidate after candidate: each is worse than the one before, all in all by a
 * tenth, and rows differ by a twelfth. So about half of the candidates drop out at each level of a
 * race, and the best two are told apart at the last but one. Both halves of each number are
 * positive floats, since not all that is fetched are losses. */
static void fill_doubles(double *to, size_t count)
{
    uint64_t random = 1;
    for (size_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        double x = 1 + 0.1 * (double)i / (double)count + 0.15 * (double)(random >> 40) * 0x1p-24;
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits = (bits & 0xffffffff00000000u) | 0x3f800000u;
        memcpy(&to[i], &bits, sizeof bits);
    }
}

/* Numbers that a layer might give, whatever their type: those of equal bytes are positive as
 * float16, float32 and float64. Codes may be any. */
static void make_up(const char *verb, void *host, const void *from, size_t bytes)
{
    (void)from;
    if (!strcmp(verb, "download"))
        fill_doubles(host, bytes / sizeof(double));
    else if (!strcmp(verb, "feedback_factor") || !strcmp(verb, "squared_error"))
        memset(host, 0, bytes); /* no pivot is refused; folding changes nothing */
    else if (strcmp(verb, "fetch") != 0 || bytes < SMALL)
        memset(host, 0x3f, bytes);
}

/* ---- the layer ---- */

static void *allocate(size_t bytes)
{
    awq_error err;
    void *array;
    must(be->alloc(device, bytes, "a test", &array, &err));
    return array;
}

static void make_decoder(void)
{
    awq_error err;
    const awq_layer_spec *spec = awq_model_layer(&model, 0);
    must(awq_decoder_init(&decoder, &model, 0, &err));
    awq_arena arena = {.base = allocate(awq_decoder_bytes(&model, be->compute_bytes))};
    decoder.arena = arena.base;
    for (int i = 0; i < spec->linears; i++)
        decoder.weight[i] = awq_arena_take(
            &arena,
            (uint64_t)awq_extent_elements(awq_linear_extent(&spec->linear[i])) * be->compute_bytes);
    for (int i = 0; i < spec->vectors; i++) {
        decoder.vector[i] = awq_arena_take(&arena, (uint64_t)spec->vector[i].width * sizeof(float));
        decoder.vector_dtype[i] = AWQ_BF16;
    }
}

static int open_layer(void **state)
{
    (void)state;
    awq_error err;
    awq_device_options options = {.compute = AWQ_BF16};
    awq_recipe recipe = awq_recipe_default();
    be = emulator_count_only(make_up);
    model = model_of(config);
    must(be->open(&options, &device, &err));
    device->backend = be;
    make_decoder();
    awq_tile_size size = awq_checked_tile(SEQUENCES, LENGTH);
    must(awq_scratch_create(device, &model, &size, &scratch, &err));
    must(awq_statistics_init(device, &model, 0, (awq_layer_part){0}, &(awq_routed_room){0},
                             &statistics, &err));
    hidden = allocate((size_t)ROWS * (size_t)model.residual * sizeof *hidden);
    kept = allocate((size_t)ROWS * (size_t)model.residual * sizeof *kept);
    size_t bytes = awq_quantized_codes_bytes(&model, 0, (awq_layer_part){0}, &recipe);
    must(awq_result_memory_create(device, bytes, &memory, &err));
    must(be->sync(device, &err));
    return 0;
}

static int close_layer(void **state)
{
    (void)state;
    awq_result_memory_free(memory);
    be->release(device, hidden);
    be->release(device, kept);
    awq_statistics_release(device, &statistics);
    awq_scratch_free(scratch);
    awq_decoder_release(device, &decoder);
    be->close(device);
    awq_model_release(&model);
    return 0;
}

static void flow(double *seconds)
{
    awq_error err;
    for (int tile = 0; tile < TILES; tile++)
        must(awq_decoder_forward(&(awq_forward){.device = device,
                                                .model = &model,
                                                .decoder = &decoder,
                                                .scratch = scratch,
                                                .sequences = SEQUENCES,
                                                .statistics = &statistics,
                                                .seconds = seconds},
                                 hidden, &err));
}

static void quantize(void)
{
    awq_error err;
    awq_quantized_layer layer;
    awq_recipe recipe = awq_recipe_default();
    awq_kept_tokens check = {
        .input = kept, .sequences = SEQUENCES, .length = LENGTH, .tile_sequences = SEQUENCES};
    awq_layer_input input = {.device = device,
                             .model = &model,
                             .decoder = &decoder,
                             .statistics = &statistics,
                             .scratch = scratch,
                             .memory = memory,
                             .kept = &check,
                             .recipe = &recipe};
    must(awq_quantize_layer(&input, &layer, &err));
    awq_quantized_layer_release(&layer);
}

/* ---- the counts ---- */

static void subtract(emulator_count *from, const emulator_count *before, int verbs)
{
    for (int i = 0; i < verbs; i++) {
        from[i].calls -= before[i].calls;
        from[i].kernels -= before[i].kernels;
        from[i].products -= before[i].products;
        from[i].waits -= before[i].waits;
        from[i].to_host -= before[i].to_host;
        from[i].to_device -= before[i].to_device;
    }
}

static void add(emulator_count *to, const emulator_count *count)
{
    to->calls += count->calls;
    to->kernels += count->kernels;
    to->products += count->products;
    to->waits += count->waits;
    to->to_host += count->to_host;
    to->to_device += count->to_device;
}

static void print(const emulator_count *c)
{
    printf("%-18s %7lld %8lld %8lld %6lld %10.3f %10.3f\n", c->verb, (long long)c->calls,
           (long long)c->kernels, (long long)c->products, (long long)c->waits,
           1e-6 * (double)c->to_host, 1e-6 * (double)c->to_device);
}

static emulator_count print_all(const emulator_count *counts, int verbs)
{
    emulator_count all = {.verb = "all"};
    printf("%-18s %7s %8s %8s %6s %10s %10s\n", "", "calls", "kernels", "products", "waits",
           "MB to host", "from host");
    for (int i = 0; i < verbs; i++) {
        if (counts[i].calls) print(&counts[i]);
        add(&all, &counts[i]);
    }
    print(&all);
    return all;
}

static const emulator_count *of_verb(const emulator_count *counts, const char *verb)
{
    while (strcmp(counts->verb, verb) != 0) counts++;
    return counts;
}

/* Of the layer alone: what came before is taken off. */
static void a_layer_of_70b_is_few_launches_and_waits(void **state)
{
    (void)state;
    emulator_count before[EMULATOR_VERBS], counts[EMULATOR_VERBS];
    double seconds[AWQ_PHASES] = {0};
    int verbs;
    memcpy(before, emulator_counts(&verbs), sizeof before);
    flow(seconds);
    quantize();
    memcpy(counts, emulator_counts(&verbs), sizeof counts);
    subtract(counts, before, verbs);
    emulator_count all = print_all(counts, verbs);
    assert_in_range(all.kernels + all.products, 1, MOST_LAUNCHES);
    assert_in_range(all.waits, 1, MOST_WAITS);
    assert_true((double)of_verb(counts, "fetch")->to_host <= most_bytes);
    assert_int_equal(of_verb(counts, "find_nonfinite")->calls, 0); /* what was made up is sound */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_layer_of_70b_is_few_launches_and_waits, open_layer,
                                        close_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
