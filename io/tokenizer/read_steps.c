/* SPDX-License-Identifier: MIT
 * tokenizer.json: normalizers and pre-tokenizers. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/parts.h"

/* What a reader works on; `what` is "the normalizer 'NFC'" for messages. */
typedef struct reader {
    const char *name;
    const char *kind;
    awq_steps *steps;
    char what[96];
} reader;

static awq_status refuse(const reader *in, const char *why, awq_error *err)
{
    return awq_fail(err, AWQ_ERR_INPUT, "'%s': %s: %s", in->name, in->what, why);
}

/* A place for one more step. */
static awq_status add_step(reader *in, awq_step_type type, awq_step **out, awq_error *err)
{
    if (in->steps->count == AWQ_TOKENIZER_STEPS) return refuse(in, "too many of them", err);
    if (in->steps->byte_level) return refuse(in, "ByteLevel must be the last one", err);
    *out = &in->steps->items[in->steps->count++];
    **out = (awq_step){.type = type};
    return AWQ_OK;
}

static awq_status set_text(const reader *in, awq_step *step, const json_t *value, awq_error *err)
{
    if (!json_is_string(value)) return refuse(in, "a text is missing", err);
    step->text = strdup(json_string_value(value));
    return step->text ? AWQ_OK : awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", in->name);
}

/* {"String": "..."} or {"Regex": "..."}. */
static awq_status set_pattern(const reader *in, awq_step *step, const json_t *pattern,
                              awq_error *err)
{
    char name[512];
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    if (json_object_size(pattern) != 1 || (!literal && !regex))
        return refuse(in, "its pattern is neither a String nor a Regex", err);
    snprintf(name, sizeof name, "'%.400s': %s", in->name, in->what);
    return awq_pattern_create(regex, literal, name, &step->pattern, err);
}

static awq_status check_keys(const reader *in, const json_t *json, const char *const *keys,
                             awq_error *err)
{
    return awq_tokenizer_check_keys(json, keys, in->what, in->name, err);
}

static awq_status flag(const reader *in, const json_t *json, const char *key, bool fallback,
                       bool *out, awq_error *err)
{
    return awq_tokenizer_flag(json, key, fallback, in->what, in->name, out, err);
}

typedef awq_status (*read_one)(reader *in, const json_t *json, awq_error *err);

/* A Sequence, or one; null is none. */
static awq_status read_any(reader *in, const json_t *json, const char *list_key, read_one one,
                           awq_error *err)
{
    const char *const keys[] = {"type", list_key, NULL};
    const json_t *list = json_object_get(json, list_key);
    if (!json || json_is_null(json)) return AWQ_OK;
    snprintf(in->what, sizeof in->what, "the %s '%.60s'", in->kind, awq_tokenizer_type(json));
    if (strcmp(awq_tokenizer_type(json), "Sequence")) return one(in, json, err);
    if (check_keys(in, json, keys, err)) return err->status;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (read_any(in, json_array_get(list, i), list_key, one, err)) return err->status;
    return AWQ_OK;
}

/* ---- normalizers ---- */

static awq_status read_normalizer(reader *in, const json_t *json, awq_error *err)
{
    static const char *const nfc_keys[] = {"type", NULL};
    static const char *const prepend_keys[] = {"type", "prepend", NULL};
    static const char *const replace_keys[] = {"type", "pattern", "content", NULL};
    const char *type = awq_tokenizer_type(json);
    awq_step *step;
    if (!strcmp(type, "NFC"))
        return check_keys(in, json, nfc_keys, err) ? err->status
                                                   : add_step(in, AWQ_STEP_NFC, &step, err);
    if (!strcmp(type, "Prepend")) {
        if (check_keys(in, json, prepend_keys, err) || add_step(in, AWQ_STEP_PREPEND, &step, err))
            return err->status;
        return set_text(in, step, json_object_get(json, "prepend"), err);
    }
    if (strcmp(type, "Replace")) return refuse(in, "it is not supported", err);
    const json_t *pattern = json_object_get(json, "pattern");
    if (check_keys(in, json, replace_keys, err) || add_step(in, AWQ_STEP_REPLACE, &step, err))
        return err->status;
    if (!json_object_get(pattern, "String"))
        return refuse(in, "it is supported with a String only", err);
    if (set_text(in, step, json_object_get(json, "content"), err)) return err->status;
    return set_pattern(in, step, pattern, err);
}

awq_status awq_steps_read_normalizer(const json_t *json, const char *name, awq_steps *out,
                                     awq_error *err)
{
    reader in = {.name = name, .kind = "normalizer", .steps = out};
    return read_any(&in, json, "normalizers", read_normalizer, err);
}

/* ---- pre-tokenizers ---- */

