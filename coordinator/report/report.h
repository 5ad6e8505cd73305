/* SPDX-License-Identifier: MIT
 * coordinator/report/report.h - what `awqrun report` reads, and the forms it takes.
 *
 * A finished checkpoint tells by its awqrun.h5, an unfinished one by the records in its run
 * directory. Nothing is recomputed and nothing but the report is written. */
#ifndef AWQ_COORDINATOR_REPORT_REPORT_H
#define AWQ_COORDINATOR_REPORT_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "io/files/path.h"
#include "io/records/layer_record.h"
#include "jobs/plan/job.h"

/* Where the records of an output directory are. */
typedef struct awq_report_source {
    char path[AWQ_PATH_BYTES]; /* awqrun.h5, or the run directory */
    bool complete;             /* the former */
    char fingerprint[AWQ_FINGERPRINT_BYTES];
    int64_t layers;  /* of the model */
    int64_t *layer;  /* owned, ascending: those that are done */
    int64_t present; /* how many they are */
    json_t *about;   /* owned: see awq_report_json */
} awq_report_source;

/* Neither awqrun.h5 nor a run directory in `out`, or one that is damaged: an error. Close the
 * result. */
awq_status awq_report_open(const char *out, awq_report_source *source, awq_error *err);
void awq_report_close(awq_report_source *source);

/* Reads layer after layer, and shows each to `visit`, whose failure ends it. A damaged record of an
 * unfinished run is a warning, and is left out: the run will do it again. */
typedef awq_status awq_report_visit(void *context, const awq_layer_record *record, awq_error *err);
awq_status awq_report_each(const awq_report_source *source, awq_report_visit *visit, void *context,
                           awq_error *err);

/* All that the page shows, as coordinator/report/README.md describes it. NULL in case of an error.
 * The caller decrefs. */
json_t *awq_report_json(const awq_report_source *source, awq_error *err);

/* The linears of one type of a layer's routed experts (`which` counts the types) as one linear,
 * named "experts.up_proj"; false: there are no more. */
bool awq_report_sum_experts(const awq_layer_record *record, int which, awq_linear_record *out);
/* Of each routed expert `error`, `rounding`, `alpha`, `tokens`. NULL: the layer has none. */
json_t *awq_report_experts(const awq_layer_record *record);

/* The page as one file, nothing else needed to read it. `bytes` may be NULL. */
awq_status awq_report_write_page(const char *path, const json_t *data, uint64_t *bytes,
                                 awq_error *err);

/* A header and a line for each layer and linear. */
awq_status awq_report_print_csv(FILE *file, const awq_report_source *source, awq_error *err);

#endif
