/* SPDX-License-Identifier: MIT
 * worker/queue.h - letters from one thread to another.
 *
 * A queue holds one user of each letter in it. Closing it ends all waiting, now and later. */
#ifndef AWQ_WORKER_QUEUE_H
#define AWQ_WORKER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "jobs/mail/mail.h"

typedef struct awq_queue awq_queue;

awq_queue *awq_queue_create(void);
/* Frees what is still in it. No thread may be waiting. NULL is fine. */
void awq_queue_free(awq_queue *queue);

/* Takes the letter over; false: no memory, and the letter is freed. */
bool awq_queue_put(awq_queue *queue, awq_letter *letter);
/* Waits for the oldest letter; NULL: closed. Free it. */
awq_letter *awq_queue_take(awq_queue *queue);
/* Waits for the letter with these two numbers; NULL: closed. Free it. */
awq_letter *awq_queue_take_numbered(awq_queue *queue, int64_t a, int64_t b);
void awq_queue_close(awq_queue *queue);

#endif
