/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/delta.c - a gated delta net's convolution and its recurrence against naive
 * float64 references and torch's numbers: shapes around the chunks' and slices' edges, gates that
 * keep or forget all, and who sees what is not finite. */
#include <math.h>
#include <string.h>

#include "tests/unit/kernels/bench.h"

/* ---- convolution ---- */

static void check_convolution(int64_t sequences, int64_t length, int64_t channels, int64_t taps)
{
    int64_t count = sequences * length * channels;
    float *x = host_activations(count, 2), *w = host_random(channels * taps, 1);
    double *reference = host_doubles(count);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % channels, t = i / channels % length;
        double sum = 0;
        for (int64_t j = 0; j < taps; j++)
            if (t - taps + 1 + j >= 0)
                sum += (double)w[c * taps + j] * (double)x[i - (taps - 1 - j) * channels];
        reference[i] = sum / (1 + exp(-sum));
    }
    void *y = device_compute(x, count);
    be->convolve(device, y, device_floats(w, channels * taps), sequences, length, channels, taps);
    assert_close(fetch_compute(y, count), reference, count, product_tolerance(taps + 4));
    bench_clear(&under_test);
}

static void a_convolution_sees_the_last_tokens_of_its_sequence(void **state)
{
    (void)state;
    check_convolution(3, 21, 40, 4);
    check_convolution(2, 130, 7, 3);
    check_convolution(1, 1, 1, 1);
}

static void a_convolution_may_be_longer_than_the_sequence(void **state)
{
    (void)state;
    check_convolution(4, 3, 9, AWQ_MAX_TAPS);
    check_convolution(2, 1, 33, 4);
}

static void a_convolution_works_across_blocks_of_channels(void **state)
{
    (void)state;
    check_convolution(2, 19, 523, 4);
    check_convolution(1, 40, 256, AWQ_MAX_TAPS);
    check_convolution(1, 5, 257, 2);
}

/* silu(conv1d(x, w, padding = 3, groups = 2)[:3]) of torch 2.5 in float64, two sequences. */
static void a_convolution_is_that_of_torch(void **state)
{
    (void)state;
    const float x[] = {1, -2, 0.5f, 3, -1, 0.25f, 2, 0.5f, -0.75f, 1, 4, -3};
    const float w[] = {0.5f, -1, 2, 0.25f, 1, 0.75f, -0.5f, 1.5f};
    const double expected[] = {0.14054412522144952, -0.14227761953270035, 1.8982824878654911,
                               5.477614242562572,   -0.10945587477855048, -0.1773100642415264,
                               0.3112296656009273,  0.5093840243815447,   3.730091543842406,
                               0.9716248264683639,  -0.18964545005310887, -0.04490170372681756};
    void *y = device_compute(x, 12);
    be->convolve(device, y, device_floats(w, 8), 2, 3, 2, 4);
    assert_close(fetch_compute(y, 12), expected, 12, product_tolerance(8));
}

/* Of channel 3, to as many tokens as there are taps, and not into the next sequence. */
static void a_convolution_shows_nan_to_those_who_see_it(void **state)
{
    (void)state;
    enum { TOKENS = 20, CHANNELS = 5, TAPS = 4 };
    static const int64_t spoiled[] = {6, TOKENS - 2};
    for (int i = 0; i < 2; i++) {
        int64_t count = 2 * TOKENS * CHANNELS, first = spoiled[i];
        float *x = host_activations(count, 1), *w = host_random(CHANNELS * TAPS, 1);
        x[first * CHANNELS + 3] = i ? NAN : INFINITY;
        void *y = device_compute(x, count);
        be->convolve(device, y, device_floats(w, CHANNELS * TAPS), 2, TOKENS, CHANNELS, TAPS);
        const float *result = fetch_compute(y, count);
        for (int64_t j = 0; j < count; j++) {
            int64_t t = j / CHANNELS;
            bool seen = j % CHANNELS == 3 && t >= first && t < first + TAPS && t < TOKENS;
            if (i || !seen) assert_true(isfinite(result[j]) == !seen);
        }
    }
}

/* ---- the delta rule ---- */

/* Everything that the rule reads; decay and step on the host. */
typedef struct delta_case {
    int64_t sequences, length;
    awq_delta_shape shape;
    float *q, *k, *v, *b, *a;
} delta_case;

