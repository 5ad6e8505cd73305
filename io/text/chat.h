/* SPDX-License-Identifier: MIT
 * io/text/chat.h - a conversation as the text that a model was trained on.
 *
 *   llama3   <|start_header_id|>ROLE<|end_header_id|>\n\nCONTENT<|eot_id|>    content is trimmed
 *   chatml   <|im_start|>ROLE\nCONTENT<|im_end|>\n
 *   mistral  [INST] CONTENT [/INST] CONTENT</s>    a system message goes before the first question
 *
 * No message is made up, such as Qwen's default system prompt or Llama 3.1's dates. A BOS is the
 * tokenizer's own business. */
#ifndef AWQ_IO_TEXT_CHAT_H
#define AWQ_IO_TEXT_CHAT_H

#include <jansson.h>

#include "io/core/buffer.h"

typedef enum awq_chat {
    AWQ_CHAT_NONE,
    AWQ_CHAT_LLAMA3,
    AWQ_CHAT_CHATML,
    AWQ_CHAT_MISTRAL
} awq_chat;

/* The tokens that a template stands on, NULL at the end. */
const char *const *awq_chat_tokens(awq_chat chat);
const char *awq_chat_name(awq_chat chat);

/* Writes [{"role", "content"}, ...] to `text`, and to `marks` for each byte whether the assistant
 * wrote it: its content and the token that ends its turn. */
awq_status awq_chat_render(awq_chat chat, const json_t *messages, awq_buffer *text,
                           awq_buffer *marks, awq_error *err);

#endif
