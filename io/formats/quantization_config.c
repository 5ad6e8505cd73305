/* SPDX-License-Identifier: MIT
 * io/formats/quantization_config.c - config.json's quantization_config: which format, and which
 * linears are not quantized. Of small floats (FP8, MXFP4), which stand for full precision, the
 * tensors say the most (io/checkpoint/weight.h), and here is the size of blocks. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/formats/quantization_config.h"

#include "io/families/config.h"
#include "io/files/json.h"
#include "io/formats/format.h"

static void refuse(const awq_config_reader *reader, const char *what, const char *value)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                     "'%s': quantization_config: %s '%.60s' is not supported; give the "
                     "full-precision model, or a checkpoint in FP8, in MXFP4, or of AWQ's or "
                     "compressed-tensors' integer weights",
                     reader->name, what, value);
}

/* ---- linears in full precision ---- */

/* Marks the linears whose full name fits. Names of other modules mark none: the tensors tell
 * whether they are as they should be. */
static void keep_named(awq_model *model, bool (*fits)(const char *full, const void *context),
                       const void *context)
{
    char full[AWQ_NAME_BYTES];
    for (int64_t layer = 0; layer < model->layers; layer++)
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++)
            if (fits(awq_linear_full_name(full, model, layer, linear), context))
                awq_model_keep(model, layer, linear);
}

static bool holds_any(const char *full, const void *modules)
{
    size_t i;
    const json_t *module;
    json_array_foreach((const json_t *)modules, i, module)
    {
        if (strstr(full, json_string_value(module))) return true;
    }
    return false;
}

/* modules_to_not_convert: readers look for these in the names of modules. */
static void read_unconverted(const awq_config_reader *reader, const json_t *modules,
                             awq_model *model)
{
    size_t i, before = reader->problems->count;
    const json_t *module;
    json_array_foreach(modules, i, module)
    {
        const char *name = json_string_value(module);
        if (!name || !*name) refuse(reader, "modules_to_not_convert", name ? name : "?");
    }
    if (json_array_size(modules) && reader->problems->count == before)
        keep_named(model, holds_any, modules);
}

/* The module itself, or one that it is in, is a key of `names`. */
static bool is_named(const char *full, const void *names)
{
    char part[AWQ_NAME_BYTES];
    for (size_t length = strcspn(full, ".");; length += 1 + strcspn(full + length + 1, ".")) {
        snprintf(part, sizeof part, "%.*s", (int)length, full);
        if (json_object_get(names, part)) return true;
        if (!full[length]) return false;
    }
}

typedef struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
} pattern;

static bool is_matched(const char *full, const void *context)
{
    const pattern *p = context;
    return pcre2_match(p->code, (PCRE2_SPTR)full, strlen(full), 0, PCRE2_ANCHORED, p->match, NULL) >
           0;
}

/* From the beginning of a name, as Python's re.match. */
static void keep_matched(const awq_config_reader *reader, awq_model *model, const char *expression)
{
    int error;
    PCRE2_SIZE offset;
    pattern p = {.code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, 0, &error,
                                       &offset, NULL)};
    if (p.code) p.match = pcre2_match_data_create_from_pattern(p.code, NULL);
    if (p.match)
        keep_named(model, is_matched, &p);
    else
        refuse(reader, "ignore's regular expression", expression);
    pcre2_match_data_free(p.match);
    pcre2_code_free(p.code);
}

/* compressed-tensors' ignore: names of modules, or regular expressions. */
static void read_ignored(const awq_config_reader *reader, const json_t *modules, awq_model *model)
{
    size_t i;
    const json_t *module;
    json_t *names = json_object();
    json_array_foreach(modules, i, module)
    {
        const char *name = json_string_value(module);
        if (!name)
            refuse(reader, "ignore", "?");
        else if (!strncmp(name, "re:", 3))
            keep_matched(reader, model, name + 3);
        else
            json_object_set_new(names, name, json_true());
    }
    if (json_object_size(names)) keep_named(model, is_named, names);
    json_decref(names);
}

/* ---- AWQ's own formats ---- */

