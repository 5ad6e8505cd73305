/* SPDX-License-Identifier: MIT */
#include "coordinator/check/check.h"
#include "coordinator/check/calibration.h"
#include "io/core/log.h"
#include "jobs/options/skip.h"
#include "jobs/plan/job.h"

#include <stdlib.h>
#include <string.h>

/* A tile is one chunk of an HDF5 dataset, and those are below 4 GiB. */
static const int64_t MAX_TILE_FLOATS = ((int64_t)1 << 30) - 1;

/* Of the tokens that the module objective is measured on, one must count. */
static void check_objective(const awq_options *options, const awq_tokens *tokens,
                            awq_problems *problems)
{
    int64_t scored = awq_job_objective_sequences(options, tokens) * tokens->length;
    if (!tokens->mask || !scored) return;
    for (int64_t i = 0; i < scored; i++)
        if (tokens->mask[i]) return;
    awq_problems_add(problems, AWQ_ERR_INPUT,
                     "'%s': /mask leaves none of the first %lld tokens, on which the module "
                     "objective is measured; raise --objective-tokens, or set it to 0",
                     options->tokens, (long long)scored);
}

/* An indexer is not run, so all tokens must be among those that it would choose. */
static void check_attended(const awq_model *model, const awq_tokens *tokens, const char *name,
                           awq_problems *problems)
{
    if (!model->most_attended || tokens->length <= model->most_attended) return;
    awq_problems_add(
        problems, AWQ_ERR_INPUT,
        "'%s': sequences of %lld tokens are too long: a token of this model attends to "
        "the %lld that an indexer chooses, and the choice is not computed; use "
        "sequences of %lld tokens at most, of which all are chosen",
        name, (long long)tokens->length, (long long)model->most_attended,
        (long long)model->most_attended);
}

static void check_tokens(const awq_options *options, const awq_inputs *inputs,
                         awq_problems *problems)
{
    const awq_model *model = inputs->model ? awq_checkpoint_model(inputs->model) : NULL;
    if (!model || !inputs->tokens.ids || !inputs->tokens.length) return;
    const char *name = options->tokens ? options->tokens : "the text";
    awq_tokens_check(&inputs->tokens, name, model->vocab, model->max_positions,
                     problems); /* of text, only the length can be wrong by now */
    check_attended(model, &inputs->tokens, name, problems);
    int64_t rows = awq_job_tile_sequences(options, &inputs->tokens) * inputs->tokens.length;
    if (rows > MAX_TILE_FLOATS / model->residual)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "a tile of %lld tokens times %lld channels is 4 GiB or more, which a "
                         "boundary file cannot hold; lower --tile-tokens or use "
                         "shorter sequences",
                         (long long)rows, (long long)model->residual);
    check_objective(options, &inputs->tokens, problems);
}

/* What two models must have in common. */
typedef struct fact {
    const char *name;
    int64_t a, b;
} fact;

/* The first that is not; its name is NULL when all are. */
static fact find_difference(const fact *facts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (facts[i].a != facts[i].b) return facts[i];
    return (fact){0};
}

static fact layers_differ(const awq_layer_spec *a, const awq_layer_spec *b)
{
    const fact facts[] = {
        {"MLP channels", a->mlps.intermediate, b->mlps.intermediate},
        {"experts", a->mlps.routing.experts, b->mlps.routing.experts},
        {"experts a token", a->mlps.routing.active, b->mlps.routing.active},
        {"channels of the shared expert", a->mlps.shared, b->mlps.shared},
        {"heads", a->attention.heads, b->attention.heads},
        {"kv heads", a->attention.kv_heads, b->attention.kv_heads},
        {"channels a head", a->attention.head_dim, b->attention.head_dim},
        {"channels of a head's value", a->attention.value_dim, b->attention.value_dim},
        {"linears", a->linears, b->linears},
    };
    return find_difference(facts, sizeof facts / sizeof *facts);
}

bool awq_models_differ(const awq_model *a, const awq_model *b, char *what, size_t bytes)
{
    const fact facts[] = {{"layers", a->layers, b->layers},
                          {"channels", a->hidden, b->hidden},
                          {"floats between layers", a->residual, b->residual},
                          {"tokens in the vocabulary", a->vocab, b->vocab},
                          {"tokens that an indexer chooses", a->most_attended, b->most_attended}};
    fact found = find_difference(facts, sizeof facts / sizeof *facts);
    for (int64_t i = 0; !found.name && i < a->layers; i++)
        found = layers_differ(awq_model_layer(a, i), awq_model_layer(b, i));
    if (!found.name) return false;
    snprintf(what, bytes, "%s: %lld, not %lld", found.name, (long long)found.b, (long long)found.a);
    return true;
}

