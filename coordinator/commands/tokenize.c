/* SPDX-License-Identifier: MIT
 * awqrun tokenize: from text to a tokens file. Needs config.json and the tokenizer, no weights. */
#include <stdio.h>

#include "coordinator/check/calibration.h"
#include "coordinator/commands/commands.h"
#include "io/files/json.h"
#include "io/files/path.h"
#include "io/formats/quantization_config.h"

static awq_status tokenize(const awq_options *options, awq_problems *problems, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    json_t *config = NULL;
    awq_model model = {.vocab = 0};
    awq_tokens tokens = {0};
    awq_calibration calibration;
    if (awq_path_join(path, options->model, "config.json", err) ||
        awq_json_read(path, 64 << 20, &config, err))
        return err->status;
    awq_model_from_config(config, &model, problems);
    json_decref(config);
    if (problems->count) return AWQ_OK;
    awq_status status = awq_calibration_make(options, model.vocab, &tokens, &calibration, err);
    if (!status)
        awq_tokens_check(&tokens, options->out, model.vocab, model.max_positions, problems);
    if (!status && !problems->count) status = awq_tokens_write(options->out, &tokens, err);
    if (!status && !problems->count) {
        printf("%s: %lld sequences of %lld tokens\n", options->out, (long long)tokens.sequences,
               (long long)tokens.length);
        awq_calibration_print(stdout, &calibration);
    }
    awq_tokens_release(&tokens);
    awq_model_release(&model);
    return status;
}

int awq_command_tokenize(const awq_call *call)
{
    awq_problems problems;
    awq_error err;
    awq_status status = AWQ_OK;
    awq_problems_init(&problems);
    awq_calibration_check(&call->options->text, &problems);
    if (!problems.count) status = tokenize(call->options, &problems, &err);
    int code = problems.count ? awq_exit_problems(&problems)
               : status       ? awq_exit_failed(&err)
                              : AWQ_EXIT_DONE;
    awq_problems_release(&problems);
    return code;
}
