/* SPDX-License-Identifier: MIT
 * jobs/run/run_lock.h - one job at a time in a run directory.
 *
 * The lock file holds {"host", "pid", "slurm_job"} and a POSIX record lock; its modification time
 * is a heartbeat. The record lock ends with its owner, also when that is killed. Where the file
 * system has no locks across nodes, an owner on another host counts as alive for
 * AWQ_LOCK_SILENCE_SECONDS after its last heartbeat. The file itself stays; an empty one is free.
 */
#ifndef AWQ_JOBS_RUN_RUN_LOCK_H
#define AWQ_JOBS_RUN_RUN_LOCK_H

#include "io/core/error.h"

enum { AWQ_LOCK_SILENCE_SECONDS = 60 };

typedef struct awq_run_lock awq_run_lock;

/* Takes the lock of a run directory that exists. AWQ_ERR_BUSY names the owner. */
awq_status awq_run_lock_take(const char *run, awq_run_lock **out, awq_error *err);
/* The heartbeat: call it every few seconds. */
void awq_run_lock_touch(awq_run_lock *lock);
/* Empties the file and lets go. NULL is fine. */
void awq_run_lock_release(awq_run_lock *lock);

#endif
