/* SPDX-License-Identifier: MIT
 * worker/worker.h - the half of awqrun that computes: one GPU, or one share of the CPU cores.
 *
 * Its threads: the main one moves letters and never computes, so a worker always answers; the
 * compute thread does one task after another (the job, the plan's stages, output shards), on the
 * CPU backend with a pool of its own; the keeper writes boundaries to the run directory as they
 * arrive. While a plan is worked on, the reader reads layers before they are used, the publisher
 * makes searched ones durable, and where there are links (kernels/link.h) the inlet receives tiles
 * and the outlet sends them. */
#ifndef AWQ_WORKER_WORKER_H
#define AWQ_WORKER_WORKER_H

#include <stdbool.h>

#include "jobs/mail/mail.h"
#include "kernels/backend.h"
#include "worker/needs.h"

typedef struct awq_worker awq_worker;

/* Starts the threads. Letters to the coordinator are posted on `mail`. */
awq_status awq_worker_start(awq_mail *mail, awq_worker **out, awq_error *err);
/* Gives it a letter that is for a worker; takes the letter over. Main thread. */
void awq_worker_receive(awq_worker *worker, awq_letter *letter);
/* Posts what is due (heartbeat, goodbye); true once the goodbye is posted. Main thread. */
bool awq_worker_tick(awq_worker *worker, int *exit_code);
/* Joins the threads of a worker that said goodbye and frees it. False: its compute thread was left
 * behind in the middle of something, and the process must end by _exit. NULL is fine. */
bool awq_worker_free(awq_worker *worker);

/* A number that is equal on ranks of a node that may run on the same cores. */
uint64_t awq_worker_cores(void);
/* A number that is larger the more this processor can do: workers compute alike by the least. */
int awq_worker_processor(void);

/* A rank that is nothing but a worker: runs until the coordinator says stop; returns the exit code
 * that it gave. *left_behind: as awq_worker_free. */
awq_status awq_worker_run(awq_mail *mail, int *exit_code, bool *left_behind, awq_error *err);

#endif
