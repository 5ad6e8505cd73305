/* SPDX-License-Identifier: MIT
 * kernels/backend.h - the table of what a device can do.
 *
 * Verbs enqueue work in call order and may return before it is done; the CPU's return when it is.
 * The first failure sticks to the device: later verbs do nothing, and `sync` and `download` report
 * it. So layer code reads as arithmetic and checks once.
 *
 * A device is opened by each thread that uses it, and belongs to that thread. They share the
 * device's memory: what one has filled, and synced, another may read or release.
 *
 * Device arrays come in two kinds: `float` (residual, norms, statistics, scales), and the compute
 * type (weights, activations), `void *` here, compute_bytes an element: float32 on the CPU, the
 * model's 16-bit type on a GPU. All are row-major and contiguous. No verb allocates device memory.
 * Where an argument may alias another, its comment says so.
 *
 * The same bytes, always: a verb's result depends on its arguments alone, not on the number of
 * threads; sums have a fixed order; nothing is summed by atomics. The CPU backend is the
 * definition: every other is tested against it. "A 2.4" is
 * section 2.4 of docs/awq.md. */
#ifndef AWQ_KERNELS_BACKEND_H
#define AWQ_KERNELS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/activation.h"
#include "io/core/clip.h"
#include "io/core/dtype.h"
#include "io/core/error.h"
#include "io/core/routing.h"
#include "io/core/words.h"
#include "kernels/link.h"

typedef struct awq_backend awq_backend;

/* One opened device. Backends extend it: it is the first member of their own struct. */
typedef struct awq_device {
    const awq_backend *backend;
    char name[96]; /* "CPU, 8 threads", "GPU 1, NVIDIA H200" */
    char type[96]; /* what results depend on: "OpenBLAS 0.3.21 Haswell", "NVIDIA H200, .." */
    char id[48];   /* of the GPU, the same for whoever opens it; "" on the CPU */
    uint64_t memory_bytes; /* what the device has */
    uint64_t free_bytes;   /* what of it was free when it was opened; 0 on the CPU */
    int threads;           /* CPU threads that compute; 0 on a GPU */
    awq_dtype compute;     /* the compute type: F32, F16 or BF16 */
    char warning[256];     /* a sentence if it could do better here; "": nothing */
} awq_device;

/* A GPU as it is found, not opened. */
typedef struct awq_device_facts {
    char name[96];
    uint64_t memory_bytes;
    int major, minor; /* compute capability */
    char driver[16];  /* the newest CUDA that it speaks: "13.0" */
} awq_device_facts;

/* Of a GPU's memory, what a verb may take for one array of scratch: a power of two, 1/128 of it at
 * most, from 128 MiB to 1 GiB. How many rows are worked on at a time follows from it, and with that
 * the last bits of sums; so it is the same for all GPUs of a kind, however much of their memory
 * the driver keeps for itself. */
static inline uint64_t awq_gpu_large_bytes(uint64_t memory_bytes)
{
    uint64_t bytes = (uint64_t)128 << 20;
    while (bytes < (uint64_t)1 << 30 && 128 * 2 * bytes <= memory_bytes) bytes *= 2;
    return bytes;
}

/* All scratch of a GPU's verbs, at its peak. */
static inline uint64_t awq_gpu_scratch_bytes(uint64_t memory_bytes)
{
    uint64_t bytes = awq_gpu_large_bytes(memory_bytes) + ((uint64_t)128 << 20);
    return bytes < (uint64_t)300 << 20 ? (uint64_t)300 << 20 : bytes;
}

typedef struct awq_device_options {
    int threads;         /* CPU: threads that compute, at least 1 */
    int processor;       /* CPU: the least awq_processor() of the job's workers; 0: this one's */
    const char *earlier; /* CPU: ends in the `type` that the job was begun with; NULL: new */
    int index;           /* GPU: ordinal among the visible ones */
    awq_dtype compute;   /* GPU: F16 or BF16 */
    bool reads_only;     /* only load, find_nonfinite, dequantize and the memory verbs are called */
} awq_device_options;