static void read_awq(const awq_config_reader *reader, const json_t *object, awq_model *model)
{
    static const char *const versions[] = {"gemm", "gemv", "gemv_fast"};
    awq_quantization *out = &model->quantization;
    const char *name = reader->name;
    awq_problems *problems = reader->problems;
    const char *version = awq_json_string(object, "version", "gemm", name, problems);
    int format = 0;
    while (format < 3 && strcasecmp(version, versions[format]) != 0) format++;
    if (format < 3)
        out->format = (awq_format)format;
    else
        refuse(reader, "version", version);
    out->bits = (int)awq_json_integer(object, "bits", 4, name, problems);
    out->group_size = awq_json_integer(object, "group_size", 128, name, problems);
    if (!awq_json_bool(object, "zero_point", true, name, problems))
        refuse(reader, "zero_point", "false");
    read_unconverted(reader, json_object_get(object, "modules_to_not_convert"), model);
}

/* ---- compressed-tensors ---- */

static bool is_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

/* The one group of modules that there may be: all Linears, weights alone. */
static void read_group(const awq_config_reader *reader, const json_t *group, awq_model *model)
{
    const char *name = reader->name;
    awq_problems *problems = reader->problems;
    awq_quantization *out = &model->quantization;
    const json_t *targets = json_object_get(group, "targets");
    const char *target = json_string_value(json_array_get(targets, 0));
    if (json_array_size(targets) != 1 || !target || strcmp(target, "Linear") != 0)
        refuse(reader, "targets other than 'Linear', such as", target ? target : "?");
    if (!is_null(group, "input_activations") || !is_null(group, "output_activations"))
        refuse(reader, "quantization of", "activations");
    const json_t *weights = json_object_get(group, "weights");
    const char *type = awq_json_string(weights, "type", "int", name, problems);
    const char *strategy = awq_json_string(weights, "strategy", "?", name, problems);
    bool channel = !strcmp(strategy, "channel");
    if (strcmp(type, "int") != 0) refuse(reader, "weights type", type);
    if (!channel && strcmp(strategy, "group") != 0) refuse(reader, "weights strategy", strategy);
    if (!is_null(weights, "actorder")) refuse(reader, "weights actorder", "not null");
    out->bits = (int)awq_json_integer(weights, "num_bits", 8, name, problems);
    out->group_size = channel ? -1 : awq_json_integer(weights, "group_size", 0, name, problems);
    out->symmetric = awq_json_bool(weights, "symmetric", true, name, problems);
}

/* [128, 128] at `key`; silent or null: what the scales' shapes say, or 128. */
static void read_block(const awq_config_reader *reader, const json_t *object, const char *key,
                       awq_model *model)
{
    const json_t *sizes = json_object_get(object, key);
    if (!sizes || json_is_null(sizes)) return;
    for (size_t i = 0; i < 2; i++) {
        json_int_t size = json_integer_value(json_array_get(sizes, i));
        if (json_array_size(sizes) != 2 || size < 1 || size > AWQ_MAX_WIDTH) {
            awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                             "'%s': quantization_config: %s is not two sizes above zero",
                             reader->name, key);
            return;
        }
        model->block[i] = size;
    }
}

/* Groups of modules with weights of `bits` small floats. */
static void read_floats(const awq_config_reader *reader, const json_t *groups, int bits,
                        awq_model *model)
{
    const char *name;
    json_t *group;
    json_object_foreach((json_t *)(uintptr_t)groups, name, group)
    {
        const json_t *weights = json_object_get(group, "weights");
        const char *type = awq_json_string(weights, "type", "?", reader->name, reader->problems);
        char text[32];
        int64_t found = awq_json_integer(weights, "num_bits", 0, reader->name, reader->problems);
        snprintf(text, sizeof text, "%lld bits of %.12s", (long long)found, type);
        if (strcmp(type, "float") != 0 || found != bits) refuse(reader, "weights of", text);
        read_block(reader, weights, "block_structure", model);
    }
}

/* Those that stand for full precision; false: another format. */
static bool read_compressed_floats(const awq_config_reader *reader, const json_t *object,
                                   awq_model *model)
{
    static const struct {
        const char *format;
        int bits;
    } formats[] = {{"float-quantized", 8}, {"naive-quantized", 8}, {"mxfp4-pack-quantized", 4}};
    const char *format = awq_json_string(object, "format", "?", reader->name, reader->problems);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(format, formats[i].format) != 0) continue;
        read_floats(reader, json_object_get(object, "config_groups"), formats[i].bits, model);
        return true;
    }
    return false;
}

