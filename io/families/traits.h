/* SPDX-License-Identifier: MIT
 * io/families/traits.h - the families that can be quantized, in words.
 *
 * All words are made of a family's row (families.h), none are written for one: what the row has is
 * said here, and what the row does not say is as llama has it. */
#ifndef AWQ_IO_MODEL_TRAITS_H
#define AWQ_IO_MODEL_TRAITS_H

#include <stdbool.h>

enum { AWQ_TRAITS_BYTES = 512 };

typedef struct awq_traits {
    const char *model_type;
    const char *const *also; /* model_types that are this one in all but name; NULL behind the last,
                                unless there are `most_also` */
    int most_also;
    bool mixture;                /* of experts, or else dense */
    char text[AWQ_TRAITS_BYTES]; /* "RMSNorm, q/k norm by head", each that config.json may switch in
                                    parentheses */
    char kept[AWQ_TRAITS_BYTES]; /* what is never quantized of a layer: "norms, router" */
} awq_traits;

/* The index-th family, in the order of the table; false: past the last. */
bool awq_traits_at(int index, awq_traits *out);

#endif