/* How weights are rounded to integers (A 2.4). */
typedef struct awq_grid {
    int bits;           /* 2..8; codes are 0 .. 2^bits - 1 */
    int64_t group_size; /* weights along `in` that share a scale; divides in */
    bool zero_point;    /* false: symmetric, zero = 2^(bits - 1) */
    bool bf16_scales;   /* scales are rounded to bfloat16 first: exact in both 16-bit types */
} awq_grid;

/* 2^-14 in float16: the group scale of weights that are all 0. */
enum { AWQ_SCALE_OF_ZEROS = 0x0400 };

/* A clip of one linear, on the device. */
typedef struct awq_clip {
    awq_clip_shape shape;
    uint8_t *steps; /* [shapes, out, groups], 0 .. AWQ_CLIP_STEPS - 1: j; asymmetric: j, then k */
} awq_clip;

/* What count_clips counts. */
enum { AWQ_CLIP_COUNTS = AWQ_CLIP_SHAPES * AWQ_CLIP_STEPS + 1 };

/* A linear's weight: [out, in]. groups = in / group_size. */
typedef struct awq_extent {
    int64_t out;
    int64_t in;
} awq_extent;

/* y = (x - m) / sqrt(mean of (x - m)^2 + eps) * w + b, over the columns of a row; m is 0, or the
 * row's mean: LayerNorm. Weights w and b are [period, cols]; row r takes those of r % period. w
 * NULL: ones; b NULL: none. */
typedef struct awq_norm_shape {
    int64_t rows, cols;
    int64_t period; /* 1 in most; the heads, where each has weights of its own */
    float eps;
    bool centered; /* the mean is subtracted */
} awq_norm_shape;

/* Of each head, `rope_dim` channels from `first` on are turned: the j-th and the one rope_dim / 2
 * further are a pair. The others have no part. */
typedef struct awq_rope_shape {
    int64_t heads, head_dim;
    int64_t rope_dim; /* even, at most head_dim - first */
    int64_t length;   /* a row's position is row % length */
    bool interleaved; /* pairs are 2 j and 2 j + 1 */
    int64_t first;    /* head_dim - rope_dim in latent attention; 0 in most */
} awq_rope_shape;

typedef struct awq_attention_shape {
    int64_t heads, kv_heads;
    int64_t head_dim;  /* of q and k */
    int64_t value_dim; /* of v and y: in latent attention another */
    float scale;       /* of the logits: (float)(1 / sqrt((double)head_dim)) in most models */
    float softcap;     /* logits become softcap tanh(logits / softcap); 0: as they are */
    int64_t window; /* a token attends to itself and the window - 1 before it; 0: all before it */
    bool chunked;   /* .. and to no other chunk's: chunk = position / window, window its length */
    const float *sinks; /* [heads], on the device: one more logit of each query, neither scaled nor
                           capped, that has a share of the softmax and no value; NULL: none */
} awq_attention_shape;

/* Some columns of a matrix: `times` runs of `count`, the first at column `first`, one every
 * `period`. */
typedef struct awq_runs {
    int64_t first, count, period, times;
} awq_runs;

/* The most tokens that a convolution's sum takes in. */
enum { AWQ_MAX_TAPS = 16 };

/* Heads of a gated delta net: value head h reads key head h / (heads / key_heads). */
typedef struct awq_delta_shape {
    int64_t key_heads, heads;
    int64_t key_dim, value_dim; /* of a head */
    const float *decay;         /* [heads], on the device: A_log */
    const float *step;          /* [heads], on the device: dt_bias */
} awq_delta_shape;

struct awq_backend {
    const char *name; /* as --backend takes it */
    size_t compute_bytes;
    const awq_links *links; /* NULL: arrays go to other processes through host memory */

    /* The libraries that it stands on, "NAME VERSION": the index-th, or NULL past the last. Needs
     * no device. */
    const char *(*library)(int index);

    /* The GPUs that are here, the first `most` of them, without opening them; returns how many
     * there are. 0: *err says what is missing. NULL: a backend without GPUs. */
    int (*survey)(awq_device_facts *out, int most, awq_error *err);

