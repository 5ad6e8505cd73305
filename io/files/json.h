/* SPDX-License-Identifier: MIT
 * io/files/json.h - jansson, strictly: duplicate keys are refused, numbers have one spelling.
 *
 * Getters return the default when the key is absent or null, and add a problem that names the
 * file and the key when the type is wrong. */
#ifndef AWQ_IO_FILES_JSON_H
#define AWQ_IO_FILES_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/core/error.h"
#include "io/core/problems.h"

/* Parses a file that must hold one JSON object of at most max_bytes. The caller decrefs *out. */
awq_status awq_json_read(const char *path, size_t max_bytes, json_t **out, awq_error *err);

/* Parses memory that must hold one JSON object; `name` is what an error calls it. */
awq_status awq_json_parse(const char *text, size_t bytes, const char *name, json_t **out,
                          awq_error *err);

/* Publishes an object: sorted as inserted, two spaces of indent, a final newline. */
awq_status awq_json_write(const char *path, const json_t *object, awq_error *err);

/* `name` is the file's name for messages. */
int64_t awq_json_integer(const json_t *object, const char *key, int64_t fallback, const char *name,
                         awq_problems *problems);
double awq_json_number(const json_t *object, const char *key, double fallback, const char *name,
                       awq_problems *problems);
bool awq_json_bool(const json_t *object, const char *key, bool fallback, const char *name,
                   awq_problems *problems);
/* Borrowed from the object, or the fallback. */
const char *awq_json_string(const json_t *object, const char *key, const char *fallback,
                            const char *name, awq_problems *problems);

#endif
