/* SPDX-License-Identifier: MIT
 * tokenizer.json: model, added tokens, post-processor. Whatever is not known is refused by name. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/parts.h"

/* ---- what all readers use ---- */

awq_status awq_tokenizer_check_keys(const json_t *object, const char *const *keys, const char *what,
                                    const char *name, awq_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': %s is no object", name, what);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool known = false;
        for (int i = 0; keys[i]; i++) known = known || !strcmp(keys[i], key);
        if (!known)
            return awq_fail(err, AWQ_ERR_INPUT, "'%s': %s has '%s', which is not supported", name,
                            what, key);
    }
    return AWQ_OK;
}

const char *awq_tokenizer_type(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "";
}

awq_status awq_tokenizer_flag(const json_t *object, const char *key, bool fallback,
                              const char *what, const char *name, bool *out, awq_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_boolean(value))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': '%s' of %s is neither true nor false", name, key,
                        what);
    *out = json_is_boolean(value) ? json_is_true(value) : fallback;
    return AWQ_OK;
}

static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_string(value) && !*json_string_value(value)) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

/* ---- model ---- */

static awq_status check_model(const json_t *model, const char *name, awq_error *err)
{
    static const char *const keys[] = {"type",
                                       "dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "vocab",
                                       "end_of_word_suffix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "merges",
                                       NULL};
    static const char *const unsupported[] = {"dropout", "continuing_subword_prefix",
                                              "end_of_word_suffix", NULL};
    const char *type = awq_tokenizer_type(model);
    bool untyped = !*type && json_object_get(model, "merges"); /* files of before 2021 */
    if (strcmp(type, "BPE") && !untyped)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s': model type '%s' is not supported, only BPE is; tokenize with its "
                        "own library and give --tokens",
                        name, type);
    if (awq_tokenizer_check_keys(model, keys, "the model", name, err)) return err->status;
    for (int i = 0; unsupported[i]; i++)
        if (!is_nothing(json_object_get(model, unsupported[i])))
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s': the model has a '%s', which is not supported", name,
                            unsupported[i]);
    return AWQ_OK;
}

static awq_status find_unknown(const json_t *model, const awq_vocabulary *vocabulary,
                               const char *name, int32_t *out, awq_error *err)
{
    const json_t *token = json_object_get(model, "unk_token");
    *out = -1;
    if (!token || json_is_null(token)) return AWQ_OK;
    const char *text = json_string_value(token);
    if (text) *out = awq_vocabulary_find(vocabulary, text, strlen(text));
    if (*out < 0)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': 'unk_token' is not in the vocabulary", name);
    return AWQ_OK;
}

static awq_status read_model(const json_t *model, const char *name, awq_tokenizer *t,
                             awq_error *err)
{
    awq_bpe_options options = {.byte_level = t->pre_tokenizer.byte_level};
    awq_vocabulary *vocabulary = NULL;
    if (check_model(model, name, err) ||
        awq_tokenizer_flag(model, "fuse_unk", false, "the model", name, &options.fuse_unk, err) ||
        awq_tokenizer_flag(model, "byte_fallback", false, "the model", name, &options.byte_fallback,
                           err) ||
        awq_tokenizer_flag(model, "ignore_merges", false, "the model", name, &options.ignore_merges,
                           err) ||
        awq_vocabulary_read(json_object_get(model, "vocab"), json_object_get(model, "merges"),
                            options.byte_level, name, &vocabulary, err))
        return err->status;
    if (find_unknown(model, vocabulary, name, &options.unk, err)) {
        awq_vocabulary_free(vocabulary);
        return err->status;
    }
    return awq_bpe_create(vocabulary, &options, &t->bpe, err);
}

/* ---- added tokens ---- */

static awq_status read_added_token(const json_t *json, const char *name, awq_added_token *out,
                                   awq_error *err)
{
    static const char *const keys[] = {"id",     "content",    "single_word", "lstrip",
                                       "rstrip", "normalized", "special",     NULL};
    static const char what[] = "an added token";
    const char *content = json_string_value(json_object_get(json, "content"));
    json_int_t id = json_integer_value(json_object_get(json, "id"));
    if (awq_tokenizer_check_keys(json, keys, what, name, err)) return err->status;
    if (!content || !*content || !json_is_integer(json_object_get(json, "id")) || id < 0 ||
        id >= INT32_MAX)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': an added token has no content or no id", name);
    if (awq_tokenizer_flag(json, "special", false, what, name, &out->special, err) ||
        awq_tokenizer_flag(json, "single_word", false, what, name, &out->single_word, err) ||
        awq_tokenizer_flag(json, "lstrip", false, what, name, &out->lstrip, err) ||
        awq_tokenizer_flag(json, "rstrip", false, what, name, &out->rstrip, err) ||
        awq_tokenizer_flag(json, "normalized", !out->special, what, name, &out->normalized, err))
        return err->status;
    out->id = (int32_t)id;
    out->content = strdup(content);
    return out->content ? AWQ_OK : awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", name);
}

/* tokenizers gives an added token the id that the vocabulary has for it, or else the next free one,
 * whatever the file says. */
static awq_status check_added_ids(const awq_tokenizer *t, const char *name, awq_error *err)
{
    const awq_vocabulary *vocabulary = awq_bpe_vocabulary(t->bpe);
    int64_t next = (int64_t)awq_vocabulary_count(vocabulary);
    for (size_t i = 0; i < t->token_count; i++) {
        const awq_added_token *token = &t->tokens[i];
        int64_t id = awq_vocabulary_find(vocabulary, token->content, strlen(token->content));
        if (id < 0) id = next;
        if (id != token->id)
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s': added token '%s' has id %d, and its place says %lld", name,
                            token->content, token->id, (long long)id);
        for (size_t j = 0; j < i; j++)
            if (t->tokens[j].id == token->id)
                return awq_fail(err, AWQ_ERR_INPUT, "'%s': added token '%s' is there twice", name,
                                token->content);
        if (id >= next) next = id + 1;
    }
    return AWQ_OK;
}

