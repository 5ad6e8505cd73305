/* SPDX-License-Identifier: MIT */
#include "jobs/run/run_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/log.h"
#include "io/files/json.h"
#include "io/files/publish.h"
#include "io/records/layer_record.h"
#include "jobs/plan/job.h"

static awq_status path_of(char out[AWQ_PATH_BYTES], const char *run, const char *folder,
                          int64_t layer, const char *extension, awq_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s/%05lld.%s", folder, (long long)layer, extension);
    return awq_path_join(out, run, name, err);
}

awq_status awq_run_layer_path(char out[AWQ_PATH_BYTES], const char *run, int64_t layer,
                              const char *extension, awq_error *err)
{
    return path_of(out, run, "layers", layer, extension, err);
}

awq_status awq_run_boundary_path(char out[AWQ_PATH_BYTES], const char *run, int64_t layer,
                                 awq_error *err)
{
    return path_of(out, run, "boundaries", layer, "h5", err);
}

/* ---- what an output directory is ---- */

bool awq_output_is_companion(const char *name)
{
    static const char *const patterns[] = {"generation_config.json",
                                           "tokenizer*",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "chat_template*",
                                           "preprocessor_config.json",
                                           "processor_config.json",
                                           "video_preprocessor_config.json",
                                           "modules.json",
                                           "config_sentence_transformers.json",
                                           "sentence_bert_config.json",
                                           NULL};
    for (int i = 0; patterns[i]; i++)
        if (!fnmatch(patterns[i], name, 0)) return true;
    return false;
}

/* What awqrun itself puts into an output directory; ".*.tmp" are unpublished temporaries. */
static bool is_ours(const char *name)
{
    static const char *const patterns[] = {AWQ_RUN_DIRECTORY_NAME,
                                           AWQ_STATISTICS_NAME,
                                           AWQ_REPORT_NAME,
                                           "config.json",
                                           "model.safetensors",
                                           "model.safetensors.index.json",
                                           "model-[0-9]*-of-[0-9]*.safetensors",
                                           ".*.tmp",
                                           NULL};
    for (int i = 0; patterns[i]; i++)
        if (!fnmatch(patterns[i], name, 0)) return true;
    return awq_output_is_companion(name);
}

static bool has(const char *directory, const char *name)
{
    char path[AWQ_PATH_BYTES];
    awq_error ignored;
    return !awq_path_join(path, directory, name, &ignored) && awq_path_exists(path);
}

awq_status awq_out_require(const char *out, awq_error *err)
{
    errno = 0;
    if (awq_path_is_directory(out)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT, "cannot open '%s': %s", out,
                    strerror(errno ? errno : ENOTDIR));
}

awq_status awq_out_inspect(const char *out, awq_out_state *state, char foreign[256], awq_error *err)
{
    *state = AWQ_OUT_FREE;
    *foreign = '\0';
    DIR *directory = opendir(out);
    if (!directory) {
        if (errno == ENOENT) return AWQ_OK;
        return awq_fail(err, AWQ_ERR_IO, "cannot open output directory '%s': %s", out,
                        strerror(errno));
    }
    bool ours = has(out, AWQ_RUN_DIRECTORY_NAME "/job.json") || has(out, AWQ_STATISTICS_NAME);
    bool complete = has(out, "config.json") && has(out, AWQ_STATISTICS_NAME);
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        bool run_directory = !strcmp(name, AWQ_RUN_DIRECTORY_NAME);
        if (!run_directory) empty = false;
        bool known = run_directory || ((ours || complete) && is_ours(name));
        if (!known && (!*foreign || strcmp(name, foreign) < 0))
            snprintf(foreign, 256, "%.255s", name);
    }
    closedir(directory);
    *state = complete   ? AWQ_OUT_COMPLETE
             : *foreign ? AWQ_OUT_FOREIGN
             : ours     ? AWQ_OUT_STARTED
                        : AWQ_OUT_FREE;
    if (*state == AWQ_OUT_FREE && !empty) *state = AWQ_OUT_FOREIGN;
    return AWQ_OK;
}

