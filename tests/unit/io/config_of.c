/* SPDX-License-Identifier: MIT */
#include "config_of.h"

#include <stdio.h>

#include "io/formats/quantization_config.h"
#include "scratch.h"

const char *config_of(const char *family, int hidden, const char *extra)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": %d, \"head_dim\": 16" SIZES "%s}", family,
             hidden, extra);
    return text;
}

void expect_problem(const char *text, const char *part)
{
    awq_model model = {.layers = -7};
    awq_problems problems;
    json_error_t error;
    awq_problems_init(&problems);
    json_t *config = json_loads(text, 0, &error);
    if (!config) fail_msg("%s: %s", error.text, text);
    if (awq_model_from_config(config, &model, &problems)) fail_msg("no problem: %s", text);
    assert_int_equal(model.layers, -7); /* untouched */
    if (problems.count != 1)
        for (size_t i = 0; i < problems.count; i++) print_error("%s\n", problems.items[i].text);
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, part);
    assert_contains(problems.items[0].text, "config.json");
    awq_problems_release(&problems);
    json_decref(config);
}

void expect_windows(const awq_model *model, const int64_t windows[4])
{
    assert_int_equal(model->layers, 4);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(awq_model_layer(model, i)->attention.window, windows[i]);
        assert_int_equal(model->kind_of[i], windows[i] != windows[0]);
    }
}
