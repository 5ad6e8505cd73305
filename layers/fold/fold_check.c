/* SPDX-License-Identifier: MIT
 * layers/fold/fold_check.c - the proof of the folding (docs/awq.md 1): the layer with folded
 * weights must give the output that it gave before, up to rounding, on one tile. fold_proof.c says
 * what is left of the scales in the layer that is run, and how exact that is.
 *
 * Before and after are the same calls on the same shapes, so that a folding that is right changes
 * nothing at all in 16 bits. The output that the first tile had would not do: a product of more
 * rows may be summed in another order.
 *
 * When the error (fold_error.c) is too large, groups are unfolded one after the other until it is
 * not, or the most of it is gone (what was wrongly scaled has been rounded so): the last one is
 * named.
 *
 * Hidden states are compared; what a layer gives to later ones beside them (its keys and values) it
 * reads itself, so that an error in those is one of these.
 *
 * A layer in parts is run from part to part, as tiles are, and the last one compares.
 *
 * A sparse layer is run with the experts that were chosen before: of two logits that are nearly
 * equal the other may be larger now, which would change a token's output altogether. That the
 * choice is still right, up to such ties, is checked by itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/fold/fold_check.h"
#include "layers/fold/fold_error.h"
#include "layers/forward/extent.h"
#include "layers/forward/scratch.h"
#include "layers/forward/states.h"

enum { CHECK_TOKENS = 512 };

/* ---- routing: the folded router must give the logits that the original one gave, whatever choice
 * is made by them. Rounding moves them a little. ---- */

/* Of the largest logit of a row, times the tolerance of the layer's output: what a single logit,
 * which is not averaged over channels and tokens as that is, may be off by. */
enum { LOGIT_SLACK = 10 };

static bool is_held(const awq_quantizer *quantizer, int64_t rows)
{
    const awq_statistics *statistics = quantizer->statistics;
    return quantizer->spec->mlps.routing.experts && statistics->choice &&
           statistics->choice_rows >= rows;
}

/* The router's logits of the run before, [rows, experts], on the heap. */
static float *fetch_logits(const awq_quantizer *quantizer, int64_t rows, awq_error *err)
{
    size_t bytes = (size_t)(rows * quantizer->spec->mlps.routing.experts) * sizeof(float);
    float *logits = awq_allocate(bytes, "router logits", err);
    if (logits && quantizer->be->download(quantizer->device, logits,
                                          quantizer->scratch->routing.logits, bytes, err)) {
        free(logits);
        return NULL;
    }
    return logits;
}

static awq_status compare_logits(const awq_quantizer *quantizer, const float *after, int64_t rows,
                                 double tolerance, awq_error *err)
{
    const awq_mlps_spec *mlps = &quantizer->spec->mlps;
    int64_t experts = mlps->routing.experts;
    int group = quantizer->spec->linear[mlps->router].group;
    for (int64_t row = 0; row < rows; row++) {
        const float *before = quantizer->router_logits + row * experts;
        const float *now = after + row * experts;
        double largest = 0, by = 0;
        for (int64_t e = 0; e < experts; e++) {
            largest = fmax(largest, fabs((double)before[e]));
            by = fmax(by, fabs((double)now[e] - (double)before[e]));
        }
        if (!(by <= LOGIT_SLACK * tolerance * largest))
            return awq_fail(err, AWQ_ERR_NUMERIC,
                            "scale group '%s': folding changes a logit of token %lld's router by "
                            "%.1e (at most %.0e); the router may not have been folded",
                            quantizer->spec->group[group].name, (long long)row, by,
                            LOGIT_SLACK * tolerance * largest);
    }
    return AWQ_OK;
}

static awq_status check_routing(const awq_quantizer *quantizer, int64_t rows, double tolerance,
                                awq_error *err)
{
    if (!quantizer->router_logits) return AWQ_OK;
    float *logits = fetch_logits(quantizer, rows, err);
    if (!logits) return err->status;
    awq_status status = compare_logits(quantizer, logits, rows, tolerance, err);
    free(logits);
    return status;
}