static delta_case random_case(int64_t sequences, int64_t length, awq_delta_shape shape)
{
    int64_t rows = sequences * length, keys = rows * shape.key_heads * shape.key_dim;
    delta_case own = {.sequences = sequences, .length = length, .shape = shape};
    own.q = host_activations(keys, 2);
    own.k = host_activations(keys, 2);
    own.v = host_activations(rows * shape.heads * shape.value_dim, 2);
    own.b = host_activations(rows * shape.heads, 3);
    own.a = host_activations(rows * shape.heads, 3);
    own.shape.decay = host_random(shape.heads, 2);
    own.shape.step = host_random(shape.heads, 3);
    return own;
}

static int64_t values(const delta_case *c)
{
    return c->sequences * c->length * c->shape.heads * c->shape.value_dim;
}

static double inverse_length(const float *x, int64_t count)
{
    double sum = 1e-6;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return 1 / sqrt(sum);
}

/* One token of a head: y [width]; state [dim, width]. */
static void recall(double *y, double *state, const delta_case *c, int64_t row, int64_t head)
{
    int64_t dim = c->shape.key_dim, width = c->shape.value_dim, at = row * c->shape.heads + head;
    int64_t key = head / (c->shape.heads / c->shape.key_heads);
    const float *q = c->q + (row * c->shape.key_heads + key) * dim, *v = c->v + at * width;
    const float *k = c->k + (row * c->shape.key_heads + key) * dim;
    double of_q = inverse_length(q, dim) / sqrt((double)dim), of_k = inverse_length(k, dim);
    double beta = 1 / (1 + exp(-(double)c->b[at])), x = (double)(c->a[at] + c->shape.step[head]);
    double shrink = exp(-exp((double)c->shape.decay[head]) * (x > 30 ? x : log1p(exp(x))));
    for (int64_t j = 0; j < width; j++) {
        double u = (double)v[j];
        y[j] = 0;
        for (int64_t i = 0; i < dim; i++) state[i * width + j] *= shrink;
        for (int64_t i = 0; i < dim; i++) u -= state[i * width + j] * (double)k[i] * of_k;
        for (int64_t i = 0; i < dim; i++) {
            state[i * width + j] += (double)k[i] * of_k * u * beta;
            y[j] += state[i * width + j] * (double)q[i] * of_q;
        }
    }
}

static double *recalled(const delta_case *c)
{
    int64_t heads = c->shape.heads, size = c->shape.key_dim * c->shape.value_dim;
    double *y = host_doubles(values(c)), *state = host_doubles(size);
    for (int64_t i = 0; i < c->sequences * heads; i++) {
        memset(state, 0, (size_t)size * sizeof *state);
        for (int64_t t = 0; t < c->length; t++) {
            int64_t row = i / heads * c->length + t;
            recall(y + (row * heads + i % heads) * c->shape.value_dim, state, c, row, i % heads);
        }
    }
    return y;
}

static const float *run_delta(const delta_case *c)
{
    awq_delta_shape shape = c->shape;
    int64_t rows = c->sequences * c->length, keys = rows * shape.key_heads * shape.key_dim;
    void *y = device_array(compute_bytes(values(c)));
    shape.decay = device_floats(shape.decay, shape.heads);
    shape.step = device_floats(shape.step, shape.heads);
    be->gated_delta(device, y, device_compute(c->q, keys), device_compute(c->k, keys),
                    device_compute(c->v, values(c)), device_compute(c->b, rows * shape.heads),
                    device_compute(c->a, rows * shape.heads), c->sequences, c->length, &shape);
    return fetch_compute(y, values(c));
}

static void check_delta(const delta_case *c)
{
    double tolerance = under_test.compute == AWQ_F32 ? 4e-6 : product_tolerance(64);
    assert_close(run_delta(c), recalled(c), values(c), tolerance);
    bench_clear(&under_test);
}

static void check_shape(int64_t sequences, int64_t length, awq_delta_shape shape)
{
    delta_case c = random_case(sequences, length, shape);
    check_delta(&c);
}

static void the_delta_rule_corrects_what_it_recalls(void **state)
{
    (void)state;
    check_shape(3, 21, (awq_delta_shape){2, 2, 16, 24, NULL, NULL});
    check_shape(1, 1, (awq_delta_shape){1, 1, 1, 1, NULL, NULL});
    check_shape(2, 9, (awq_delta_shape){3, 3, 7, 33, NULL, NULL});
}

static void value_heads_share_key_heads(void **state)
{
    (void)state;
    check_shape(2, 37, (awq_delta_shape){2, 6, 16, 8, NULL, NULL});
    check_shape(1, 20, (awq_delta_shape){1, 4, 8, 16, NULL, NULL});
}

