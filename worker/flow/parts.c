/* SPDX-License-Identifier: MIT */
#include "worker/flow/parts.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PARTS = 1 << 16 };

int awq_parts_rank(const awq_stage *stage, int32_t part)
{
    return stage[part - stage->part.index].worker + 1; /* rank 0 is the coordinator */
}

static int64_t number_of(int64_t number, int32_t part)
{
    return number * MOST_PARTS + part;
}

/* ---- one letter ---- */

static void post(awq_worker *worker, const awq_stage *stage, int64_t number, int32_t to,
                 const void *bytes, size_t count)
{
    awq_mail_post(worker->mail, awq_parts_rank(stage, to),
                  awq_letter_write(AWQ_LETTER_PART, stage->first,
                                   number_of(number, stage->part.index), bytes, count));
}

static void post_to_others(awq_worker *worker, const awq_stage *stage, int64_t number,
                           const void *bytes, size_t count)
{
    for (int32_t part = 0; part < stage->part.count; part++)
        if (part != stage->part.index) post(worker, stage, number, part, bytes, count);
}

/* Waits for it. */
static awq_status receive(const awq_parts *parts, int32_t from, void *bytes, size_t count,
                          awq_error *err)
{
    awq_letter *letter;
    if (awq_lane_take_numbered(parts->worker->inbox.parts, parts->stage->first,
                               number_of(parts->number, from), &letter, err))
        return err->status;
    awq_status status = AWQ_OK;
    if (letter->bytes == count)
        memcpy(bytes, letter->payload, count);
    else
        status = awq_fail(err, AWQ_ERR_INTERNAL, "part %d of %d sent %llu bytes, not %zu", from + 1,
                          parts->stage->part.count, (unsigned long long)letter->bytes, count);
    awq_letter_free(letter);
    awq_worker_resume(parts->worker);
    return status;
}

/* ---- exchanges ---- */

static awq_status take(void *context, void *bytes, size_t count, awq_error *err)
{
    awq_parts *parts = context;
    int32_t part = parts->stage->part.index;
    parts->number++;
    return part ? receive(parts, part - 1, bytes, count, err) : AWQ_OK;
}

static awq_status give(void *context, const void *bytes, size_t count, awq_error *err)
{
    const awq_parts *parts = context;
    awq_layer_part part = parts->stage->part;
    (void)err;
    if (!awq_layer_part_is_last(part))
        post(parts->worker, parts->stage, parts->number, part.index + 1, bytes, count);
    return AWQ_OK;
}

/* Each adds in the order of the parts, its own in its place. */
static awq_status add_up(void *context, double *values, size_t count, awq_error *err)
{
    awq_parts *parts = context;
    awq_layer_part part = parts->stage->part;
    size_t bytes = count * sizeof *values;
    double *one = malloc(2 * bytes + 1);
    if (!one) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for what parts of a layer share");
    double *sum = one + count;
    awq_status status = AWQ_OK;
    memset(sum, 0, bytes);
    parts->number++;
    post_to_others(parts->worker, parts->stage, parts->number, values, bytes);
    for (int32_t i = 0; !status && i < part.count; i++) {
        if (i != part.index) status = receive(parts, i, one, bytes, err);
        const double *added = i == part.index ? values : one;
        for (size_t k = 0; !status && k < count; k++) sum[k] += added[k];
    }
    if (!status) memcpy(values, sum, bytes);
    free(one);
    return status;
}

/* ---- the vote ---- */

static void vote(awq_worker *worker, const awq_stage *stage, bool agrees)
{
    post_to_others(worker, stage, 0, &agrees, sizeof agrees);
}

void awq_parts_decline(awq_worker *worker, const awq_stage *stages, int64_t first, int64_t count,
                       const bool *done)
{
    for (const awq_stage *stage = stages + first; stage < stages + count; stage++)
        if (stage->worker == awq_worker_number(worker) - 1 &&
            !awq_layer_part_is_whole(stage->part) && !done[stage->first])
            vote(worker, stage, false);
}

awq_status awq_parts_agree(awq_worker *worker, const awq_stage *stage, awq_parts *out,
                           awq_error *err)
{
    awq_layer_part part = stage->part;
    bool all = true;
    *out = (awq_parts){.worker = worker,
                       .stage = stage,
                       .exchange = {.take = take, .give = give, .add_up = add_up, .context = out}};
    vote(worker, stage, true);
    for (int32_t i = 0; i < part.count; i++) {
        bool agrees = true;
        if (i != part.index && receive(out, i, &agrees, sizeof agrees, err)) return err->status;
        all = all && agrees;
    }
    if (all) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERRUPTED, "another part of the layer is not searched");
}