static awq_status remove_file(const char *directory, const char *name, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, directory, name, err)) return err->status;
    if (unlink(path) && errno != ENOENT)
        return awq_fail(err, AWQ_ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
    return AWQ_OK;
}

awq_status awq_out_discard(const char *out, awq_error *err)
{
    if (remove_file(out, "config.json", err)) return err->status;
    DIR *directory = opendir(out);
    if (!directory) return awq_fail(err, AWQ_ERR_IO, "cannot open '%s': %s", out, strerror(errno));
    awq_status status = AWQ_OK;
    for (struct dirent *entry; !status && (entry = readdir(directory));)
        if (strcmp(entry->d_name, AWQ_RUN_DIRECTORY_NAME) &&
            strcmp(entry->d_name, AWQ_STATISTICS_NAME) && is_ours(entry->d_name))
            status = remove_file(out, entry->d_name, err);
    closedir(directory);
    return status ? status : remove_file(out, AWQ_STATISTICS_NAME, err);
}

/* ---- prepare ---- */

static awq_status write_job(const char *path, const json_t *fingerprint, const awq_options *options,
                            awq_error *err)
{
    char text[AWQ_FINGERPRINT_BYTES];
    if (awq_job_fingerprint_text(fingerprint, text, err)) return err->status;
    json_t *object =
        json_pack("{s:s, s:s, s:O, s:o}", "awqrun", AWQ_VERSION, "fingerprint_crc32", text,
                  "fingerprint", fingerprint, "options", awq_options_to_json(options, false));
    if (!object) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for '%s'", path);
    awq_status status = awq_json_write(path, object, err);
    json_decref(object);
    return status;
}

/* Reads job.json; one whose fingerprint is not what was written is corrupt. */
static awq_status read_job(const char *path, json_t **out, awq_error *err)
{
    json_t *job = NULL;
    char text[AWQ_FINGERPRINT_BYTES];
    if (awq_json_read(path, 64 << 20, &job, err)) return err->status;
    const json_t *fingerprint = json_object_get(job, "fingerprint");
    const char *recorded = json_string_value(json_object_get(job, "fingerprint_crc32"));
    awq_status status = AWQ_OK;
    if (fingerprint) status = awq_job_fingerprint_text(fingerprint, text, err);
    if (!status && (!fingerprint || !recorded || strcmp(recorded, text) != 0))
        status = awq_fail(err, AWQ_ERR_CORRUPT,
                          "'%s' is damaged: its fingerprint has another crc32", path);
    if (status)
        json_decref(job);
    else
        *out = job;
    return status;
}

void awq_run_kind(const char *run, char kind[AWQ_KIND_BYTES])
{
    char path[AWQ_PATH_BYTES];
    awq_error none;
    json_t *job = NULL;
    *kind = '\0';
    if (awq_path_join(path, run, "job.json", &none) || !awq_path_exists(path) ||
        read_job(path, &job, &none))
        return;
    const char *text =
        json_string_value(json_object_get(json_object_get(job, "fingerprint"), "backend"));
    if (text) snprintf(kind, AWQ_KIND_BYTES, "%s", text);
    json_decref(job);
}

static awq_status make_folder(const char *run, const char *name, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_path_join(path, run, name, err) || awq_path_make_directory(path, err))
        return err->status;
    int removed = 0;
    if (awq_publish_sweep(path, &removed, err)) return err->status;
    if (removed)
        AWQ_LOG(AWQ_LOG_INFO, "stale temporaries removed", AWQ_TEXT("directory", path),
                AWQ_WHOLE("files", removed));
    return AWQ_OK;
}

