/* SPDX-License-Identifier: MIT
 * jobs/mail/letter.h - a letter: what ranks, and the threads of a rank, say to each other.
 *
 * It is one MPI message: the fields up to the payload, then the payload, padded to a whole number
 * of units. */
#ifndef AWQ_JOBS_MAIL_LETTER_H
#define AWQ_JOBS_MAIL_LETTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AWQ_LETTER_UNIT = 64 }; /* bytes */

/* Memory that a letter brings in place of a payload, to threads of its own rank: such a letter is
 * never posted. Whoever lends it finds out by `lent` that the letter's last user is done. */
typedef struct awq_loan {
    atomic_bool lent;
    void *memory[2]; /* an array for each model */
} awq_loan;

typedef struct awq_letter {
    int32_t kind;            /* awq_letter_kind, jobs/mail/letters.h */
    int32_t from;            /* rank of the sender */
    int64_t a, b;            /* meaning by kind */
    uint64_t bytes;          /* of payload */
    struct awq_letter *next; /* the mail's own; means nothing on the wire */
    atomic_int users;        /* likewise */
    int32_t to;              /* rank; likewise */
    awq_loan *loan;          /* NULL: none; likewise */
    unsigned char pad[8];
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

#endif
