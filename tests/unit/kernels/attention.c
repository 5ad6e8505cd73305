/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/attention.c - attention against a naive float64 reference: scale, softcap,
 * windows, chunks, sinks and values of another width, shapes around the blocks' edges, and what a
 * query does not see. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

/* The scale of most models. */
static awq_attention_shape plain(int64_t heads, int64_t kv_heads, int64_t head_dim)
{
    return (awq_attention_shape){.heads = heads,
                                 .kv_heads = kv_heads,
                                 .head_dim = head_dim,
                                 .value_dim = head_dim,
                                 .scale = (float)(1 / sqrt((double)head_dim))};
}

/* ---- against the reference ---- */

static int64_t first_seen(const awq_attention_shape *s, int64_t position)
{
    if (!s->window) return 0;
    if (s->chunked) return position / s->window * s->window;
    return position >= s->window ? position - s->window + 1 : 0;
}

/* One query's output [value_dim]; p is room for its probabilities; the sink is -infinity if there
 * is none. */
static void attend(const awq_attention_shape *s, const float *q, const float *k, const float *v,
                   int64_t position, double sink, double *p, double *y)
{
    double largest = sink, sum;
    int64_t d = s->head_dim, width = s->value_dim, first = first_seen(s, position);
    for (int64_t t = first; t <= position; t++) {
        p[t] = 0;
        for (int64_t i = 0; i < d; i++) p[t] += (double)q[i] * (double)k[t * s->kv_heads * d + i];
        p[t] *= (double)s->scale;
        if (s->softcap > 0) p[t] = (double)s->softcap * tanh(p[t] / (double)s->softcap);
        largest = fmax(largest, p[t]);
    }
    sum = exp(sink - largest);
    for (int64_t t = first; t <= position; t++) sum += p[t] = exp(p[t] - largest);
    for (int64_t t = first; t <= position; t++)
        for (int64_t i = 0; i < width; i++)
            y[i] += p[t] / sum * (double)v[t * s->kv_heads * width + i];
}

/* s.sinks is on the host. */
static void check_attention(int64_t sequences, int64_t length, awq_attention_shape s)
{
    int64_t rows = sequences * length, d = s.head_dim, width = s.value_dim;
    int64_t stride = s.heads * d, kv = s.kv_heads * d, y_stride = s.heads * width;
    double *reference = host_doubles(rows * y_stride), *p = host_doubles(length);
    float *q = host_activations(rows * stride, 3), *k = host_activations(rows * kv, 3);
    float *v = host_activations(rows * s.kv_heads * width, 1);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < s.heads; h++) {
            int64_t first = r / length * length * s.kv_heads + h / (s.heads / s.kv_heads);
            attend(&s, q + r * stride + h * d, k + first * d, v + first * width, r % length,
                   s.sinks ? (double)s.sinks[h] : -INFINITY, p,
                   reference + r * y_stride + h * width);
        }
    if (s.sinks) s.sinks = device_floats(s.sinks, s.heads);
    void *y = device_array(compute_bytes(rows * y_stride));
    be->attention(device, y, device_compute(q, rows * stride), device_compute(k, rows * kv),
                  device_compute(v, rows * s.kv_heads * width), sequences, length, &s);
    double tolerance = under_test.compute == AWQ_F32 ? 4e-6 : 4 * product_tolerance(8);
    assert_close(fetch_compute(y, rows * y_stride), reference, rows * y_stride, tolerance);
}

static void attention_is_causal_softmax_within_each_sequence(void **state)
{
    (void)state;
    check_attention(3, 21, plain(4, 4, 8));
}

static void attention_shares_kv_heads(void **state)
{
    (void)state;
    check_attention(2, 37, plain(6, 2, 16));
}

/* Latent attention's heads, and Gemma 4's: on a GPU in chunks of 64 channels, the values of more
 * than 256 in several blocks; rows that begin on 16 bytes and rows that do not. */
static void values_may_have_another_width_than_keys(void **state)
{
    (void)state;
    static const int64_t widths[][2] = {{24, 16},   {6, 40},    {192, 128}, {256, 256}, {258, 64},
                                        {512, 512}, {576, 512}, {64, 320},  {8, 514},   {130, 130}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        awq_attention_shape s = plain(4, 2, widths[i][0]);
        s.value_dim = widths[i][1];
        s.scale *= 0.25f;
        check_attention(2, 41, s);
        s.window = 17;
        s.softcap = 3;
        check_attention(1, 70, s);
        bench_clear(&under_test);
    }
}

static void wide_heads_work_across_query_blocks(void **state)
{
    (void)state;
    awq_attention_shape s = plain(1, 1, 576);
    s.value_dim = 512;
    s.scale = 0.02f;
    check_attention(1, 273, s);
}

