/* SPDX-License-Identifier: MIT
 * coordinator/commands/commands.h - the subcommands: one file each, one function each.
 *
 * A command reports its own errors and returns the exit code: 0 done, 1 failed, 2 usage, 75
 * interrupted and resumable. */
#ifndef AWQ_COORDINATOR_COMMANDS_COMMANDS_H
#define AWQ_COORDINATOR_COMMANDS_COMMANDS_H

#include "coordinator/crew/crew.h"
#include "jobs/options/options.h"

enum { AWQ_EXIT_DONE = 0, AWQ_EXIT_FAILED = 1, AWQ_EXIT_USAGE = 2, AWQ_EXIT_RESUMABLE = 75 };

struct awq_call;

/* A subcommand; a NULL name ends a list of them. */
typedef struct awq_command_row {
    const char *name;
    const char *arguments;
    const char *summary;
    awq_command bit;
    bool computes; /* on the workers */
    bool resolves; /* paths are absolute in what it says and writes */
    int (*run)(const struct awq_call *call);
} awq_command_row;

/* What a command gets: its options, and the workers when it computes (else NULL). */
typedef struct awq_call {
    const awq_options *options;
    awq_crew *crew;
    const awq_command_row *commands; /* all there are */
} awq_call;

int awq_command_quantize(const awq_call *call);
int awq_command_plan(const awq_call *call);
int awq_command_eval(const awq_call *call);
int awq_command_report(const awq_call *call);
int awq_command_status(const awq_call *call);
int awq_command_submit(const awq_call *call);
int awq_command_tokenize(const awq_call *call);
int awq_command_verify(const awq_call *call);
int awq_command_convert(const awq_call *call);
int awq_command_version(const awq_call *call);
int awq_command_completion(const awq_call *call);

/* Reports an error and gives the exit code that goes with it. */
int awq_exit_failed(const awq_error *err);
/* The same for problems: usage if any is one. */
int awq_exit_problems(const awq_problems *problems);

#endif
