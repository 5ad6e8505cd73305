/* SPDX-License-Identifier: MIT
 * kernels/cpu/verbs.h - the CPU's implementation of each verb of kernels/backend.h, where what
 * they do is said. */
#ifndef AWQ_KERNELS_CPU_VERBS_H
#define AWQ_KERNELS_CPU_VERBS_H

#include "kernels/cpu/device.h"

awq_status alloc_cpu(awq_device *device, size_t bytes, const char *what, void **out,
                     awq_error *err);
void release_cpu(awq_device *device, void *array);
void zero_cpu(awq_device *device, void *array, size_t bytes);
void copy_cpu(awq_device *device, void *to, const void *from, size_t bytes);
awq_status download_cpu(awq_device *device, void *host, const void *from, size_t bytes,
                        awq_error *err);
void narrow_cpu(awq_device *device, void *to, const float *from, size_t count);
void load_cpu(awq_device *device, void *to, const void *host, awq_dtype dtype, size_t count);
awq_status find_nonfinite_cpu(awq_device *device, const void *array, size_t count, int64_t *index,
                              awq_error *err);
void rmsnorm_cpu(awq_device *device, void *y, const float *x, const float *w, int64_t rows,
                 int64_t cols, float eps);
void rmsnorm_heads_cpu(awq_device *device, void *x, const float *w, int64_t rows, int64_t cols,
                       float eps);
void linear_cpu(awq_device *device, void *y, const void *x, const void *w, const float *bias,
                int64_t rows, awq_extent extent);
void linear_add_cpu(awq_device *device, float *sum, const void *x, const void *w, const float *bias,
                    int64_t rows, awq_extent extent);
void rope_cpu(awq_device *device, void *x, const float *cos, const float *sin, int64_t rows,
              int64_t heads, int64_t head_dim, int64_t length);
void attention_cpu(awq_device *device, void *y, const void *q, const void *k, const void *v,
                   int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads,
                   int64_t head_dim);
void silu_mul_cpu(awq_device *device, void *y, const void *gate, const void *up, size_t count);
void top_experts_cpu(awq_device *device, int32_t *expert, const float *logits, int64_t rows,
                     int64_t experts, int64_t top);
void expert_weights_cpu(awq_device *device, float *weight, const float *logits,
                        const int32_t *expert, int64_t rows, int64_t experts, int64_t top,
                        bool normalized);
void sigmoid_cpu(awq_device *device, float *y, const float *x, size_t count);
void gather_rows_cpu(awq_device *device, void *y, const void *x, const int32_t *rows, int64_t count,
                     int64_t cols);
void scatter_add_cpu(awq_device *device, float *sum, const float *x, const int32_t *rows,
                     const float *weight, int64_t count, int64_t cols);
void relative_sum_cpu(awq_device *device, double *sum, const void *w, awq_extent extent,
                      int64_t group_size);
void abs_sum_cpu(awq_device *device, double *sum, const void *x, const uint8_t *mask, int64_t rows,
                 int64_t cols);
void gram_cpu(awq_device *device, float *gram, const void *x, const uint8_t *mask, int64_t rows,
              int64_t cols);
void gram_finish_cpu(awq_device *device, float *gram, int64_t cols);
void rounding_error_cpu(awq_device *device, void *d, const void *w, const float *s,
                        awq_extent extent, const awq_grid *grid);
awq_status squared_distance_cpu(awq_device *device, const void *x, const void *y, int64_t rows,
                                int64_t cols, double *sum, awq_error *err);
awq_status quadratic_form_cpu(awq_device *device, const void *d, const float *gram,
                              awq_extent extent, double *sum, awq_error *err);
awq_status squared_error_cpu(awq_device *device, const float *x, const float *y,
                             const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                             awq_error *err);
void fold_cpu(awq_device *device, float *folded, const void *w, const float *columns,
              const float *rows, awq_extent extent);
void unfold_cpu(awq_device *device, void *w, const float *folded, const float *columns,
                const float *rows, awq_extent extent);
void clip_search_cpu(awq_device *device, const awq_clip *clip, const float *folded,
                     const float *gram, const float *s, awq_extent extent, const awq_grid *grid);
void quantize_cpu(awq_device *device, uint8_t *codes, uint16_t *scales, uint8_t *zeros,
                  const float *folded, const awq_clip *clip, awq_extent extent,
                  const awq_grid *grid);
awq_status feedback_factor_cpu(awq_device *device, float *factor, int32_t *order, const float *gram,
                               const float *s, int64_t in, double damp, bool *positive,
                               awq_error *err);
void feedback_cpu(awq_device *device, uint8_t *codes, void *d, const float *folded,
                  const float *factor, const int32_t *order, const uint16_t *scales,
                  const uint8_t *zeros, awq_extent extent, const awq_grid *grid);
void coded_error_cpu(awq_device *device, void *d, const float *folded, const uint8_t *codes,
                     const uint16_t *scales, const uint8_t *zeros, const float *s,
                     awq_extent extent, const awq_grid *grid);
void dequantize_cpu(awq_device *device, void *w, const uint8_t *codes, const uint16_t *scales,
                    const uint8_t *zeros, awq_extent extent, const awq_grid *grid);
awq_status nll_cpu(awq_device *device, double *nll, const float *logits, const int32_t *target,
                   int64_t rows, int64_t vocab, awq_error *err);
awq_status kl_cpu(awq_device *device, double *kl, const float *p_logits, const float *q_logits,
                  int64_t rows, int64_t vocab, awq_error *err);
awq_status argmax_cpu(awq_device *device, int32_t *index, const float *logits, int64_t rows,
                      int64_t vocab, awq_error *err);

#endif
