/* SPDX-License-Identifier: MIT
 * jobs/mail/letters.h - what coordinator and workers say to each other.
 *
 * Payloads are plain structs of fixed size, little-endian hosts of one kind: a cluster job runs
 * one binary. Arrows say who sends to whom; a and b are the letter's two numbers. */
#ifndef AWQ_JOBS_MAIL_LETTERS_H
#define AWQ_JOBS_MAIL_LETTERS_H

#include <stdint.h>

#include "io/core/error.h"
#include "io/records/layer_record.h"
#include "io/records/score.h"

typedef enum awq_letter_kind {
    /* coordinator -> worker */
    AWQ_LETTER_JOB = 1, /* a: awq_command, b: worker timeout in seconds; payload: the job as JSON
                           text (jobs/plan/job.h) */
    AWQ_LETTER_PLAN,    /* a: stages, b: layers; payload: awq_plan_head, awq_stage[a], bool[b] */
    AWQ_LETTER_SHARD,   /* a: index of the output shard to assemble */
    AWQ_LETTER_VERIFY,  /* a: layer of a checkpoint to look at; -1: all that is in none */
    AWQ_LETTER_PING,    /* every second: the coordinator is there */
    AWQ_LETTER_DRAIN,   /* finish the layer being searched, begin nothing, then say so */
    AWQ_LETTER_STOP,    /* a: exit code; stop computing and say goodbye */
    /* worker -> worker */
    AWQ_LETTER_LINK,      /* payload: awq_link_id (kernels/link.h); the receiver opened the link */
    AWQ_LETTER_PART,      /* between the parts of a layer: a: layer, b: which exchange, by whom
                             (worker/flow/parts.h) */
    AWQ_LETTER_PACKED,    /* to the last part. a: layer, b: part; payload: its share of the record
                             (io/records/parcel.h), then its tensors' bytes */
    AWQ_LETTER_PART_TILE, /* to the next part. a: layer, b: tile; payload: the sum so far, and what
                             the MLPs read */
    AWQ_LETTER_TILE,      /* a: layer that the states enter, b: tile; payload: float32 states, or
                             nothing: they come over the link */
    /* worker -> coordinator */
    AWQ_LETTER_HELLO,         /* payload: awq_hello */
    AWQ_LETTER_ALIVE,         /* payload: awq_progress; every second, and when told to drain */
    AWQ_LETTER_LAYER_DONE,    /* a: layer; payload: awq_layer_summary */
    AWQ_LETTER_BOUNDARY_DONE, /* a: layer whose input is now on disk */
    AWQ_LETTER_SCORE,         /* a: tile; payload: awq_score */
    AWQ_LETTER_SHARD_DONE,    /* a: index; payload: uint32 crc32 of each of its tensors */
    AWQ_LETTER_VERIFIED,      /* a: layer, as in VERIFY; b: findings; payload: awq_layer_checks,
                                 awq_linear_checks[linears], awq_error[b] */
    AWQ_LETTER_REPRODUCED,    /* the same of the layer that a PLAN for verify leaves to do */
    AWQ_LETTER_DRAINED,       /* nothing is under way any more */
    AWQ_LETTER_ERROR,         /* payload: awq_error */
    AWQ_LETTER_BYE            /* a: exit code that STOP brought */
} awq_letter_kind;

/* Whether a letter is for the worker half of a rank (else for the coordinator half). */
static inline int awq_letter_is_for_worker(int32_t kind)
{
    return kind <= AWQ_LETTER_TILE;
}

enum { AWQ_HOST_BYTES = 64, AWQ_KIND_BYTES = 112 };

/* Who a worker is and what it needs: sent once the job is known and the device open. */
typedef struct awq_hello {
    char host[AWQ_HOST_BYTES];
    char device[96];
    char backend[16];
    char kind[AWQ_KIND_BYTES]; /* backend and type of its device: what results may depend on */
    char gpu[48];              /* what tells it from all others; "" without one */
    char no_link[256];         /* why it cannot send tiles from GPU to GPU; "": it can */
    int64_t pid;
    int64_t threads;
    uint64_t budget_bytes;      /* what --device-memory leaves it */
    uint64_t layer_bytes;       /* one layer of a stage: weights and statistics */
    uint64_t fixed_bytes;       /* beside layers: activations, one layer in flight, a tile */
    uint64_t host_bytes;        /* beside a GPU: of the node's memory; 0: that is what it has */
    uint64_t host_budget_bytes; /* its share of what the node has free; 0: not known */
    uint64_t expert_bytes[2];   /* of layer_bytes and fixed_bytes, those that an expert takes; .. */
    uint64_t expert_host_bytes; /* .. of host_bytes, likewise */
    uint64_t part_bytes;        /* what a part of a layer takes beside its share; .. */
    uint64_t part_host_bytes;   /* .. beside a GPU, of the node's memory */
    int64_t experts;            /* of a layer; 0: none, or they cannot be shared out */
    int64_t spare_experts;      /* that it can lack before a dense layer takes more */
    uint64_t inputs_bytes;      /* of what a layer's experts read, and ..*/
    int64_t inputs_layers;      /* .. of a stage's layers so many have it in the node's memory; the
                                   others in files of the run directory */
} awq_hello;

/* What comes before the stages in a PLAN: the run that they belong to. After them, for each layer,
 * whether it is done. */
typedef struct awq_plan_head {
    char fingerprint[16]; /* awq_job_fingerprint_text */
    int64_t linked;       /* 1: tiles go over links (kernels/link.h), 0: in letters */
} awq_plan_head;

/* What a worker computes, by the rate at which it gets on. */
typedef enum awq_work {
    AWQ_WORK_FLOW,   /* tiles through layers: forward and Gram */
    AWQ_WORK_SEARCH, /* the rest: search, clip, pack, write */
    AWQ_WORKS
} awq_work;

/* Where a worker is, and what it has done since the job began. */
typedef struct awq_progress {
    int64_t stage; /* -1: none */
    int64_t layer;
    int64_t tile;              /* -1: not a matter of tiles */
    int64_t phase;             /* awq_phase */
    int64_t tiles;             /* through a stage */
    int64_t stages;            /* finished */
    double flops[AWQ_WORKS];   /* floating-point operations */
    double seconds[AWQ_WORKS]; /* that they took, without waiting for tiles */
} awq_progress;

enum { AWQ_MOST_ALPHAS = 12 };

/* The alpha chosen for a scale group, the mean over the experts that have one of this name. */
typedef struct awq_group_alpha {
    char name[16]; /* "down", also of "experts.3.down" */
    double alpha;  /* -1: not searched, or the identity by fallback */
} awq_group_alpha;

typedef struct awq_layer_summary {
    double relative_error;
    double rounding_error;
    int64_t groups; /* of the following */
    awq_group_alpha group[AWQ_MOST_ALPHAS];
    double seconds;
} awq_layer_summary;

/* What was looked at in one layer of a checkpoint. */
typedef struct awq_layer_checks {
    int64_t tensors;  /* all */
    int64_t summed;   /* of them, those whose crc32 was known and compared */
    int64_t compared; /* of them, unquantized ones that were compared with the source's */
    int64_t linears;  /* that a distance follows for */
} awq_layer_checks;

/* layers/fold/unfold.h's distances of one linear; -1: not measured. */
typedef struct awq_linear_checks {
    double relative;
    double steps;
    double fed; /* of an expert's: calibration tokens for each channel that it reads; else
                   infinity */
} awq_linear_checks;

#endif