/* Of tokens by 16 and 64, of values by 32 and 64. */
static void the_delta_rule_works_across_chunks_and_slices(void **state)
{
    (void)state;
    static const int64_t lengths[] = {15, 16, 17, 63, 64, 65, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        check_shape(2, lengths[i], (awq_delta_shape){1, 2, 12, 20, NULL, NULL});
    static const int64_t widths[] = {31, 32, 64, 65, 100};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        check_shape(1, 40, (awq_delta_shape){1, 1, 33, widths[i], NULL, NULL});
    check_shape(1, 70, (awq_delta_shape){1, 2, 128, 128, NULL, NULL});
}

/* A head that forgets nothing, one that forgets all, and one between, for long. */
static void gates_may_keep_or_forget_everything(void **state)
{
    (void)state;
    static const float decay[] = {-30, 6, -3}, step[] = {0, 60, -2};
    delta_case c = random_case(1, 400, (awq_delta_shape){3, 3, 16, 16, NULL, NULL});
    c.shape.decay = decay;
    c.shape.step = step;
    check_delta(&c);
}

/* Steps far from zero on either side, and gates that are closed or open; the first head forgets so
 * slowly that the largest steps show. */
static void gates_survive_extremes(void **state)
{
    (void)state;
    static const float extremes[] = {-200, -40, -20, 0, 19, 21, 40, 88, 100, 200};
    static const float decay[] = {-9, 0.5f};
    delta_case c = random_case(1, 100, (awq_delta_shape){2, 2, 8, 8, NULL, NULL});
    c.shape.decay = decay;
    for (int i = 0; i < 200; i++) {
        c.a[i] = extremes[i % 10];
        c.b[i] = extremes[i / 10 % 10];
    }
    check_delta(&c);
}

/* 1e-6 keeps a key of zeros; a large one is no larger than others. */
static void keys_may_be_of_any_size(void **state)
{
    (void)state;
    delta_case c = random_case(1, 30, (awq_delta_shape){1, 1, 16, 16, NULL, NULL});
    for (int i = 0; i < 16; i++) {
        c.k[3 * 16 + i] = c.q[4 * 16 + i] = 0;
        c.k[8 * 16 + i] *= 1024;
        c.k[9 * 16 + i] = c.q[9 * 16 + i] = i == 5 ? 0x1p-12f : 0;
    }
    check_delta(&c);
}

static void each_sequence_begins_with_nothing(void **state)
{
    (void)state;
    enum { SEQUENCES = 3, TOKENS = 70 };
    delta_case c = random_case(SEQUENCES, TOKENS, (awq_delta_shape){2, 4, 16, 40, NULL, NULL});
    const float *together = run_delta(&c);
    int64_t keys = TOKENS * 2 * 16, own = TOKENS * 4 * 40;
    c.sequences = 1;
    for (int i = 0; i < SEQUENCES; i++) {
        assert_memory_equal(run_delta(&c), together + i * own, (size_t)own * sizeof *together);
        c.q += keys;
        c.k += keys;
        c.v += own;
        c.b += TOKENS * 4;
        c.a += TOKENS * 4;
    }
}

/* transformers 4.57's torch_recurrent_gated_delta_rule, with l2norm, sigmoid(b) and -exp(A_log)
 * softplus(a + dt_bias) as Qwen3NextGatedDeltaNet has them, by torch 2.5 in float64; its
 * torch_chunk_gated_delta_rule gives the same within 3e-8. */
static void the_delta_rule_is_that_of_transformers(void **state)
{
    (void)state;
    float q[] = {1, -2, 0.5f, 0.25f, 3, -1, -0.5f, 0.75f, 2, 1.5f, -0.25f, 1};
    float k[] = {0.5f, 1, -1, 2, -0.25f, 0.75f, -1.5f, 0.5f, 0.25f, 1, 2, -0.5f};
    float v[] = {1, 2, -1, 3, 0.5f, -2, 4, 1, -3, 0.25f, 2, -0.5f, 1.5f, -1, 0.75f, 2};
    float b[] = {0.5f, -1, 2, 0.25f, -0.75f, 1, 1.5f, -2},
          a[] = {-1, 0.5f, 2, -0.25f, 25, -3, 0.75f, 1};
    const float decay[] = {0.5f, -1.5f}, step[] = {-2, 0.25f};
    const double expected[] = {
        -0.20912661191049894, -0.4182532238209979,  0.09035579584758799, -0.27106738754276394,
        0.06208942339855912,  0.347807582661119,    -0.3056315309193095, 0.29838487249254625,
        -0.2571341445439324,  0.021427845378661027, 0.8956127636974038,  -0.13573857819159815,
        0.3463027262160512,   -0.07837929217968244, 0.06980365735047167, 0.15845284079174204};
    delta_case c = {1, 4, {1, 2, 3, 2, decay, step}, q, k, v, b, a};
    assert_close(run_delta(&c), expected, 16, product_tolerance(16));
}

/* ---- what is not finite ---- */

enum { SPOILED = 21, LENGTH = 40, DIM = 12 };

/* Of two heads the second is spoiled: NaN from `first` to `past`, in `column` or, if it is -1, in
 * all. */
static void assert_spoiled(const float *y, int64_t first, int64_t past, int64_t column)
{
    for (int64_t i = 0; i < 2 * LENGTH * 2 * DIM; i++) {
        int64_t token = i / (2 * DIM), head = i / DIM % 2;
        bool bad = head && token >= first && token < past && (column < 0 || i % DIM == column);
        if (isfinite(y[i]) != !bad)
            fail_msg("token %d, head %d, column %d is %g", (int)token, (int)head, (int)(i % DIM),
                     (double)y[i]);
    }
}

static void the_delta_rule_shows_nan_to_the_end_of_the_sequence(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int where = 0; where < 5; where++) {
            delta_case c = random_case(2, LENGTH, (awq_delta_shape){2, 2, DIM, DIM, NULL, NULL});
            int64_t key = (SPOILED * 2 + 1) * DIM + 3, gate = SPOILED * 2 + 1;
            float *spoiled[] = {c.q + key, c.k + key, c.v + key, c.b + gate, c.a + gate};
            *spoiled[where] = where < 3 ? bad[i] : NAN;
            int64_t past = where == 0 ? SPOILED + 1 : LENGTH;
            assert_spoiled(run_delta(&c), SPOILED, past, where == 2 ? 3 : -1);
            bench_clear(&under_test);
        }
}

