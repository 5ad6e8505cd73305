/* SPDX-License-Identifier: MIT
 * A graceful stop: finish the layers that are being searched, as far as the grace period allows,
 * and leave a run directory to resume from. */
#include <stdio.h>

#include "coordinator/crew/interrupt.h"
#include "coordinator/crew/run.h"
#include "io/core/clock.h"
#include "io/core/log.h"
#include "jobs/options/amounts.h"

/* A rank that is alive answers at once: its main thread does nothing but letters. */
static const double answer_seconds = 0.5;

/* When a rank dies, the launcher ends the others, politely at first: whoever does not answer now
 * is why we are being stopped. Should it answer after all, the job just ends as interrupted. */
static void name_the_lost(awq_run *run, double since)
{
    int lost = awq_crew_unheard(run->crew, since);
    if (lost < 0) return;
    char who[256];
    awq_crew_describe(run->crew, lost, who, sizeof who);
    awq_error err;
    awq_fail(&err, AWQ_ERR_MPI, "%s was lost at layer %lld", who,
             (long long)run->crew->members[lost].progress.layer);
    awq_report_error(&err);
    awq_run_tell(run, AWQ_RUN_FAILED, err.text);
}

void awq_run_wind_down(awq_run *run, const awq_error *err)
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
    awq_crew_wind_down(run->crew);
    while (!awq_crew_wound_down(run->crew) && awq_clock_seconds() - start < run->options->grace) {
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
