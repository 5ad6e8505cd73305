/* SPDX-License-Identifier: MIT */
#include "coordinator/crew/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/clock.h"
#include "io/core/log.h"
#include "jobs/options/amounts.h"
#include "jobs/plan/job.h"
#include "jobs/plan/plan.h"
#include "layers/quantize/cost.h"

static const double bar_seconds = 0.2;
static const double line_seconds = 10, line_share = 0.02, longest_line_seconds = 300;
enum { COLUMNS = 80, FEWEST_CELLS = 6, MOST_CELLS = 30, TEXT_BYTES = 160, MOST_COUNTS = 3 };

/* ---- what is known ---- */

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

awq_status awq_workload_make(const awq_options *options, const awq_model *model,
                             const awq_tokens *tokens, const awq_plan *plan, int workers,
                             awq_workload *out, awq_error *err)
{
    int64_t length = tokens->length, count = tokens->sequences * length;
    int64_t scored = awq_job_objective_sequences(options, tokens) * length;
    size_t bytes = (size_t)plan->layers * sizeof *plan->done;
    awq_workload load = {.plan = plan,
                         .done = malloc(bytes),
                         .workers = workers,
                         .tiles = awq_job_tiles(options, tokens),
                         .tokens = count,
                         .forward = awq_work_forward(model, count, length),
                         .gram = awq_work_gram(model, count),
                         .search = awq_work_search(model, &options->recipe, scored, length) +
                                   awq_work_experts(model, count)};
    if (!load.done) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to tell the progress");
    memcpy(load.done, plan->done, bytes);
    *out = load;
    return AWQ_OK;
}

static void begin(awq_progress_view *view, double total, const awq_options *options)
{
    double now = awq_clock_seconds();
    bool terminal = isatty(STDERR_FILENO) == 1 || parent_stderr_is_terminal();
    *view = (awq_progress_view){.start = now,
                                .last_shown = now,
                                .last_tile = now,
                                .flops_total = fmax(total, 1),
                                .terminal = terminal && !options->log_json,
                                .quiet = options->quiet,
                                .json = options->log_json};
}

void awq_progress_begin(awq_progress_view *view, const awq_workload *load, int64_t finished,
                        const awq_options *options)
{
    double layer = load->forward + load->gram + load->search;
    begin(view, (double)load->plan->layers * layer, options);
    view->load = *load;
    view->flops_done = (double)finished * layer - (double)load->plan->forward_only * load->forward;
}

void awq_progress_begin_parts(awq_progress_view *view, int64_t parts, const awq_options *options)
{
    begin(view, (double)parts, options);
}

awq_progress awq_progress_parts(int64_t done)
{
    return (awq_progress){.flops[AWQ_WORK_FLOW] = (double)done};
}

void awq_progress_note(awq_progress_view *view, const awq_progress *now)
{
    if (now->tiles <= view->tiles) return;
    view->tiles = now->tiles;
    view->last_tile = awq_clock_seconds();
}

static double sum_of_flops(const awq_progress *now)
{
    return now->flops[AWQ_WORK_FLOW] + now->flops[AWQ_WORK_SEARCH];
}

double awq_progress_fraction(const awq_progress_view *view, const awq_progress *now)
{
    return fmin((view->flops_done + sum_of_flops(now)) / view->flops_total, 1);
}

double awq_progress_elapsed(const awq_progress_view *view)
{
    return awq_clock_seconds() - view->start;
}

/* FLOP/s of a worker at one kind of work; as at the other, before there is any. */
static double rate(const awq_progress *now, awq_work work)
{
    awq_work other = work == AWQ_WORK_FLOW ? AWQ_WORK_SEARCH : AWQ_WORK_FLOW;
    if (now->seconds[work] <= 0) work = other;
    return now->seconds[work] > 0 ? now->flops[work] / now->seconds[work] : 0;
}

double awq_progress_eta(const awq_progress_view *view, const awq_progress *now)
{
    const awq_workload *load = &view->load;
    double so_far = sum_of_flops(now), elapsed = awq_progress_elapsed(view);
    if (!load->plan) /* parts take equally long */
        return so_far > 0 && elapsed > 0.5 ? (view->flops_total - so_far) / so_far * elapsed : -1;
    if (!load->done) return -1; /* ended: nothing to forecast by */
    double flow = rate(now, AWQ_WORK_FLOW), search = rate(now, AWQ_WORK_SEARCH);
    if (flow <= 0 || search <= 0 || elapsed < 0.5) return -1;
    awq_pace pace = {.forward = load->forward / flow,
                     .flow = (load->forward + load->gram) / flow,
                     .search = load->search / search};
    double whole = awq_plan_seconds(load->plan, load->done, load->workers, load->tiles, &pace);
    double left = view->flops_total - view->flops_done - so_far;
    double least = fmax(left, 0) / (fmax(flow, search) * load->workers);
    return fmax(whole - awq_progress_elapsed(view), least);
}

