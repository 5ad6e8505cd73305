/* SPDX-License-Identifier: MIT */
#include "io/text/text.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/path.h"
#include "io/text/text_lines.h"
#include "io/tokenizer/unicode.h"

static const size_t MAX_DOCUMENT_BYTES = (size_t)1 << 30;

struct awq_text {
    awq_text_options options;
    const char *files;         /* those not opened yet, one a line */
    char path[AWQ_PATH_BYTES]; /* of the open one, or the last */
    bool json;
    awq_text_lines *lines; /* NULL: no file is open */
    int64_t line;          /* where the document begins */
    awq_text_counts counts;
    awq_buffer raw, checked, document, marks;
};

awq_status awq_text_open(const char *files, const awq_text_options *options, awq_text **out,
                         awq_error *err)
{
    awq_text *text = calloc(1, sizeof *text);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read text");
    text->options = *options;
    text->files = files;
    *out = text;
    return AWQ_OK;
}

void awq_text_close(awq_text *text)
{
    if (!text) return;
    awq_text_lines_close(text->lines);
    awq_buffer_release(&text->raw);
    awq_buffer_release(&text->checked);
    awq_buffer_release(&text->document);
    awq_buffer_release(&text->marks);
    free(text);
}

awq_text_counts awq_text_count(const awq_text *text)
{
    return text->counts;
}

void awq_text_place(const awq_text *text, char *out, size_t bytes)
{
    snprintf(out, bytes, "'%s', line %lld", text->path, (long long)text->line);
}

/* ---- files ---- */

static bool ends_with(const char *name, size_t length, const char *end)
{
    size_t bytes = strlen(end);
    return length >= bytes && !strncmp(name + length - bytes, end, bytes);
}

/* Its format goes by its name, less the .gz. */
static awq_status open_next(awq_text *text, awq_error *err)
{
    size_t bytes = strcspn(text->files, "\n");
    if (bytes >= sizeof text->path)
        return awq_fail(err, AWQ_ERR_INPUT, "'%.100s...' is too long a path", text->files);
    memcpy(text->path, text->files, bytes);
    text->path[bytes] = '\0';
    text->files += bytes + (text->files[bytes] == '\n');
    text->counts.files++;
    if (ends_with(text->path, bytes, ".gz")) bytes -= 3;
    text->json = ends_with(text->path, bytes, ".jsonl") || ends_with(text->path, bytes, ".ndjson");
    if (ends_with(text->path, bytes, ".json") || ends_with(text->path, bytes, ".parquet"))
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s' is neither plain text nor .jsonl; write one JSON object a line",
                        text->path);
    if (!text->json && text->options.chat)
        return awq_fail(err, AWQ_ERR_INPUT, "--chat-template needs .jsonl files, and '%s' is none",
                        text->path);
    return awq_text_lines_open(text->path, &text->lines, err);
}

/* ---- lines ---- */

/* The next line of the open file as UTF-8, in `checked`. */
static awq_status next_line(awq_text *text, bool *more, awq_error *err)
{
    text->raw.bytes = text->checked.bytes = 0;
    if (awq_text_lines_next(text->lines, &text->raw, more, err)) return err->status;
    text->counts.bytes += (int64_t)text->raw.bytes;
    size_t good = awq_utf8_check(text->raw.data, text->raw.bytes);
    if (good == text->raw.bytes || text->options.replace)
        return awq_utf8_replace(text->raw.data, text->raw.bytes, &text->checked, err);
    return awq_fail(err, AWQ_ERR_INPUT,
                    "'%s', line %lld: byte 0x%02X at %lld of the file is not UTF-8; convert it, or "
                    "give --invalid-utf8 replace",
                    text->path, (long long)awq_text_lines_number(text->lines),
                    (unsigned char)text->raw.data[good],
                    (long long)awq_text_lines_offset(text->lines) + (long long)good);
}

static bool is_blank(const awq_buffer *line)
{
    for (size_t i = 0; i < line->bytes; i++)
        if (!strchr(" \t\r\n\v\f", line->data[i]) || !line->data[i]) return false;
    return true;
}

/* ---- documents ---- */

/* Adds lines to the document until it is whole. */
static awq_status next_plain(awq_text *text, bool *more, awq_error *err)
{
    awq_text_split split = text->options.split;
    for (;;) {
        if (next_line(text, more, err)) return err->status;
        if (!*more) break;
        bool blank = is_blank(&text->checked);
        if (split == AWQ_TEXT_BLANK && blank && text->document.bytes) break;
        if (split != AWQ_TEXT_FILES && blank) continue;
        if (!text->document.bytes) text->line = awq_text_lines_number(text->lines);
        if (awq_buffer_append(&text->document, text->checked.data, text->checked.bytes, err))
            return err->status;
        if (text->document.bytes >= MAX_DOCUMENT_BYTES)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s', line %lld: the document has 1 GiB or more; divide it",
                            text->path, (long long)text->line);
        if (split == AWQ_TEXT_LINES) break;
    }
    awq_buffer *document = &text->document;
    *more = *more || document->bytes;
    if (split == AWQ_TEXT_FILES) return AWQ_OK;
    if (document->bytes && document->data[document->bytes - 1] == '\n') document->bytes--;
    if (document->bytes && document->data[document->bytes - 1] == '\r') document->bytes--;
    return AWQ_OK;
}

static awq_status next_json(awq_text *text, bool *more, awq_error *err)
{
    const char *field = text->options.field;
    json_error_t why;
    do
        if (next_line(text, more, err)) return err->status;
    while (*more && is_blank(&text->checked));
    if (!*more) return AWQ_OK;
    text->line = awq_text_lines_number(text->lines);
    json_t *object = json_loadb(text->checked.data, text->checked.bytes,
                                JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    const json_t *value = json_object_get(object, field);
    awq_status status;
    if (!json_is_object(object))
        status = awq_fail(err, AWQ_ERR_INPUT, "no JSON object: %s",
                          object ? "another kind of value" : why.text);
    else if (!value)
        status = awq_fail(err, AWQ_ERR_INPUT, "there is no field '%s'; --field names it", field);
    else if (text->options.chat)
        status = awq_chat_render(text->options.chat, value, &text->document, &text->marks, err);
    else if (!json_is_string(value))
        status = awq_fail(err, AWQ_ERR_INPUT, "the field '%s' is no string", field);
    else
        status = awq_buffer_append(&text->document, json_string_value(value),
                                   json_string_length(value), err);
    json_decref(object);
    if (!status) return AWQ_OK;
    return awq_error_wrap(err, "'%s', line %lld", text->path, (long long)text->line);
}

awq_status awq_text_next(awq_text *text, bool *more, const char **document, const uint8_t **marks,
                         size_t *bytes, awq_error *err)
{
    for (;;) {
        bool found;
        text->document.bytes = text->marks.bytes = 0;
        if (!text->lines && !*text->files) break;
        if (!text->lines && open_next(text, err)) return err->status;
        if (text->json ? next_json(text, &found, err) : next_plain(text, &found, err))
            return err->status;
        if (!found) {
            awq_text_lines_close(text->lines);
            text->lines = NULL;
        } else if (text->document.bytes) {
            break;
        } else {
            text->counts.empty++;
        }
    }
    *more = text->document.bytes > 0;
    text->counts.documents += *more;
    *document = text->document.data;
    *marks = text->options.chat ? (const uint8_t *)text->marks.data : NULL;
    *bytes = text->document.bytes;
    return AWQ_OK;
}
