/* SPDX-License-Identifier: MIT
 * jobs/mail.h - letters between ranks, over MPI.
 *
 * The one rule: only the thread that opened the mail calls MPI, in awq_mail_pump. Any thread may
 * post. Receiving never waits for computing, so whoever sends is never blocked by what the
 * receiver is doing, and no order of sends can deadlock. A letter to one's own rank goes through
 * the same queue without MPI: a job of one rank takes the same path as a job of many.
 *
 * A letter is one MPI message: the fields up to the payload, then the payload, padded to 64. */
#ifndef AWQ_JOBS_MAIL_H
#define AWQ_JOBS_MAIL_H

#include <mpi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/error.h"

typedef struct awq_letter {
    int32_t kind;            /* awq_letter_kind, jobs/letters.h */
    int32_t from;            /* rank */
    int64_t a, b;            /* meaning by kind */
    uint64_t bytes;          /* of payload */
    struct awq_letter *next; /* the mail's own; means nothing on the wire */
    atomic_int users;        /* likewise */
    unsigned char pad[20];
    unsigned char payload[];
} awq_letter;

/* payload: uninitialised, 64-byte aligned. NULL: no memory. */
awq_letter *awq_letter_create(int32_t kind, int64_t a, int64_t b, size_t bytes);
/* The same with its payload copied from `payload`. */
awq_letter *awq_letter_write(int32_t kind, int64_t a, int64_t b, const void *payload, size_t bytes);
/* One more user: awq_letter_free must be called once more before it is gone. */
awq_letter *awq_letter_share(awq_letter *letter);
/* NULL is fine. Any thread. */
void awq_letter_free(awq_letter *letter);

typedef struct awq_mail awq_mail;

/* Duplicates `world` and makes its errors return. `cores` is a number that is equal on ranks of a
 * node that may run on the same cores. Collective. */
awq_status awq_mail_open(MPI_Comm world, uint64_t cores, awq_mail **out, awq_error *err);
/* Drops what was not sent. Collective when all is well; local when `broken`. NULL is fine. */
void awq_mail_close(awq_mail *mail, bool broken);

int awq_mail_rank(const awq_mail *mail);
int awq_mail_size(const awq_mail *mail);
/* The workers on this rank's node. Ranks 1.. are workers; a rank alone is one too. */
typedef struct awq_neighbours {
    int index;   /* of this worker among them */
    int workers; /* with this one */
    int sharing; /* of them, those that may run on the same cores as this one; with this one */
} awq_neighbours;

awq_neighbours awq_mail_neighbours(const awq_mail *mail);

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