    awq_status (*open)(const awq_device_options *options, awq_device **out, awq_error *err);
    void (*close)(awq_device *device); /* NULL is fine */

    /* ---- memory ---- */

    /* `what` names the array in the message when there is no room for it. Contents undefined. */
    awq_status (*alloc)(awq_device *device, size_t bytes, const char *what, void **out,
                        awq_error *err);
    void (*release)(awq_device *device, void *array); /* NULL is fine */
    void (*zero)(awq_device *device, void *array, size_t bytes);
    void (*copy)(awq_device *device, void *to, const void *from, size_t bytes);
    /* `host` has been read when upload or load returns: the caller may free it. */
    void (*upload)(awq_device *device, void *to, const void *host, size_t bytes);
    awq_status (*download)(awq_device *device, void *host, const void *from, size_t bytes,
                           awq_error *err);
    /* Copies what the verbs before it leave in `from`, beside the verbs after it, to memory of
     * alloc_host (any other: as a download, which waits). `host` has it after the next sync. `from`
     * must not be written to until a `fetched`. */
    void (*fetch)(awq_device *device, void *host, const void *from, size_t bytes);
    /* Verbs after this come after all fetches before it. */
    void (*fetched)(awq_device *device);
    awq_status (*sync)(awq_device *device, awq_error *err);
    /* Adds the seconds that the device took from the last lap to this one to *seconds; NULL: they
     * are nobody's. They are there after the next sync, and *seconds must live until then. */
    void (*lap)(awq_device *device, double *seconds);
    /* Host memory that download and fetch fill without a copy in between: page-locked for a GPU.
     * Slow to get, and not while links are open: for what is kept. */
    awq_status (*alloc_host)(awq_device *device, size_t bytes, const char *what, void **out,
                             awq_error *err);
    void (*release_host)(awq_device *device, void *memory); /* NULL is fine */

    /* Host elements of a weight's dtype (F32, F16, BF16; may be unaligned) to the compute type. */
    void (*load)(awq_device *device, void *to, const void *host, awq_dtype dtype, size_t count);
    /* float to compute type. */
    void (*narrow)(awq_device *device, void *to, const float *from, size_t count);
    /* Index of the first element of a compute-type array that is NaN or infinite, -1 when all are
     * finite. Waits. */
    awq_status (*find_nonfinite)(awq_device *device, const void *array, size_t count,
                                 int64_t *index, awq_error *err);

    /* ---- forward pass (A 4) ---- */

    /* awq_norm_shape's y, in the compute type. */
    void (*norm)(awq_device *device, void *y, const float *x, const float *w, const float *b,
                 const awq_norm_shape *shape);
    /* sum += the same, float32; x is not sum. */
    void (*norm_add)(awq_device *device, float *sum, const float *x, const float *w, const float *b,
                     const awq_norm_shape *shape);
    /* The same of the compute type, in place: q_norm and k_norm, a row a head. */
    void (*norm_heads)(awq_device *device, void *x, const float *w, const float *b,
                       const awq_norm_shape *shape);
    /* y[rows, out] = x[rows, in] w^T (+ bias[out], may be NULL). */
    void (*linear)(awq_device *device, void *y, const void *x, const void *w, const float *bias,
                   int64_t rows, awq_extent extent);
    /* sum[rows, out] += scale (x w^T (+ bias)): into the float32 residual. */
    void (*linear_add)(awq_device *device, float *sum, const void *x, const void *w,
                       const float *bias, float scale, int64_t rows, awq_extent extent);
    /* In place, each pair of a head's channels turned by its angle: x [rows, heads, head_dim]; cos,
     * sin [length, rope_dim / 2]. */
    void (*rope)(awq_device *device, void *x, const float *cos, const float *sin, int64_t rows,
                 const awq_rope_shape *shape);
    /* Causal attention within each sequence: logits are scaled, capped, masked; softmax in float32.
     * q [sequences * length, heads * head_dim], k [.., kv_heads * head_dim], v [.., kv_heads *
     * value_dim], y [.., heads * value_dim]. Head h reads kv head h / (heads / kv_heads). A window
     * of length or more is none, to the bit. */
    void (*attention)(awq_device *device, void *y, const void *q, const void *k, const void *v,
                      int64_t sequences, int64_t length, const awq_attention_shape *shape);
    /* y = act(gate) * up; y may be gate or up. up NULL: y = act(gate). limit, of AWQ_SWIGLU_OAI and
     * AWQ_SILU: gate is cut to at most limit and up to -limit .. limit before; 0: no limit. */
    void (*gated)(awq_device *device, void *y, const void *gate, const void *up, size_t count,
                  awq_activation act, float limit);
    /* y[r, i] = x[r, the i-th of the runs' columns], compute type; x [rows, cols], y [rows,
     * runs->count * runs->times], apart. */
    void (*take_columns)(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                         const awq_runs *runs);
    /* The other way: y[r, the i-th of the runs' columns] = x[r, i]; y's other columns stay. With
     * repeated, x is [rows, runs->count], and each run gets the same. */
    void (*put_columns)(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                        const awq_runs *runs, bool repeated);
    /* x = cap tanh(x / cap), float32, in place; cap above 0. Infinity becomes cap. */
    void (*softcap)(awq_device *device, float *x, float cap, size_t count);
    /* x *= factor, float32. */
    void (*scale)(awq_device *device, float *x, float factor, size_t count);