/* Of calibration, through all stages of the plan; 0: there are none. */
static double tokens_per_second(const awq_progress_view *view)
{
    if (!view->load.plan) return 0;
    double all = (double)(view->load.plan->stage_count * view->load.tiles);
    double seconds = view->last_tile - view->start;
    if (all <= 0 || seconds <= 0) return 0;
    return (double)view->tiles / all * (double)view->load.tokens / seconds;
}

/* ---- how it is shown ---- */

static void __attribute__((format(printf, 2, 3)))
add(char text[TEXT_BYTES], const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, TEXT_BYTES - used, format, args);
    va_end(args);
}

/* For programs: amounts, not words. */
static void show_json(const awq_progress_view *view, const awq_count *counts, int count,
                      const awq_progress *now)
{
    char in_all[MOST_COUNTS][32];
    awq_log_pair said[2 * MOST_COUNTS + 4] = {0};
    int pairs = 0;
    for (int i = 0; i < count; i++) {
        snprintf(in_all[i], sizeof in_all[i], "%s_in_all", counts[i].name);
        said[pairs++] = AWQ_WHOLE(counts[i].name, counts[i].done);
        said[pairs++] = AWQ_WHOLE(in_all[i], counts[i].of);
    }
    said[pairs++] = AWQ_REAL("fraction", awq_progress_fraction(view, now), 4);
    said[pairs++] = AWQ_REAL("tokens_per_second", tokens_per_second(view), 1);
    said[pairs] = AWQ_REAL("left_seconds", awq_progress_eta(view, now), 1);
    awq_log_pairs(AWQ_LOG_INFO, "progress", said);
}

/* A line of a log file. */
static void show_line(const awq_progress_view *view, const awq_count *counts, int count,
                      const awq_progress *now)
{
    char of[MOST_COUNTS][48], eta[32];
    awq_log_pair said[MOST_COUNTS + 4] = {0};
    for (int i = 0; i < count; i++) {
        snprintf(of[i], sizeof of[i], "%lld/%lld", (long long)counts[i].done,
                 (long long)counts[i].of);
        said[i] = AWQ_TEXT(counts[i].name, of[i]);
    }
    awq_format_seconds(eta, awq_progress_eta(view, now));
    said[count] = AWQ_PERCENT("done", awq_progress_fraction(view, now), 0);
    said[count + 1] = AWQ_REAL("tokens_per_second", tokens_per_second(view), 0);
    said[count + 2] = AWQ_TEXT("left", eta);
    awq_log_pairs(AWQ_LOG_INFO, "progress", said);
}

/* 80 columns: what the words leave is the bar's. */
static void show_bar(const awq_progress_view *view, const awq_count *counts, int count,
                     const awq_progress *now)
{
    char words[TEXT_BYTES] = "", eta[32], cells[MOST_CELLS + 1], text[TEXT_BYTES + MOST_CELLS + 16];
    double fraction = awq_progress_fraction(view, now);
    for (int i = 0; i < count; i++)
        add(words, "  %s %lld/%lld", counts[i].name, (long long)counts[i].done,
            (long long)counts[i].of);
    if (view->load.plan) add(words, "  %.0f tok/s", tokens_per_second(view));
    awq_format_seconds(eta, awq_progress_eta(view, now));
    add(words, "  left %s", eta);
    int room = COLUMNS - 1 - (int)strlen(words) - (int)strlen("[] 100%");
    int cell_count = room < FEWEST_CELLS ? 0 : room > MOST_CELLS ? MOST_CELLS : room;
    memset(cells, '-', sizeof cells);
    memset(cells, '#', (size_t)(fraction * cell_count));
    cells[cell_count] = '\0';
    snprintf(text, sizeof text, cell_count ? "[%s] %3.0f%%%s" : "%s%3.0f%%%s", cells,
             100 * fraction, words);
    awq_log_set_bar(text);
}

void awq_progress_show(awq_progress_view *view, const awq_count *counts, int count,
                       const awq_progress *now)
{
    double clock = awq_clock_seconds(), between = line_share * awq_progress_elapsed(view);
    between = fmin(fmax(line_seconds, between), longest_line_seconds); /* a log is for reading */
    awq_progress_note(view, now);
    if (view->quiet || clock - view->last_shown < (view->terminal ? bar_seconds : between)) return;
    view->last_shown = clock;
    if (view->json)
        show_json(view, counts, count, now);
    else if (view->terminal)
        show_bar(view, counts, count, now);
    else
        show_line(view, counts, count, now);
}

void awq_progress_end(awq_progress_view *view)
{
    if (view->terminal) awq_log_set_bar(NULL);
    free(view->load.done);
    view->load.done = NULL;
}
