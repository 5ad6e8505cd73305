/* SPDX-License-Identifier: MIT */
#include "coordinator/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/log.h"
#include "jobs/format.h"

static const double bar_seconds = 0.2, line_seconds = 10;
enum { BAR_CELLS = 30 };

/* Under mpirun stderr is a pipe to mpirun, whose own stderr may well be a terminal. */
static bool parent_stderr_is_terminal(void)
{
    char path[64], target[64];
    if (!getenv("OMPI_COMM_WORLD_SIZE")) return false;
    snprintf(path, sizeof path, "/proc/%ld/fd/2", (long)getppid());
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    return !strncmp(target, "/dev/pts/", 9) || !strncmp(target, "/dev/tty", 8);
}

void awq_progress_begin(awq_progress_view *view, double total, double skipped, bool quiet)
{
    *view =
        (awq_progress_view){.start = awq_clock_seconds(),
                            .last_shown = awq_clock_seconds(),
                            .done_at_start = skipped,
                            .total = total > 0 ? total : 1,
                            .terminal = isatty(STDERR_FILENO) == 1 || parent_stderr_is_terminal(),
                            .quiet = quiet};
}

double awq_progress_fraction(const awq_progress_view *view, double flops)
{
    double fraction = (view->done_at_start + flops) / view->total;
    return fraction < 1 ? fraction : 1;
}

double awq_progress_elapsed(const awq_progress_view *view)
{
    return awq_clock_seconds() - view->start;
}

double awq_progress_eta(const awq_progress_view *view, double flops)
{
    double left = view->total - view->done_at_start - flops;
    double elapsed = awq_progress_elapsed(view);
    if (flops <= 0 || elapsed < 0.5) return -1;
    return left > 0 ? left / flops * elapsed : 0;
}

static void show_bar(const char *what, int64_t done, int64_t of, double fraction, const char *eta)
{
    char cells[BAR_CELLS + 1], text[160];
    int filled = (int)(fraction * BAR_CELLS);
    memset(cells, '-', BAR_CELLS);
    memset(cells, '#', (size_t)filled);
    cells[BAR_CELLS] = '\0';
    snprintf(text, sizeof text, "[%s] %3.0f%%  %s %lld/%lld  left %s", cells, 100 * fraction, what,
             (long long)done, (long long)of, eta);
    awq_log_set_bar(text);
}

void awq_progress_show(awq_progress_view *view, const char *what, int64_t done, int64_t of,
                       double flops)
{
    double now = awq_clock_seconds(), fraction = awq_progress_fraction(view, flops);
    if (view->quiet || now - view->last_shown < (view->terminal ? bar_seconds : line_seconds))
        return;
    char eta[32];
    view->last_shown = now;
    awq_format_seconds(eta, awq_progress_eta(view, flops));
    if (view->terminal)
        show_bar(what, done, of, fraction, eta);
    else
        awq_log(AWQ_LOG_INFO, "progress %s=%lld/%lld done=%.0f%% left=%s", what, (long long)done,
                (long long)of, 100 * fraction, eta);
}

void awq_progress_end(awq_progress_view *view)
{
    if (view->terminal) awq_log_set_bar(NULL);
}
