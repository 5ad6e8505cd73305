/* SPDX-License-Identifier: MIT
 * io/records/layer_record.h - the durable result of one layer, in a run directory's layers/.
 *
 *   00017.safetensors   the layer's tensors as the output checkpoint will hold them
 *   00017.h5            statistics, and bytes + crc32 of the .safetensors
 *
 * The .h5 is published after its .safetensors; its presence with a matching crc is what makes a
 * layer done. HDF5 layout, all little-endian, object times off so that equal content is equal
 * bytes:
 *
 *   /                    attributes: layer int64, fingerprint string, tensors_bytes uint64,
 *                        tensors_crc32 uint32, tokens int64, fold_error float64
 *   /groups/NAME         NAME is a scale group: "qkv", "o", "gate_up", "down"; of a sparse layer
 *                        "experts.3.down", "shared_expert.down" instead of the last
 *     mean_abs float32 [in]; scales float32 [in] (as folded, 1 where not smoothed)
 *     alpha float64 [candidates]; duo uint8 [candidates]; loss float64 [candidates]; measured
 *     float64 [candidates]: the share of the output's rows that the loss was measured on; below 1
 *     it is an estimate
 *     attributes: index int64 (in search order, from 0), expert int64 (whose tokens; -1: all of the
 *     layer's), tokens int64 (that counted; 0: it was rounded plainly), chosen int64 (index of the
 *     winner; -1: fell back to the identity)
 *   /linears/NAME        NAME is "q_proj" ... "down_proj"; of a sparse layer "experts.3.gate_proj"
 *                        or "experts.3.w1" .., "gate" for the router, "shared_expert_gate"
 *     attributes: index int64 (from 0), group int64 (index of the group whose input it reads),
 *     expert int64 (as above), loss_rounding, loss float64 (summed squared output error over all
 * tokens of plain rounding, and of what was written), energy float64 (summed squared output),
 *     clipped_groups int64 (groups whose range was cut), groups int64, damp float64 (that error
 *     feedback took, docs/awq.md 2.9; 0: weights were rounded to nearest)
 *     clip_counts int64 [shapes, 10]: how many groups the clip search cut by step j (docs/awq.md
 *     2.8); one row, or one for the upper and one for the lower end of the range
 *   /seconds             attributes: read, forward, gram, search, clip, feedback, pack, write
 *                        float64, of a layer in parts their sums; the only part that differs
 *                        between two runs of one job
 *   /seconds/when        of the last part. attributes: worker int64 (from 1), host string; begin,
 *                        end float64 [5]: of the spans read, flow, search, pack, write, in
 *                        seconds since 1970 by the clock of that host; 0 where there was none
 *
 * The first 512 bytes are a user block, which HDF5 readers skip: a line of text with the size and
 * crc32 of all that follows. A file that does not match it is corrupt. */
#ifndef AWQ_IO_RECORDS_LAYER_RECORD_H
#define AWQ_IO_RECORDS_LAYER_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/clip.h"
#include "io/core/error.h"
#include "io/files/safetensors.h"
#include "io/model/model.h"
#include "io/records/tensor_sums.h"

/* X(field, name): where a layer's time goes. pack: codes, and what they cost; their words are
 * packed and written by another thread, both in write. */
#define AWQ_PHASE_LIST(X)                                                                          \
    X(AWQ_PHASE_READ, "read")                                                                      \
    X(AWQ_PHASE_FORWARD, "forward")                                                                \
    X(AWQ_PHASE_GRAM, "gram")                                                                      \
    X(AWQ_PHASE_SEARCH, "search")                                                                  \
    X(AWQ_PHASE_CLIP, "clip")                                                                      \
    X(AWQ_PHASE_FEEDBACK, "feedback")                                                              \
    X(AWQ_PHASE_PACK, "pack")                                                                      \
    X(AWQ_PHASE_WRITE, "write")

