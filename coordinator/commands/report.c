/* SPDX-License-Identifier: MIT
 * awqrun report OUT: a page about a quantization, or its numbers as CSV. */
#include "coordinator/report/report.h"

#include "coordinator/commands/commands.h"
#include "jobs/options/amounts.h"
#include "jobs/run/run_directory.h"

static awq_status write_html(const awq_options *options, const awq_report_source *source,
                             awq_error *err)
{
    char path[AWQ_PATH_BYTES], size[32];
    uint64_t bytes;
    if (awq_path_join(path, options->out, AWQ_REPORT_NAME, err)) return err->status;
    json_t *data = awq_report_json(source, err);
    if (!data) return err->status;
    long long shown = (long long)json_array_size(json_object_get(data, "records"));
    const char *file = options->report.html ? options->report.html : path;
    awq_status status = awq_report_write_page(file, data, &bytes, err);
    json_decref(data);
    if (status) return status;
    awq_format_bytes(size, (double)bytes);
    printf("%s: %lld of %lld layers%s, %s\n", file, shown, (long long)source->layers,
           source->complete ? "" : ", the run is not finished", size);
    return AWQ_OK;
}

int awq_command_report(const awq_call *call)
{
    const awq_options *options = call->options;
    awq_report_source source;
    awq_error err;
    if (options->report.csv && options->report.html) {
        awq_fail(&err, AWQ_ERR_USAGE, "--csv prints, --html writes a page: give one of them");
        return awq_exit_failed(&err);
    }
    if (awq_report_open(options->out, &source, &err)) return awq_exit_failed(&err);
    awq_status status = options->report.csv ? awq_report_print_csv(stdout, &source, &err)
                                            : write_html(options, &source, &err);
    awq_report_close(&source);
    return status ? awq_exit_failed(&err) : AWQ_EXIT_DONE;
}