static void attention_works_across_query_blocks(void **state)
{
    (void)state;
    check_attention(2, 523, plain(2, 1, 32));
}

static void attention_works_on_one_token(void **state)
{
    (void)state;
    check_attention(1, 1, plain(2, 2, 8));
}

static void attention_scales_as_it_is_told(void **state)
{
    (void)state;
    awq_attention_shape s = plain(4, 2, 16);
    s.scale = 0.0725f;
    check_attention(2, 37, s);
}

/* Of logits with a spread of 3 and one of 50, and beyond what a cap lets through. */
static void attention_caps_scaled_logits(void **state)
{
    (void)state;
    awq_attention_shape s = plain(4, 2, 32);
    s.softcap = 2.5f;
    check_attention(2, 70, s);
    s.softcap = 50;
    check_attention(2, 70, s);
    s.scale *= 16;
    s.softcap = 4;
    check_attention(2, 70, s);
}

static void attention_sees_no_further_than_its_window(void **state)
{
    (void)state;
    static const int64_t windows[] = {1, 2, 31, 32, 33, 64, 69, 70, 71};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        awq_attention_shape s = plain(2, 1, 8);
        s.window = windows[i];
        check_attention(2, 70, s);
        bench_clear(&under_test);
    }
}

/* Windows that end within a block of queries, and that leave whole blocks of keys out. */
static void windows_work_across_query_blocks(void **state)
{
    (void)state;
    static const int64_t windows[] = {3, 100, 256, 257, 300};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        awq_attention_shape s = plain(2, 2, 8);
        s.window = windows[i];
        s.softcap = i % 2 ? 3 : 0;
        check_attention(1, 523, s);
        bench_clear(&under_test);
    }
}

/* Chunks that end within a tile and a block of queries, and at their edges. */
static void attention_sees_no_chunk_but_its_own(void **state)
{
    (void)state;
    static const int64_t chunks[] = {1, 2, 3, 31, 32, 33, 64, 69, 70, 71};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        awq_attention_shape s = plain(2, 1, 8);
        s.window = chunks[i];
        s.chunked = true;
        check_attention(2, 70, s);
        bench_clear(&under_test);
    }
}

static void chunks_work_across_query_blocks(void **state)
{
    (void)state;
    static const int64_t chunks[] = {3, 100, 256, 257, 300, 512};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        awq_attention_shape s = plain(2, 2, 8);
        s.window = chunks[i];
        s.chunked = true;
        s.softcap = i % 2 ? 3 : 0;
        check_attention(1, 523, s);
        bench_clear(&under_test);
    }
}

/* ---- sinks ---- */

/* Sinks below, among and far above the logits. */
static void a_sink_takes_its_share_of_the_softmax(void **state)
{
    (void)state;
    static const float sinks[] = {0.75f, -3, 12, -60, 60, 0};
    for (int i = 0; i < 8; i++) {
        awq_attention_shape s = plain(6, 2, 16);
        s.sinks = sinks;
        s.window = i & 1 ? 20 : 0;
        s.chunked = i & 2;
        s.softcap = i & 4 ? 2 : 0;
        check_attention(2, 75, s);
        bench_clear(&under_test);
    }
}

static void sinks_work_across_query_blocks(void **state)
{
    (void)state;
    static const float sinks[] = {2, -1};
    awq_attention_shape s = plain(2, 1, 8);
    s.sinks = sinks;
    check_attention(1, 523, s);
    s.window = 100;
    check_attention(1, 523, s);
}

/* gpt_oss's eager attention by torch 2.6 in float64: softmax of [logits, sink], the last dropped.
 */
static void attention_with_a_sink_is_that_of_torch(void **state)
{
    (void)state;
    const float q[] = {1, -0.5f, 2, 0.25f, -1, 1.5f}, k[] = {0.5f, 1, -1, 0.75f, 2, -0.25f};
    const float v[] = {1, 2, 3, -4, -5, 6}, sink = 0.75f;
    const double expected[] = {0.320821300824607,  0.6416426016492141, 0.7017902197068846,
                               0.4830734456754983, 1.264246982383412,  -0.9257275853767553};
    awq_attention_shape s = {
        .heads = 1, .kv_heads = 1, .head_dim = 2, .value_dim = 2, .scale = 0.5f};
    s.sinks = device_floats(&sink, 1);
    void *y = device_array(compute_bytes(6));
    be->attention(device, y, device_compute(q, 6), device_compute(k, 6), device_compute(v, 6), 1, 3,
                  &s);
    assert_close(fetch_compute(y, 6), expected, 6, product_tolerance(8));
}

