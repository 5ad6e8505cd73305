/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint/expected.h"

enum { SHOWN = 5 }; /* with AWQ_NAME_SOME */

typedef struct limited {
    awq_problems *problems;
    size_t most; /* that are named */
    size_t count;
} limited;

/* Names for one sentence: "'a', 'b', ..."; or, where all are named, a sentence each. */
typedef struct name_list {
    char text[SHOWN * 120];
    size_t count;
} name_list;

typedef struct checker {
    const awq_checkpoint_files *files;
    const awq_model *model;
    const char *directory;
    awq_checkpoint_tensors *tensors;
    awq_problems *problems;
    size_t most; /* of a kind that are named */
    limited mismatches, unscaled;
    bool scaled; /* there are float8 weights, or smaller */
    name_list *missing;
} checker;

/* One line for each of the first few; limited_finish counts the rest. */
static void __attribute__((format(printf, 2, 3)))
limited_add(limited *list, const char *format, ...)
{
    awq_error err = {.status = AWQ_ERR_INPUT};
    va_list args;
    va_start(args, format);
    vsnprintf(err.text, sizeof err.text, format, args);
    va_end(args);
    if (list->count++ < list->most) awq_problems_add_error(list->problems, &err);
}

static void limited_finish(const limited *list, const char *directory, const char *what)
{
    if (list->count > list->most)
        awq_problems_add(list->problems, AWQ_ERR_INPUT, "'%s': %zu more tensors %s", directory,
                         list->count - list->most, what);
}

/* `what` is for a sentence of its own. */
static void add_name(const checker *check, name_list *list, const char *what, const char *name)
{
    size_t used = strlen(list->text);
    if (check->most > SHOWN)
        awq_problems_add(check->problems, AWQ_ERR_INPUT, "'%s' %s '%.200s'", check->directory, what,
                         name);
    else if (list->count < SHOWN)
        snprintf(list->text + used, sizeof list->text - used, "%s'%.100s'", used ? ", " : "", name);
    list->count++;
}

static void finish_names(const checker *check, const name_list *list, const char *what)
{
    char more[48] = "";
    if (!list->count || check->most > SHOWN) return;
    if (list->count > SHOWN) snprintf(more, sizeof more, " and %zu more", list->count - SHOWN);
    awq_problems_add(check->problems, AWQ_ERR_INPUT, "'%s' %s: %s%s", check->directory, what,
                     list->text, more);
}

static int compare_tensors(const void *left, const void *right)
{
    const awq_checkpoint_tensor *a = left, *b = right;
    int order = strcmp(a->tensor->name, b->tensor->name);
    return order ? order : (a->shard > b->shard) - (a->shard < b->shard);
}

static bool gather(const awq_checkpoint_files *files, awq_checkpoint_tensors *out)
{
    size_t count = 0;
    for (size_t i = 0; i < files->count; i++)
        if (files->shards[i].file) count += awq_safetensors_count(files->shards[i].file);
    out->items = calloc(count + 1, sizeof *out->items);
    out->count = 0;
    if (!out->items) return false;
    for (size_t i = 0; i < files->count; i++) {
        const awq_safetensors *file = files->shards[i].file;
        for (size_t j = 0; file && j < awq_safetensors_count(file); j++)
            out->items[out->count++] =
                (awq_checkpoint_tensor){.tensor = awq_safetensors_at(file, j), .shard = i};
    }
    qsort(out->items, out->count, sizeof *out->items, compare_tensors);
    return true;
}

