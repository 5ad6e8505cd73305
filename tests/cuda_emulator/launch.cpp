/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/launch.cpp - a block as fibers.
 *
 * A warp runs until all its lanes wait for the block or have returned, then the next one: so warps
 * are as far apart as barriers allow, and what a missing barrier lets happen does happen. A fiber
 * takes the warp's threads that have not begun, one after the other, until one waits: a kernel
 * without barriers needs a single fiber. When no warp can go on, the block is released if it has
 * come together, or else the kernel diverges. */
#include <link.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "tests/cuda_emulator/fiber.h"
#include "tests/cuda_emulator/runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator
{

static constexpr int lanes = 32, largest_block = 1024;

enum class state { not_begun, runs, waits_for_warp, waits_for_block, released, returned };

struct thread {
    state now;
    uint3 index;
    fiber *on;
    site place;
    alignas(8) char bytes[2][64]; /* exchanged; the lanes of a warp are at most one apart */
    int exchanges;
};

static struct {
    const char *kernel; /* NULL: none runs */
    const std::function<void()> *body;
    thread threads[largest_block];
    std::vector<int> order;  /* in which threads get their turn: whole warps */
    size_t begun, may_begin; /* of order */
    size_t next, end;        /* of order: where the next released thread is looked for */
    int current;
    fiber *scheduler, *running;
    std::vector<fiber *> idle;
} block;

[[noreturn]] void report(const char *format, ...)
{
    va_list arguments;
    fputs("cuda emulator: ", stderr);
    if (block.kernel) fprintf(stderr, "kernel '%s': ", block.kernel);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

int choice(const char *variable, const char *const *names)
{
    const char *value = getenv(variable);
    if (!value) return 0;
    for (int i = 0; names[i]; i++)
        if (!strcmp(value, names[i])) return i;
    report("%s is '%s', which is none of its values (tests/cuda_emulator/README.md)", variable,
           value);
}

/* ---- a thread ---- */

static void turn_to(int number)
{
    block.current = number;
    block.threads[number].now = state::runs;
    threadIdx = block.threads[number].index;
}

/* To the next of the released threads, or the scheduler. */
static void leave(fiber *from)
{
    fiber *to = block.scheduler;
    while (to == block.scheduler && block.next < block.end) {
        int number = block.order[block.next++];
        if (block.threads[number].now != state::released) continue;
        turn_to(number);
        to = block.threads[number].on;
    }
    if (to == from) return;
    block.running = to;
    fiber_switch(from, to);
}

static void fiber_body()
{
    fiber *self = block.running;
    fiber_entered();
    for (;;) {
        while (block.begun < block.may_begin) {
            turn_to(block.order[block.begun++]);
            block.threads[block.current].on = self;
            (*block.body)();
            block.threads[block.current].now = state::returned;
        }
        block.idle.push_back(self);
        leave(self);
    }
}

static void wait(state how, site place)
{
    if (!block.kernel)
        report("%s outside of a kernel, at %s:%d", place.what, place.file, place.line);
    thread &self = block.threads[block.current];
    self.now = how;
    self.place = place;
    leave(self.on);
}

void wait_for_block(site place)
{
    wait(state::waits_for_block, place);
}

int lane()
{
    return block.current % lanes;
}

int thread_of_block()
{
    return block.current;
}

void bring(site place, unsigned mask, const void *bytes, size_t count)
{
    if (mask != 0xffffffff)
        report("%s with the mask %#x, not that of a whole warp, at %s:%d", place.what, mask,
               place.file, place.line);
    thread &self = block.threads[block.current];
    memcpy(self.bytes[self.exchanges++ % 2], bytes, count);
    wait(state::waits_for_warp, place);
}

brought what_was_brought()
{
    int slot = (block.threads[block.current].exchanges - 1) % 2;
    return {block.threads[block.current / lanes * lanes].bytes[slot], sizeof(thread)};
}

uint64_t exchange(site place, unsigned mask, uint64_t bits, int source)
{
    bring(place, mask, &bits, sizeof bits);
    return what_was_brought().of<uint64_t>(source);
}

/* ---- a block ---- */

static bool same(const site &a, const site &b)
{
    return a.line == b.line && (a.what == b.what || !strcmp(a.what, b.what)) &&
           (a.file == b.file || !strcmp(a.file, b.file)); /* most are one literal */
}

/* Whether these threads are all in this state, and wait at one place if they wait. */
static bool together(int first, int count, state how)
{
    for (int i = first; i < first + count; i++)
        if (block.threads[i].now != how) return false;
    if (how == state::returned) return true;
    for (int i = first; i < first + count; i++)
        if (!same(block.threads[i].place, block.threads[first].place)) return false;
    return true;
}

static void release(int first, int count)
{
    for (int i = first; i < first + count; i++) block.threads[i].now = state::released;
}

/* Nobody can go on: says who waits where, and one that does not come. */
[[noreturn]] static void report_divergence(int count)
{
    int waiting = -1;
    for (int i = 0; i < count; i++) {
        state now = block.threads[i].now;
        if (now == state::waits_for_warp || (waiting < 0 && now == state::waits_for_block))
            waiting = i;
        if (now == state::waits_for_warp) break;
    }
    const thread &one = block.threads[waiting];
    bool warp = one.now == state::waits_for_warp;
    int first = warp ? waiting / lanes * lanes : 0, other = first;
    for (; other < first + (warp ? lanes : count); other++) {
        const thread &its = block.threads[other];
        if (its.now != one.now || !same(its.place, one.place)) break;
    }
    const thread &its = block.threads[other];
    if (its.now == state::returned)
        report("diverges in block (%u, %u, %u): thread %d waits in %s at %s:%d, but thread %d of "
               "its %s has returned",
               blockIdx.x, blockIdx.y, blockIdx.z, waiting, one.place.what, one.place.file,
               one.place.line, other, warp ? "warp" : "block");
    report("diverges in block (%u, %u, %u): thread %d waits in %s at %s:%d, but thread %d of its "
           "%s is in %s at %s:%d",
           blockIdx.x, blockIdx.y, blockIdx.z, waiting, one.place.what, one.place.file,
           one.place.line, other, warp ? "warp" : "block", its.place.what, its.place.file,
           its.place.line);
}

/* False: all threads have returned. */
static bool release_block(int count)
{
    if (together(0, count, state::returned)) return false;
    if (!together(0, count, state::waits_for_block)) report_divergence(count);
    release(0, count);
    return true;
}

enum class turns { up, down, shuffle };

static turns order_of_turns()
{
    static const char *const names[] = {"up", "down", "shuffle", nullptr};
    static const int how = choice("AWQ_EMULATOR_ORDER", names);
    return (turns)how;
}

/* Where shared memory is: the program's thread-local storage, which has nothing else. The first
 * object that is listed is the program. */
static struct {
    void *first;
    size_t bytes;
} shared_memory;

static int find_storage(dl_phdr_info *program, size_t, void *)
{
    for (int i = 0; i < program->dlpi_phnum; i++)
        if (program->dlpi_phdr[i].p_type == PT_TLS && program->dlpi_tls_data)
            shared_memory = {program->dlpi_tls_data, program->dlpi_phdr[i].p_memsz};
    return 1;
}

/* All bits set are NaN in every type. */
static void forget_shared_memory()
{
    if (shared_memory.bytes) memset(shared_memory.first, 0xff, shared_memory.bytes);
}

/* Lanes that have not begun, up to the `end`-th of the order. */
static void begin(size_t end)
{
    block.may_begin = end;
    while (block.begun < end) {
        if (block.idle.empty()) block.idle.push_back(fiber_create(fiber_body));
        block.running = block.idle.back();
        block.idle.pop_back();
        fiber_switch(block.scheduler, block.running);
    }
}

static void resume(size_t begin, size_t end)
{
    block.next = begin;
    block.end = end;
    leave(block.scheduler);
}

/* The warp whose lanes are in this place of the order, as far as it goes. */
static void run_warp(size_t place)
{
    int first = block.order[place] / lanes * lanes;
    begin(place + lanes);
    resume(place, place + lanes);
    while (together(first, lanes, state::waits_for_warp)) {
        release(first, lanes);
        resume(place, place + lanes);
    }
}

/* Warps in random order, and the lanes of each. */
static void shuffle_order()
{
    static std::mt19937 random(1);
    std::shuffle(block.order.begin(), block.order.end(), random);
    std::vector<int> warp_of_rank;
    for (int number : block.order)
        if (number % lanes == 0) warp_of_rank.push_back(number / lanes);
    std::vector<int> rank(warp_of_rank.size());
    for (size_t i = 0; i < rank.size(); i++) rank[(size_t)warp_of_rank[i]] = (int)i;
    std::stable_sort(block.order.begin(), block.order.end(), [&](int a, int b) {
        return rank[(size_t)(a / lanes)] < rank[(size_t)(b / lanes)];
    });
}

static void run_block(int count)
{
    forget_shared_memory();
    block.begun = 0;
    for (int i = 0; i < count; i++) {
        block.threads[i].now = state::not_begun;
        block.threads[i].exchanges = 0;
    }
    if (order_of_turns() == turns::shuffle) shuffle_order();
    do {
        for (size_t place = 0; place < block.order.size(); place += lanes) run_warp(place);
    } while (release_block(count));
}

/* ---- a grid ---- */

static void check_configuration(const char *kernel, dim3 grid, dim3 size)
{
    uint64_t threads = (uint64_t)size.x * size.y * size.z;
    if (!threads || threads > largest_block || threads % lanes || size.z > 64)
        report("kernel '%s': a block of %u x %u x %u threads: not 1 to 1024 in whole warps", kernel,
               size.x, size.y, size.z);
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        report("kernel '%s': a grid of %u x %u x %u blocks: each must be at least 1, y and z at "
               "most 65535",
               kernel, grid.x, grid.y, grid.z);
}

void run_grid(const char *kernel, dim3 grid, dim3 size, const std::function<void()> &body)
{
    int count = (int)(size.x * size.y * size.z);
    fiber home{};
    block.kernel = kernel;
    block.body = &body;
    block.scheduler = &home;
    block.order.resize((size_t)count);
    std::iota(block.order.begin(), block.order.end(), 0);
    for (unsigned i = 0; i < (unsigned)count; i++)
        block.threads[i].index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    if (order_of_turns() == turns::down) std::reverse(block.order.begin(), block.order.end());
    dl_iterate_phdr(find_storage, nullptr);
    gridDim = grid;
    blockDim = size;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block(count);
    check_guards();
    check_copies();
    block.kernel = nullptr;
}

void launch(const char *kernel, dim3 grid, dim3 size, cudaStream_t stream,
            std::function<void()> body)
{
    check_configuration(kernel, grid, size);
    if (counting.now) {
        counting.now->kernels++;
        count_work(stream);
        return;
    }
    enqueue(stream, [=] { run_grid(kernel, grid, size, body); });
}

} // namespace emulator