/* Of three heads, one of a NaN, one of an infinite and one of a usual sink. */
static void a_sink_that_is_not_finite_shows_in_its_head(void **state)
{
    (void)state;
    enum { TOKENS = 40, CHANNELS = 8 };
    const float sinks[] = {NAN, 0.5f, INFINITY};
    int64_t count = TOKENS * 3 * CHANNELS;
    awq_attention_shape s = plain(3, 3, CHANNELS);
    s.sinks = device_floats(sinks, 3);
    void *x = device_compute(host_activations(count, 1), count);
    void *y = device_array(compute_bytes(count));
    be->attention(device, y, x, x, x, 1, TOKENS, &s);
    const float *result = fetch_compute(y, count);
    for (int64_t i = 0; i < count; i++) assert_true(isnan(result[i]) == (i / CHANNELS % 3 != 1));
}

/* ---- to the bit, and what is not finite ---- */

enum { LENGTH = 301, WIDTH = 8 };

static const float *attend_as(const float *q, const float *k, const float *v, awq_attention_shape s)
{
    int64_t count = LENGTH * WIDTH;
    void *y = device_array(compute_bytes(count));
    be->attention(device, y, device_compute(q, count), device_compute(k, count),
                  device_compute(v, count), 1, LENGTH, &s);
    return fetch_compute(y, count);
}

static const float *attend_all(const float *q, const float *k, const float *v, int64_t window,
                               float softcap)
{
    awq_attention_shape s = plain(1, 1, WIDTH);
    s.window = window;
    s.softcap = softcap;
    return attend_as(q, k, v, s);
}

static void a_window_of_the_whole_length_is_none(void **state)
{
    (void)state;
    int64_t count = LENGTH * WIDTH;
    float *q = host_activations(count, 2), *k = host_activations(count, 2);
    float *v = host_activations(count, 1);
    const float *expected = attend_all(q, k, v, 0, 0);
    static const int64_t windows[] = {LENGTH, LENGTH + 1, INT64_MAX};
    for (int i = 0; i < 6; i++) {
        awq_attention_shape s = plain(1, 1, WIDTH);
        s.window = windows[i / 2];
        s.chunked = i % 2;
        assert_memory_equal(attend_as(q, k, v, s), expected, (size_t)count * sizeof *expected);
    }
}

static void attention_shows_nan(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int64_t count = LENGTH * WIDTH;
        float *q = host_activations(count, 1), *k = host_activations(count, 1);
        float *v = host_activations(count, 1);
        q[5 * WIDTH + 2] = NAN;
        const float *result = attend_all(q, k, v, i % 2 ? 40 : 0, i / 2 ? 5 : 0);
        for (int64_t j = 0; j < count; j++) assert_true(isnan(result[j]) == (j / WIDTH == 5));
    }
}

/* The queries that see it are NaN, those before and those whose window has passed it are not. */
static void a_window_hides_a_key_that_it_has_passed(void **state)
{
    (void)state;
    enum { KEY = 20, WINDOW = 40 };
    for (int capped = 0; capped < 2; capped++) {
        int64_t count = LENGTH * WIDTH;
        float *q = host_activations(count, 1), *k = host_activations(count, 1);
        float *v = host_activations(count, 1);
        k[KEY * WIDTH + 3] = NAN;
        const float *result = attend_all(q, k, v, WINDOW, capped ? 5 : 0);
        for (int64_t j = 0; j < count; j++) {
            int64_t query = j / WIDTH;
            assert_true(isnan(result[j]) == (query >= KEY && query < KEY + WINDOW));
        }
    }
}

int main(void)
{
    const struct CMUnitTest attention[] = {
        cmocka_unit_test(attention_is_causal_softmax_within_each_sequence),
        cmocka_unit_test(attention_shares_kv_heads),
        cmocka_unit_test(values_may_have_another_width_than_keys),
        cmocka_unit_test(wide_heads_work_across_query_blocks),
        cmocka_unit_test(attention_works_across_query_blocks),
        cmocka_unit_test(attention_works_on_one_token),
        cmocka_unit_test(attention_scales_as_it_is_told),
        cmocka_unit_test(attention_caps_scaled_logits),
        cmocka_unit_test(attention_sees_no_further_than_its_window),
        cmocka_unit_test(windows_work_across_query_blocks),
        cmocka_unit_test(attention_sees_no_chunk_but_its_own),
        cmocka_unit_test(chunks_work_across_query_blocks),
        cmocka_unit_test(a_sink_takes_its_share_of_the_softmax),
        cmocka_unit_test(sinks_work_across_query_blocks),
        cmocka_unit_test(attention_with_a_sink_is_that_of_torch),
        cmocka_unit_test(a_sink_that_is_not_finite_shows_in_its_head),
        cmocka_unit_test(a_window_of_the_whole_length_is_none),
        cmocka_unit_test(attention_shows_nan),
        cmocka_unit_test(a_window_hides_a_key_that_it_has_passed),
    };
    return BENCH_RUN(attention);
}
