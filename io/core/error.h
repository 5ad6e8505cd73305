/* SPDX-License-Identifier: MIT
 * io/core/error.h - how every folder reports failure.
 *
 * A function that can fail returns awq_status and takes an awq_error last, never NULL. On failure
 * the error holds one complete sentence: lower case, no full stop, what failed first, names in
 * single quotes, then what to do about it. Callers add context in front and never replace it. The
 * struct is plain bytes of fixed size, so a worker sends it over MPI as it is. */
#ifndef AWQ_IO_CORE_ERROR_H
#define AWQ_IO_CORE_ERROR_H

/* X(name, text): every status code, and what it means in general. */
#define AWQ_STATUS_LIST(X)                                                                         \
    X(AWQ_OK, "success")                                                                           \
    X(AWQ_ERR_USAGE, "wrong command line")                                                         \
    X(AWQ_ERR_INPUT, "bad input")                                                                  \
    X(AWQ_ERR_IO, "input or output failed")                                                        \
    X(AWQ_ERR_CORRUPT, "corrupt file")                                                             \
    X(AWQ_ERR_MEMORY, "out of memory")                                                             \
    X(AWQ_ERR_DEVICE, "device failed")                                                             \
    X(AWQ_ERR_NUMERIC, "not a finite number")                                                      \
    X(AWQ_ERR_MPI, "message passing failed")                                                       \
    X(AWQ_ERR_BUSY, "in use by another job")                                                       \
    X(AWQ_ERR_INTERRUPTED, "interrupted, resumable")                                               \
    X(AWQ_ERR_INTERNAL, "a bug in awqrun")

typedef enum awq_status {
#define AWQ_STATUS_ENUM(name, text) name,
    AWQ_STATUS_LIST(AWQ_STATUS_ENUM)
#undef AWQ_STATUS_ENUM
} awq_status;

enum { AWQ_ERROR_TEXT_BYTES = 1020 };

typedef struct awq_error {
    awq_status status;
    char text[AWQ_ERROR_TEXT_BYTES]; /* one sentence, NUL-terminated, cut if it does not fit */
} awq_error;

/* The general meaning of a status: a string constant. */
const char *awq_status_text(awq_status status);

/* Sets *err to the status and the formatted sentence; returns the status. */
awq_status awq_fail(awq_error *err, awq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the sentence in *err; returns its status. */
awq_status awq_error_wrap(awq_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
