/* SPDX-License-Identifier: MIT
 * coordinator/verify/verify.h - a verification under way, shared by its files: structure.c (what
 * can be seen without bytes), commands/verify.c (the layers, by the workers), outliers.c (linears
 * that stand out), reproduce.c (--layer), print.c (the result). */
#ifndef AWQ_COORDINATOR_VERIFY_VERIFY_H
#define AWQ_COORDINATOR_VERIFY_VERIFY_H

#include "coordinator/crew/crew.h"
#include "coordinator/crew/progress.h"
#include "io/checkpoint/checkpoint.h"
#include "io/core/problems.h"
#include "io/text/tokens.h"
#include "jobs/options/options.h"

/* A sentence's status says what kind of finding it is: AWQ_ERR_INPUT the structure (files, config,
 * index, names, shapes), AWQ_ERR_CORRUPT bytes, AWQ_ERR_NUMERIC values. */
typedef struct awq_verification {
    const awq_options *options; /* borrowed */
    awq_options
        job_options;      /* owned: the same, and for a layer to be reproduced the recorded job's */
    int64_t layer;        /* to be reproduced; -1: none, or it cannot be */
    awq_crew *crew;       /* borrowed */
    awq_checkpoint *made; /* right or wrong */
    const awq_model *model; /* NULL: config.json describes none */
    awq_checkpoint *source; /* NULL: none to compare with */
    awq_tokens tokens;
    json_t *job;                 /* the recorded fingerprint; NULL: none */
    size_t sums;                 /* tensors whose crc32 is recorded */
    bool recorded;               /* there is an awqrun.h5 that can be trusted */
    awq_problems structure;      /* found before the workers are asked */
    int64_t parts;               /* layers, and what is in none: the first */
    awq_problems *findings;      /* [parts] */
    awq_layer_checks *checks;    /* [parts] */
    awq_linear_checks **linears; /* [parts][checks.linears], owned; NULL: not told */
    awq_problems outliers;
    awq_problems again; /* --layer */
    awq_layer_checks reproduced;
    awq_problems unchecked; /* sentences: what could not be checked, and why */
    awq_progress_view view; /* of reproducing a layer */
} awq_verification;

/* Opens the checkpoint and the source, and finds what is wrong with their structure. False: there
 * is nothing to look at, or the command cannot be carried out as it was given; `problems` says why.
 */
bool awq_verify_structure(awq_verification *v, awq_problems *problems);

/* Looks at the distances of all linears; adds to outliers. */
void awq_verify_find_outliers(awq_verification *v);

/* Whether v->layer can be reproduced: what is wrong with that goes to `problems`. Sets job_options
 * to what the checkpoint was made with. */
void awq_verify_check_reproducible(awq_verification *v, awq_problems *problems);
/* Reproduces it on the crew, and collects what differs. */
awq_status awq_verify_reproduce(awq_verification *v, awq_error *err);

/* All findings, in the order that they are printed in: an index below the count gives one. */
size_t awq_verify_count(const awq_verification *v);
awq_status awq_verify_print(const awq_verification *v, awq_error *err);

#endif