    /* ---- gated delta net ---- */

    /* In place, each channel for itself: x[t] = silu(sum over j < taps of w[j] x[t - taps + 1 +
     * j]), where what is before a sequence's first token is 0. x [sequences * length, channels],
     * compute type; w float32 [channels, taps], taps at most AWQ_MAX_TAPS; sums in float32, by
     * rising j. */
    void (*convolve)(awq_device *device, void *x, const float *w, int64_t sequences, int64_t length,
                     int64_t channels, int64_t taps);
    /* The gated delta rule. q, k [sequences * length, key_heads * key_dim]; v, y [.., heads *
     * value_dim]; b, a [.., heads]; all of the compute type, the arithmetic float32. q and k are
     * divided by sqrt(the sum of a head's squares + 1e-6), q by sqrt(key_dim) too; beta =
     * sigmoid(b), g = -exp(decay) softplus(a + step). From S [key_dim, value_dim] = 0 before each
     * sequence, token by token: S *= exp(g), u = beta (v - S^T k), S += k u^T, y = S^T q. What is
     * not finite shows in all later tokens of its head. */
    void (*gated_delta)(awq_device *device, void *y, const void *q, const void *k, const void *v,
                        const void *b, const void *a, int64_t sequences, int64_t length,
                        const awq_delta_shape *shape);

    /* ---- mixtures of experts: logits float32 [rows, experts] ---- */

    /* expert[rows, active] = those of the largest logits, largest first, of equals the lower
     * number. With a correction (float32 [experts]; NULL: none) or groups: of the largest scores
     * plus correction, in float32; groups likewise. Of a row with a NaN: any, but each once. */
    void (*top_experts)(awq_device *device, int32_t *expert, const float *logits,
                        const float *correction, int64_t rows, const awq_routing_rule *rule);
    /* weight[rows, active] = what the rule gives the experts that are given, in the order of their
     * choice, which need not be the rule's; last, times the expert's scale (float32 [experts];
     * NULL: ones). NaN where the row holds one; a sigmoid's, where its own logit is one, or,
     * normalized, another's that was chosen. */
    void (*expert_weights)(awq_device *device, float *weight, const float *logits,
                           const int32_t *expert, const float *scale, int64_t rows,
                           const awq_routing_rule *rule);
    /* y = 1 / (1 + exp(-x)), float32; y may be x. */
    void (*sigmoid)(awq_device *device, float *y, const float *x, size_t count);
    /* y[i] = weight[i] x[rows[i]], compute type, count rows of cols. rows NULL: 0, 1, ..; y may
     * then be x. weight NULL: ones. */
    void (*gather_rows)(awq_device *device, void *y, const void *x, const int32_t *rows,
                        const float *weight, int64_t count, int64_t cols);
    /* sum[rows[i]] += weight[i] x[i], float32; rows are distinct; NULL as above. */
    void (*scatter_add)(awq_device *device, float *sum, const float *x, const int32_t *rows,
                        const float *weight, int64_t count, int64_t cols);

