/* SPDX-License-Identifier: MIT */
#include "tests/cuda_emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "tests/cuda_emulator/cuda_emulator.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
static constexpr size_t stack_bytes = 256 << 10;
#else
static constexpr size_t stack_bytes = 64 << 10;
#endif

/* Stacks begin at different sets of the cache: at one, a warp's drive each other out of it. */
static constexpr size_t colours = 32, colour_bytes = 320;

/* Pushes what a callee must keep, exchanges the stacks, pops what the other one pushed. */
extern "C" void emulator_switch(void **save, void *load);
asm(R"(
    .text
    .globl emulator_switch
    .type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch, .-emulator_switch
)");

namespace emulator
{

fiber *fiber_create(void (*body)())
{
    static size_t made;
    size_t guard = (size_t)sysconf(_SC_PAGESIZE), colour = made++ % colours * colour_bytes;
    void *memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE))
        report("no memory for the stack of one more thread");
    /* Its own description at the top, in 16 bytes' multiples. Below it, as emulator_switch leaves a
     * stack: six registers, then the address to return to. A function begins with its stack 8 bytes
     * off a multiple of 16. */
    char *stack = (char *)memory + guard, *end = stack + stack_bytes - colour - sizeof(fiber);
    static_assert(sizeof(fiber) % 16 == 0);
    auto *top = (uintptr_t *)end - 2;
    *top = (uintptr_t)body;
    fiber *created = new (end) fiber{};
    created->stack = stack;
    created->bytes = stack_bytes - colour;
    created->stack_pointer = top - 6;
    return created;
}

#if defined(__SANITIZE_ADDRESS__)
/* The sanitizer must know which stack is in use. A thread's own is learnt when it was left. */
static fiber *left;

static void arrive(void *fake_stack)
{
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
    if (left->stack) return;
    left->stack = (const char *)bottom;
    left->bytes = bytes;
}

void fiber_entered()
{
    arrive(nullptr);
}

void fiber_switch(fiber *from, fiber *to)
{
    left = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
    emulator_switch(&from->stack_pointer, to->stack_pointer);
    arrive(from->fake_stack);
}
#else
void fiber_entered() {}

void fiber_switch(fiber *from, fiber *to)
{
    emulator_switch(&from->stack_pointer, to->stack_pointer);
}
#endif

} // namespace emulator