typedef enum awq_phase {
#define AWQ_PHASE_ENUM(name, text) name,
    AWQ_PHASE_LIST(AWQ_PHASE_ENUM)
#undef AWQ_PHASE_ENUM
        AWQ_PHASES
} awq_phase;

const char *awq_phase_name(awq_phase phase);

/* X(field, name): when a layer was worked on. Unlike the phases, which are sums over tiles and
 * linears, each is one stretch of wall clock: its weights are read; the tiles flow through its
 * stage, which is shared by the stage's layers and has waiting in it; its scales are searched; its
 * linears are clipped and rounded; its tensors are packed and written. */
#define AWQ_SPAN_LIST(X)                                                                           \
    X(AWQ_SPAN_READ, "read")                                                                       \
    X(AWQ_SPAN_FLOW, "flow")                                                                       \
    X(AWQ_SPAN_SEARCH, "search")                                                                   \
    X(AWQ_SPAN_PACK, "pack")                                                                       \
    X(AWQ_SPAN_WRITE, "write")

typedef enum awq_span {
#define AWQ_SPAN_ENUM(name, text) name,
    AWQ_SPAN_LIST(AWQ_SPAN_ENUM)
#undef AWQ_SPAN_ENUM
        AWQ_SPANS
} awq_span;

const char *awq_span_name(awq_span span);

enum { AWQ_RECORD_HOST_BYTES = 64 };

/* Who worked on a layer, and when: seconds since 1970, both 0 for a span that was not. */
typedef struct awq_layer_when {
    int64_t worker; /* 1 is the first; 0: not known */
    char host[AWQ_RECORD_HOST_BYTES];
    double begin[AWQ_SPANS];
    double end[AWQ_SPANS];
} awq_layer_when;

/* As in the file: of a group or linear in its layer. */
enum { AWQ_RECORD_NAME_BYTES = 40 };

typedef struct awq_group_record {
    char name[AWQ_RECORD_NAME_BYTES];
    int64_t expert;     /* whose tokens its input is of; -1: all of the layer's */
    int64_t tokens;     /* that its input was measured on */
    int64_t channels;   /* in */
    int64_t candidates; /* 0: the group was not searched (o with o-proj skip) */
    int64_t chosen;     /* index into the candidates; -1: the identity, by fallback or unsearched */
    float *mean_abs;    /* [channels], owned */
    float *scales;      /* [channels], owned */
    double *alpha;      /* [candidates], owned */
    uint8_t *duo;       /* [candidates], owned: 1 for the duo rule */
    double *loss;       /* [candidates], owned: mean squared output error, docs/awq.md 2.5 */
    double *measured;   /* [candidates], owned: on what share of the rows; below 1: an estimate */
} awq_group_record;

typedef struct awq_linear_record {
    char name[AWQ_RECORD_NAME_BYTES];
    int64_t group;        /* whose input it reads */
    int64_t expert;       /* whose tokens it sees; -1: all of the layer's */
    double loss_rounding; /* trace(D G D^T), D of plain rounding */
    double loss;          /* the same of what was written */
    double energy;        /* trace(W G W^T) */
    int64_t groups;       /* rows times groups a row */
    int64_t clipped_groups;
    double damp;         /* of error feedback; 0: rounded to nearest */
    int64_t clip_shapes; /* rows of clip_counts: 1, or 2 when the ends are cut apart */
    int64_t clip_counts[AWQ_CLIP_SHAPES][AWQ_CLIP_STEPS]; /* groups by step */
} awq_linear_record;

typedef struct awq_layer_record {
    int64_t layer;
    int64_t tokens;    /* that counted */
    double fold_error; /* relative, docs/awq.md 1's self-check */
    int groups;
    int linears;
    awq_group_record *group;   /* [groups], in the layer's order, owned */
    awq_linear_record *linear; /* [linears], likewise */
    double seconds[AWQ_PHASES];
    awq_layer_when when;
    uint64_t tensors_bytes;
    uint32_t tensors_crc;
} awq_layer_record;

