/* SPDX-License-Identifier: MIT */
#include "coordinator/check/calibration.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/json.h"
#include "io/files/path.h"
#include "io/tokenizer/tokenizer.h"
#include "jobs/options/amounts.h"

static const int64_t default_sequences = 128;

typedef struct packing {
    const awq_options *options;
    char tokenizer_path[AWQ_PATH_BYTES];
    awq_tokenizer *tokenizer;
    int32_t end; /* the EOS; -1: none is put between documents */
    int64_t vocab;
    awq_ids ids; /* of all documents so far */
    awq_calibration *out;
} packing;

void awq_calibration_check(const awq_calibration_options *options, awq_problems *problems)
{
    if (options->mask_prompt && !options->chat)
        awq_problems_add(problems, AWQ_ERR_USAGE,
                         "--mask-prompt needs a --chat-template: other text has no prompt");
}

/* ---- the tokens that stand between documents ---- */

/* "eos_token" of a file of the model's directory: a string, or an object with its content. NULL:
 * the file or the key is not there. The caller frees. */
static char *end_of(const char *model, const char *file)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    json_t *object = NULL;
    if (awq_path_join(path, model, file, &ignored) ||
        awq_json_read(path, 64 << 20, &object, &ignored))
        return NULL;
    const json_t *token = json_object_get(object, "eos_token");
    if (json_is_object(token)) token = json_object_get(token, "content");
    char *text = json_is_string(token) ? strdup(json_string_value(token)) : NULL;
    json_decref(object);
    return text;
}

static awq_status find_end(packing *p, awq_error *err)
{
    const char *model = p->options->model;
    p->end = -1;
    if (p->options->text.chat) return AWQ_OK;
    char *token = end_of(model, "tokenizer_config.json");
    if (!token) token = end_of(model, "special_tokens_map.json");
    if (!token)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s' does not say what ends a document: no 'eos_token' in "
                        "tokenizer_config.json or special_tokens_map.json",
                        model);
    p->end = awq_tokenizer_find(p->tokenizer, token);
    if (p->end < 0)
        awq_fail(err, AWQ_ERR_INPUT, "the 'eos_token' '%s' is not in '%s'", token,
                 p->tokenizer_path);
    free(token);
    return p->end < 0 ? err->status : AWQ_OK;
}

static awq_status check_chat_tokens(const packing *p, awq_error *err)
{
    awq_chat chat = p->options->text.chat;
    for (const char *const *token = awq_chat_tokens(chat); *token; token++) {
        int32_t id = awq_tokenizer_find(p->tokenizer, *token);
        if (id >= 0 && awq_tokenizer_is_added(p->tokenizer, id)) continue;
        return awq_fail(err, AWQ_ERR_INPUT,
                        "--chat-template %s needs the token '%s', which '%s' does not have",
                        awq_chat_name(chat), *token, p->tokenizer_path);
    }
    return AWQ_OK;
}

/* ---- documents ---- */

static awq_status add_document(packing *p, const char *text, const uint8_t *marks, size_t bytes,
                               awq_error *err)
{
    size_t from = p->ids.count;
    if (awq_tokenizer_encode(p->tokenizer, text, marks, bytes, true, &p->ids, err))
        return err->status;
    bool ended = p->ids.count > from && p->ids.ids[p->ids.count - 1] == p->end;
    if (p->end >= 0 && !ended && awq_ids_append(&p->ids, p->end, false, err)) return err->status;
    for (size_t i = from; i < p->ids.count; i++)
        if (p->ids.ids[i] >= p->vocab)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s' gives token id %d, and the model's vocabulary has %lld: it is "
                            "another model's tokenizer",
                            p->tokenizer_path, p->ids.ids[i], (long long)p->vocab);
    return AWQ_OK;
}

static awq_status add_documents(packing *p, awq_text *text, int64_t wanted, awq_error *err)
{
    bool more = true;
    const char *document;
    const uint8_t *marks;
    size_t bytes;
    while ((int64_t)p->ids.count < wanted) {
        char place[AWQ_PATH_BYTES + 32];
        if (awq_text_next(text, &more, &document, &marks, &bytes, err)) return err->status;
        if (!more) break;
        if (!add_document(p, document, marks, bytes, err)) continue;
        awq_text_place(text, place, sizeof place);
        return awq_error_wrap(err, "%s", place);
    }
    p->out->text = awq_text_count(text);
    if (more && awq_text_next(text, &more, &document, &marks, &bytes, err)) return err->status;
    p->out->all_read = !more;
    p->out->tokens = (int64_t)p->ids.count;
    return AWQ_OK;
}

