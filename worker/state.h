/* SPDX-License-Identifier: MIT
 * worker/state.h - what the parts of a worker share. Private to this folder.
 *
 * Each field belongs to one thread, or to the mutex; the comment says which. */
#ifndef AWQ_WORKER_STATE_H
#define AWQ_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/checkpoint/checkpoint.h"
#include "io/records/tensor_sums.h"
#include "io/text/tokens.h"
#include "jobs/mail/letters.h"
#include "jobs/mail/mail.h"
#include "jobs/plan/job.h"
#include "jobs/plan/plan.h"
#include "kernels/backend.h"
#include "layers/fold/unfold.h"
#include "layers/quantize/quantize.h"
#include "worker/inlet.h"
#include "worker/keeper.h"
#include "worker/outlet.h"
#include "worker/publisher.h"
#include "worker/queue.h"
#include "worker/reader.h"
#include "worker/worker.h"

enum { AWQ_COORDINATOR = 0, AWQ_MODELS = 2 };

struct awq_worker {
    awq_mail *mail;
    pthread_t compute;
    atomic_bool stop;      /* set once, by STOP */
    atomic_bool wind_down; /* set once, by WIND_DOWN */
    atomic_bool finished;  /* the compute thread has left */
    atomic_bool failed;    /* an error was posted: only the first is */
    int exit_code;         /* main thread: what STOP brought */
    bool said_goodbye;     /* main thread */
    double last_heartbeat; /* main thread */
    double last_heard;     /* main thread: of the coordinator */
    double last_turn;      /* main thread: when it last looked at its mail */
    double timeout;        /* main thread: seconds of its silence that end this rank; 0: none */
    double stopped;        /* main thread: when STOP came, 0: it has not */
    awq_command command;   /* main thread: of the JOB that came; 0: none yet */

    pthread_mutex_t mutex; /* these two */
    awq_progress progress;
    double resumed; /* clock seconds: computing since */

    awq_queue *tasks;     /* letters for the compute thread, in order */
    awq_queue *tiles;     /* hidden states for the compute thread, by layer and tile */
    awq_queue *link_ids;  /* LINK letters for the outlet */
    awq_queue *announced; /* TILE letters without states, for the inlet */
    awq_queue *to_keep;   /* the same hidden states for the keeper, in order of arrival */
    awq_keeper *keeper;   /* the compute thread's; NULL: boundaries are not kept */

    /* the compute thread's own, set up by the JOB letter */
    bool ready;
    awq_job job;
    char fingerprint[AWQ_FINGERPRINT_BYTES]; /* from the PLAN */
    int models;                              /* of eval: 1, or 2 when it compares; else 0 */
    awq_checkpoint *checkpoint[AWQ_MODELS];  /* the model; what it is compared with */
    awq_checkpoint *made;   /* verify: the checkpoint that is looked at, right or wrong */
    awq_tensor_sums sums;   /* verify: what was recorded of its tensors; count 0: nothing */
    bool recorded;          /* verify: its awqrun.h5 can be trusted */
    awq_unfolder *unfolder; /* verify: NULL until it is needed */
    awq_tokens tokens;
    int64_t tile_sequences;
    int64_t tiles_in_job;
    awq_device_options device_options; /* that it was opened with */
    awq_device *device;
    awq_reader *reader; /* while a plan is worked on; so are the next three */
    awq_outlet *outlet; /* NULL: tiles go in letters, or nowhere */
    awq_inlet *inlet;
    awq_publisher *publisher;         /* of a quantization */
    awq_result_memory *result_memory; /* of layers that are quantized */
};

/* worker/setup.c: the JOB letter. Says HELLO. */
awq_status awq_worker_setup(awq_worker *worker, const awq_letter *letter, awq_error *err);
/* Starts keeping boundaries; once the plan has told the fingerprint. */
awq_status awq_worker_start_keeper(awq_worker *worker, awq_error *err);
void awq_worker_teardown(awq_worker *worker);

/* worker/quantize_stage.c and worker/eval_stage.c: one stage of the PLAN letter. */
awq_status awq_quantize_stage(awq_worker *worker, const awq_stage *stages, int64_t index,
                              const bool *done, awq_error *err);
awq_status awq_eval_stage(awq_worker *worker, const awq_stage *stages, int64_t index,
                          awq_error *err);

/* worker/shard.c: the SHARD letter. */
awq_status awq_worker_assemble(awq_worker *worker, int64_t shard, awq_error *err);

/* worker/verify.c: the VERIFY letter, and what setting up takes. */
awq_status awq_verify_open(awq_worker *worker, awq_error *err);
void awq_verify_close(awq_worker *worker);
awq_status awq_worker_verify(awq_worker *worker, int64_t layer, awq_error *err);
void awq_verify_tell(awq_worker *worker, int32_t kind, int64_t layer,
                     const awq_layer_checks *checks, const awq_linear_checks *linears,
                     const awq_problems *problems);
/* worker/verify_made_again.c: in place of publishing a layer. */
awq_status awq_verify_made_again(awq_worker *worker, awq_quantized_layer *layer, awq_error *err);

/* worker/worker.c: for the stages. */

/* AWQ_ERR_INTERRUPTED once STOP or WIND_DOWN has come: nothing new may begin. */
awq_status awq_worker_check(awq_worker *worker, awq_error *err);
void awq_worker_progress(awq_worker *worker, int64_t stage, int64_t layer, int64_t tile,
                         awq_phase phase, double flops);
/* Waits for `changed`, or for a moment: to look whether the worker was told to stop. Mutex held. */
void awq_worker_wait(pthread_cond_t *changed, pthread_mutex_t *mutex);
/* What follows is computing: until now the worker waited. */
void awq_worker_resume(awq_worker *worker);
/* A tile is through the stage; all of a stage is done. */
void awq_worker_count_tile(awq_worker *worker);
void awq_worker_count_stage(awq_worker *worker);
/* Reports an error to the coordinator, the first one only; from any thread. */
void awq_worker_fail(awq_worker *worker, const awq_error *err);

/* As people are told: 1 is the first. */
static inline int awq_worker_number(const awq_worker *worker)
{
    return awq_mail_size(worker->mail) == 1 ? 1 : awq_mail_rank(worker->mail);
}

/* Models that run side by side. */
static inline int awq_worker_models(const awq_worker *worker)
{
    return worker->models ? worker->models : 1;
}

/* Sequences in tile `tile`: all tiles but the last have the same. */
static inline int64_t awq_worker_tile_sequences(const awq_worker *worker, int64_t tile)
{
    int64_t left = worker->tokens.sequences - tile * worker->tile_sequences;
    return left < worker->tile_sequences ? left : worker->tile_sequences;
}

#endif