static void read_compressed(const awq_config_reader *reader, const json_t *object, awq_model *model)
{
    const char *format = awq_json_string(object, "format", "?", reader->name, reader->problems);
    const json_t *groups = json_object_get(object, "config_groups");
    model->quantization.format = AWQ_FORMAT_COMPRESSED;
    if (strcmp(format, "pack-quantized") != 0) refuse(reader, "format", format);
    if (!is_null(object, "kv_cache_scheme")) refuse(reader, "kv_cache_scheme", "not null");
    if (json_object_size(groups) == 1)
        read_group(reader, json_object_iter_value(json_object_iter((json_t *)(uintptr_t)groups)),
                   model);
    else
        refuse(reader, "config_groups", "other than one");
    read_ignored(reader, json_object_get(object, "ignore"), model);
}

/* ---- both ---- */

/* false: it does not fit, and a problem says so. */
static bool check_linear(const awq_config_reader *reader, const awq_quantization *how,
                         const awq_linear_spec *linear)
{
    char reason[AWQ_REASON_BYTES];
    if (how->group_size > 0 && linear->in % how->group_size) {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': quantization_config: group_size %lld does not divide the "
                         "%lld columns of '%s'",
                         reader->name, (long long)how->group_size, (long long)linear->in,
                         linear->name);
        return false;
    }
    if (awq_format_holds_linear(how, linear->out, linear->in, reason)) return true;
    awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': quantization_config: '%s' %s",
                     reader->name, linear->name, reason);
    return false;
}

/* Names the first linear that does not fit, if there is one. */
static void check(const awq_config_reader *reader, const awq_model *model)
{
    const awq_quantization *how = &model->quantization;
    char reason[AWQ_REASON_BYTES];
    if (!awq_format_holds(how, reason))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': quantization_config: %s",
                         reader->name, reason);
    if (how->group_size < -1 || how->group_size == 0) {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': quantization_config: group_size %lld is not above zero, nor -1",
                         reader->name, (long long)how->group_size);
        return;
    }
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++)
            if (!awq_model_keeps_all(model, kind, i) &&
                !check_linear(reader, how, &model->kind[kind].linear[i]))
                return;
}

json_t *awq_config_quantization(const json_t *config)
{
    json_t *own = json_object_get(config, "quantization_config");
    if (!own || json_is_null(own)) /* an earlier spelling */
        own = json_object_get(config, "compression_config");
    if (!own || json_is_null(own))
        own = json_object_get(json_object_get(config, "text_config"), "quantization_config");
    return json_is_null(own) ? NULL : own;
}

static void read_quantization(const awq_config_reader *reader, awq_model *model)
{
    const json_t *object = awq_config_quantization(reader->object);
    if (!object) return;
    if (!json_is_object(object)) {
        awq_config_complain(reader, "key 'quantization_config' is not an object", "");
        return;
    }
    size_t before = reader->problems->count;
    const char *method =
        awq_json_string(object, "quant_method", "", reader->name, reader->problems);
    bool compressed = !strcmp(method, "compressed-tensors");
    if (!strcmp(method, "fp8") || !strcmp(method, "fbgemm_fp8"))
        read_block(reader, object, "weight_block_size", model);
    if (!strcmp(method, "fp8") || !strcmp(method, "fbgemm_fp8") || !strcmp(method, "mxfp4") ||
        (compressed && read_compressed_floats(reader, object, model)))
        return; /* not what is quantized here */
    if (!strcmp(method, "awq"))
        read_awq(reader, object, model);
    else if (compressed)
        read_compressed(reader, object, model);
    else
        refuse(reader, "quant_method", method);
    model->quantized = true;
    model->quantization.scales = awq_format_scale_dtype(model->quantization.format, model->dtype);
    if (reader->problems->count == before) check(reader, model);
}

bool awq_model_config_read(const json_t *config, const char *path, const awq_root *root,
                           awq_model *out, awq_problems *problems)
{
    char name[AWQ_CONFIG_NAME_BYTES];
    size_t before = problems->count;
    awq_model model;
    awq_config_reader reader = awq_config_reader_of(config, path, problems, name);
    if (problems->count > before || !awq_model_describe(&reader, &model)) return false;
    model.root = root;
    reader = (awq_config_reader){config, NULL, path, problems};
    read_quantization(&reader, &model);
    if (problems->count > before)
        awq_model_release(&model);
    else
        *out = model;
    return problems->count == before;
}

bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems)
{
    return awq_model_config_read(config, "config.json", awq_root_at(0), out, problems);
}