/* ---- from part to part: the check's input, what the MLPs read, and the sum so far ---- */

enum { PASSED = 3 };

static awq_status take_states(const awq_quantizer *quantizer, size_t elements, float *out,
                              awq_error *err)
{
    const awq_exchange *exchange = quantizer->exchange;
    const awq_backend *be = quantizer->be;
    size_t bytes = elements * sizeof *out;
    float *host = awq_allocate(PASSED * bytes, "the folding check", err);
    if (!host) return err->status;
    awq_status status = exchange->take(exchange->context, host, PASSED * bytes, err);
    if (!status && quantizer->decoder->part.index) {
        be->upload(quantizer->device, quantizer->passed, host, 2 * bytes);
        be->upload(quantizer->device, out, host + 2 * elements, bytes);
        status = be->sync(quantizer->device, err);
    }
    free(host);
    return status;
}

static awq_status give_states(const awq_quantizer *quantizer, size_t elements, const float *out,
                              awq_error *err)
{
    const awq_exchange *exchange = quantizer->exchange;
    const awq_backend *be = quantizer->be;
    size_t bytes = elements * sizeof *out;
    float *host = awq_allocate(PASSED * bytes, "the folding check", err);
    if (!host) return err->status;
    awq_status status = be->download(quantizer->device, host, quantizer->passed, 2 * bytes, err);
    if (!status) status = be->download(quantizer->device, host + 2 * elements, out, bytes, err);
    if (!status) status = exchange->give(exchange->context, host, PASSED * bytes, err);
    free(host);
    return status;
}

/* The check's input to where it begins: the layer's, or what the part before has made of it. */
static awq_status begin_layer(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                              size_t elements, float *out, awq_error *err)
{
    if (quantizer->exchange && take_states(quantizer, elements, out, err)) return err->status;
    if (quantizer->decoder->part.index) return AWQ_OK;
    awq_states_take(quantizer->device, quantizer->model, out, check->sequences * check->length,
                    check->input, check->tile_sequences * check->length);
    if (quantizer->exchange)
        quantizer->be->copy(quantizer->device, quantizer->passed, out, elements * sizeof *out);
    return AWQ_OK;
}

/* The decoder as it is now on the check's input, to `out`: scratch->trial or untouched. */
static awq_status run_layer(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                            float *out, awq_error *err)
{
    size_t elements = (size_t)(check->sequences * check->length * quantizer->model->residual);
    if (check->length != quantizer->scratch->size.length ||
        check->sequences * check->length > quantizer->scratch->size.checked)
        return awq_fail(err, AWQ_ERR_INTERNAL, "the folding check does not fit the scratch");
    if (begin_layer(quantizer, check, elements, out, err)) return err->status;
    if (is_held(quantizer, check->sequences * check->length))
        quantizer->scratch->routing.held = quantizer->statistics->choice;
    awq_status status = awq_decoder_forward(
        &(awq_forward){.device = quantizer->device,
                       .model = quantizer->model,
                       .decoder = quantizer->decoder,
                       .scratch = quantizer->scratch,
                       .sequences = check->sequences,
                       .middle = quantizer->exchange ? quantizer->passed + elements : NULL},
        out, err);
    quantizer->scratch->routing.held = NULL;
    if (status || !quantizer->exchange) return status;
    return give_states(quantizer, elements, out, err);
}

static awq_status run_and_compare(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                                  awq_fold_error *found, awq_error *err)
{
    if (run_layer(quantizer, check, quantizer->scratch->trial, err)) return err->status;
    return awq_fold_compare(quantizer, check, found, err);
}

