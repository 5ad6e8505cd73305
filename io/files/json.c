/* SPDX-License-Identifier: MIT */
#include "io/files/json.h"

#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/publish.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "unknown";
}

awq_status awq_json_parse(const char *text, size_t bytes, const char *name, json_t **out,
                          awq_error *err)
{
    json_error_t error;
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value)
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' is not valid JSON: line %d, column %d: %s",
                        name, error.line, error.column, error.text);
    if (!json_is_object(value)) {
        awq_fail(err, AWQ_ERR_CORRUPT, "'%s' holds %s, expected a JSON object", name,
                 type_name(value));
        json_decref(value);
        return err->status;
    }
    *out = value;
    return AWQ_OK;
}

awq_status awq_json_read(const char *path, size_t max_bytes, json_t **out, awq_error *err)
{
    char *text;
    size_t bytes;
    if (awq_file_read(path, max_bytes, &text, &bytes, err)) return err->status;
    awq_status status = awq_json_parse(text, bytes, path, out, err);
    free(text);
    return status;
}

/* Fifteen digits print a number as people wrote it (0.1); seventeen are exact for every double.
 * The shorter form is taken where it reads back as the same. */
awq_status awq_json_write(const char *path, const json_t *object, awq_error *err)
{
    size_t flags = JSON_INDENT(2) | JSON_ENSURE_ASCII;
    char *text = json_dumps(object, flags | JSON_REAL_PRECISION(15));
    json_t *back = text ? json_loads(text, 0, NULL) : NULL;
    if (text && !json_equal(back, object)) {
        free(text);
        text = json_dumps(object, flags | JSON_REAL_PRECISION(17));
    }
    json_decref(back);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    size_t bytes = strlen(text);
    text[bytes] = '\n'; /* takes the place of the NUL */
    awq_status status = awq_publish_bytes(path, text, bytes + 1, err);
    free(text);
    return status;
}

/* The value of a key; NULL when it is absent or null. */
static const json_t *get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static void add_wrong_type(const json_t *value, const char *key, const char *expected,
                           const char *name, awq_problems *problems)
{
    awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': key '%s' is %s, expected %s", name, key,
                     type_name(value), expected);
}

int64_t awq_json_integer(const json_t *object, const char *key, int64_t fallback, const char *name,
                         awq_problems *problems)
{
    const json_t *value = get(object, key);
    if (!value) return fallback;
    if (json_is_integer(value)) return json_integer_value(value);
    add_wrong_type(value, key, "an integer", name, problems);
    return fallback;
}

double awq_json_number(const json_t *object, const char *key, double fallback, const char *name,
                       awq_problems *problems)
{
    const json_t *value = get(object, key);
    if (!value) return fallback;
    if (json_is_number(value)) return json_number_value(value);
    add_wrong_type(value, key, "a number", name, problems);
    return fallback;
}

bool awq_json_bool(const json_t *object, const char *key, bool fallback, const char *name,
                   awq_problems *problems)
{
    const json_t *value = get(object, key);
    if (!value) return fallback;
    if (json_is_boolean(value)) return json_is_true(value);
    add_wrong_type(value, key, "true or false", name, problems);
    return fallback;
}

const char *awq_json_string(const json_t *object, const char *key, const char *fallback,
                            const char *name, awq_problems *problems)
{
    const json_t *value = get(object, key);
    if (!value) return fallback;
    if (json_is_string(value)) return json_string_value(value);
    add_wrong_type(value, key, "a string", name, problems);
    return fallback;
}