/* Empty, without groups and linears. */
void awq_layer_record_init(awq_layer_record *record);
/* Gives an empty record the groups and linears of a layer. */
awq_status awq_layer_record_shape(awq_layer_record *record, const awq_layer_spec *layer,
                                  awq_error *err);
void awq_layer_record_release(awq_layer_record *record);

/* sqrt(sum of loss / sum of energy) over the layer's linears: what a person reads. */
double awq_layer_record_relative_error(const awq_layer_record *record);
/* The same for plain rounding. */
double awq_layer_record_rounding_error(const awq_layer_record *record);

/* Publishes the statistics as `path` (an .h5); `fingerprint` says which job it belongs to. */
awq_status awq_layer_record_write(const char *path, const awq_layer_record *record,
                                  const char *fingerprint, awq_error *err);
/* Reads them back; a fingerprint other than `fingerprint` (NULL: any) is AWQ_ERR_CORRUPT, as is
 * anything not as described above. Release the result. */
awq_status awq_layer_record_read(const char *path, const char *fingerprint, awq_layer_record *out,
                                 awq_error *err);

/* The same of this layer: another layer's record is AWQ_ERR_CORRUPT as well. */
awq_status awq_layer_record_read_layer(const char *path, int64_t layer, const char *fingerprint,
                                       awq_layer_record *out, awq_error *err);

/* Whether the tensors are those that the record is of, without reading their data: crc [tensors] is
 * the crc32 of each, in the file's order. AWQ_ERR_CORRUPT when they are not. */
awq_status awq_layer_record_vouch(const awq_layer_record *record, const awq_safetensors *tensors,
                                  const uint32_t *crc, awq_error *err);
/* Whether a layer is done: reads its record `h5_path` and compares `tensors_path` with the size and
 * crc32 in it. AWQ_ERR_CORRUPT when either is not as written or belongs to another layer; a missing
 * file is AWQ_ERR_IO. */
awq_status awq_layer_record_check(const char *h5_path, const char *tensors_path, int64_t layer,
                                  const char *fingerprint, awq_error *err);

/* What a checkpoint's statistics begin with. */
typedef struct awq_gathered {
    int64_t layers;
    const char *version;         /* of awqrun */
    const char *job;             /* JSON */
    const awq_tensor_sums *sums; /* NULL: none */
} awq_gathered;

/* Gathers the statistics of the layers, read from directory/%05d.h5, into one file, sealed as a
 * record is: /layers/NNNNN as above; attributes on / : awqrun string (version), job string (JSON);
 * /tensors (io/records/tensor_sums.h). */
awq_status awq_layer_records_gather(const char *directory, const awq_gathered *head,
                                    const char *path, awq_error *err);
/* The same file for a checkpoint with the same layers and other tensors: all of `from` but for its
 * /tensors. AWQ_ERR_CORRUPT when `from` is not whole. */
awq_status awq_layer_records_copy(const char *from, const char *path, const awq_tensor_sums *sums,
                                  awq_error *err);
/* The job string of such a file, to be freed. */
awq_status awq_layer_records_job(const char *path, char **job, awq_error *err);

/* What such a file says of itself. Release the result. */
typedef struct awq_layer_records {
    int64_t layers;
    char *version;     /* of the awqrun that wrote it; owned */
    char *job;         /* owned */
    char *fingerprint; /* of its first layer, eight hex digits; owned */
} awq_layer_records;

awq_status awq_layer_records_open(const char *path, awq_layer_records *out, awq_error *err);
void awq_layer_records_release(awq_layer_records *records);
/* One layer of such a file; AWQ_ERR_CORRUPT when it is not as described above. Release the
 * result. */
awq_status awq_layer_records_read(const char *path, int64_t layer, awq_layer_record *out,
                                  awq_error *err);

#endif
