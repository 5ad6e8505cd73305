/* SPDX-License-Identifier: MIT */
#include "coordinator/crew/run.h"

#include <stdio.h>
#include <unistd.h>

#include "coordinator/crew/interrupt.h"
#include "io/core/clock.h"
#include "io/core/log.h"
#include "jobs/options/amounts.h"
#include "jobs/run/run_directory.h"

static const double status_seconds = 3, tick_seconds = 0.2;
/* A rank that is alive answers at once: its main thread does nothing but letters. */
static const double answer_seconds = 0.5;

void awq_run_tell(awq_run *run, awq_run_state state, const char *error)
{
    awq_progress now = awq_crew_progress(run->crew);
    awq_run_status status = {.state = state,
                             .layers = run->plan.layers,
                             .layers_done = run->layers_done,
                             .fraction = awq_progress_fraction(&run->view, &now),
                             .eta_seconds = awq_progress_eta(&run->view, &now),
                             .elapsed_seconds = awq_progress_elapsed(&run->view),
                             .workers = run->workers,
                             .worker_count = run->crew->count};
    awq_error err;
    if (state == AWQ_RUN_COMPLETE) {
        status.fraction = 1;
        status.eta_seconds = status.worker_count = 0;
    }
    snprintf(status.error, sizeof status.error, "%s", error ? error : "");
    awq_crew_status(run->crew, run->workers);
    if (awq_run_status_write(run->directory, &status, &err)) awq_report_warning("%s", err.text);
    run->last_status = awq_clock_seconds();
}

awq_status awq_run_next(awq_run *run, awq_run_state state, awq_letter **out, int *worker,
                        awq_error *err)
{
    if (awq_crew_next(run->crew, tick_seconds, out, worker, err)) return err->status;
    if (awq_clock_seconds() - run->last_status >= status_seconds) {
        awq_run_tell(run, state, NULL);
        awq_run_lock_touch(run->lock);
    }
    awq_progress now = awq_crew_progress(run->crew);
    int64_t stages = run->plan.stage_count;
    awq_count counts[] = {{"layers", run->layers_done, run->plan.layers},
                          {"stages", now.stages, stages},
                          {"tiles", now.tiles, stages * run->view.load.tiles}};
    awq_progress_show(&run->view, counts, 3, &now);
    return AWQ_OK;
}

/* A boundary has served when every layer up to the next durable one is done. With --keep-run all
 * stay: verify can then reproduce a layer from the nearest. */
static void drop_served_boundaries(awq_run *run)
{
    if (run->options->keep_run) return;
    for (int64_t layer = 1; layer < run->plan.layers; layer++) {
        if (!run->boundary[layer]) continue;
        int64_t next = layer;
        while (next < run->plan.layers && run->plan.done[next] &&
               (next == layer || !run->boundary[next]))
            next++;
        if (next < run->plan.layers && !run->boundary[next]) continue;
        if (next == layer) continue;
        char path[AWQ_PATH_BYTES];
        awq_error ignored;
        if (!awq_run_boundary_path(path, run->directory, layer, &ignored)) unlink(path);
        run->boundary[layer] = false;
    }
}

static void layer_done(awq_run *run, int64_t layer, const awq_layer_summary *summary)
{
    run->plan.done[layer] = true;
    run->layers_done++;
    awq_log_pair said[AWQ_MOST_ALPHAS + 5] = {AWQ_WHOLE("layer", layer),
                                              AWQ_PERCENT("error", summary->relative_error, 2),
                                              AWQ_PERCENT("rounding", summary->rounding_error, 2)};
    int64_t count = 3;
    for (int64_t i = 0; i < summary->groups; i++)
        said[count++] = AWQ_SHORT(summary->group[i].name, summary->group[i].alpha, 3);
    said[count] = AWQ_REAL("seconds", summary->seconds, 1);
    awq_log_pairs(AWQ_LOG_VERBOSE, "layer done", said);
}

void awq_run_read(awq_run *run, const awq_letter *letter)
{
    if (!letter) return;
    if (letter->kind == AWQ_LETTER_LAYER_DONE)
        layer_done(run, letter->a, (const awq_layer_summary *)(const void *)letter->payload);
    else if (letter->kind == AWQ_LETTER_BOUNDARY_DONE)
        run->boundary[letter->a] = true;
    else
        return;
    drop_served_boundaries(run);
}

/* ---- a graceful stop: what is being searched is finished, the rest is left to resume from ---- */

/* When a rank dies, the launcher ends the others, politely at first: whoever does not answer now
 * is why we are being stopped. Should it answer after all, the job just ends as interrupted. */
static void name_the_lost(awq_run *run, double since)
{
    const awq_crew *crew = run->crew;
    int lost = 0; /* the first worker not heard since then */
    while (lost < crew->count && crew->members[lost].heard >= since) lost++;
    if (lost == crew->count) return;
    char who[256];
    awq_crew_describe(crew, lost, who, sizeof who);
    awq_error err;
    awq_fail(&err, AWQ_ERR_MPI, "%s was lost at layer %lld", who,
             (long long)crew->members[lost].progress.layer);
    awq_report_error(&err);
    awq_run_tell(run, AWQ_RUN_FAILED, err.text);
}

void awq_run_drain(awq_run *run, const awq_error *err)
{
    double start = awq_clock_seconds();
    bool asked = false;
    char grace[32];
    awq_error ignored;
    awq_format_seconds(grace, run->options->grace);
    awq_report_note("%s; finishing the layers being searched, for at most %s (a second signal ends "
                    "at once)",
                    err->text, grace);
    awq_run_tell(run, AWQ_RUN_INTERRUPTED, err->text);
    awq_crew_broadcast(run->crew, AWQ_LETTER_DRAIN, 0, 0, NULL, 0);
    while (!awq_crew_drained(run->crew) && awq_clock_seconds() - start < run->options->grace) {
        awq_letter *letter;
        if (awq_crew_listen(run->crew, 0.1, &letter, NULL, &ignored)) return;
        awq_run_read(run, letter);
        awq_letter_free(letter);
        if (!asked && awq_interrupt_by_launcher() && awq_clock_seconds() - start > answer_seconds) {
            asked = true;
            name_the_lost(run, start);
        }
    }
}
