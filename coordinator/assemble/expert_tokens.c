/* SPDX-License-Identifier: MIT */
#include "coordinator/assemble/expert_tokens.h"

#include <stdlib.h>

awq_status awq_expert_tokens_add(awq_expert_tokens *tokens, const awq_layer_record *record,
                                 awq_error *err)
{
    size_t most = (size_t)tokens->experts + (size_t)record->groups;
    int64_t *counts = realloc(tokens->counts, (most + 1) * sizeof *counts);
    if (!counts) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to count the experts' tokens");
    tokens->counts = counts;
    for (int i = 0; i < record->groups; i++)
        if (record->group[i].expert >= 0) counts[tokens->experts++] = record->group[i].tokens;
    for (int i = 0; i < record->linears; i++) {
        int64_t channels = record->group[record->linear[i].group].channels;
        if (record->linear[i].expert >= 0 && channels > tokens->channels)
            tokens->channels = channels;
    }
    return AWQ_OK;
}

void awq_expert_tokens_release(awq_expert_tokens *tokens)
{
    free(tokens->counts);
    *tokens = (awq_expert_tokens){0};
}

static int ascending(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int64_t count_below(const awq_expert_tokens *tokens, int64_t least)
{
    int64_t count = 0;
    while (count < tokens->experts && tokens->counts[count] < least) count++;
    return count;
}

void awq_expert_tokens_print(FILE *file, awq_expert_tokens *tokens, int64_t sequences)
{
    if (!tokens->experts) return;
    qsort(tokens->counts, (size_t)tokens->experts, sizeof *tokens->counts, ascending);
    int64_t median = tokens->counts[(tokens->experts - 1) / 2];
    fprintf(file,
            "  experts: %lld of %lld had fewer tokens than channels (%lld), %lld had none; median "
            "%lld, least %lld",
            (long long)count_below(tokens, tokens->channels), (long long)tokens->experts,
            (long long)tokens->channels, (long long)count_below(tokens, 1), (long long)median,
            (long long)tokens->counts[0]);
    if (median && median < tokens->channels)
        fprintf(file, "; --sequences %lld would give the median as many",
                (long long)((sequences * tokens->channels + median - 1) / median));
    fprintf(file, "\n");
}
