/* SPDX-License-Identifier: MIT */
#include "coordinator/crew_plan.h"

#include <stdio.h>
#include <string.h>

/* What does not fit beside a GPU is refused now, not when the node runs out of it. */
static awq_status check_host(const awq_hello *hello, awq_error *err)
{
    if (!hello->host_budget_bytes || hello->host_bytes <= hello->host_budget_bytes) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY,
                    "%.2f GB of the node's memory are needed beside the GPU, and its share of what "
                    "is free is %.2f GB; take fewer --sequences, lower --tile-tokens, or run fewer "
                    "workers on a node",
                    1e-9 * (double)hello->host_bytes, 1e-9 * (double)hello->host_budget_bytes);
}

awq_status awq_crew_stage_layers(const awq_crew *crew, const awq_options *options, int64_t layers,
                                 int64_t *out, awq_error *err)
{
    int64_t least = layers;
    for (int i = 0; i < crew->count; i++) {
        const awq_hello *hello = &crew->members[i].hello;
        int64_t fits;
        if (check_host(hello, err) ||
            awq_plan_stage_layers(layers, crew->count, options->stage_layers, hello->budget_bytes,
                                  hello->layer_bytes, hello->fixed_bytes, &fits, err)) {
            char who[256];
            awq_crew_describe(crew, i, who, sizeof who);
            return awq_error_wrap(err, "%s", who);
        }
        if (fits < least) least = fits;
    }
    *out = least > 0 ? least : 1;
    return AWQ_OK;
}

void awq_crew_send_plan(awq_crew *crew, const awq_plan *plan, const char *fingerprint)
{
    size_t stages = (size_t)plan->stage_count * sizeof *plan->stages;
    size_t layers = (size_t)plan->layers * sizeof *plan->done;
    awq_plan_head head = {.linked = crew->linked};
    if (fingerprint) snprintf(head.fingerprint, sizeof head.fingerprint, "%s", fingerprint);
    for (int i = 0; i < crew->count; i++) {
        awq_letter *letter = awq_letter_create(AWQ_LETTER_PLAN, plan->stage_count, plan->layers,
                                               sizeof head + stages + layers);
        if (letter) {
            unsigned char *to = letter->payload;
            memcpy(to, &head, sizeof head);
            memcpy(to + sizeof head, plan->stages, stages);
            memcpy(to + sizeof head + stages, plan->done, layers);
        }
        awq_crew_send(crew, i, letter);
    }
}