awq_checkpoint_tensor *awq_checkpoint_tensors_find(const awq_checkpoint_tensors *tensors,
                                                   const char *name)
{
    size_t low = 0, high = tensors->count;
    while (low < high) { /* the first of equals */
        size_t middle = low + (high - low) / 2;
        if (strcmp(tensors->items[middle].tensor->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tensors->count || strcmp(tensors->items[low].tensor->name, name) != 0) return NULL;
    return &tensors->items[low];
}

static const char *shard_name(const checker *check, const awq_checkpoint_tensor *tensor)
{
    return check->files->shards[tensor->shard].name;
}

static void check_duplicates(checker *check)
{
    limited list = {.problems = check->problems, .most = check->most};
    awq_checkpoint_tensor *items = check->tensors->items;
    for (size_t i = 1; i < check->tensors->count; i++) {
        if (strcmp(items[i - 1].tensor->name, items[i].tensor->name) != 0) continue;
        limited_add(&list, "'%s': tensor '%.200s' is in both '%s' and '%s'", check->directory,
                    items[i].tensor->name, shard_name(check, &items[i - 1]),
                    shard_name(check, &items[i]));
        items[i].settled = true;
    }
    limited_finish(&list, check->directory, "are in more than one shard");
}

/* Whether a shard of this name was opened. */
static bool is_open(const awq_checkpoint_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++)
        if (!strcmp(files->shards[i].name, name)) return files->shards[i].file != NULL;
    return false;
}

/* Each tensor of the index is in the shard that the index says. */
static void check_index_entries(checker *check)
{
    limited list = {.problems = check->problems, .most = check->most};
    const char *name;
    json_t *value;
    json_object_foreach(check->files->weight_map, name, value)
    {
        const char *shard = json_string_value(value);
        const awq_checkpoint_tensor *found = awq_checkpoint_tensors_find(check->tensors, name);
        const awq_checkpoint_tensor *end = check->tensors->items + check->tensors->count;
        const awq_checkpoint_tensor *at = found;
        while (at && at < end && !strcmp(at->tensor->name, name) &&
               strcmp(shard_name(check, at), shard) != 0)
            at++;
        bool there = at && at < end && !strcmp(at->tensor->name, name);
        if (there || !is_open(check->files, shard)) continue;
        limited_add(&list,
                    "'%s/%s' lacks tensor '%.200s', which " AWQ_INDEX_NAME " says it holds%s%s",
                    check->directory, shard, name, found ? "; it is in " : "",
                    found ? shard_name(check, found) : "");
    }
    limited_finish(&list, check->directory, "are not in the shard that the index says");
}

/* Each tensor of a shard is in the index. */
static void check_unlisted(checker *check)
{
    limited list = {.problems = check->problems, .most = check->most};
    for (size_t i = 0; i < check->tensors->count; i++) {
        awq_checkpoint_tensor *item = &check->tensors->items[i];
        const char *name = item->tensor->name;
        if (item->settled || json_object_get(check->files->weight_map, name)) continue;
        if (check->model && awq_expected_ignores(check->model, name)) continue;
        limited_add(&list, "'%s/%s' holds tensor '%.200s', which " AWQ_INDEX_NAME " does not list",
                    check->directory, shard_name(check, item), name);
        item->settled = true;
    }
    limited_finish(&list, check->directory, "are not in the index");
}

static bool fits(const awq_expected *expected, const awq_tensor *tensor)
{
    size_t bytes = (size_t)expected->tensor.dims * sizeof tensor->shape[0];
    return tensor->dims == expected->tensor.dims &&
           !memcmp(tensor->shape, expected->tensor.shape, bytes) &&
           awq_expected_dtype_fits(expected, tensor->dtype);
}

static void check_expected(const awq_expected *expected, void *context)
{
    checker *check = context;
    const char *name = expected->tensor.name;
    awq_checkpoint_tensor *found = awq_checkpoint_tensors_find(check->tensors, name);
    check->scaled = check->scaled || expected->of;
    if (!found) { /* if the index has it, its shard's problem was named */
        if (json_object_get(check->files->weight_map, name)) return;
        if (expected->of)
            limited_add(&check->unscaled,
                        "'%s': tensor '%s' is of small floats, and its scales are missing: there "
                        "is no '%s'",
                        check->directory, expected->of, name);
        else
            add_name(check, check->missing, "lacks tensor", name);
        return;
    }
    found->settled = true;
    found->expected = fits(expected, found->tensor);
    if (found->expected) return;
    char is[AWQ_SHAPE_TEXT_BYTES], should[AWQ_SHAPE_TEXT_BYTES];
    limited_add(&check->mismatches, "'%s/%s': tensor '%s' is %s %s, expected %s %s",
                check->directory, shard_name(check, found), name,
                awq_dtype_name(found->tensor->dtype), awq_tensor_shape_text(is, found->tensor),
                awq_expected_dtype_text(expected),
                awq_tensor_shape_text(should, &expected->tensor));
}

static bool holds(const checker *check, const char *base, size_t length, const char *suffix)
{
    char name[512];
    int written = snprintf(name, sizeof name, "%.*s%s", (int)length, base, suffix);
    return written < (int)sizeof name && awq_checkpoint_tensors_find(check->tensors, name);
}

/* P.weight beside P's codes: worse than a stranger. */
static bool is_twin(const checker *check, const char *name)
{
    static const char suffix[] = ".weight";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return length > tail && !strcmp(name + length - tail, suffix) &&
           (holds(check, name, length - tail, ".qweight") ||
            holds(check, name, length - tail, ".weight_packed"));
}

/* Scales without what they scale: without them the weight is another. */
static void check_stray_scales(checker *check)
{
    limited list = {.problems = check->problems, .most = check->most};
    for (size_t i = 0; i < check->tensors->count; i++) {
        awq_checkpoint_tensor *item = &check->tensors->items[i];
        const char *name = item->tensor->name;
        if (item->settled || !awq_model_owns(check->model, name)) continue;
        item->settled = check->scaled && awq_expected_scales_activations(name);
        if (item->settled || !awq_weight_is_stray_scale(check->tensors, name)) continue;
        limited_add(&list,
                    "'%s/%s': tensor '%s' is the scales of a weight of small floats that is not "
                    "there",
                    check->directory, shard_name(check, item), name);
        item->settled = true;
    }
    limited_finish(&list, check->directory, "are scales of nothing");
}

/* What the model does not call for is copied or a problem. */
static void check_unknown(const checker *check)
{
    name_list list = {0};
    for (size_t i = 0; i < check->tensors->count; i++) {
        awq_checkpoint_tensor *item = &check->tensors->items[i];
        const char *name = item->tensor->name;
        if (item->settled || awq_expected_ignores(check->model, name)) continue;
        bool twin = is_twin(check, name);
        item->copied = !twin && awq_checkpoint_copies_name(check->model, name);
        if (item->copied) continue;
        add_name(check, &list,
                 twin ? "holds a full-precision twin of a quantized weight, and loaders may take "
                        "either:"
                      : "holds a tensor that its config.json does not call for:",
                 name);
    }
    finish_names(check, &list, "holds tensors that its config.json does not call for");
}

static void check_model(checker *check)
{
    name_list missing = {0};
    check->missing = &missing;
    awq_expected_visit(check->model, check->tensors, check_expected, check);
    limited_finish(&check->mismatches, check->directory, "have another shape or dtype");
    limited_finish(&check->unscaled, check->directory, "have no scales");
    finish_names(check, &missing, "lacks tensors that its config.json calls for");
    if (!check->model->quantized) check_stray_scales(check);
    check_unknown(check);
}

void awq_checkpoint_tensors_check(const awq_checkpoint_files *files, const awq_model *model,
                                  const char *directory, awq_naming naming,
                                  awq_checkpoint_tensors *out, awq_problems *problems)
{
    checker check = {.files = files,
                     .model = model,
                     .directory = directory,
                     .tensors = out,
                     .problems = problems,
                     .most = naming == AWQ_NAME_ALL ? SIZE_MAX : SHOWN};
    check.mismatches = (limited){.problems = problems, .most = check.most};
    check.unscaled = check.mismatches;
    if (!gather(files, out)) {
        awq_problems_add(problems, AWQ_ERR_MEMORY, "cannot open '%s': no memory", directory);
        return;
    }
    check_duplicates(&check);
    if (files->weight_map) {
        check_index_entries(&check);
        check_unlisted(&check);
    }
    /* a single file that could not be opened explains everything that is missing */
    if (model && (files->weight_map || files->shards[0].file)) check_model(&check);
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++)
        if (out->items[i].expected || out->items[i].copied) out->items[kept++] = out->items[i];
    out->count = kept;
    if (!awq_checkpoint_tensors_list(files, out))
        awq_problems_add(problems, AWQ_ERR_MEMORY, "cannot open '%s': no memory", directory);
}