static awq_status read_added(const json_t *json, const char *name, awq_tokenizer *t, awq_error *err)
{
    size_t count = json_array_size(json);
    if (json && !json_is_array(json) && !json_is_null(json))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': 'added_tokens' is no list", name);
    t->tokens = calloc(count + 1, sizeof *t->tokens);
    if (!t->tokens) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", name);
    for (; t->token_count < count; t->token_count++)
        if (read_added_token(json_array_get(json, t->token_count), name, &t->tokens[t->token_count],
                             err))
            return err->status;
    if (check_added_ids(t, name, err)) return err->status;
    if (awq_added_create(t->tokens, count, false, &t->normalizer, &t->added, err) ||
        awq_added_create(t->tokens, count, true, &t->normalizer, &t->added_normalized, err))
        return err->status;
    return AWQ_OK;
}

/* ---- post-processor ---- */

/* Appends the ids of a template's special token. */
static awq_status add_special(const json_t *processor, const char *token, const char *name,
                              int32_t **ids, size_t *count, awq_error *err)
{
    const json_t *specials = json_object_get(processor, "special_tokens");
    const json_t *list = json_object_get(json_object_get(specials, token), "ids");
    if (!json_is_array(list))
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s': the post-processor's template has '%s', whose ids are missing", name,
                        token);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        if (!json_is_integer(json_array_get(list, i)) || id < 0 || id >= INT32_MAX)
            return awq_fail(err, AWQ_ERR_INPUT, "'%s': the post-processor's '%s' has no token id",
                            name, token);
        int32_t *more = realloc(*ids, (*count + 1) * sizeof *more);
        if (!more) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", name);
        *ids = more;
        more[(*count)++] = (int32_t)id;
    }
    return AWQ_OK;
}

static awq_status read_template(const json_t *processor, const char *name, awq_tokenizer *t,
                                awq_error *err)
{
    static const char *const keys[] = {"type", "single", "pair", "special_tokens", NULL};
    const json_t *single = json_object_get(processor, "single");
    bool seen = false;
    if (awq_tokenizer_check_keys(processor, keys, "the post-processor", name, err))
        return err->status;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        const json_t *sequence = json_object_get(item, "Sequence");
        const char *id = json_string_value(json_object_get(special ? special : sequence, "id"));
        if (special && id) {
            if (add_special(processor, id, name, seen ? &t->after : &t->before,
                            seen ? &t->after_count : &t->before_count, err))
                return err->status;
        } else if (sequence && id && !strcmp(id, "A") && !seen) {
            seen = true;
        } else {
            return awq_fail(err, AWQ_ERR_INPUT,
                            "'%s': part %zu of the post-processor's template is not supported",
                            name, i);
        }
    }
    if (seen) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT, "'%s': the post-processor's template leaves out the text",
                    name);
}

static awq_status read_post_processor(const json_t *json, const char *name, awq_tokenizer *t,
                                      awq_error *err)
{
    static const char *const keys[] = {"type", "processors", NULL};
    const char *type = awq_tokenizer_type(json);
    if (!json || json_is_null(json) || !strcmp(type, "ByteLevel")) return AWQ_OK; /* offsets only */
    if (!strcmp(type, "TemplateProcessing")) {
        if (t->before_count || t->after_count)
            return awq_fail(err, AWQ_ERR_INPUT, "'%s': two templates of the post-processor", name);
        return read_template(json, name, t, err);
    }
    const json_t *list = json_object_get(json, "processors");
    if (strcmp(type, "Sequence") || !json_is_array(list))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': post-processor '%s' is not supported", name,
                        type);
    if (awq_tokenizer_check_keys(json, keys, "the post-processor", name, err)) return err->status;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (read_post_processor(json_array_get(list, i), name, t, err)) return err->status;
    return AWQ_OK;
}

/* ---- the file ---- */

static awq_status check_file(const json_t *json, const char *name, awq_error *err)
{
    static const char *const keys[] = {
        "version",       "truncation",     "padding", "added_tokens", "normalizer",
        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    static const char *const unsupported[] = {"truncation", "padding", NULL};
    if (awq_tokenizer_check_keys(json, keys, "the file", name, err)) return err->status;
    for (int i = 0; unsupported[i]; i++)
        if (!is_nothing(json_object_get(json, unsupported[i])))
            return awq_fail(err, AWQ_ERR_INPUT, "'%s' asks for %s; set it to null", name,
                            unsupported[i]);
    return AWQ_OK;
}

awq_status awq_tokenizer_read(const json_t *json, const char *name, awq_tokenizer *out,
                              awq_error *err)
{
    const json_t *model = json_object_get(json, "model");
    if (!json_is_object(model))
        return awq_fail(err, AWQ_ERR_INPUT, "'%s' has no 'model': it is no tokenizer.json", name);
    if (check_model(model, name, err) || check_file(json, name, err) ||
        awq_steps_read_normalizer(json_object_get(json, "normalizer"), name, &out->normalizer,
                                  err) ||
        awq_steps_read_pre_tokenizer(json_object_get(json, "pre_tokenizer"), name,
                                     &out->pre_tokenizer, err) ||
        read_model(model, name, out, err) ||
        read_added(json_object_get(json, "added_tokens"), name, out, err) ||
        read_post_processor(json_object_get(json, "post_processor"), name, out, err))
        return err->status;
    return AWQ_OK;
}
