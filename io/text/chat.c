/* SPDX-License-Identifier: MIT */
#include "io/text/chat.h"

#include <stdbool.h>
#include <string.h>

#include "io/tokenizer/unicode.h"
#include "io/tokenizer/word.h"

const char *awq_chat_name(awq_chat chat)
{
    static const char *const names[] = {"none", "llama3", "chatml", "mistral"};
    return names[chat];
}

const char *const *awq_chat_tokens(awq_chat chat)
{
    static const char *const none[] = {NULL};
    static const char *const llama3[] = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                         NULL};
    static const char *const chatml[] = {"<|im_start|>", "<|im_end|>", NULL};
    static const char *const mistral[] = {"</s>", NULL};
    static const char *const *const all[] = {none, llama3, chatml, mistral};
    return all[chat];
}

typedef struct output {
    awq_buffer *text, *marks;
} output;

static awq_status put(output *out, const char *text, size_t bytes, bool mark, awq_error *err)
{
    if (awq_buffer_append(out->text, text, bytes, err) ||
        awq_buffer_reserve(out->marks, bytes, err))
        return err->status;
    memset(out->marks->data + out->marks->bytes, mark, bytes);
    out->marks->bytes += bytes;
    return AWQ_OK;
}

static awq_status put_text(output *out, const char *text, bool mark, awq_error *err)
{
    return put(out, text, strlen(text), mark, err);
}

/* ---- messages ---- */

typedef enum role { SYSTEM, USER, ASSISTANT } role;

static const char *const role_names[] = {"system", "user", "assistant"};

typedef struct message {
    role role;
    const char *content; /* not empty of meaning at a NUL */
    size_t bytes;
} message;

static awq_status read_message(const json_t *messages, size_t i, message *out, awq_error *err)
{
    const json_t *object = json_array_get(messages, i);
    const char *name = json_string_value(json_object_get(object, "role"));
    const json_t *content = json_object_get(object, "content");
    if (!name || !json_is_string(content))
        return awq_fail(err, AWQ_ERR_INPUT, "message %zu has no role or no text as its content",
                        i + 1);
    for (int r = 0; r < 3; r++) {
        if (strcmp(name, role_names[r])) continue;
        *out = (message){(role)r, json_string_value(content), json_string_length(content)};
        return AWQ_OK;
    }
    return awq_fail(err, AWQ_ERR_INPUT,
                    "message %zu is of role '%.64s'; supported are system, user and assistant",
                    i + 1, name);
}

/* As str.strip() of Python, which Jinja's trim is: White_Space and the four separators. */
static void trim(message *m)
{
    for (;;) {
        size_t begin = awq_space_behind(m->content, m->bytes, 0);
        begin += begin < m->bytes && m->content[begin] >= 0x1c && m->content[begin] <= 0x1f;
        m->content += begin;
        m->bytes -= begin;
        size_t end = awq_space_before(m->content, m->bytes);
        end += end < m->bytes && m->content[m->bytes - end - 1] >= 0x1c &&
               m->content[m->bytes - end - 1] <= 0x1f;
        m->bytes -= end;
        if (!begin && !end) return;
    }
}

/* ---- templates ---- */

static awq_status render_llama3(message *m, output *out, awq_error *err)
{
    bool mark = m->role == ASSISTANT;
    trim(m);
    if (put_text(out, "<|start_header_id|>", false, err) ||
        put_text(out, role_names[m->role], false, err) ||
        put_text(out, "<|end_header_id|>\n\n", false, err) ||
        put(out, m->content, m->bytes, mark, err))
        return err->status;
    return put_text(out, "<|eot_id|>", mark, err);
}

static awq_status render_chatml(const message *m, output *out, awq_error *err)
{
    bool mark = m->role == ASSISTANT;
    if (put_text(out, "<|im_start|>", false, err) ||
        put_text(out, role_names[m->role], false, err) || put_text(out, "\n", false, err) ||
        put(out, m->content, m->bytes, mark, err) || put_text(out, "<|im_end|>", mark, err))
        return err->status;
    return put_text(out, "\n", false, err);
}

/* Question and answer alternate; `system` waits for the first question. */
static awq_status render_mistral(const message *m, message *system, role *expected, output *out,
                                 awq_error *err)
{
    if (m->role != *expected)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "a message is of role '%s' where the mistral template needs '%s'",
                        role_names[m->role], role_names[*expected]);
    *expected = m->role == USER ? ASSISTANT : USER;
    if (m->role == ASSISTANT) {
        if (put_text(out, " ", false, err) || put(out, m->content, m->bytes, true, err))
            return err->status;
        return put_text(out, "</s>", true, err);
    }
    if (put_text(out, "[INST] ", false, err)) return err->status;
    if (system->content &&
        (put(out, system->content, system->bytes, false, err) || put_text(out, "\n\n", false, err)))
        return err->status;
    system->content = NULL;
    if (put(out, m->content, m->bytes, false, err)) return err->status;
    return put_text(out, " [/INST]", false, err);
}

awq_status awq_chat_render(awq_chat chat, const json_t *messages, awq_buffer *text,
                           awq_buffer *marks, awq_error *err)
{
    output out = {text, marks};
    message m, system = {.content = NULL};
    role expected = USER;
    awq_status status = AWQ_OK;
    if (!json_array_size(messages))
        return awq_fail(err, AWQ_ERR_INPUT, "the messages are no list, or an empty one");
    for (size_t i = 0; !status && i < json_array_size(messages); i++) {
        if (read_message(messages, i, &m, err)) return err->status;
        if (chat == AWQ_CHAT_LLAMA3)
            status = render_llama3(&m, &out, err);
        else if (chat == AWQ_CHAT_CHATML)
            status = render_chatml(&m, &out, err);
        else if (i == 0 && m.role == SYSTEM)
            system = m;
        else
            status = render_mistral(&m, &system, &expected, &out, err);
    }
    return status;
}
