/* SPDX-License-Identifier: MIT
 * awqrun status OUT: how a job is doing or how it ended, from any node, with or without it
 * running. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/commands.h"
#include "io/json.h"
#include "io/log.h"
#include "jobs/run_directory.h"
#include "jobs/run_status.h"

static int print_status(const awq_options *options, const json_t *status)
{
    if (options->json) {
        char *text = json_dumps(status, JSON_INDENT(2));
        if (text) puts(text);
        free(text);
    } else {
        awq_run_status_print(stdout, options->out, status, (double)time(NULL));
    }
    return AWQ_EXIT_DONE;
}

static int print_complete(const awq_options *options)
{
    if (options->json)
        puts("{\n  \"state\": \"complete\"\n}");
    else
        printf("%s: complete\n", options->out);
    return AWQ_EXIT_DONE;
}

int awq_command_status(const awq_call *call)
{
    const awq_options *options = call->options;
    char run[AWQ_PATH_BYTES], foreign[256];
    awq_out_state state;
    awq_error err;
    json_t *status = NULL;
    if (awq_out_inspect(options->out, &state, foreign, &err)) return awq_exit_failed(&err);
    if (state == AWQ_OUT_COMPLETE) return print_complete(options);
    if (state != AWQ_OUT_STARTED) {
        awq_fail(&err, AWQ_ERR_INPUT, "'%s' holds no awqrun job", options->out);
        return awq_exit_failed(&err);
    }
    if (awq_path_join(run, options->out, AWQ_RUN_DIRECTORY_NAME, &err) ||
        awq_run_status_read(run, &status, &err))
        return awq_exit_failed(&err);
    int code = print_status(options, status);
    json_decref(status);
    return code;
}