awq_status awq_run_prepare(const char *run, const json_t *fingerprint, const awq_options *options,
                           awq_problems *problems, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    json_t *earlier = NULL;
    if (make_folder(run, "", err) || make_folder(run, "layers", err) ||
        make_folder(run, "boundaries", err) || awq_path_join(path, run, "job.json", err))
        return err->status;
    if (!awq_path_exists(path)) return write_job(path, fingerprint, options, err);
    if (read_job(path, &earlier, err)) { /* layer records carry the fingerprint too */
        awq_report_warning("%s; rewriting it", err->text);
        return write_job(path, fingerprint, options, err);
    }
    awq_job_fingerprint_compare(json_object_get(earlier, "fingerprint"), fingerprint, problems);
    json_decref(earlier);
    return AWQ_OK;
}

/* ---- scan ---- */

static void remove_bad(const char *path, const char *why)
{
    awq_report_warning("%s; it is done again", why);
    if (unlink(path) && errno != ENOENT)
        awq_report_warning("cannot remove '%s': %s", path, strerror(errno));
}

/* A layer is done when its .h5 is sound and tells of the .safetensors beside it. */
static awq_status scan_layer(const char *run, const char *fingerprint, int64_t layer, bool *done,
                             awq_error *err)
{
    char h5[AWQ_PATH_BYTES], tensors[AWQ_PATH_BYTES];
    if (awq_run_layer_path(h5, run, layer, "h5", err) ||
        awq_run_layer_path(tensors, run, layer, "safetensors", err))
        return err->status;
    *done = false;
    if (!awq_path_exists(h5)) return AWQ_OK;
    *done = !awq_layer_record_check(h5, tensors, layer, fingerprint, err);
    if (*done) return AWQ_OK;
    if (err->status != AWQ_ERR_CORRUPT && awq_path_exists(tensors)) return err->status;
    remove_bad(h5, err->text);
    if (awq_path_exists(tensors)) unlink(tensors);
    return AWQ_OK;
}

/* Reads it all, so that a damaged one is found now and not in the middle of a stage. */
static awq_status check_boundary(const char *path, const awq_boundary_shape *shape,
                                 const char *fingerprint, awq_error *err)
{
    awq_boundary *boundary;
    int64_t tiles = (shape->sequences + shape->tile_sequences - 1) / shape->tile_sequences;
    size_t floats = (size_t)(shape->tile_sequences * shape->length * shape->hidden);
    float *tile = malloc(floats * sizeof *tile);
    if (!tile) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to check '%s'", path);
    awq_status status = awq_boundary_open(path, shape, fingerprint, &boundary, err);
    if (!status) {
        for (int64_t i = 0; !status && i < tiles; i++)
            status = awq_boundary_read(boundary, i, tile, err);
        awq_boundary_close(boundary);
    }
    free(tile);
    return status;
}

static awq_status scan_boundary(const char *run, const char *fingerprint,
                                const awq_boundary_shape *shape, bool *present, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    if (awq_run_boundary_path(path, run, shape->layer, err)) return err->status;
    *present = false;
    if (!awq_path_exists(path)) return AWQ_OK;
    *present = !check_boundary(path, shape, fingerprint, err);
    if (*present) return AWQ_OK;
    if (err->status != AWQ_ERR_CORRUPT) return err->status;
    remove_bad(path, err->text);
    return AWQ_OK;
}

awq_status awq_run_scan(const char *run, const char *fingerprint, const awq_boundary_shape *shape,
                        bool *done, bool *boundary, awq_error *err)
{
    if (scan_layer(run, fingerprint, shape->layer, done, err)) return err->status;
    return scan_boundary(run, fingerprint, shape, boundary, err);
}

awq_status awq_run_discard(const char *run, awq_error *err)
{
    static const char *const parts[] = {"layers", "boundaries", "job.json", "status.json", NULL};
    for (int i = 0; parts[i]; i++) {
        char path[AWQ_PATH_BYTES];
        if (awq_path_join(path, run, parts[i], err) || awq_path_remove_tree(path, err))
            return err->status;
    }
    return AWQ_OK;
}
