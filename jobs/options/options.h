/* SPDX-License-Identifier: MIT
 * jobs/options/options.h - every option of every subcommand: one struct, one table.
 *
 * The recipe and the options of a job lie flat in it; what one command alone reads is a struct of
 * its own, and the table's offsets point into it. The table drives the parser, --help, the man
 * page's list, job.json and the fingerprint. An option is added by one field here and one row in
 * option_table.c. */
#ifndef AWQ_JOBS_OPTIONS_OPTIONS_H
#define AWQ_JOBS_OPTIONS_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "io/core/error.h"
#include "io/core/problems.h"
#include "io/model/recipe.h"
#include "io/text/text.h"

/* Subcommands that an option belongs to. */
typedef enum awq_command {
    AWQ_COMMAND_QUANTIZE = 1,
    AWQ_COMMAND_PLAN = 2,
    AWQ_COMMAND_EVAL = 4,
    AWQ_COMMAND_STATUS = 8,
    AWQ_COMMAND_SUBMIT = 16,
    AWQ_COMMAND_TOKENIZE = 32,
    AWQ_COMMAND_VERIFY = 64,
    AWQ_COMMAND_REPORT = 128,
    AWQ_COMMAND_CONVERT = 256,
    AWQ_COMMAND_VERSION = 512,
    AWQ_COMMAND_COMPLETION = 1024
} awq_command;

/* Choices, in the order of their names in option_table.c, which tests hold them to. */
typedef enum awq_transport {
    AWQ_TRANSPORT_AUTO,
    AWQ_TRANSPORT_NCCL,
    AWQ_TRANSPORT_MPI
} awq_transport;
typedef enum awq_shell { AWQ_SHELL_BASH, AWQ_SHELL_ZSH } awq_shell;
typedef enum awq_invalid_utf8 { AWQ_INVALID_REFUSE, AWQ_INVALID_REPLACE } awq_invalid_utf8;
typedef enum awq_launcher {
    AWQ_LAUNCHER_AUTO,
    AWQ_LAUNCHER_SRUN,
    AWQ_LAUNCHER_MPIRUN
} awq_launcher;

/* An amount of memory: bytes, or a share of what there is. */
typedef struct awq_memory {
    double amount;
    bool percent;
} awq_memory;

/* Text in place of tokens, and how it becomes tokens. */
typedef struct awq_calibration_options {
    char *files; /* one a line; NULL: none */
    int64_t length;
    awq_text_split split;
    char *field; /* NULL: text, or messages for a chat template */
    awq_chat chat;
    bool mask_prompt;
    awq_invalid_utf8 invalid_utf8;
} awq_calibration_options;

/* What plan alone reads. */
typedef struct awq_plan_options {
    int64_t workers; /* how many to plan for */
    int64_t context; /* tokens that the served model remembers; 0: as it can */
    int64_t batch;   /* sequences that it serves at once */
    bool print_job;
    bool copied; /* list what is copied, and nothing else */
} awq_plan_options;

/* What submit alone reads: what is asked of SLURM. */
typedef struct awq_submit_options {
    int64_t nodes;            /* 0: proposed */
    int64_t gpus_per_node;    /* 0: none */
    int64_t workers_per_node; /* 0: one for each GPU, else one */
    int64_t cpus_per_worker;  /* 0: 8 with GPUs, else all of the node's */
    char *time;               /* NULL: proposed */
    char *partition;
    char *account;
    char *qos;
    char *constraint;
    char *mail_user;
    char *sbatch;
    int64_t max_requeues;
    awq_launcher launcher;
    char *program; /* NULL: this one */
    bool dry_run;
} awq_submit_options;

/* What report alone reads. */
typedef struct awq_report_options {
    char *html; /* NULL: OUT/awqrun-report.html */
    bool csv;
} awq_report_options;

/* Whether linears that engines may multiply into their neighbours (awq_linear_spec.absorbed) are
 * kept in full precision. */
typedef enum awq_absorbed { AWQ_ABSORBED_KEEP, AWQ_ABSORBED_QUANTIZE } awq_absorbed;

/* Constant once the command line is read and the paths are resolved: what is to be otherwise is
 * said by another value. All strings are owned. */
