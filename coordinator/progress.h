/* SPDX-License-Identifier: MIT
 * coordinator/progress.h - what a person sees while a job runs: a bar on a terminal, a line every
 * few seconds otherwise. On stderr. */
#ifndef AWQ_COORDINATOR_PROGRESS_H
#define AWQ_COORDINATOR_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct awq_progress_view {
    double start;         /* clock seconds */
    double last_shown;    /* clock seconds */
    double done_at_start; /* flops that count as done before the job began */
    double total;         /* flops of the whole job */
    bool terminal;
    bool quiet;
} awq_progress_view;

/* `skipped` flops of `total` need not be done: a resumed job starts part way. */
void awq_progress_begin(awq_progress_view *view, double total, double skipped, bool quiet);
/* Fraction of all work that is done, 0..1. */
double awq_progress_fraction(const awq_progress_view *view, double flops);
/* Seconds left by the rate so far; negative: too early to tell. */
double awq_progress_eta(const awq_progress_view *view, double flops);
double awq_progress_elapsed(const awq_progress_view *view);
/* Shows "what done/of" with the fraction; often called, seldom printed. */
void awq_progress_show(awq_progress_view *view, const char *what, int64_t done, int64_t of,
                       double flops);
/* Removes the bar. */
void awq_progress_end(awq_progress_view *view);

#endif
