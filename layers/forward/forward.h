/* SPDX-License-Identifier: MIT
 * layers/forward/forward.h - inside the forward pass: what its files share. Attention and MLPs are
 * a file for each kind, and know what is in a layer's description; forward.c knows its halves. */
#ifndef AWQ_LAYERS_FORWARD_FORWARD_H
#define AWQ_LAYERS_FORWARD_FORWARD_H

#include "layers/forward/scratch.h"

typedef struct forward_pass {
    awq_device *device;
    const awq_backend *be;
    const awq_model *model;
    const awq_layer_spec *spec;
    const awq_decoder *decoder;
    awq_scratch *scratch;
    const float *hidden; /* what the halves read */
    float *sum;          /* what they add to; may be `hidden` */
    const float *states; /* those whose planes come with `hidden` .. */
    float *given; /* .. and the same, where a layer puts its keys and values; NULL: it does not */
    int whole;    /* the linear that scratch->whole has been filled by, of this half; -1: none */
    int64_t sequences, rows;
    awq_statistics *statistics;
    const uint8_t *mask;
    double *seconds;
} forward_pass;

/* Some rows of a linear input: device, compute type [count, in]; mask [count], NULL: all count. */
typedef struct forward_rows {
    const void *x;
    const uint8_t *mask;
    int64_t count;
} forward_rows;

/* A pass without statistics. */
forward_pass awq_forward_begin(const awq_forward *what, const float *hidden, float *sum);

/* Adds an input to its group's statistics, if there are any; an expert's are made later. */
void awq_forward_gather(forward_pass *pass, int group, const forward_rows *rows);
/* scratch->normed = pass->hidden through a norm of the layer; -1: as it is. */
void awq_forward_norm(const forward_pass *pass, int norm);
/* sum += x [rows, hidden] through a norm of the layer. */
void awq_forward_norm_add(const forward_pass *pass, int norm, float *sum, const float *x);
/* A vector of the layer, on the device; -1: NULL. */
const float *awq_forward_vector(const forward_pass *pass, int vector);
/* y [count, rows of `part`] = those rows of a linear, times the input. Where they are several runs,
 * the linear is computed whole, once for all of its parts in a half. */
void awq_forward_linear(forward_pass *pass, const awq_rows *part, void *y,
                        const forward_rows *rows);
/* sum [count, out] += its scale times a linear of the input. */
void awq_forward_linear_add(const forward_pass *pass, int linear, float *sum,
                            const forward_rows *rows);

/* pass->sum += what the attention, of any kind, puts out for a norm's output (attention.c). */
void awq_forward_attention(forward_pass *pass, const forward_rows *rows);
/* scratch->normed [rows, channels of o] = what heads of its kind put out (latent.c, delta.c). */
void awq_forward_latent(forward_pass *pass, const forward_rows *rows);
void awq_forward_delta(forward_pass *pass, const forward_rows *rows);
/* The norm of each head of x [rows, heads * width], or of all together, in place; -1: none. */
void awq_forward_norm_heads(const forward_pass *pass, void *x, int64_t width, int norm);
/* The channels of x's heads [rows, heads, head_dim] from `first` on turned by a table; -1: none. */
void awq_forward_turn(const forward_pass *pass, void *x, int64_t heads, int64_t head_dim,
                      int64_t first, int rope);
/* scratch->normed = attention of q, k and v as they are in the scratch. */
void awq_forward_attend(const forward_pass *pass);
/* scratch->gate [count, width] = what the down of an MLP reads. */
void awq_forward_gate_up(forward_pass *pass, const awq_mlp_spec *mlp, const forward_rows *rows);
/* The same of the MLPs: a dense layer's one, or those that the router chooses (mlps.c). */
awq_status awq_forward_mlps(forward_pass *pass, const forward_rows *rows, awq_error *err);

#endif
