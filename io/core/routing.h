/* SPDX-License-Identifier: MIT
 * io/core/routing.h - how a router's logits become a choice of experts and their weights. */
#ifndef AWQ_IO_CORE_ROUTING_H
#define AWQ_IO_CORE_ROUTING_H

#include <stdbool.h>
#include <stdint.h>

/* What a logit counts for. */
typedef enum awq_router_score {
    AWQ_SCORE_SOFTMAX,    /* its share of the softmax over all experts */
    AWQ_SCORE_SIGMOID,    /* 1 / (1 + exp(-logit)) */
    AWQ_SCORE_SPARSEMIXER /* two experts, each by a softmax of its own: over those whose logits are
                             near its own, without an expert that was chosen before it (phimoe) */
} awq_router_score;

/* Experts are chosen by their scores plus a correction, if the router has one, and weighed by their
 * scores alone. */
typedef struct awq_routing_rule {
    awq_router_score score;
    int64_t experts, active;       /* how many there are, and how many see a token */
    int64_t groups, active_groups; /* of experts / groups experts in a row, of which only the best
                                      active_groups take part in the choice; groups 0 or 1: none */
    int64_t group_best;            /* a group's score: the sum of so many of its largest */
    bool normalized;               /* a token's weights are divided by their sum + 1e-20 .. */
    float factor;                  /* .. then multiplied by this; 1 in most models */
    float margin; /* of the sparse mixer: an expert e takes part beside the chosen c unless
                     (l_c - l_e) / max(|l_e|, l_c) > 2 margin */
} awq_routing_rule;

#endif
