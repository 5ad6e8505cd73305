/* SPDX-License-Identifier: MIT */
#include "coordinator/assemble/merge.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/assemble/companions.h"
#include "coordinator/assemble/expert_tokens.h"
#include "io/core/clock.h"
#include "io/core/fault.h"
#include "io/core/log.h"
#include "io/files/json.h"
#include "io/files/publish.h"
#include "io/formats/format.h"
#include "io/records/layer_record.h"
#include "jobs/options/amounts.h"
#include "jobs/options/skip.h"

/* ---- shards, by the workers ---- */

static void give_shard(awq_run *run, int worker, size_t *next, const awq_output *output)
{
    if (*next >= output->shards.count) return;
    awq_crew_send(run->crew, worker, awq_letter_create(AWQ_LETTER_SHARD, (int64_t)(*next)++, 0, 0));
}

/* A finished shard: the crc32 of each of its tensors. */
static awq_status take_sums(const awq_letter *letter, const awq_output *output,
                            awq_tensor_sums *sums, awq_error *err)
{
    const awq_shard *shard = &output->shards.items[letter->a];
    if (letter->bytes != shard->count * sizeof *sums->crc)
        return awq_fail(err, AWQ_ERR_INTERNAL, "shard %lld came with %llu bytes of checksums",
                        (long long)letter->a, (unsigned long long)letter->bytes);
    memcpy(sums->crc + shard->first, letter->payload, letter->bytes);
    return AWQ_OK;
}

static awq_status write_shards(awq_run *run, const awq_output *output, awq_tensor_sums *sums,
                               awq_error *err)
{
    size_t next = 0, done = 0;
    for (int i = 0; i < run->crew->count; i++) give_shard(run, i, &next, output);
    while (done < output->shards.count) {
        awq_letter *letter;
        int worker;
        if (awq_run_next(run, AWQ_RUN_MERGING, &letter, &worker, err)) return err->status;
        awq_status status = AWQ_OK;
        if (letter && letter->kind == AWQ_LETTER_SHARD_DONE) {
            status = take_sums(letter, output, sums, err);
            done++;
            give_shard(run, worker, &next, output);
        }
        awq_run_read(run, letter);
        awq_letter_free(letter);
        if (status) return status;
    }
    return AWQ_OK;
}

/* ---- the records that they were made of ---- */

/* crc: of the layer's tensors, in the record's order, as they were read and written. */
static awq_status check_record(const awq_run *run, int64_t layer, const uint32_t *crc,
                               awq_merged *merged, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_layer_record record;
    if (awq_run_layer_path(path, run->directory, layer, "h5", err) ||
        awq_layer_record_read_layer(path, layer, run->fingerprint, &record, err))
        return err->status;
    awq_status status = awq_layer_record_vouch(&record, merged->output.records[layer], crc, err);
    if (!status) status = awq_expert_tokens_add(&merged->tokens, &record, err);
    merged->error += awq_layer_record_relative_error(&record);
    merged->rounding += awq_layer_record_rounding_error(&record);
    awq_layer_record_release(&record);
    return status;
}

/* Nobody has read a shard's bytes but who wrote it: what came out of each record must be what once
 * went in. */
static awq_status check_records(const awq_run *run, const awq_tensor_sums *sums, awq_merged *merged,
                                awq_error *err)
{
    const awq_output *output = &merged->output;
    int64_t layer = -1;
    for (size_t i = 0; i < output->count; i++) {
        if (output->layer[i] <= layer) continue; /* layers come in order, each in a row */
        layer = output->layer[i];
        if (!check_record(run, layer, sums->crc + i, merged, err)) continue;
        if (err->status != AWQ_ERR_CORRUPT) return err->status;
        return awq_error_wrap(err,
                              "layer %lld was damaged after it was written; the same command "
                              "makes it again",
                              (long long)layer);
    }
    return AWQ_OK;
}

/* ---- the small files, here ---- */

static awq_status out_path(const awq_run *run, const char *name, char path[AWQ_PATH_BYTES],
                           awq_error *err)
{
    return awq_path_join(path, run->options->out, name, err);
}

/* One shard needs no index; one of an earlier attempt must not stay. */
static awq_status write_index(const awq_run *run, const awq_output *output, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (out_path(run, "model.safetensors.index.json", path, err)) return err->status;
    if (output->shards.count == 1) return AWQ_OK;
    json_t *index = awq_shards_index(&output->shards, output->tensors);
    if (!index) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_status status = awq_json_write(path, index, err);
    json_decref(index);
    return status;
}

