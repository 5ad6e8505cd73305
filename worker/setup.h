/* SPDX-License-Identifier: MIT
 * worker/setup.h - from the JOB letter to the HELLO, and the end of it all. */
#ifndef AWQ_WORKER_SETUP_H
#define AWQ_WORKER_SETUP_H

#include "worker/context.h"

/* The JOB letter: opens everything and says HELLO. */
awq_status awq_worker_setup(awq_worker *worker, const awq_letter *letter, awq_error *err);
/* Closes what setting up has opened. */
void awq_worker_teardown(awq_worker *worker);

#endif