/* A device of its own: one that refuses is of no more use. */
static void the_delta_rule_says_which_keys_it_does_not_take(void **state)
{
    (void)state;
    awq_error err;
    bench own;
    void *x;
    enum { KEYS = 130 };
    const awq_delta_shape shape = {1, 1, KEYS, 1, NULL, NULL};
    if (under_test.compute == AWQ_F32) {
        check_shape(1, 20, (awq_delta_shape){1, 1, KEYS, 9, NULL, NULL});
        return;
    }
    assert_true(bench_open(&own, be, under_test.compute, 1));
    must(be->alloc(own.device, KEYS * sizeof(float), "a test", &x, &err));
    be->gated_delta(own.device, x, x, x, x, x, x, 1, 1, &shape);
    assert_int_equal(be->sync(own.device, &err), AWQ_ERR_INPUT);
    assert_non_null(strstr(err.text, "gated_delta: keys of more than 128 channels; run with "
                                     "--backend cpu"));
    be->release(own.device, x);
    bench_close(&own);
}

int main(void)
{
    const struct CMUnitTest delta[] = {
        cmocka_unit_test(a_convolution_sees_the_last_tokens_of_its_sequence),
        cmocka_unit_test(a_convolution_may_be_longer_than_the_sequence),
        cmocka_unit_test(a_convolution_works_across_blocks_of_channels),
        cmocka_unit_test(a_convolution_is_that_of_torch),
        cmocka_unit_test(a_convolution_shows_nan_to_those_who_see_it),
        cmocka_unit_test(the_delta_rule_corrects_what_it_recalls),
        cmocka_unit_test(value_heads_share_key_heads),
        cmocka_unit_test(the_delta_rule_works_across_chunks_and_slices),
        cmocka_unit_test(gates_may_keep_or_forget_everything),
        cmocka_unit_test(gates_survive_extremes),
        cmocka_unit_test(keys_may_be_of_any_size),
        cmocka_unit_test(each_sequence_begins_with_nothing),
        cmocka_unit_test(the_delta_rule_is_that_of_transformers),
        cmocka_unit_test(the_delta_rule_shows_nan_to_the_end_of_the_sequence),
        cmocka_unit_test(the_delta_rule_says_which_keys_it_does_not_take),
    };
    return BENCH_RUN(delta);
}