/* A layer in parts names none: that would take all of them for each group. */
static awq_status blame_layer(awq_fold_error found, awq_error *err)
{
    return awq_fail(
        err, AWQ_ERR_NUMERIC,
        "folding changes the layer's output by %.1e (at most %.0e); a reader of a "
        "group's input may be missing; --expert-parts 1 on a worker with the memory for "
        "it names the group",
        found.error, found.most);
}

static awq_status name_culprit(awq_quantizer *quantizer, const awq_kept_tokens *check,
                               awq_fold_error found, awq_error *err)
{
    for (int group = 0; group < quantizer->spec->groups; group++) {
        awq_fold_error left;
        if (awq_fold_proof_unfold(quantizer, group, err) ||
            run_and_compare(quantizer, check, &left, err))
            return err->status;
        if (awq_fold_is_right(left) || left.error <= found.error / 4)
            return awq_fail(err, AWQ_ERR_NUMERIC,
                            "scale group '%s': folding changes the layer's output by %.1e (at "
                            "most %.0e); a reader of its input may be missing",
                            quantizer->out->record.group[group].name, found.error, found.most);
    }
    return awq_fail(
        err, AWQ_ERR_NUMERIC,
        "the layer's output differs by %.1e (at most %.0e) from the original one, with no "
        "scales folded too",
        found.error, found.most);
}

int64_t awq_fold_check_sequences(int64_t sequences, int64_t length)
{
    int64_t enough = length < CHECK_TOKENS ? CHECK_TOKENS / length : 1;
    return sequences < enough ? sequences : enough;
}

awq_tile_size awq_checked_tile(int64_t sequences, int64_t length)
{
    return (awq_tile_size){.rows = sequences * length,
                           .length = length,
                           .checked = awq_fold_check_sequences(sequences, length) * length};
}

/* What is run of the first tile: more may be kept than fit the scratch. */
static awq_kept_tokens checked_part(const awq_quantizer *quantizer,
                                    const awq_kept_tokens *first_tile)
{
    awq_kept_tokens part = *first_tile;
    int64_t most = quantizer->scratch->size.checked / quantizer->scratch->size.length;
    if (!part.tile_sequences || part.sequences < part.tile_sequences)
        part.tile_sequences = part.sequences;
    part.sequences = awq_fold_check_sequences(part.sequences, part.length);
    if (part.sequences > most) part.sequences = most;
    if (quantizer->decoder->part.index) part.input = quantizer->passed; /* which comes with it */
    return part;
}

awq_status awq_fold_check_begin(awq_quantizer *quantizer, const awq_kept_tokens *first_tile,
                                awq_error *err)
{
    awq_kept_tokens check = checked_part(quantizer, first_tile);
    int64_t rows = check.sequences * check.length;
    if (run_layer(quantizer, &check, quantizer->scratch->untouched, err)) return err->status;
    if (!is_held(quantizer, rows)) return AWQ_OK;
    quantizer->router_logits = fetch_logits(quantizer, rows, err);
    return quantizer->router_logits ? AWQ_OK : err->status;
}

awq_status awq_fold_check_layer(awq_quantizer *quantizer, const awq_kept_tokens *first_tile,
                                awq_error *err)
{
    awq_kept_tokens part = checked_part(quantizer, first_tile), *check = &part;
    double tolerance = awq_fold_tolerance(quantizer->device->compute);
    awq_fold_error found;
    if (awq_fold_proof_vectors(quantizer, err)) return err->status;
    if (!awq_layer_part_is_last(quantizer->decoder->part))
        return run_layer(quantizer, check, quantizer->scratch->trial, err);
    if (run_and_compare(quantizer, check, &found, err)) return err->status;
    quantizer->out->record.fold_error = found.error;
    if (check_routing(quantizer, check->sequences * check->length, tolerance, err))
        return err->status;
    if (!awq_fold_is_right(found) && quantizer->exchange) return blame_layer(found, err);
    if (!awq_fold_is_right(found)) return name_culprit(quantizer, check, found, err);
    return awq_quantizer_step(quantizer, AWQ_PHASE_PACK, 0, err);
}
