/* SPDX-License-Identifier: MIT
 * io/text/text.h - documents of text files, one after another.
 *
 * Plain text by default; NAME.jsonl and NAME.ndjson hold a JSON object a line; each may be gzipped,
 * and is then called NAME.gz. Bytes are taken as they are: no line end or mark is translated. A
 * document is UTF-8 when it leaves here. Files are read as far as documents are asked for. */
#ifndef AWQ_IO_TEXT_TEXT_H
#define AWQ_IO_TEXT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/buffer.h"
#include "io/text/chat.h"

/* What a document of plain text is: a line, what stands between blank lines, or a file. Lines and
 * what stands between blank lines come without the line end behind them. */
typedef enum awq_text_split { AWQ_TEXT_LINES, AWQ_TEXT_BLANK, AWQ_TEXT_FILES } awq_text_split;

typedef struct awq_text_options {
    awq_text_split split;
    const char *field; /* of a JSON line: its text, or with a chat template its messages */
    awq_chat chat;
    bool replace; /* what is not UTF-8 becomes U+FFFD; else it is an error */
} awq_text_options;

typedef struct awq_text awq_text;

/* The files, one a line, must outlive the reader. Close the result. */
awq_status awq_text_open(const char *files, const awq_text_options *options, awq_text **out,
                         awq_error *err);
void awq_text_close(awq_text *text);

/* The next document that is not empty, borrowed until the next call; its marks are set where a chat
 * template says what the assistant wrote, else NULL. *more is false at the end. Errors name file
 * and line. */
awq_status awq_text_next(awq_text *text, bool *more, const char **document, const uint8_t **marks,
                         size_t *bytes, awq_error *err);

/* So far. */
typedef struct awq_text_counts {
    int64_t files, documents, empty, bytes;
} awq_text_counts;

awq_text_counts awq_text_count(const awq_text *text);
/* "'FILE', line N" of the last document. */
void awq_text_place(const awq_text *text, char *out, size_t bytes);

#endif
