/* SPDX-License-Identifier: MIT */
#include "jobs/mail/mail.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/core/clock.h"

enum { TAG = 1, POLL_NANOSECONDS = 300000 };

/* A send or receive under way. */
typedef struct transfer {
    MPI_Request request;
    awq_letter *letter;
    int to; /* rank, of a send */
    struct transfer *next;
} transfer;

struct awq_mail {
    MPI_Comm comm;
    MPI_Datatype unit; /* 64 bytes, so that a count of int reaches 128 GiB */
    int rank;
    int size;
    awq_neighbours neighbours;
    int processor;         /* the least of all workers */
    pthread_mutex_t mutex; /* guards what follows up to the next blank line */
    pthread_cond_t sent;
    awq_letter *outbox, **outbox_end;
    int unsent;
    bool released;
    bool broken;

    transfer *sending, *receiving; /* the pumping thread's own */
    awq_letter *inbox, **inbox_end;
};

static awq_status mpi_failed(int code, const char *what, awq_error *err)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(code, text, &length)) length = 0;
    return awq_fail(err, AWQ_ERR_MPI, "%s failed: %.*s", what, length, text);
}

awq_status awq_mail_open(MPI_Comm world, uint64_t cores, int processor, awq_mail **out,
                         awq_error *err)
{
    awq_mail *mail = calloc(1, sizeof *mail);
    if (!mail) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the mail");
    pthread_mutex_init(&mail->mutex, NULL);
    pthread_cond_init(&mail->sent, NULL);
    mail->outbox_end = &mail->outbox;
    mail->inbox_end = &mail->inbox;
    MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
    int code = MPI_Comm_dup(world, &mail->comm);
    if (!code) code = MPI_Comm_set_errhandler(mail->comm, MPI_ERRORS_RETURN);
    if (!code) code = MPI_Comm_rank(mail->comm, &mail->rank);
    if (!code) code = MPI_Comm_size(mail->comm, &mail->size);
    bool is_worker = mail->size == 1 || mail->rank > 0;
    if (!code) code = awq_neighbours_find(mail->comm, is_worker, cores, &mail->neighbours);
    if (!is_worker) processor = INT_MAX;
    if (!code) code = MPI_Allreduce(&processor, &mail->processor, 1, MPI_INT, MPI_MIN, mail->comm);
    if (!code) code = MPI_Type_contiguous(AWQ_LETTER_UNIT, MPI_BYTE, &mail->unit);
    if (!code) code = MPI_Type_commit(&mail->unit);
    if (code) {
        free(mail);
        return mpi_failed(code, "starting MPI", err);
    }
    *out = mail;
    return AWQ_OK;
}

static void free_letters(awq_letter *letter)
{
    while (letter) {
        awq_letter *next = letter->next;
        awq_letter_free(letter);
        letter = next;
    }
}

/* Letters of unfinished transfers stay allocated: MPI may still touch them. */
static void free_transfers(transfer *t)
{
    while (t) {
        transfer *next = t->next;
        free(t);
        t = next;
    }
}

void awq_mail_close(awq_mail *mail, bool broken)
{
    if (!mail) return;
    free_letters(mail->outbox);
    free_letters(mail->inbox);
    free_transfers(mail->sending);
    free_transfers(mail->receiving);
    if (!broken) {
        MPI_Type_free(&mail->unit);
        MPI_Comm_free(&mail->comm);
    }
    pthread_cond_destroy(&mail->sent);
    pthread_mutex_destroy(&mail->mutex);
    free(mail);
}

int awq_mail_rank(const awq_mail *mail)
{
    return mail->rank;
}

int awq_mail_size(const awq_mail *mail)
{
    return mail->size;
}

awq_neighbours awq_mail_neighbours(const awq_mail *mail)
{
    return mail->neighbours;
}

int awq_mail_processor(const awq_mail *mail)
{
    return mail->processor;
}

void awq_mail_post(awq_mail *mail, int to, awq_letter *letter)
{
    pthread_mutex_lock(&mail->mutex);
    if (letter) {
        letter->from = mail->rank;
        letter->to = to;
        letter->next = NULL;
        *mail->outbox_end = letter;
        mail->outbox_end = &letter->next;
        mail->unsent++;
    } else {
        mail->broken = true;
    }
    pthread_mutex_unlock(&mail->mutex);
}

void awq_mail_wait_below(awq_mail *mail, int limit)
{
    pthread_mutex_lock(&mail->mutex);
    while (mail->unsent >= limit && !mail->released) pthread_cond_wait(&mail->sent, &mail->mutex);
    pthread_mutex_unlock(&mail->mutex);
}

void awq_mail_release_waiters(awq_mail *mail)
{
    pthread_mutex_lock(&mail->mutex);
    mail->released = true;
    pthread_cond_broadcast(&mail->sent);
    pthread_mutex_unlock(&mail->mutex);
}

static void count_sent(awq_mail *mail)
{
    pthread_mutex_lock(&mail->mutex);
    mail->unsent--;
    pthread_cond_broadcast(&mail->sent);
    pthread_mutex_unlock(&mail->mutex);
}

static void deliver(awq_mail *mail, awq_letter *letter)
{
    letter->next = NULL;
    *mail->inbox_end = letter;
    mail->inbox_end = &letter->next;
}

/* At the end of a list: letters of one sender are delivered in the order of sending as far as
 * their sizes allow. */
static void append(transfer **list, transfer *t)
{
    while (*list) list = &(*list)->next;
    *list = t;
}

