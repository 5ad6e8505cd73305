/* SPDX-License-Identifier: MIT
 * jobs/mail/mail.h - letters between ranks, over MPI.
 *
 * The one rule: only the thread that opened the mail calls MPI, in awq_mail_pump. Any thread may
 * post. Receiving never waits for computing, so whoever sends is never blocked by what the
 * receiver is doing, and no order of sends can deadlock. A letter to one's own rank goes through
 * the same queue without MPI: a job of one rank takes the same path as a job of many. */
#ifndef AWQ_JOBS_MAIL_MAIL_H
#define AWQ_JOBS_MAIL_MAIL_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"
#include "jobs/mail/letter.h"
#include "jobs/mail/neighbours.h"

typedef struct awq_mail awq_mail;

/* Duplicates `world` and makes its errors return. `cores` is a number that is equal on ranks of a
 * node that may run on the same cores; `processor` is larger the more this rank's can do.
 * Collective. */
awq_status awq_mail_open(MPI_Comm world, uint64_t cores, int processor, awq_mail **out,
                         awq_error *err);
/* Drops what was not sent. Collective when all is well; local when `broken`. NULL is fine. */
void awq_mail_close(awq_mail *mail, bool broken);

int awq_mail_rank(const awq_mail *mail);
int awq_mail_size(const awq_mail *mail);
awq_neighbours awq_mail_neighbours(const awq_mail *mail);
/* The least `processor` of all workers. */
int awq_mail_processor(const awq_mail *mail);

/* Queues a letter; takes it over. NULL (no memory where it was made) breaks the mail. */
void awq_mail_post(awq_mail *mail, int to, awq_letter *letter);
/* Waits until fewer than `limit` letters of this rank's are unsent: what keeps a fast stage from
 * filling memory with tiles. Never call it from the pumping thread. */
void awq_mail_wait_below(awq_mail *mail, int limit);
/* Ends every present and future awq_mail_wait_below at once. */
void awq_mail_release_waiters(awq_mail *mail);

/* Moves letters on. *out is the next one received, the caller's to free, or NULL. Sleeps a moment
 * when nothing moved. */
awq_status awq_mail_pump(awq_mail *mail, awq_letter **out, awq_error *err);
/* Pumps until all letters posted to `to` (-1: to anybody) are sent, at most `seconds`. Received
 * ones are dropped. */
awq_status awq_mail_flush(awq_mail *mail, int to, double seconds, awq_error *err);

#endif