/* What a tokenizer.json says cannot be checked against a model that is wrong itself. */
static void make_tokens(const awq_options *options, awq_inputs *out, awq_problems *problems)
{
    awq_calibration calibration;
    awq_error err;
    size_t before = problems->count;
    awq_calibration_check(&options->text, problems);
    if (problems->count > before || !out->model) return;
    int64_t vocab = awq_checkpoint_model(out->model)->vocab;
    if (awq_calibration_make(options, vocab, &out->tokens, &calibration, &err))
        awq_problems_add_error(problems, &err);
    else
        AWQ_LOG(
            AWQ_LOG_INFO, "tokenized", AWQ_WHOLE("documents", calibration.text.documents),
            AWQ_WHOLE("tokens", calibration.tokens), AWQ_WHOLE("left_over", calibration.left_over),
            AWQ_WHOLE("sequences", out->tokens.sequences), AWQ_WHOLE("length", out->tokens.length));
}

void awq_check_source(const awq_options *options, awq_inputs *out, awq_problems *problems)
{
    *out = (awq_inputs){0};
    out->model = awq_checkpoint_open(options->model, problems);
}

void awq_check_inputs(const awq_options *options, awq_inputs *out, awq_problems *problems)
{
    awq_error err;
    char what[128];
    awq_check_source(options, out, problems);
    if (options->against) out->against = awq_checkpoint_open(options->against, problems);
    if (options->text.files)
        make_tokens(options, out, problems);
    else if (awq_tokens_read(options->tokens, options->sequences, &out->tokens, &err))
        awq_problems_add_error(problems, &err);
    check_tokens(options, out, problems);
    if (out->model && out->against && /* compared token by token */
        awq_models_differ(awq_checkpoint_model(out->model), awq_checkpoint_model(out->against),
                          what, sizeof what))
        awq_problems_add(problems, AWQ_ERR_INPUT, "--against '%s' is another model than '%s': %s",
                         options->against, options->model, what);
}

void awq_inputs_release(awq_inputs *inputs)
{
    awq_checkpoint_close(inputs->model);
    awq_checkpoint_close(inputs->against);
    awq_tokens_release(&inputs->tokens);
    *inputs = (awq_inputs){0};
}

/* ---- sizes ---- */

/* The layers' linears; norms and biases as they are; headers and statistics. */
static uint64_t records_bytes(const awq_options *options, const awq_model *model)
{
    awq_quantization quantization = awq_recipe_quantization(&options->recipe, model->dtype);
    uint64_t bytes = 0;
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const awq_layer_spec *spec = awq_model_layer(model, layer);
        bytes += 64 * 1024;
        /* of experts some 4 kB each, and mean|x| and scales of the input of down */
        for (int i = 0; spec->mlps.routing.experts && i < spec->mlps.count; i++)
            bytes += 4096 + 8 * (uint64_t)spec->linear[spec->mlps.mlp[i].down].in;
        for (int i = 0; i < spec->linears; i++) {
            const awq_linear_spec *linear = &spec->linear[i];
            bytes += awq_model_keeps(model, layer, i)
                         ? (uint64_t)(linear->out * linear->in) * awq_dtype_bytes(model->dtype)
                         : awq_format_bytes_of(&quantization, linear->out, linear->in);
            if (linear->bias) bytes += 4 * (uint64_t)linear->out;
        }
        for (int i = 0; i < spec->vectors; i++) bytes += 4 * (uint64_t)spec->vector[i].width;
    }
    return bytes;
}

uint64_t awq_output_bytes(const awq_options *options, const awq_checkpoint *model)
{
    const awq_model *m = awq_checkpoint_model(model);
    uint64_t bytes = awq_checkpoint_copied_bytes(model);
    for (awq_end end = 0; end < AWQ_ENDS; end++)
        if (awq_model_stores(m, end)) bytes += awq_checkpoint_end(model, end)->bytes;
    return bytes + records_bytes(options, m);
}

uint64_t awq_run_bytes(const awq_options *options, const awq_inputs *inputs, int64_t boundaries)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    uint64_t boundary = (uint64_t)(inputs->tokens.sequences * inputs->tokens.length) *
                        (uint64_t)model->residual * sizeof(float);
    return records_bytes(options, model) + (uint64_t)boundaries * boundary;
}
