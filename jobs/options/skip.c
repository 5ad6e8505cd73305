/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "jobs/options/skip.h"

#include <pcre2.h>
#include <string.h>

static awq_status mark(pcre2_code *code, pcre2_match_data *data, awq_checkpoint *checkpoint,
                       int64_t *kept, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    for (int64_t layer = 0; layer < model->layers; layer++)
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++) {
            char name[AWQ_NAME_BYTES];
            PCRE2_UCHAR text[120] = "";
            if (awq_model_layer(model, layer)->linear[linear].exempt) continue; /* kept anyway */
            awq_linear_full_name(name, model, layer, linear);
            int result = pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, data, NULL);
            if (result == PCRE2_ERROR_NOMATCH) {
                awq_linear_plain_name(name, model, layer, linear);
                result = pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, data, NULL);
            }
            if (result == PCRE2_ERROR_NOMATCH) continue;
            if (result < 0) { /* the library gave up */
                pcre2_get_error_message(result, text, sizeof text);
                return awq_fail(err, AWQ_ERR_USAGE, "--skip cannot be matched with '%s': %s", name,
                                (const char *)text);
            }
            awq_checkpoint_keep(checkpoint, layer, linear);
            ++*kept;
        }
    return AWQ_OK;
}

/* What engines absorb; what is quantized already says for itself what is not. */
static void keep_absorbed(awq_checkpoint *checkpoint)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    if (model->quantized) return;
    for (int64_t layer = 0; layer < model->layers; layer++)
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++)
            if (awq_model_layer(model, layer)->linear[linear].absorbed)
                awq_checkpoint_keep(checkpoint, layer, linear);
}

awq_status awq_job_skip(const awq_options *options, awq_checkpoint *checkpoint, int64_t *kept,
                        awq_error *err)
{
    int error;
    size_t offset;
    int64_t count = 0;
    if (kept) *kept = 0;
    if (options->kv_b_proj == AWQ_ABSORBED_KEEP) keep_absorbed(checkpoint);
    if (!options->skip) return AWQ_OK;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)options->skip, PCRE2_ZERO_TERMINATED, 0, &error, &offset, NULL);
    if (!code) {
        PCRE2_UCHAR text[120] = "";
        pcre2_get_error_message(error, text, sizeof text);
        return awq_fail(
            err, AWQ_ERR_USAGE,
            "--skip takes a regular expression, and '%.200s' is none: %s at character %zu",
            options->skip, (const char *)text, offset + 1);
    }
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    awq_status status = data ? mark(code, data, checkpoint, &count, err)
                             : awq_fail(err, AWQ_ERR_MEMORY, "no memory for --skip");
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    if (!status && kept) *kept = count;
    return status;
}
