/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/estimate/engines.h"
#include "coordinator/verify/verify.h"

/* ---- the findings, one list ---- */

/* The list that comes next; `at` begins with 0. NULL: there are no more. */
static const awq_problems *next_list(const awq_verification *v, int64_t *at)
{
    int64_t parts = v->findings ? v->parts : 0, list = (*at)++;
    if (list == 0) return &v->structure;
    if (list <= parts) return &v->findings[list - 1];
    if (list == parts + 1) return &v->outliers;
    return list == parts + 2 ? &v->again : NULL;
}

size_t awq_verify_count(const awq_verification *v)
{
    size_t count = 0;
    int64_t at = 0;
    for (const awq_problems *list; (list = next_list(v, &at));) count += list->count;
    return count;
}

static const char *kind_of(const awq_error *finding)
{
    if (finding->status == AWQ_ERR_CORRUPT) return "bytes";
    return finding->status == AWQ_ERR_NUMERIC ? "values" : "structure";
}

/* ---- what was looked at ---- */

typedef struct totals {
    int64_t tensors, summed, compared, linears;
    double largest_steps, largest_relative;
} totals;

static totals add_up(const awq_verification *v)
{
    totals sum = {0};
    for (int64_t part = 0; v->checks && part < v->parts; part++) {
        const awq_layer_checks *checks = &v->checks[part];
        sum.tensors += checks->tensors;
        sum.summed += checks->summed;
        sum.compared += checks->compared;
        for (int64_t i = 0; part && i < checks->linears; i++) {
            const awq_linear_checks *linear = &v->linears[part][i];
            if (linear->steps == -1) continue;
            sum.linears++;
            sum.largest_steps = fmax(sum.largest_steps, linear->steps);
            sum.largest_relative = fmax(sum.largest_relative, linear->relative);
        }
    }
    return sum;
}

/* ---- text ---- */

static bool is_quantized(const awq_verification *v)
{
    return v->model && v->model->quantized;
}

static void print_what_it_is(const awq_verification *v)
{
    const awq_model *model = v->model;
    printf("%s: ", v->options->out);
    if (is_quantized(v)) {
        const awq_quantization *how = &model->quantization;
        printf("%s checkpoint of %lld layers, %d bits, ", awq_format_title(how->format),
               (long long)model->layers, how->bits);
        if (how->group_size > 0)
            printf("groups of %lld: ", (long long)how->group_size);
        else
            printf("a group a row: ");
    }
    size_t count = awq_verify_count(v);
    if (count)
        printf("%zu finding%s\n", count, count > 1 ? "s" : "");
    else
        printf("nothing is wrong\n");
}

static void print_distances(const totals *sum)
{
    printf("  beside the source: ");
    if (sum->linears)
        printf("%lld linears at most %.2f steps off (root mean square), relative error at most "
               "%.1f%%; ",
               (long long)sum->linears, sum->largest_steps, 100 * sum->largest_relative);
    printf("%lld tensors that are not quantized\n", (long long)sum->compared);
}

static void print_checked(const awq_verification *v)
{
    totals sum = add_up(v);
    printf("  looked at %lld tensors: names, shapes, types, values; the crc32 of %lld\n",
           (long long)sum.tensors, (long long)sum.summed);
    if (v->source) print_distances(&sum);
    if (v->layer >= 0)
        printf("  layer %lld reproduced: %lld of %lld tensors have the same bytes\n",
               (long long)v->layer, (long long)v->reproduced.compared,
               (long long)v->reproduced.tensors);
    if (is_quantized(v)) {
        printf("  loads as ");
        awq_engines_print(stdout, v->model, &v->model->quantization);
    }
    for (size_t i = 0; i < v->unchecked.count; i++)
        printf("  not checked: %s\n", v->unchecked.items[i].text);
}

/* ---- JSON ---- */

static json_t *list_findings(const awq_verification *v)
{
    json_t *findings = json_array();
    int64_t at = 0;
    for (const awq_problems *list; (list = next_list(v, &at));)
        for (size_t i = 0; i < list->count; i++)
            json_array_append_new(findings,
                                  json_pack("{s:s, s:s}", "kind", kind_of(&list->items[i]), "text",
                                            list->items[i].text));
    return findings;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *list_linears(const awq_verification *v)
{
    json_t *list = json_array();
    for (int64_t part = 1; v->checks && part < v->parts; part++)
        for (int64_t i = 0; i < v->checks[part].linears; i++) {
            const awq_linear_checks *linear = &v->linears[part][i];
            if (linear->steps == -1) continue;
            const char *name = awq_model_layer(v->model, part - 1)->linear[i].name;
            json_array_append_new(list, json_pack("{s:I, s:s, s:o, s:o}", "layer",
                                                  (json_int_t)(part - 1), "linear", name,
                                                  "relative_error", number(linear->relative),
                                                  "steps", number(linear->steps)));
        }
    return list;
}

static json_t *list_unchecked(const awq_verification *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->unchecked.count; i++)
        json_array_append_new(list, json_string(v->unchecked.items[i].text));
    return list;
}

static json_t *describe_reproduced(const awq_verification *v)
{
    if (v->layer < 0) return json_null();
    return json_pack("{s:I, s:I, s:I}", "layer", (json_int_t)v->layer, "tensors",
                     (json_int_t)v->reproduced.tensors, "same", (json_int_t)v->reproduced.compared);
}

static json_t *describe_engines(const awq_verification *v)
{
    if (!is_quantized(v)) return json_null();
    return awq_engines_json(v->model, &v->model->quantization);
}

static awq_status print_json(const awq_verification *v, awq_error *err)
{
    totals sum = add_up(v);
    json_t *object = json_pack(
        "{s:s, s:b, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "checkpoint", v->options->out,
        "clean", awq_verify_count(v) == 0, "findings", list_findings(v), "tensors",
        (json_int_t)sum.tensors, "tensors_with_crc32", (json_int_t)sum.summed, "tensors_compared",
        (json_int_t)sum.compared, "linears", list_linears(v), "reproduced", describe_reproduced(v),
        "not_checked", list_unchecked(v), "engines", describe_engines(v));
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return AWQ_OK;
}

awq_status awq_verify_print(const awq_verification *v, awq_error *err)
{
    if (v->options->json) return print_json(v, err);
    int64_t at = 0;
    for (const awq_problems *list; (list = next_list(v, &at));)
        for (size_t i = 0; i < list->count; i++) printf("%s\n", list->items[i].text);
    print_what_it_is(v);
    print_checked(v);
    return AWQ_OK;
}