/* ---- sequences ---- */

static awq_status cut_mask(const packing *p, awq_tokens *tokens, awq_error *err)
{
    size_t count = (size_t)(tokens->sequences * tokens->length);
    p->out->assistant = -1;
    if (!p->options->text.mask_prompt) return AWQ_OK;
    tokens->mask = malloc(count);
    if (!tokens->mask) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the mask");
    memcpy(tokens->mask, p->ids.marked, count);
    p->out->assistant = 0;
    for (size_t i = 0; i < count; i++) p->out->assistant += tokens->mask[i];
    if (p->out->assistant) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT,
                    "--mask-prompt leaves no token: no assistant speaks in the "
                    "text");
}

static awq_status cut(packing *p, int64_t wanted, awq_tokens *tokens, awq_error *err)
{
    int64_t length = p->options->text.length, whole = (int64_t)p->ids.count / length;
    if (!whole)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "the text has %lld tokens in %lld documents, too few for one sequence of "
                        "%lld; give more, or a smaller --length",
                        (long long)p->ids.count, (long long)p->out->text.documents,
                        (long long)length);
    if (p->options->sequences && whole < wanted)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "the text makes %lld sequences of %lld tokens, %lld are asked for; give "
                        "more, or lower --sequences",
                        (long long)whole, (long long)length, (long long)wanted);
    tokens->sequences = whole < wanted ? whole : wanted;
    tokens->length = length;
    size_t count = (size_t)(tokens->sequences * length);
    p->out->left_over = (int64_t)(p->ids.count - count);
    tokens->ids = p->ids.ids;
    p->ids.ids = NULL;
    if (cut_mask(p, tokens, err)) return err->status;
    tokens->crc = awq_tokens_crc(tokens);
    return AWQ_OK;
}

awq_status awq_calibration_make(const awq_options *options, int64_t vocab, awq_tokens *tokens,
                                awq_calibration *out, awq_error *err)
{
    packing p = {.options = options, .vocab = vocab, .out = out};
    awq_chat chat = options->text.chat;
    const char *usual_field = chat ? "messages" : "text";
    awq_text_options reading = {.split = options->text.split,
                                .field = options->text.field ? options->text.field : usual_field,
                                .chat = chat,
                                .replace = options->text.invalid_utf8 == AWQ_INVALID_REPLACE};
    awq_text *text = NULL;
    awq_tokens made = {0};
    int64_t wanted = options->sequences ? options->sequences : default_sequences;
    *out = (awq_calibration){0};
    awq_status status = awq_path_join(p.tokenizer_path, options->model, "tokenizer.json", err);
    if (!status) status = awq_tokenizer_open(p.tokenizer_path, &p.tokenizer, err);
    if (!status) status = find_end(&p, err);
    if (!status) status = check_chat_tokens(&p, err);
    if (!status) status = awq_text_open(options->text.files, &reading, &text, err);
    if (!status) status = add_documents(&p, text, wanted * options->text.length, err);
    if (!status) status = cut(&p, wanted, &made, err);
    awq_text_close(text);
    awq_tokenizer_close(p.tokenizer);
    awq_ids_release(&p.ids);
    if (status)
        awq_tokens_release(&made);
    else
        *tokens = made;
    return status;
}

void awq_calibration_print(FILE *file, const awq_calibration *c)
{
    char bytes[32];
    awq_format_bytes(bytes, (double)c->text.bytes);
    fprintf(file, "documents  %lld, %s of %lld file%s%s\n", (long long)c->text.documents, bytes,
            (long long)c->text.files, c->text.files == 1 ? "" : "s",
            c->all_read ? "" : "; the text continues");
    if (c->text.empty) fprintf(file, "           %lld more are empty\n", (long long)c->text.empty);
    fprintf(file, "tokens     %lld, of which %lld at the end are left over\n", (long long)c->tokens,
            (long long)c->left_over);
    if (c->assistant >= 0)
        fprintf(file, "mask       %lld tokens of the assistant count\n", (long long)c->assistant);
}