static awq_status gather_statistics(const awq_run *run, const awq_tensor_sums *sums, awq_error *err)
{
    char layers[AWQ_PATH_BYTES], path[AWQ_PATH_BYTES];
    if (awq_path_join(layers, run->directory, "layers", err) ||
        out_path(run, AWQ_STATISTICS_NAME, path, err))
        return err->status;
    json_t *job = awq_job_fingerprint(run->options, run->inputs.model, &run->inputs.tokens,
                                      run->crew->members[0].hello.kind);
    char *text = job ? json_dumps(job, JSON_COMPACT) : NULL;
    json_decref(job);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_gathered head = {
        .layers = run->plan.layers, .version = AWQ_VERSION, .job = text, .sums = sums};
    awq_status status = awq_layer_records_gather(layers, &head, path, err);
    free(text);
    return status;
}

static awq_status write_config(const awq_run *run, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (out_path(run, "config.json", path, err)) return err->status;
    const awq_model *model = awq_checkpoint_model(run->inputs.model);
    awq_quantization quantization = awq_recipe_quantization(&run->options->recipe, model->dtype);
    json_t *config = awq_checkpoint_format_config(run->inputs.model, &quantization);
    if (!config) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_status status = awq_json_write(path, config, err);
    json_decref(config);
    return status;
}

static awq_status merge(awq_run *run, awq_merged *merged, awq_tensor_sums *sums, awq_error *err)
{
    const awq_output *output = &merged->output;
    if (write_shards(run, output, sums, err)) return err->status;
    AWQ_FAULT_POINT("merge-after-shards");
    if (check_records(run, sums, merged, err) || write_index(run, output, err) ||
        awq_companions_copy(run->options->model, run->options->out, err) ||
        gather_statistics(run, sums, err))
        return err->status;
    AWQ_FAULT_POINT("merge-before-config");
    return write_config(run, err);
}

static void tell_merged(const awq_output *output, double seconds)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < output->shards.count; i++) bytes += output->shards.items[i].bytes;
    AWQ_LOG(AWQ_LOG_INFO, "merged", AWQ_WHOLE("shards", output->shards.count),
            AWQ_WHOLE("bytes", bytes), AWQ_REAL("seconds", seconds, 3));
}

awq_status awq_run_merge(awq_run *run, awq_merged *merged, awq_error *err)
{
    int removed;
    double start = awq_clock_seconds();
    awq_output *output = &merged->output;
    awq_tensor_sums sums = {0};
    awq_run_tell(run, AWQ_RUN_MERGING, NULL);
    if (awq_publish_sweep(run->options->out, &removed, err) ||
        awq_output_open(run->directory, run->inputs.model, (uint64_t)run->options->max_shard_size,
                        output, err))
        return err->status;
    AWQ_LOG(AWQ_LOG_INFO, "merging", AWQ_WHOLE("shards", output->shards.count));
    awq_status status = awq_tensor_sums_create(output->tensors, output->count, &sums, err);
    if (!status) status = merge(run, merged, &sums, err);
    if (!status) tell_merged(output, awq_clock_seconds() - start);
    awq_tensor_sums_release(&sums);
    return status;
}

/* ---- what was written ---- */

void awq_merged_release(awq_merged *merged)
{
    awq_output_release(&merged->output);
    awq_expert_tokens_release(&merged->tokens);
}

void awq_run_summary(const awq_run *run, awq_merged *merged)
{
    char text[32];
    const awq_output *output = &merged->output;
    double layers = (double)run->plan.layers;
    awq_format_seconds(text, awq_progress_elapsed(&run->view));
    printf("%s: AWQ checkpoint of %lld layers, %lld bits, groups of %lld, in %s\n",
           run->options->out, (long long)run->plan.layers, (long long)run->options->recipe.bits,
           (long long)run->options->recipe.group_size, text);
    for (size_t i = 0; i < output->shards.count; i++) {
        awq_format_bytes(text, (double)output->shards.items[i].bytes);
        printf("  %-34s %10s\n", output->shards.items[i].name, text);
    }
    printf("  mean relative error of a layer's linears: %.2f%% (plain rounding: %.2f%%)\n",
           100 * merged->error / layers, 100 * merged->rounding / layers);
    awq_expert_tokens_print(stdout, &merged->tokens, run->inputs.tokens.sequences);
}
