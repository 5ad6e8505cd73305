/* SPDX-License-Identifier: MIT
 * io/model/recipe.h - how a model is quantized: all options that change a layer's numbers, by value
 * (docs/awq.md 2). Options are read into one, layers compute by it, plans count by it. */
#ifndef AWQ_IO_MODEL_RECIPE_H
#define AWQ_IO_MODEL_RECIPE_H

#include "io/core/clip.h"
#include "io/model/quantization.h"

/* What a candidate is scored by (A 2.5): the exact error of each linear's output; or, for linears
 * that read a norm's output, the error of the attention's or MLP's output on the kept tokens. */
typedef enum awq_objective { AWQ_OBJECTIVE_LINEAR, AWQ_OBJECTIVE_MODULE } awq_objective;

/* Which rows candidates are scored on: as many as it takes to tell them apart, or all (A 2.5). */
typedef enum awq_search { AWQ_SEARCH_RACE, AWQ_SEARCH_EXHAUSTIVE } awq_search;

/* Scales from activations alone, from activations and weights, or the better of both (A 2.3). */
typedef enum awq_duo { AWQ_DUO_OFF, AWQ_DUO_ON, AWQ_DUO_BOTH } awq_duo;

/* Under grouped-query attention: scales of o_proj that are tied over the heads of a group, or none
 * (A 2.6). */
typedef enum awq_o_proj { AWQ_O_PROJ_TIED, AWQ_O_PROJ_SKIP } awq_o_proj;

/* When the range of a group of weights is cut: never; once the scales are chosen; for each
 * candidate of the search, and then again (A 2.8). */
typedef enum awq_clip_mode { AWQ_CLIP_OFF, AWQ_CLIP_AFTER, AWQ_CLIP_JOINT } awq_clip_mode;

/* A 2.9: each weight to the nearest value, or columns in turn, so that errors make up for one
 * another. */
typedef enum awq_rounding { AWQ_ROUNDING_NEAREST, AWQ_ROUNDING_FEEDBACK } awq_rounding;

typedef struct awq_recipe {
    int64_t bits;             /* 3, 4, 8; default 4 */
    int64_t group_size;       /* default 128; -1: one group a row */
    bool symmetric;           /* default false */
    awq_format format;        /* default gemm */
    awq_objective objective;  /* default linear */
    int64_t objective_tokens; /* of the module objective, default 8192; 0: all */
    awq_search search;        /* default race; of the linear objective */
    int64_t alpha_steps;      /* 0..1000, default 20; 0: the identity only, plain rounding */
    awq_duo duo;              /* default on */
    int64_t
        refine; /* 0..100, default 0: alphas tried between the best of the grid and its neighbour */
    double smooth;             /* 0..1, default 0: m = (1 - smooth) m + smooth mean(m) */
    awq_o_proj o_proj;         /* default tied */
    awq_clip_mode clip;        /* default after */
    awq_clip_shape clip_shape; /* default symmetric */
    awq_rounding rounding;     /* default feedback */
} awq_recipe;

static inline awq_recipe awq_recipe_default(void)
{
    return (awq_recipe){.bits = 4,
                        .group_size = 128,
                        .objective_tokens = 8192,
                        .alpha_steps = 20,
                        .duo = AWQ_DUO_ON,
                        .clip = AWQ_CLIP_AFTER,
                        .rounding = AWQ_ROUNDING_FEEDBACK};
}

#endif
