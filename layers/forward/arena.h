/* SPDX-License-Identifier: MIT
 * layers/forward/arena.h - one device array cut into 64-byte aligned pieces.
 *
 * A layout is a function that takes its pieces in order. Run on an arena without a base it only
 * measures, so what is announced and what is allocated cannot differ. */
#ifndef AWQ_LAYERS_FORWARD_ARENA_H
#define AWQ_LAYERS_FORWARD_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct awq_arena {
    char *base; /* NULL: measure */
    uint64_t used;
} awq_arena;

/* The next piece; NULL while measuring. */
static inline void *awq_arena_take(awq_arena *arena, uint64_t bytes)
{
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + 63) & ~(uint64_t)63;
    return piece;
}

#endif