typedef struct awq_options {
    /* what a job is */
    awq_recipe recipe;
    char *model;
    char *tokens;
    char *out;
    char *against;
    int64_t sequences;      /* 0: all of the tokens, 128 of text */
    char *skip;             /* regular expression; NULL: none */
    awq_absorbed kv_b_proj; /* what engines absorb of latent attention; default keep */
    int64_t max_shard_size; /* bytes */
    int64_t tile_tokens;
    char *backend;
    /* how it is run */
    int64_t threads;       /* 0: the cores this worker may use */
    int64_t stage_layers;  /* 0: as many as fit */
    int64_t expert_parts;  /* 0: as few as fit, or one for each worker to spare */
    int64_t inputs_memory; /* bytes */
    awq_memory device_memory;
    bool share_gpu;
    awq_transport transport;
    double worker_timeout; /* seconds */
    double time_limit;     /* seconds, 0: none */
    double grace;          /* seconds */
    double lock_wait;      /* seconds */
    bool restart;
    bool keep_run;
    /* what is said */
    bool json;
    bool verbose;
    bool quiet;
    bool log_json;
    /* where more of them are: a job file */
    char *job;
    /* what few commands read */
    awq_calibration_options text;
    awq_plan_options plan;
    awq_submit_options submit;
    awq_report_options report;
    int64_t verify_layer; /* to be reproduced; -1: none */
    awq_shell shell;      /* of completion */
    bool models;          /* of version */
} awq_options;

typedef enum awq_option_type {
    AWQ_OPTION_TEXT,
    AWQ_OPTION_PATH,
    AWQ_OPTION_PATHS, /* several: given again, or one after another; kept one a line */
    AWQ_OPTION_INTEGER,
    AWQ_OPTION_NUMBER,
    AWQ_OPTION_BYTES,   /* "5GB", "512MiB", "4096" */
    AWQ_OPTION_MEMORY,  /* as bytes, or "90%" */
    AWQ_OPTION_SECONDS, /* "90", "90s", "5m", "2h" */
    AWQ_OPTION_CHOICE,
    AWQ_OPTION_FLAG
} awq_option_type;

typedef struct awq_option {
    const char *name;     /* without the dashes */
    const char *argument; /* what --help calls its value; choices as "off|on|both" */
    awq_option_type type;
    size_t offset;        /* of its field in awq_options */
    const char *fallback; /* the default, as a user would write it; NULL: none */
    double min, max;      /* of numbers, inclusive */
    int commands;         /* awq_command bits */
    bool required; /* where it belongs, except for verify's, plan's --out, --tokens with --text */
    bool changes_result; /* part of the fingerprint */
    const char *help;    /* one sentence, no full stop */
} awq_option;

extern const awq_option awq_option_table[];
extern const int awq_option_count;

/* By name; NULL: there is none. */
const awq_option *awq_option_find(const char *name);
/* The name that `word` was most likely meant to be, among the options of these commands; NULL: none
 * is near. */
const char *awq_option_nearest(const char *word, int commands);

/* All options at their defaults. Release the result, also after a failure. */
awq_status awq_options_init(awq_options *options, awq_error *err);
/* The same values, strings of its own. Release the result, also after a failure. */
awq_status awq_options_copy(awq_options *out, const awq_options *from, awq_error *err);
void awq_options_release(awq_options *options);

/* Sets one option from text; AWQ_ERR_USAGE says what the option takes. */
awq_status awq_option_set(awq_options *options, const awq_option *option, const char *text,
                          awq_error *err);
/* Its value as text that awq_option_set takes; "" for a path that is not set. Free the result;
 * NULL: no memory. */
char *awq_option_text(const awq_options *options, const awq_option *option);

/* Parses argv[1..argc-1]; argv[0] is the subcommand. What the file of --job says is taken first,
 * wherever it stands. One positional argument is taken as --out by status, report and verify, as
 * --model by convert, none elsewhere. Adds problems of status AWQ_ERR_USAGE. Returns whether --help
 * was asked for. */
bool awq_options_parse(awq_options *options, awq_command command, int argc, char **argv,
                       awq_problems *problems);

/* Makes the paths of what a job reads and writes absolute. */
void awq_options_resolve(awq_options *options, awq_problems *problems);

/* {"model": "...", ...}: all options as text but those of commands that are no jobs, or only
 * those that change the result. NULL: no memory. The caller decrefs. */
json_t *awq_options_to_json(const awq_options *options, bool only_changing);
awq_status awq_options_from_json(awq_options *options, const json_t *object, awq_error *err);

/* The list of a subcommand's options, for --help. */
void awq_options_print_help(FILE *file, awq_command command);

#endif