static awq_status begin_send(awq_mail *mail, awq_letter *letter, awq_error *err)
{
    int to = letter->to;
    size_t units = (sizeof *letter + letter->bytes + AWQ_LETTER_UNIT - 1) / AWQ_LETTER_UNIT;
    if (to == mail->rank) {
        deliver(mail, letter);
        count_sent(mail);
        return AWQ_OK;
    }
    transfer *t = calloc(1, sizeof *t);
    if (!t) {
        awq_letter_free(letter);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a letter");
    }
    t->letter = letter;
    t->to = to;
    int code = MPI_Isend(letter, (int)units, mail->unit, to, TAG, mail->comm, &t->request);
    if (code) {
        free(t);
        awq_letter_free(letter);
        return mpi_failed(code, "MPI_Isend", err);
    }
    append(&mail->sending, t);
    return AWQ_OK;
}

static awq_status send_outbox(awq_mail *mail, bool *moved, awq_error *err)
{
    pthread_mutex_lock(&mail->mutex);
    awq_letter *letter = mail->outbox;
    mail->outbox = NULL;
    mail->outbox_end = &mail->outbox;
    bool broken = mail->broken;
    pthread_mutex_unlock(&mail->mutex);
    if (broken) {
        free_letters(letter);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a letter to another rank");
    }
    while (letter) {
        awq_letter *next = letter->next;
        *moved = true;
        if (begin_send(mail, letter, err)) {
            free_letters(next);
            return err->status;
        }
        letter = next;
    }
    return AWQ_OK;
}

/* Removes what has finished from a list; what was received is delivered, what was sent is freed. */
static awq_status finish_transfers(awq_mail *mail, transfer **list, bool received, bool *moved,
                                   awq_error *err)
{
    for (transfer **link = list; *link;) {
        transfer *t = *link;
        int done = 0;
        int code = MPI_Test(&t->request, &done, MPI_STATUS_IGNORE);
        if (code) return mpi_failed(code, "MPI_Test", err);
        if (!done) {
            link = &t->next;
            continue;
        }
        *moved = true;
        *link = t->next;
        if (received) {
            atomic_init(&t->letter->users, 1);
            t->letter->loan = NULL;
            deliver(mail, t->letter);
        } else {
            awq_letter_free(t->letter);
            count_sent(mail);
        }
        free(t);
    }
    return AWQ_OK;
}

/* Starts receiving whatever has arrived, so that a large letter does not hold up small ones. */
static awq_status begin_receives(awq_mail *mail, bool *moved, awq_error *err)
{
    for (;;) {
        int arrived = 0, units = 0;
        MPI_Message message;
        MPI_Status status;
        int code = MPI_Improbe(MPI_ANY_SOURCE, TAG, mail->comm, &arrived, &message, &status);
        if (code) return mpi_failed(code, "MPI_Improbe", err);
        if (!arrived) return AWQ_OK;
        *moved = true;
        MPI_Get_count(&status, mail->unit, &units);
        transfer *t = calloc(1, sizeof *t);
        awq_letter *letter =
            awq_letter_create(0, 0, 0, (size_t)units * AWQ_LETTER_UNIT - sizeof *letter);
        if (!t || !letter) {
            free(t);
            awq_letter_free(letter);
            return awq_fail(err, AWQ_ERR_MEMORY, "no memory to receive %lld bytes from rank %d",
                            (long long)units * AWQ_LETTER_UNIT, status.MPI_SOURCE);
        }
        t->letter = letter;
        code = MPI_Imrecv(letter, units, mail->unit, &message, &t->request);
        if (code) {
            free(t);
            awq_letter_free(letter);
            return mpi_failed(code, "MPI_Imrecv", err);
        }
        append(&mail->receiving, t);
    }
}

awq_status awq_mail_pump(awq_mail *mail, awq_letter **out, awq_error *err)
{
    bool moved = false;
    *out = NULL;
    if (send_outbox(mail, &moved, err) ||
        finish_transfers(mail, &mail->sending, false, &moved, err) ||
        begin_receives(mail, &moved, err) ||
        finish_transfers(mail, &mail->receiving, true, &moved, err))
        return err->status;
    if (mail->inbox) {
        *out = mail->inbox;
        mail->inbox = (*out)->next;
        if (!mail->inbox) mail->inbox_end = &mail->inbox;
    } else if (!moved) {
        nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
    }
    return AWQ_OK;
}

/* Whether nothing for `to` waits in the outbox or is being sent. */
static bool all_sent(awq_mail *mail, int to)
{
    bool idle = true;
    pthread_mutex_lock(&mail->mutex);
    for (const awq_letter *letter = mail->outbox; letter; letter = letter->next)
        idle = idle && to >= 0 && letter->to != to;
    pthread_mutex_unlock(&mail->mutex);
    for (const transfer *t = mail->sending; t; t = t->next) idle = idle && to >= 0 && t->to != to;
    return idle;
}

awq_status awq_mail_flush(awq_mail *mail, int to, double seconds, awq_error *err)
{
    double end = awq_clock_seconds() + seconds;
    while (!all_sent(mail, to)) {
        awq_letter *letter;
        if (awq_mail_pump(mail, &letter, err)) return err->status;
        awq_letter_free(letter);
        if (awq_clock_seconds() > end)
            return awq_fail(err, AWQ_ERR_MPI, "letters could not be sent in %.0f s", seconds);
    }
    return AWQ_OK;
}
