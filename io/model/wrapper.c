/* SPDX-License-Identifier: MIT
 * io/model/wrapper.c - which object of config.json describes the text model: in a wrapper, which
 * has towers and projectors beside it, its text_config. Keys that may stand in either are looked up
 * as transformers does. */
#include <stdio.h>
#include <string.h>

#include "io/model/config.h"

static const json_t *said(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

awq_config_reader awq_config_reader_of(const json_t *config, const char *path,
                                       awq_problems *problems, char name[AWQ_CONFIG_NAME_BYTES])
{
    const json_t *text = said(config, "text_config");
    snprintf(name, AWQ_CONFIG_NAME_BYTES, "%s%s", path, text ? ", text_config" : "");
    if (!text) return (awq_config_reader){config, NULL, name, problems};
    if (!json_is_object(text))
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': key 'text_config' is not an object", path);
    return (awq_config_reader){text, config, name, problems};
}

const json_t *awq_config_text_first(const awq_config_reader *reader, const char *key)
{
    if (said(reader->object, key)) return reader->object;
    return said(reader->outer, key) ? reader->outer : NULL;
}

const json_t *awq_config_outer_first(const awq_config_reader *reader, const char *key)
{
    if (said(reader->outer, key)) return reader->outer;
    return said(reader->object, key) ? reader->object : NULL;
}

/* Classes of transformers whose head is that of the vocabulary. */
static bool generates(const char *class_name)
{
    static const char *const parts[] = {"ForCausalLM", "ForConditionalGeneration", "LMHeadModel"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(class_name, parts[i])) return true;
    return false;
}

bool awq_config_generates(const awq_config_reader *reader)
{
    const json_t *object = awq_config_outer_first(reader, "architectures"), *item;
    const json_t *list = json_object_get(object, "architectures");
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *class_name = json_string_value(item);
        if (!class_name || generates(class_name)) return true;
    }
    return !json_array_size(list);
}
