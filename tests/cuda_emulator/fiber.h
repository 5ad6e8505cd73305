/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/fiber.h - a stack of its own and a switch to it, without a system call:
 * swapcontext's takes 400 ns, and a test switches a million times. x86-64, System V. */
#ifndef AWQ_TESTS_CUDA_EMULATOR_FIBER_H
#define AWQ_TESTS_CUDA_EMULATOR_FIBER_H

#include <cstddef>

namespace emulator
{

struct fiber {
    void *stack_pointer; /* where it goes on; set while it does not run */
    const char *stack;   /* lowest address; NULL for the thread's own stack */
    size_t bytes;
    void *fake_stack; /* the address sanitizer's */
};

/* A fiber that calls `body` when it is first switched to; body must not return. Aborts when there
 * is no memory. It is never given back: the process keeps as many as it ever needed. */
fiber *fiber_create(void (*body)());

/* Leaves `from`, which runs, for `to`; returns when somebody switches to `from`. */
void fiber_switch(fiber *from, fiber *to);

/* The first words of a fiber's body. */
void fiber_entered();

} // namespace emulator

#endif
