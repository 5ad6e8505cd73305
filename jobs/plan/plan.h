/* SPDX-License-Identifier: MIT
 * jobs/plan/plan.h - which worker does which layers, what each still needs, how long it takes.
 *
 * A plan is a pure function of what is done and how many workers there are. It decides who works,
 * never what the result is: hidden states cross stages exactly as they would stay inside one. */
#ifndef AWQ_JOBS_PLAN_PLAN_H
#define AWQ_JOBS_PLAN_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"
#include "jobs/mail/letters.h"

/* Consecutive layers that one worker holds at once. */
typedef struct awq_stage {
    int64_t first;    /* layer */
    int64_t count;    /* layers */
    int32_t worker;   /* 0..workers-1 */
    int32_t input;    /* AWQ_INPUT_... */
    int32_t sends_on; /* 1: the next stage takes its input from this one */
    int32_t pad;
} awq_stage;

/* Where a stage's hidden states come from. */
enum { AWQ_INPUT_EMBEDDING, AWQ_INPUT_STAGE, AWQ_INPUT_BOUNDARY };

typedef struct awq_plan {
    awq_stage *stages; /* owned, in layer order */
    int64_t stage_count;
    int64_t layers;
    bool *done;           /* [layers], owned: needs no search, is run forward only */
    int64_t layers_left;  /* not done */
    int64_t forward_only; /* done, but run to feed a later layer */
    int64_t stage_layers; /* the most that a stage holds */
} awq_plan;

/* done[layers]: layers with a durable record. boundary[layers]: layers whose input is on disk
 * (entry 0 is ignored; NULL: none). Stages hold at most stage_layers layers, begin anew at each
 * boundary that is used, and end at the last layer that something needs. Stage i goes to worker
 * i % workers. Free the result. */
awq_status awq_plan_create(int64_t layers, const bool *done, const bool *boundary,
                           int64_t stage_layers, int workers, awq_plan *out, awq_error *err);
void awq_plan_release(awq_plan *plan);

/* The most boundaries that are on disk at once: for each worker those of the stage that it works on
 * and of the stage whose input arrives; `all` of them where --keep-run keeps those that have
 * served. */
int64_t awq_plan_boundaries(const awq_plan *plan, int64_t workers, bool all);

/* What a stage of so many layers takes: of the memory that budget_bytes is of; beside a GPU, of the
 * node's; and in files of the run directory that are gone with the process. */
uint64_t awq_plan_stage_bytes(const awq_hello *needs, int64_t layers);
uint64_t awq_plan_host_bytes(const awq_hello *needs, int64_t layers);
uint64_t awq_plan_file_bytes(const awq_hello *needs, int64_t layers);

/* Layers a stage may hold: what fits in the budget, at most `wanted` (0: an even share of `layers`
 * over the workers). AWQ_ERR_MEMORY when not even one layer fits: says what is needed and which
 * options to lower. */
awq_status awq_plan_stage_layers(int64_t layers, int workers, int64_t wanted,
                                 const awq_hello *needs, int64_t *out, awq_error *err);

/* Seconds of one layer on one worker. */
typedef struct awq_pace {
    double flow;    /* all tiles through a layer that is to be quantized: forward and Gram */
    double forward; /* all tiles through a layer that is done */
    double search;  /* once the tiles are through: search, clip, pack */
} awq_pace;

/* How long a plan takes at that pace, from the first tile to the last layer: for estimates
 * beforehand, and for the time that is left. done[layers]: layers that are only run forward. A
 * stage begins when its worker is free and the stage before it has passed its first tile on; its
 * tiles cannot end before those of the stage before it; its search follows. Searches of one worker
 * run beside the flow of others. 0 where a plan has no stages; negative: no memory. */
double awq_plan_seconds(const awq_plan *plan, const bool *done, int workers, int64_t tiles,
                        const awq_pace *pace);

#endif
