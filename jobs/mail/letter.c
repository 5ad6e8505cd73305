/* SPDX-License-Identifier: MIT */
#include "jobs/mail/letter.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(offsetof(awq_letter, payload) == AWQ_LETTER_UNIT, "a letter's payload starts there");

awq_letter *awq_letter_create(int32_t kind, int64_t a, int64_t b, size_t bytes)
{
    size_t total =
        (sizeof(awq_letter) + bytes + AWQ_LETTER_UNIT - 1) / AWQ_LETTER_UNIT * AWQ_LETTER_UNIT;
    awq_letter *letter = aligned_alloc(AWQ_LETTER_UNIT, total);
    if (!letter) return NULL;
    memset(letter, 0, sizeof *letter);
    if (total > sizeof *letter + bytes)
        memset(letter->payload + bytes, 0, total - sizeof *letter - bytes);
    letter->kind = kind;
    letter->a = a;
    letter->b = b;
    letter->bytes = bytes;
    atomic_init(&letter->users, 1);
    return letter;
}

awq_letter *awq_letter_write(int32_t kind, int64_t a, int64_t b, const void *payload, size_t bytes)
{
    awq_letter *letter = awq_letter_create(kind, a, b, bytes);
    if (letter && bytes) memcpy(letter->payload, payload, bytes);
    return letter;
}

awq_letter *awq_letter_share(awq_letter *letter)
{
    atomic_fetch_add(&letter->users, 1);
    return letter;
}

void awq_letter_free(awq_letter *letter)
{
    if (!letter || atomic_fetch_sub(&letter->users, 1) > 1) return;
    if (letter->loan) atomic_store(&letter->loan->lent, false);
    free(letter);
}
