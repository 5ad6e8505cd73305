/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "io/json.h"
#include "io/model_config.h"

static void refuse(const awq_config_reader *reader, const char *what, const char *value)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                     "'%s': quantization_config: %s '%.60s' is not supported; quantize the "
                     "full-precision model, or give an AWQ GEMM checkpoint of 4 bits",
                     reader->name, what, value);
}

/* Only the head, which AWQ leaves alone anyway, may be listed. */
static void check_excluded(const awq_config_reader *reader, const json_t *modules)
{
    size_t i;
    const json_t *module;
    json_array_foreach(modules, i, module)
    {
        const char *name = json_string_value(module);
        if (name && !strcmp(name, "lm_head")) continue;
        refuse(reader, "modules_to_not_convert", name ? name : "?");
        return;
    }
}

static void read_group_size(const awq_config_reader *reader, const json_t *object, awq_model *model)
{
    int64_t size = awq_json_integer(object, "group_size", 128, reader->name, reader->problems);
    model->quantized_group_size = size;
    if (size == -1) return;
    if (size < 1) {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': quantization_config: group_size %lld is not above zero, nor -1",
                         reader->name, (long long)size);
        return;
    }
    for (awq_linear linear = 0; linear < AWQ_LINEARS; linear++) {
        int64_t out, in;
        awq_linear_shape(model, linear, &out, &in);
        if (in % size == 0) continue;
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': quantization_config: group_size %lld does not divide the %lld "
                         "columns of '%s'",
                         reader->name, (long long)size, (long long)in, awq_linear_name(linear));
        return;
    }
}

static void check_rows(const awq_config_reader *reader, const awq_model *model)
{
    for (awq_linear linear = 0; linear < AWQ_LINEARS; linear++) {
        int64_t out, in;
        awq_linear_shape(model, linear, &out, &in);
        if (out % 8 == 0) continue;
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': quantization_config: the %lld rows of '%s' do not pack eight to "
                         "a word",
                         reader->name, (long long)out, awq_linear_name(linear));
        return;
    }
}

static void read_object(const awq_config_reader *reader, const json_t *object, awq_model *model)
{
    const char *name = reader->name;
    awq_problems *problems = reader->problems;
    const char *method = awq_json_string(object, "quant_method", "", name, problems);
    if (strcmp(method, "awq") != 0) {
        refuse(reader, "quant_method", method);
        return;
    }
    const char *version = awq_json_string(object, "version", "gemm", name, problems);
    if (strcasecmp(version, "gemm") != 0) refuse(reader, "version", version);
    if (awq_json_integer(object, "bits", 4, name, problems) != 4)
        refuse(reader, "bits", "other than 4");
    if (!awq_json_bool(object, "zero_point", true, name, problems))
        refuse(reader, "zero_point", "false");
    check_excluded(reader, json_object_get(object, "modules_to_not_convert"));
    read_group_size(reader, object, model);
    check_rows(reader, model);
    model->quantized = true;
    model->quantized_bits = 4;
}

void awq_config_read_quantization(const awq_config_reader *reader, awq_model *model)
{
    const json_t *object = json_object_get(reader->object, "quantization_config");
    if (!object || json_is_null(object)) return;
    if (json_is_object(object))
        read_object(reader, object, model);
    else
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key 'quantization_config' is not an object", reader->name);
}
