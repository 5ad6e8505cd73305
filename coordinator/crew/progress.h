/* SPDX-License-Identifier: MIT
 * coordinator/crew/progress.h - what a person sees while a job runs: a bar on a terminal, a line
 * now and then otherwise. On stderr.
 *
 * The time that is left is forecast from the plan, at the rates that the workers have had so far:
 * pipelines fill and drain, and a search is not as fast as a forward pass. */
#ifndef AWQ_COORDINATOR_CREW_PROGRESS_H
#define AWQ_COORDINATOR_CREW_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/model/model.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/options/options.h"
#include "jobs/plan/plan.h"

/* The work of a job, as it was when it began. */
typedef struct awq_workload {
    const awq_plan *plan; /* borrowed; NULL: the work is counted in parts */
    bool *done;           /* [plan->layers], owned: run forward only */
    int workers;
    int64_t tiles;  /* of the job */
    int64_t tokens; /* of all tiles */
    /* floating-point operations of one layer, all tiles */
    double forward, gram, search;
} awq_workload;

/* The work of quantizing what the plan says is left. awq_progress_begin takes it over. */
awq_status awq_workload_make(const awq_options *options, const awq_model *model,
                             const awq_tokens *tokens, const awq_plan *plan, int workers,
                             awq_workload *out, awq_error *err);

typedef struct awq_progress_view {
    awq_workload load;
    double start;       /* clock seconds */
    double last_shown;  /* clock seconds */
    double last_tile;   /* clock seconds: when a tile was last counted */
    int64_t tiles;      /* then */
    double flops_total; /* of the whole job, done or not */
    double flops_done;  /* by earlier runs */
    bool terminal;
    bool quiet;
    bool json;
} awq_progress_view;

/* Something that is counted: "layers 12/80". */
typedef struct awq_count {
    const char *name;
    int64_t done, of;
} awq_count;

/* Takes load->done over. `finished` layers count as done, and no more need be run forward than the
 * plan says. */
void awq_progress_begin(awq_progress_view *view, const awq_workload *load, int64_t finished,
                        const awq_options *options);
/* The same for work that is counted in parts and has no plan. */
void awq_progress_begin_parts(awq_progress_view *view, int64_t parts, const awq_options *options);
/* So many parts are done, as awq_progress_show takes it. */
awq_progress awq_progress_parts(int64_t done);
/* Takes note of how far the workers are; often called. */
void awq_progress_note(awq_progress_view *view, const awq_progress *now);
/* Fraction of the job's arithmetic that is done, 0..1. */
double awq_progress_fraction(const awq_progress_view *view, const awq_progress *now);
/* Seconds left; negative: too early to tell. */
double awq_progress_eta(const awq_progress_view *view, const awq_progress *now);
double awq_progress_elapsed(const awq_progress_view *view);
/* Notes, and shows counts[count], three at most, where it is time to. */
void awq_progress_show(awq_progress_view *view, const awq_count *counts, int count,
                       const awq_progress *now);
/* Removes the bar, and frees what the view owns. */
void awq_progress_end(awq_progress_view *view);

#endif
