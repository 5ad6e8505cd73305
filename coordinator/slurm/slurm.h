/* SPDX-License-Identifier: MIT
 * coordinator/slurm/slurm.h - what SLURM knows, asked by its own commands.
 *
 * SLURM may be absent, slow or have forgotten: then the answer is "not known", in a few seconds,
 * and never an error. */
#ifndef AWQ_COORDINATOR_SLURM_SLURM_H
#define AWQ_COORDINATOR_SLURM_SLURM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "io/core/error.h"

enum { AWQ_SLURM_WORD_BYTES = 64, AWQ_SLURM_TEXT_BYTES = 1024 };

/* A job, from `scontrol show job`. */
typedef struct awq_slurm_job {
    char id[AWQ_SLURM_WORD_BYTES];
    char state[AWQ_SLURM_WORD_BYTES];  /* "PENDING", "RUNNING", ... */
    char reason[AWQ_SLURM_WORD_BYTES]; /* "Resources", "TimeLimit", ...; "None" */
    char nodes[AWQ_SLURM_TEXT_BYTES];  /* "node[07-09]"; "" before it starts */
    char log[AWQ_SLURM_TEXT_BYTES];    /* where its output goes */
    char script[AWQ_SLURM_TEXT_BYTES]; /* what was submitted */
    int64_t requeues;
} awq_slurm_job;

/* False: not known. */
bool awq_slurm_find_job(const char *id, awq_slurm_job *out);
/* Whether the job will still do something, as far as SLURM says. */
bool awq_slurm_job_lives(const awq_slurm_job *job);
/* "  SLURM job 12: RUNNING on node[07-09], 1 requeue, log '...'" */
void awq_slurm_job_print(FILE *file, const awq_slurm_job *job);
/* {"job", "state", "reason", "nodes", "requeues", "log"}; NULL: no memory. */
json_t *awq_slurm_job_json(const awq_slurm_job *job);

/* OUT/.awqrun/submission.json, {"job", "submitted"}: written by `awqrun submit` for `awqrun
 * status`, which must find a job that has not started. */
awq_status awq_submission_write(const char *run, const char *job, awq_error *err);
/* The SLURM job that works, or last worked, or will work in a run directory: the one submitted, or
 * the one that wrote `status` (may be NULL), whichever was later. `id` is "" when there is none. */
void awq_submission_find(const char *run, const json_t *status, char id[AWQ_SLURM_WORD_BYTES]);

/* The nodes of a partition, from `sinfo`; 0 where not known. */
typedef struct awq_slurm_partition {
    int64_t nodes;
    int64_t cpus;         /* of the smallest node */
    double limit_seconds; /* of a job's time */
} awq_slurm_partition;

/* `name` NULL: the default one. */
void awq_slurm_find_partition(const char *name, awq_slurm_partition *out);

/* "90" (minutes), "MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM", "D-HH:MM:SS", as sbatch takes them. */
bool awq_slurm_parse_time(const char *text, double *seconds);
/* "HH:MM:SS" or "D-HH:MM:SS" */
void awq_slurm_format_time(char out[32], double seconds);

#endif
