/* SPDX-License-Identifier: MIT
 * kernels/verbs.h - the verbs of kernels/backend.h by name: a backend declares its functions and
 * fills in its table from one list, with the types that the table gives them. norm_cpu is the
 * CPU's norm, norm_cuda the GPU's. A verb that the list lacks would be NULL; the assertion
 * below finds it. */
#ifndef AWQ_KERNELS_VERBS_H
#define AWQ_KERNELS_VERBS_H

#include <assert.h>
#include <stddef.h>

#include "kernels/backend.h"

/* clang-format off */
#define AWQ_VERB_LIST(X)                                                                           \
    X(library) X(open) X(close) X(alloc) X(release) X(zero) X(copy) X(upload) X(download)          \
    X(alloc_host) X(release_host) X(fetch) X(fetched) X(sync) X(lap) X(load) X(narrow)             \
    X(find_nonfinite)                                                                              \
    X(norm) X(norm_add) X(norm_heads) X(linear) X(linear_add) X(rope) X(attention) X(gated)        \
    X(take_columns) X(put_columns) X(softcap) X(scale) X(convolve) X(gated_delta) X(top_experts)   \
    X(expert_weights) X(sigmoid) X(gather_rows) X(scatter_add)                                     \
    X(abs_sum) X(relative_sum) X(gram) X(gram_finish) X(rounding_error) X(squared_distance)        \
    X(squared_error) X(prepare_form) X(quadratic_form) X(fold) X(unfold) X(clip_search)            \
    X(count_clips) X(quantize) X(pack) X(feedback_factor) X(feedback) X(coded_error)               \
    X(dequantize) X(nll) X(kl) X(argmax)
/* clang-format on */

/* All functions of the table are in the list, but for survey, which a backend may lack. */
#define AWQ_COUNT_VERB(verb) +1
enum { AWQ_VERBS = 0 AWQ_VERB_LIST(AWQ_COUNT_VERB) };
#undef AWQ_COUNT_VERB
static_assert(sizeof(awq_backend) ==
                  offsetof(awq_backend, library) + (AWQ_VERBS + 1) * sizeof(void (*)(void)),
              "a verb of kernels/backend.h is not in AWQ_VERB_LIST");

/* A function with the type of the table's member. */
#define AWQ_DECLARE_VERB(verb, function) __typeof__(*((awq_backend *)0)->verb) function;

#endif
