/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/cuda_emulator.h - what a .cu file needs to be compiled by g++ and run here.
 *
 * Types and declarations are the toolkit's own; this header adds what only nvcc knows: qualifiers,
 * the built-in variables, barriers, shuffles, intrinsics, and a launch. Threads of a block are
 * fibers (launch.cpp), so that a kernel runs as it is written, one thread at a time; blocks run one
 * after the other. README.md says what this finds and what it cannot. */
#ifndef AWQ_TESTS_CUDA_EMULATOR_H
#define AWQ_TESTS_CUDA_EMULATOR_H

#if defined(__CUDACC__)
#error "for a host compiler; nvcc needs no emulator"
#endif

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
/* One block runs at a time, so that its shared memory can be static. Thread-local, it is in one
 * place which is filled with NaN before each block; the address sanitizer watches the bounds of
 * what is not thread-local. */
#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulator
{

/* Where in the source threads wait for each other: all must wait at the same place. */
struct site {
    const char *what, *file;
    int line;
};

void wait_for_block(site place);
/* Returns the bits that the lane `source` of this thread's warp brought; all 32 must come. */
uint64_t exchange(site place, unsigned mask, uint64_t bits, int source);
/* The same of up to 64 bytes, all of which the others may look at until they next exchange. */
void bring(site place, unsigned mask, const void *bytes, size_t count);
struct brought {
    const char *first; /* the first lane's */
    size_t step;       /* to the next lane's */
    template <typename T> const T &of(int source) const
    {
        return *(const T *)(first + (size_t)source * step);
    }
};
brought what_was_brought();
int lane();
int thread_of_block();

/* Prints one sentence that names the running kernel, if one is running, and aborts. */
[[noreturn]] void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A dimension as the launch wrote it: one that does not fit is not cut off silently. */
template <typename Size> dim3 dimensions(const char *kernel, Size size)
{
    if constexpr (std::is_integral_v<Size>) {
        if (size < 0 || (uint64_t)size > 0x7fffffff)
            report("kernel '%s': %lld blocks or threads do not fit a launch", kernel,
                   (long long)size);
        return dim3((unsigned)size);
    } else {
        return dim3(size);
    }
}

/* Enqueues on the stream: each thread of each block calls `thread`. */
void launch(const char *kernel, dim3 grid, dim3 block, cudaStream_t stream,
            std::function<void()> thread);

template <typename... Parameters, typename... Arguments>
void start(const char *name, dim3 grid, dim3 block, cudaStream_t stream,
           void (*kernel)(Parameters...), Arguments &&...arguments)
{
    std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
    launch(name, grid, block, stream, [kernel, values] { std::apply(kernel, values); });
}

/* Every shuffle is one exchange: `source` is a lane of the warp; beyond it, the own value. */
template <typename T> T shuffle(site place, unsigned mask, T value, int source, bool inside)
{
    static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(place, mask, bits, inside ? source : lane());
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace emulator

/* AWQ_LAUNCH(kernel, grid, block, stream, arguments...), as kernels/cuda/launch.cuh has it. */
#define AWQ_LAUNCH(kernel, grid, block, stream, ...)                                               \
    emulator::start(#kernel, emulator::dimensions(#kernel, grid),                                  \
                    emulator::dimensions(#kernel, block), stream, kernel, __VA_ARGS__)

/* ---- barriers and shuffles; the place is the caller's ---- */

#define EMULATOR_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATOR_PLACE)
{
    emulator::wait_for_block({"__syncthreads", file, line});
}

inline void __syncwarp(unsigned mask = 0xffffffff, EMULATOR_PLACE)
{
    emulator::exchange({"__syncwarp", file, line}, mask, 0, 0);
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_PLACE)
{
    int first = emulator::lane() & ~(width - 1);
    return emulator::shuffle({"__shfl_sync", file, line}, mask, value,
                             first + (source & (width - 1)), true);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, EMULATOR_PLACE)
{
    int source = emulator::lane() ^ flip;
    return emulator::shuffle({"__shfl_xor_sync", file, line}, mask, value, source,
                             source < (emulator::lane() & ~(width - 1)) + width);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATOR_PLACE)
{
    int lane = emulator::lane(), source = lane + (int)by;
    return emulator::shuffle({"__shfl_down_sync", file, line}, mask, value, source,
                             source < (lane & ~(width - 1)) + width);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATOR_PLACE)
{
    int lane = emulator::lane(), source = lane - (int)by;
    return emulator::shuffle({"__shfl_up_sync", file, line}, mask, value, source,
                             source >= (lane & ~(width - 1)));
}

#undef EMULATOR_PLACE

/* ---- intrinsics: rounding to nearest is what the host does, without contraction ---- */

template <typename T> T __ldg(const T *p)
{
    return *p;
}
// clang-format off
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline int __float2int_rn(float a) { return (int)std::nearbyint(a); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
// clang-format on

#define EMULATOR_BITS(name, From, To)                                                              \
    inline To name(From from)                                                                      \
    {                                                                                              \
        To to;                                                                                     \
        static_assert(sizeof to == sizeof from);                                                   \
        std::memcpy(&to, &from, sizeof to);                                                        \
        return to;                                                                                 \
    }
EMULATOR_BITS(__float_as_int, float, int)
EMULATOR_BITS(__float_as_uint, float, unsigned)
EMULATOR_BITS(__int_as_float, int, float)
EMULATOR_BITS(__uint_as_float, unsigned, float)
EMULATOR_BITS(__double_as_longlong, double, long long)
EMULATOR_BITS(__longlong_as_double, long long, double)
#undef EMULATOR_BITS

/* Without __CUDACC__ the toolkit declares neither these nor min and max as device code has them. */
using std::isfinite;
using std::isinf;
using std::isnan;
template <typename A, typename B> auto min(A a, B b)
{
    return b < a ? b : a;
}
template <typename A, typename B> auto max(A a, B b)
{
    return a < b ? b : a;
}
/* Of floats: the operand that is a number, as fminf and fmaxf. */
inline float min(float a, float b)
{
    return std::fmin(a, b);
}
inline float max(float a, float b)
{
    return std::fmax(a, b);
}

#include "tests/cuda_emulator/tensor_core.h"

#endif