static awq_status read_split(reader *in, const json_t *json, awq_error *err)
{
    static const char *const keys[] = {"type", "pattern", "behavior", "invert", NULL};
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *behavior = json_string_value(json_object_get(json, "behavior"));
    awq_step *step;
    if (check_keys(in, json, keys, err) || add_step(in, AWQ_STEP_SPLIT, &step, err) ||
        flag(in, json, "invert", false, &step->invert, err))
        return err->status;
    for (int i = 0; i < 5; i++)
        if (behavior && !strcmp(behavior, names[i])) {
            step->behavior = (awq_split_behavior)i;
            return set_pattern(in, step, json_object_get(json, "pattern"), err);
        }
    return refuse(in, "its behavior is not supported", err);
}

static awq_status add_regex(reader *in, const char *regex, awq_split_behavior behavior,
                            awq_error *err)
{
    awq_step *step;
    if (add_step(in, AWQ_STEP_SPLIT, &step, err)) return err->status;
    step->behavior = behavior;
    return awq_pattern_create(regex, NULL, in->name, &step->pattern, err);
}

static awq_status read_byte_level(reader *in, const json_t *json, awq_error *err)
{
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex",
                                       NULL};
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
                               "|\\s+(?!\\S)|\\s+";
    bool prefix_space, use_regex;
    awq_step *step;
    if (check_keys(in, json, keys, err) ||
        flag(in, json, "add_prefix_space", true, &prefix_space, err) ||
        flag(in, json, "use_regex", true, &use_regex, err))
        return err->status;
    if (in->steps->byte_level) return refuse(in, "there are two of them", err);
    if (prefix_space && add_step(in, AWQ_STEP_PREFIX_SPACE, &step, err)) return err->status;
    if (use_regex && add_regex(in, gpt2, AWQ_SPLIT_ISOLATED, err)) return err->status;
    in->steps->byte_level = true;
    return AWQ_OK;
}

static awq_status read_prepend_scheme(const reader *in, const json_t *json, awq_prepend *out,
                                      awq_error *err)
{
    static const char *const names[] = {"always", "first", "never"};
    const json_t *value = json_object_get(json, "prepend_scheme");
    bool prefix_space;
    if (flag(in, json, "add_prefix_space", true, &prefix_space, err)) return err->status;
    *out = AWQ_PREPEND_ALWAYS;
    for (int i = 0; value && i < 3; i++) {
        if (!json_is_string(value) || strcmp(json_string_value(value), names[i])) continue;
        *out = (awq_prepend)i;
        value = NULL;
    }
    if (value) return refuse(in, "its prepend_scheme is not supported", err);
    if (!prefix_space && *out != AWQ_PREPEND_NEVER)
        return refuse(in, "its add_prefix_space contradicts its prepend_scheme", err);
    return AWQ_OK;
}

static awq_status read_metaspace(reader *in, const json_t *json, awq_error *err)
{
    static const char *const keys[] = {"type",  "replacement",      "prepend_scheme",
                                       "split", "add_prefix_space", NULL};
    const json_t *replacement = json_object_get(json, "replacement");
    awq_step *step;
    bool cut;
    if (check_keys(in, json, keys, err) || flag(in, json, "split", true, &cut, err) ||
        add_step(in, AWQ_STEP_METASPACE, &step, err) ||
        read_prepend_scheme(in, json, &step->prepend, err) || set_text(in, step, replacement, err))
        return err->status;
    if (strcmp(step->text, AWQ_SPACE_MARK)) return refuse(in, "its replacement is not U+2581", err);
    if (!cut) return AWQ_OK;
    if (add_step(in, AWQ_STEP_SPLIT, &step, err)) return err->status;
    step->behavior = AWQ_SPLIT_MERGED_WITH_NEXT;
    return awq_pattern_create(NULL, AWQ_SPACE_MARK, in->name, &step->pattern, err);
}

static awq_status read_digits(reader *in, const json_t *json, awq_error *err)
{
    static const char *const keys[] = {"type", "individual_digits", NULL};
    bool individual;
    if (check_keys(in, json, keys, err) ||
        flag(in, json, "individual_digits", false, &individual, err))
        return err->status;
    return add_regex(in, "\\p{N}", individual ? AWQ_SPLIT_ISOLATED : AWQ_SPLIT_CONTIGUOUS, err);
}

static awq_status read_pre_tokenizer(reader *in, const json_t *json, awq_error *err)
{
    const char *type = awq_tokenizer_type(json);
    if (!strcmp(type, "Split")) return read_split(in, json, err);
    if (!strcmp(type, "ByteLevel")) return read_byte_level(in, json, err);
    if (!strcmp(type, "Metaspace")) return read_metaspace(in, json, err);
    if (!strcmp(type, "Digits")) return read_digits(in, json, err);
    return refuse(in, "it is not supported", err);
}

awq_status awq_steps_read_pre_tokenizer(const json_t *json, const char *name, awq_steps *out,
                                        awq_error *err)
{
    reader in = {.name = name, .kind = "pre-tokenizer", .steps = out};
    return read_any(&in, json, "pretokenizers", read_pre_tokenizer, err);
}
