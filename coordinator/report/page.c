/* SPDX-License-Identifier: MIT
 * The page: coordinator/report's HTML, style and scripts, made one string by the build, with a
 * title and the data put in. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/report/report.h"
#include "io/files/publish.h"

extern const char awq_report_template[]; /* made by coordinator/CMakeLists.txt */

static const char title_mark[] = "@title@", data_mark[] = "@data@";

/* Text that means something else to HTML, or to the JSON within it. */
typedef struct escape {
    char character;
    const char *text;
} escape;

static const escape html_escapes[] = {{'&', "&amp;"},  {'<', "&lt;"},   {'>', "&gt;"},
                                      {'"', "&quot;"}, {'\'', "&#39;"}, {0, NULL}};
/* These occur in strings only; a script element ends at "</", whatever it holds. */
static const escape json_escapes[] = {
    {'&', "\\u0026"}, {'<', "\\u003c"}, {'>', "\\u003e"}, {0, NULL}};

static const escape *find_escape(const escape *escapes, char character)
{
    while (escapes->text && escapes->character != character) escapes++;
    return escapes->text ? escapes : NULL;
}

static awq_status write_escaped(awq_publish *file, const char *text, const escape *escapes,
                                awq_error *err)
{
    while (*text) {
        size_t plain = 0;
        while (text[plain] && !find_escape(escapes, text[plain])) plain++;
        if (awq_publish_write(file, text, plain, err)) return err->status;
        text += plain;
        if (!*text) break;
        const char *instead = find_escape(escapes, *text++)->text;
        if (awq_publish_write(file, instead, strlen(instead), err)) return err->status;
    }
    return AWQ_OK;
}

static awq_status write_data(awq_publish *file, const json_t *data, awq_error *err)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the report");
    awq_status status = write_escaped(file, text, json_escapes, err);
    free(text);
    return status;
}

static awq_status write_page(awq_publish *file, const json_t *data, awq_error *err)
{
    const char *title = strstr(awq_report_template, title_mark);
    const char *script = title ? strstr(title, data_mark) : NULL;
    if (!script) return awq_fail(err, AWQ_ERR_INTERNAL, "the report's page has no place for data");
    const char *middle = title + strlen(title_mark), *end = script + strlen(data_mark);
    const char *name = json_string_value(json_object_get(data, "name"));
    if (awq_publish_write(file, awq_report_template, (size_t)(title - awq_report_template), err) ||
        write_escaped(file, name ? name : "", html_escapes, err) ||
        awq_publish_write(file, middle, (size_t)(script - middle), err) ||
        write_data(file, data, err) || awq_publish_write(file, end, strlen(end), err))
        return err->status;
    return AWQ_OK;
}

awq_status awq_report_write_page(const char *path, const json_t *data, uint64_t *bytes,
                                 awq_error *err)
{
    awq_publish *file = NULL;
    awq_status status = awq_publish_open(path, 0, &file, err);
    if (!status) status = write_page(file, data, err);
    if (!status) status = awq_publish_commit(file, NULL, bytes, err);
    awq_publish_free(file);
    return status;
}
