/* SPDX-License-Identifier: MIT */
#include "coordinator/run.h"

#include <stdio.h>

#include "io/clock.h"
#include "io/log.h"

static const double status_seconds = 3, tick_seconds = 0.2;

void awq_run_tell(awq_run *run, awq_run_state state, const char *error)
{
    double flops = awq_crew_flops(run->crew);
    awq_run_status status = {.state = state,
                             .layers = run->plan.layers,
                             .layers_done = run->layers_done,
                             .fraction = awq_progress_fraction(&run->view, flops),
                             .eta_seconds = awq_progress_eta(&run->view, flops),
                             .elapsed_seconds = awq_progress_elapsed(&run->view),
                             .workers = run->workers,
                             .worker_count = run->crew->count};
    awq_error err;
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
    awq_progress_show(&run->view, "layers", run->layers_done, run->plan.layers,
                      awq_crew_flops(run->crew));
    return AWQ_OK;
}
