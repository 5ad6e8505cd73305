/* SPDX-License-Identifier: MIT
 * io/core/vectorize.h - how hot loops become vector code on every x86-64.
 *
 * AWQ_VECTORIZE compiles a static function three times and picks one when the program starts; its
 * name must be its own in the whole folder (clang 14's resolvers are global). Each version gives
 * the same bits: no contraction, no reordering. */
#ifndef AWQ_IO_CORE_VECTORIZE_H
#define AWQ_IO_CORE_VECTORIZE_H

#if defined(__x86_64__) && defined(__ELF__) && !defined(AWQ_SANITIZED)
#define AWQ_VECTORIZE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define AWQ_VECTORIZE
#endif

/* For what vectorized functions call: must dissolve into each version. */
#define AWQ_INLINE static inline __attribute__((always_inline))

#endif
