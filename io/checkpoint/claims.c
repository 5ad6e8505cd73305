/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/formats/quantization_config.h"

#define CODES_SUFFIX  ".qweight"
#define SCALES_SUFFIX ".scales"

enum { WORD_BITS = 32, DEFAULT_BITS = 4, DEFAULT_GROUP = 128, NAME_BYTES = 512 };

/* What all linears have alike. */
typedef struct shapes {
    int64_t linears;
    int64_t bits;   /* 0: they differ */
    int64_t group;  /* 0: they differ; inputs that share a scale */
    bool whole_row; /* one group a row, everywhere */
    int64_t claim;  /* config.json's group size */
    bool holds;     /* it is right for all */
} shapes;

static const awq_tensor *find(const awq_checkpoint_files *files, const char *name)
{
    const awq_tensor *found = NULL;
    for (size_t i = 0; i < files->count && !found; i++)
        if (files->shards[i].file) found = awq_safetensors_find(files->shards[i].file, name);
    return found;
}

/* The scales that go with a qweight; NULL: `tensor` is none, or has none. */
static const awq_tensor *find_scales(const awq_checkpoint_files *files, const awq_tensor *tensor)
{
    char name[NAME_BYTES];
    size_t length = strlen(tensor->name), suffix = strlen(CODES_SUFFIX);
    if (length < suffix || strcmp(tensor->name + length - suffix, CODES_SUFFIX) != 0) return NULL;
    int written =
        snprintf(name, sizeof name, "%.*s" SCALES_SUFFIX, (int)(length - suffix), tensor->name);
    const awq_tensor *scales = written < (int)sizeof name ? find(files, name) : NULL;
    bool usable = scales && scales->dims == 2 && scales->shape[0] && scales->shape[1] &&
                  tensor->dims == 2 && tensor->shape[0] % scales->shape[0] == 0;
    return usable ? scales : NULL;
}

static shapes look(const awq_checkpoint_files *files, int64_t claim)
{
    shapes all = {.claim = claim, .whole_row = true, .holds = true};
    for (size_t i = 0; i < files->count; i++) {
        const awq_safetensors *file = files->shards[i].file;
        for (size_t j = 0; file && j < awq_safetensors_count(file); j++) {
            /* qweight [in, out * bits / 32], scales [groups, out] */
            const awq_tensor *codes = awq_safetensors_at(file, j);
            const awq_tensor *scales = find_scales(files, codes);
            if (!scales) continue;
            int64_t in = codes->shape[0], groups = scales->shape[0], out = scales->shape[1];
            int64_t bits = codes->shape[1] * WORD_BITS / out, group = in / groups;
            if (!all.linears++) {
                all.bits = bits;
                all.group = group;
            }
            if (bits != all.bits || bits * out != codes->shape[1] * WORD_BITS) all.bits = 0;
            if (group != all.group) all.group = 0;
            all.whole_row = all.whole_row && groups == 1;
            all.holds = all.holds && (claim == -1 ? groups == 1 : groups * claim == in);
        }
    }
    return all;
}

static int64_t integer(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static bool is_gemm(const json_t *quantization)
{
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    const char *version = json_string_value(json_object_get(quantization, "version"));
    return method && !strcmp(method, "awq") && (!version || !strcasecmp(version, "gemm"));
}

static void check_numbers(const shapes *all, json_t *quantization, const char *directory,
                          awq_problems *problems)
{
    int64_t bits = integer(quantization, "bits", DEFAULT_BITS);
    int64_t group = all->whole_row ? -1 : all->group;
    if (all->bits && bits != all->bits) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s/config.json': quantization_config says %lld bits, and the tensors' "
                         "shapes are those of %lld",
                         directory, (long long)bits, (long long)all->bits);
        json_object_set_new(quantization, "bits", json_integer(all->bits));
    }
    if (!all->holds && group) {
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s/config.json': quantization_config says groups of %lld, and the "
                         "tensors have groups of %lld",
                         directory, (long long)all->claim, (long long)group);
        json_object_set_new(quantization, "group_size", json_integer(group));
    }
}

static void add_quantization(const shapes *all, json_t *config, const char *directory,
                             awq_problems *problems)
{
    awq_problems_add(problems, AWQ_ERR_INPUT,
                     "'%s/config.json' has no quantization_config, and the tensors are quantized: "
                     "a loader would take the model for a full-precision one",
                     directory);
    json_object_set_new(config, "quantization_config",
                        json_pack("{s:s, s:I, s:I}", "quant_method", "awq", "bits",
                                  (json_int_t)all->bits, "group_size",
                                  (json_int_t)(all->whole_row ? -1 : all->group)));
}

json_t *awq_checkpoint_claims_check(const json_t *config, const awq_checkpoint_files *files,
                                    const char *directory, awq_problems *problems)
{
    json_t *copy = json_deep_copy(config);
    json_t *quantization = awq_config_quantization(copy);
    shapes all = look(files, integer(quantization, "group_size", DEFAULT_GROUP));
    if (!copy || !all.linears) return copy;
    if (!quantization)
        add_quantization(&all, copy, directory, problems);
    else if (is_gemm(quantization))
        check_numbers(&all, quantization, directory, problems);
    return copy;
}
