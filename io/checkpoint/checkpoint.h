/* SPDX-License-Identifier: MIT
 * io/checkpoint/checkpoint.h - a Hugging Face model directory: config.json, and its tensors in one
 * model.safetensors or in the shards of model.safetensors.index.json.
 *
 * Opening checks everything that can be known without reading weights: the index names files of
 * this directory only, each shard is sound, each expected tensor is there once, in the shard that
 * the index says, with the expected shape and a weight's dtype; no tensor of the model's modules is
 * unknown (buffers that old exporters wrote, `rotary_emb.inv_freq`, are ignored; so is the head of
 * a tied model). All others stand beside the model and are copied: towers, projectors, layers that
 * predict further tokens, heads of another kind. */
#ifndef AWQ_IO_CHECKPOINT_CHECKPOINT_H
#define AWQ_IO_CHECKPOINT_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "io/checkpoint/weight.h"
#include "io/core/problems.h"
#include "io/files/safetensors.h"
#include "io/formats/format.h"
#include "io/model/model.h"

typedef struct awq_checkpoint awq_checkpoint;

/* Opens a directory, full precision or quantized. Everything wrong becomes a problem, one line
 * each; returns NULL if any was added. Close the result. */
awq_checkpoint *awq_checkpoint_open(const char *directory, awq_problems *problems);
void awq_checkpoint_close(awq_checkpoint *checkpoint);

/* Opens what there is of a directory, right or wrong, for `awqrun verify`: everything wrong becomes
 * a problem, each tensor's by itself. Only tensors that are as they should be are found; where
 * config.json does not describe a model, awq_checkpoint_model is NULL and none are. NULL: there are
 * no weights to look at. Close the result. */
awq_checkpoint *awq_checkpoint_survey(const char *directory, awq_problems *problems);
/* Whether config.json or the index call for a tensor of this name: where it is missing, opening has
 * made that a problem (as far as the shards could be opened). */
bool awq_checkpoint_calls_for(const awq_checkpoint *checkpoint, const char *name);
/* Files that are no part of the checkpoint and that a loader would read. */
void awq_checkpoint_find_leftovers(const awq_checkpoint *checkpoint, awq_problems *problems);
/* The index's total_size, where there is one. */
void awq_checkpoint_check_index(const awq_checkpoint *checkpoint, awq_problems *problems);

/* The shards, sorted by name; NULL: could not be opened. Index NULL: a single file. */
size_t awq_checkpoint_shard_count(const awq_checkpoint *checkpoint);
const char *awq_checkpoint_shard_name(const awq_checkpoint *checkpoint, size_t index);
const awq_safetensors *awq_checkpoint_shard(const awq_checkpoint *checkpoint, size_t index);
const json_t *awq_checkpoint_index(const awq_checkpoint *checkpoint);

const awq_model *awq_checkpoint_model(const awq_checkpoint *checkpoint);
const json_t *awq_checkpoint_config(const awq_checkpoint *checkpoint);
const char *awq_checkpoint_directory(const awq_checkpoint *checkpoint);
/* Takes a checkpoint of compressed-tensors' integers for a full-precision one whose linears are
 * stored so, all of them to be quantized; others stay what they are. */
void awq_checkpoint_dequantize(awq_checkpoint *checkpoint);
/* Says that a linear of a full-precision model shall be kept so: awq_model.kept. */
void awq_checkpoint_keep(awq_checkpoint *checkpoint, int64_t layer, int linear);
/* A quantized linear's codes, unpacked. The format's errors, or the tensors that are not as they
 * should be, by name. Release *out. */
awq_status awq_checkpoint_unpack(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                                 awq_linear_codes *out, awq_error *err);
/* A tensor by name; NULL: the model has no such tensor. */
const awq_tensor *awq_checkpoint_find(const awq_checkpoint *checkpoint, const char *name);
/* The same for a tensor that opening has proved to be there. */
const awq_tensor *awq_checkpoint_linear(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                                        const char *suffix);
/* How a linear of a model that is not quantized is stored; false: the checkpoint does not have it,
 * which opening has made a problem. Its bias, likewise: a column. */
bool awq_checkpoint_weight(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                           awq_weight *out);
bool awq_checkpoint_bias(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                         awq_weight *out);
const awq_tensor *awq_checkpoint_vector(const awq_checkpoint *checkpoint, int64_t layer, int vector,
                                        int piece);
/* One that the model stores; a tied head is the embedding. NULL: the model is headless. */
const awq_tensor *awq_checkpoint_end(const awq_checkpoint *checkpoint, awq_end end);
/* What the linears of a model that is not quantized are stored in, routers aside. */
typedef struct awq_storage {
    char text[200]; /* "FP8 in blocks of 128 x 128", "BF16, fused experts" */
    bool plain;     /* each in a tensor of its own and of 16 or 32 bits */
    bool coarse;    /* some in integers or 4 bits already, so that quantizing them loses anew */
} awq_storage;
awq_storage awq_checkpoint_storage(const awq_checkpoint *checkpoint);

/* What is copied as it is, of any dtype, by shard and place. Its bytes are not looked at. */
size_t awq_checkpoint_copies(const awq_checkpoint *checkpoint);
const awq_tensor *awq_checkpoint_copied(const awq_checkpoint *checkpoint, size_t index);
uint64_t awq_checkpoint_copied_bytes(const awq_checkpoint *checkpoint);
bool awq_checkpoint_is_copied(const awq_checkpoint *checkpoint, const char *name);
/* config.json with this quantization_config, which names the copied linears as not quantized. The
 * caller decrefs; NULL: no memory. */
json_t *awq_checkpoint_format_config(const awq_checkpoint *checkpoint,
                                     const awq_quantization *quantization);
/* Bytes of all tensors. */
uint64_t awq_checkpoint_bytes(const awq_checkpoint *checkpoint);

/* A job's fingerprint of the model: per shard (sorted by name) its file name, size and header
 * crc32, as a JSON array of objects {"file", "bytes", "header_crc32"}; plus config.json's crc32
 * under {"file": "config.json", "bytes", "crc32"}, "weights", awq_storage.text, unless they are
 * plain, and "taken_as", the family of a model_type that is not known. NULL: no memory. The caller
 * decrefs. */
json_t *awq_checkpoint_fingerprint(const awq_checkpoint *checkpoint);

#endif
