/* SPDX-License-Identifier: MIT
 * worker/context.h - what the parts of a worker share: what it is told, what it has, its letters
 * and its threads. Private to this folder; includes nothing of it but lanes.
 *
 * Where the comment names no thread, a field is the compute thread's: others read it while the
 * compute thread works on a plan, which they begin and end with. */
#ifndef AWQ_WORKER_CONTEXT_H
#define AWQ_WORKER_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/checkpoint/checkpoint.h"
#include "io/records/tensor_sums.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/mail/mail.h"
#include "jobs/plan/job.h"
#include "jobs/run/output.h"
#include "kernels/backend.h"
#include "layers/fold/unfold.h"
#include "layers/search/result_memory.h"
#include "worker/flow/lane.h"

typedef struct awq_worker awq_worker;
typedef struct awq_keeper awq_keeper;       /* worker/flow/keeper.h */
typedef struct awq_port awq_port;           /* worker/flow/port.h */
typedef struct awq_publisher awq_publisher; /* worker/results/publisher.h */
typedef struct awq_reader awq_reader;       /* worker/flow/reader.h */
typedef struct awq_shelf awq_shelf;         /* worker/flow/shelf.h */

enum { AWQ_COORDINATOR = 0, AWQ_MODELS = 2 };

/* What a command has its workers do. */
typedef struct awq_purpose {
    bool gathers;  /* statistics of the layers that are not done; they are searched then */
    bool keeps;    /* boundaries, on disk */
    bool compares; /* with a finished checkpoint; what was searched, in place of publishing it */
    bool scores;   /* what comes out of the last layer */
} awq_purpose;

const awq_purpose *awq_purpose_of(awq_command command);

/* What it is told: by the JOB letter, and the fingerprint by the PLAN. */
typedef struct awq_told {
    bool ready; /* the job is there */
    awq_job job;
    char fingerprint[AWQ_FINGERPRINT_BYTES];
    awq_tokens tokens;
    int models;             /* that run side by side: 2 when eval compares, else 1 */
    int64_t hidden;         /* width of the hidden states */
    int64_t tiles;          /* of the job */
    int64_t tile_sequences; /* of all tiles but the last, which may have fewer */
    int64_t kept_sequences; /* the first ones, kept before each layer that is searched */
} awq_told;

/* What it has opened. */
typedef struct awq_holdings {
    awq_checkpoint *checkpoint[AWQ_MODELS]; /* the model; what it is compared with */
    awq_device_options device_options;      /* that it was opened with */
    awq_device *device;
    awq_hello needs;  /* what it told the coordinator that it needs */
    awq_shelf *shelf; /* for tiles that stay; NULL: none do. From the first plan to the end */
    awq_result_memory *results; /* of layers that are quantized, while a plan is worked on */
    awq_output output;          /* what is merged, from the first shard on; count 0: nothing yet */
} awq_holdings;

/* verify: a finished checkpoint, and what was recorded of it. */
typedef struct awq_examined {
    awq_checkpoint *made;   /* right or wrong */
    awq_tensor_sums sums;   /* of its tensors; count 0: nothing */
    bool recorded;          /* its awqrun.h5 can be trusted */
    awq_unfolder *unfolder; /* NULL until it is needed */
} awq_examined;

/* Letters that the main thread hands on. */
typedef struct awq_inbox {
    awq_lane *tasks;     /* for the compute thread, in order */
    awq_lane *tiles;     /* hidden states for the compute thread, by layer and tile */
    awq_lane *to_keep;   /* the same for the keeper, in order of arrival */
    awq_lane *parts;     /* PART letters for the compute thread, by layer and number */
    awq_lane *packed;    /* PACKED letters for the publisher, by layer and part */
    awq_lane *announced; /* TILE letters without states, for the inlet */
    awq_lane *link_ids;  /* LINK letters for the outlet */
} awq_inbox;

/* The threads beside the compute thread; NULL: not needed. */
typedef struct awq_helpers {
    awq_keeper *keeper; /* from the first plan to the end; the others while a plan is worked on */
    awq_publisher *publisher;
    awq_reader *reader;
    awq_port *outlet; /* NULL: tiles go in letters, or nowhere */
    awq_port *inlet;
} awq_helpers;

/* What it has done so far. Any thread. */
typedef struct awq_tally {
    pthread_mutex_t mutex;
    awq_progress progress;
    double resumed; /* clock seconds: computing since */
} awq_tally;

/* The main thread's own. Times are clock seconds. */
typedef struct awq_main {
    int exit_code; /* what STOP brought */
    bool said_goodbye;
    double last_heartbeat;
    double last_heard; /* of the coordinator */
    double last_turn;  /* when it last looked at its mail */
    double timeout;    /* seconds of the coordinator's silence that end this rank; 0: none */
    double stopped;    /* when STOP came, 0: it has not */
} awq_main;

struct awq_worker {
    awq_mail *mail;             /* any thread posts */
    awq_lanes *lanes;           /* any thread */
    const awq_purpose *purpose; /* set by the main thread with the JOB letter; NULL: none yet */
    atomic_bool finished;       /* the compute thread has left */
    atomic_bool failed;         /* an error was posted: only the first is */
    awq_tally tally;
    awq_inbox inbox;
    awq_main main;
    pthread_t compute; /* the main thread's */

    awq_told told;
    awq_holdings has;
    awq_examined examined;
    awq_helpers helpers;
};

/* AWQ_ERR_INTERRUPTED once STOP or DRAIN has come: nothing new may begin. */
awq_status awq_worker_check(awq_worker *worker, awq_error *err);
/* Posts a letter to the coordinator. NULL: no memory. */
void awq_worker_tell(const awq_worker *worker, awq_letter *letter);
/* Reports an error to the coordinator, the first one only; from any thread. */
void awq_worker_fail(awq_worker *worker, const awq_error *err);
/* Hands a letter on, by its numbers, and takes it over. */
awq_status awq_worker_hand(awq_lane *lane, awq_letter *letter, awq_error *err);

void awq_worker_progress(awq_worker *worker, int64_t stage, int64_t layer, int64_t tile,
                         awq_phase phase, double flops);
/* What follows is computing: until now the worker waited. */
void awq_worker_resume(awq_worker *worker);
/* So many are through a stage; so many stages are finished. */
void awq_worker_count(awq_worker *worker, int64_t tiles, int64_t stages);

/* As people are told: 1 is the first. */
static inline int awq_worker_number(const awq_worker *worker)
{
    return awq_mail_size(worker->mail) == 1 ? 1 : awq_mail_rank(worker->mail);
}

/* Its model; `which` 1: what it is compared with. */
static inline const awq_model *awq_worker_model(const awq_worker *worker, int which)
{
    return awq_checkpoint_model(worker->has.checkpoint[which]);
}

#endif
