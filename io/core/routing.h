/* SPDX-License-Identifier: MIT
 * io/core/routing.h - which experts a token goes to, and with what weight (docs/awq.md 4). */
#ifndef AWQ_IO_CORE_ROUTING_H
#define AWQ_IO_CORE_ROUTING_H

#include <stdbool.h>
#include <stdint.h>

typedef enum awq_score {
    AWQ_SCORE_SOFTMAX,    /* of a token's logits */
    AWQ_SCORE_SIGMOID,    /* of each logit */
    AWQ_SCORE_SPARSEMIXER /* of two experts, each a softmax over those that come near it */
} awq_score;

typedef struct awq_routing_rule {
    awq_score score;
    int64_t experts, active;       /* how many there are, and see a token */
    int64_t groups, active_groups; /* experts stand in so many groups of neighbours; of the others
                                      than the best active_groups the score is 0 in the choice;
                                      groups 0 or 1: none */
    int64_t group_best;            /* a group's score is the sum of its so many best */
    bool normalized;               /* weights are divided by their sum + 1e-20 */
    float factor;                  /* then multiplied by it */
    float margin;                  /* of the sparse mixer: what is near */
} awq_routing_rule;

#endif