    /* ---- statistics (A 2.2). mask [rows], NULL: all rows count; a row with 0 does not ---- */

    /* sum[c] += sum over rows of |x[r, c]|, in float64. */
    void (*abs_sum)(awq_device *device, double *sum, const void *x, const uint8_t *mask,
                    int64_t rows, int64_t cols);
    /* sum[c] += sum over rows of |w[r, c]| / (max|w| of its group + 1e-6), in float64, of a
     * weight: A 2.3's. Groups are of group_size columns. */
    void (*relative_sum)(awq_device *device, double *sum, const void *w, awq_extent extent,
                         int64_t group_size);
    /* gram[i, j] += sum over rows of x[r, i] x[r, j], j >= i; a Gram matrix is stored as
     * kernels/gram.h says. What is below the diagonal is undefined until gram_finish. */
    void (*gram)(awq_device *device, float *gram, const void *x, const uint8_t *mask, int64_t rows,
                 int64_t cols);
    /* Makes the blocks on the diagonal symmetric. */
    void (*gram_finish)(awq_device *device, float *gram, int64_t cols);

    /* ---- search, clip, quantize. Q is A 2.4's quantizer ---- */

    /* d[c] = w - Q(w * s[c]) / s[c], d [count, out, in] of the compute type; s [count, in], applied
     * per column. A group whose scale overflows float16 gives NaN. */
    void (*rounding_error)(awq_device *device, void *d, const void *w, const float *s,
                           int64_t count, awq_extent extent, const awq_grid *grid);
    /* sum of (x[r, c] - y[r, c])^2, y NULL: zeros. Differences in float32, squares and sums in
     * float64. Waits; the result is in host memory. NaN and infinity pass through. */
    awq_status (*squared_distance)(awq_device *device, const void *x, const void *y, int64_t rows,
                                   int64_t cols, double *sum, awq_error *err);
    /* The same of float32 arrays, over the rows that count; mask as in the statistics. */
    awq_status (*squared_error)(awq_device *device, const float *x, const float *y,
                                const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                                awq_error *err);
    /* What quadratic_form takes of a finished Gram matrix [in, in] beside it: to `form`,
     * awq_form_bytes long (kernels/gram.h); on the CPU nothing. */
    void (*prepare_form)(awq_device *device, void *form, const float *gram, int64_t in);
    /* sum[r] = d[r] G d[r]^T, a row's share of A 2.5's trace: d [rows, in] of the compute type, sum
     * float64 [rows]; products in float32, summed over column blocks in float64. gram and form as
     * above. NaN and infinity pass through. */
    void (*quadratic_form)(awq_device *device, double *sum, const void *d, const float *gram,
                           const void *form, int64_t rows, int64_t in);
    /* folded[o, i] = w[o, i] * columns[i] / rows[o], float32. columns or rows NULL: ones. */
    void (*fold)(awq_device *device, float *folded, const void *w, const float *columns,
                 const float *rows, awq_extent extent);
    /* w[o, i] = folded[o, i] / columns[i] * rows[o], rounded to the compute type: fold taken back.
     * columns or rows NULL: ones. */
    void (*unfold)(awq_device *device, void *w, const float *folded, const float *columns,
                   const float *rows, awq_extent extent);
    /* A 2.8: clip->steps[o, group] = the cut that has the least d^T G_gg d of those tried, for
     * folded weights and the Gram matrix divided by s_i s_j. */
    void (*clip_search)(awq_device *device, const awq_clip *clip, const float *folded,
                        const float *gram, const float *s, awq_extent extent, const awq_grid *grid);
    /* codes [out, in], scales [out, groups] (float16 bits), zeros [out, groups] of Q of the folded
     * weights clamped to the cut range; clip NULL: no clamp. A scale beyond float16 is stored as
     * infinity. */
    void (*quantize)(awq_device *device, uint8_t *codes, uint16_t *scales, uint8_t *zeros,
                     const float *folded, const awq_clip *clip, awq_extent extent,
                     const awq_grid *grid);
    /* count[j] = groups whose step is j; of an asymmetric clip count[AWQ_CLIP_STEPS + k] likewise,
     * of others 0; last, the groups that are cut at all. count [AWQ_CLIP_COUNTS], device. */
    void (*count_clips)(awq_device *device, int64_t *count, const awq_clip *clip, int64_t groups);
    /* codes [out, in] of `bits` bits as words [out, awq_words_count(in, bits)] (io/core/words.h).
     */
    void (*pack)(awq_device *device, uint32_t *words, const uint8_t *codes, awq_extent extent,
                 int bits);
    /* A 2.9: H = U diag(p) U^T for H = diag(1/s) G diag(1/s) + shift I, shift = damp times the mean
     * of the diagonal before it, rows and columns taken in `order`. order [in] is filled: the
     * columns by falling diagonal, ties by index. factor [in, in]: U, unit upper triangular; below
     * the diagonal undefined. gram finished. *positive false: a pivot of p is not finite or below
     * shift / 2, so that H is not positive definite in this precision, or all of it is 0; factor is
     * undefined. Waits. */
    awq_status (*feedback_factor)(awq_device *device, float *factor, int32_t *order,
                                  const float *gram, const float *s, int64_t in, double damp,
                                  bool *positive, awq_error *err);
    /* codes [out, in] once more, for given scales and zeros, one column after the other in `order`:
     * code_j of w_j + sum over earlier columns i of e_i factor[i, j], where e_i = w_i - (code_i -
     * zero) * scale is what rounding left there; w is folded. Codes stay in 0 .. 2^bits - 1. d is
     * their coded_error. folded is work space: what is in it then is undefined. */
    void (*feedback)(awq_device *device, uint8_t *codes, void *d, float *folded,
                     const float *factor, const int32_t *order, const uint16_t *scales,
                     const uint8_t *zeros, const float *s, awq_extent extent, const awq_grid *grid);
    /* d = (folded - (codes - zeros) * scales) / s: the error in the original input's terms. */
    void (*coded_error)(awq_device *device, void *d, const float *folded, const uint8_t *codes,
                        const uint16_t *scales, const uint8_t *zeros, const float *s,
                        awq_extent extent, const awq_grid *grid);
    /* w = (codes - zeros) * scales: to run a quantized checkpoint. w compute type. */
    void (*dequantize)(awq_device *device, void *w, const uint8_t *codes, const uint16_t *scales,
                       const uint8_t *zeros, awq_extent extent, const awq_grid *grid);

    /* ---- evaluation: logits float32 [rows, vocab]; results in host memory; these wait ---- */

    /* nll[r] = log(sum_v exp(logits[r, v])) - logits[r, target[r]]; target in host memory. */
    awq_status (*nll)(awq_device *device, double *nll, const float *logits, const int32_t *target,
                      int64_t rows, int64_t vocab, awq_error *err);
    /* kl[r] = sum_v p log(p / q), p and q the softmax of the two logits. */
    awq_status (*kl)(awq_device *device, double *kl, const float *p_logits, const float *q_logits,
                     int64_t rows, int64_t vocab, awq_error *err);
    /* index[r] = the first of the largest logits[r, v]; -1 when the row holds a NaN. */
    awq_status (*argmax)(awq_device *device, int32_t *index, const float *logits, int64_t rows,
                         int64_t vocab, awq_error *err);
};

/* How much this rank's processor can do: a number, more for what can do all of a smaller one's. */
int awq_processor(void);

/* Backends in this build, best first; NULL-terminated. */
const awq_backend *const *awq_backends(void);
/* By name. NULL: not in this build. */
const awq_backend *awq_backend_find(const char *name);

#endif
