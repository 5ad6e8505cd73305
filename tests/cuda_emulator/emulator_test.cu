/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/emulator_test.cu - kernels whose results are known, and kernels that are
 * wrong and must be reported. Runs in every order of threads, and with late streams. */
#include <setjmp.h>
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
#include "io/core/dtype.h"
}
// clang-format on

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cuda_emulator/cuda_emulator.h"

static cudaStream_t stream;

/* A device array with a copy of `host`; freed at the end of a test. */
template <typename T> struct device_array {
    T *data = nullptr;
    size_t count;

    explicit device_array(size_t size) : count(size)
    {
        assert_int_equal(cudaMalloc((void **)&data, size * sizeof(T)), cudaSuccess);
    }
    explicit device_array(const std::vector<T> &host) : device_array(host.size())
    {
        cudaMemcpyAsync(data, host.data(), count * sizeof(T), cudaMemcpyHostToDevice, stream);
    }
    device_array(const device_array &) = delete;
    ~device_array() { cudaFree(data); }

    std::vector<T> fetch() const
    {
        std::vector<T> host(count);
        cudaMemcpyAsync(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost, stream);
        return host;
    }
};

static int open_stream(void **)
{
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
}

static int close_stream(void **)
{
    return cudaStreamDestroy(stream);
}

/* ---- kernels ---- */

/* out[block] = sum of in over the block's part, by halves in shared memory. */
template <typename T> __global__ static void sum_by_halves(T *out, const T *in)
{
    __shared__ T part[256];
    part[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    for (unsigned width = blockDim.x / 2; width; width /= 2) {
        if (threadIdx.x < width) part[threadIdx.x] += part[threadIdx.x + width];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

/* The same by shuffles; warps end at different times. */
__global__ static void sum_by_shuffles(float *out, const float *in)
{
    __shared__ float part[32];
    float x = in[blockIdx.x * blockDim.x + threadIdx.x];
    for (int width = 16; width; width /= 2) x += __shfl_xor_sync(0xffffffff, x, width);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    x = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
    for (int width = 16; width; width /= 2) x += __shfl_down_sync(0xffffffff, x, width);
    if (threadIdx.x == 0) out[blockIdx.x] = x;
}

__global__ static void shuffles(int *out)
{
    int lane = threadIdx.x % 32;
    int *mine = out + 5 * threadIdx.x;
    mine[0] = __shfl_sync(0xffffffff, lane, 7);
    mine[1] = __shfl_sync(0xffffffff, lane, 9, 8);
    mine[2] = __shfl_up_sync(0xffffffff, lane, 3);
    mine[3] = __shfl_down_sync(0xffffffff, lane, 3, 16);
    mine[4] = __shfl_xor_sync(0xffffffff, lane, 16);
}

constexpr int tile = 32;

/* out [cols, rows] = in [rows, cols] transposed; blocks of 32 x 8 threads. */
__global__ static void transpose(float *out, const float *in, int rows, int cols)
{
    __shared__ float part[tile][tile + 1];
    int column = blockIdx.x * tile + threadIdx.x, row = blockIdx.y * tile;
    for (int i = threadIdx.y; i < tile; i += blockDim.y)
        if (row + i < rows && column < cols) part[i][threadIdx.x] = in[(row + i) * cols + column];
    __syncthreads();
    int first = blockIdx.x * tile, to = row + threadIdx.x;
    for (int i = threadIdx.y; i < tile; i += blockDim.y)
        if (first + i < cols && to < rows) out[(first + i) * rows + to] = part[threadIdx.x][i];
}

__global__ static void neighbours_without_barrier(float *out)
{
    __shared__ float part[64];
    part[threadIdx.x] = (float)(threadIdx.x + 1);
    out[threadIdx.x] = part[(threadIdx.x + 32) % 64];
}

__global__ static void where(uint64_t *out)
{
    size_t block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    size_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block << 32 | thread;
}

__global__ static void narrow(uint16_t *f16, uint16_t *bf16, const float *x, size_t count)
{
    size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    if (i >= count) return;
    f16[i] = __half_as_ushort(__float2half_rn(x[i]));
    bf16[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
}

__global__ static void add_one(int *x)
{
    x[threadIdx.x]++;
}

/* ---- results ---- */

static void threads_know_their_place(void **)
{
    device_array<uint64_t> out(3 * 2 * 2 * 64);
    AWQ_LAUNCH(where, dim3(3, 2, 2), dim3(8, 4, 2), stream, out.data);
    std::vector<uint64_t> result = out.fetch();
    for (size_t i = 0; i < result.size(); i++) assert_int_equal(result[i], i / 64 << 32 | i % 64);
}

static void blocks_sum_through_barriers_and_shuffles(void **)
{
    for (int threads : {32, 64, 256}) {
        std::vector<float> in(5 * (size_t)threads);
        for (size_t i = 0; i < in.size(); i++) in[i] = (float)(i % 101); /* sums are exact */
        device_array<float> x(in), by_halves(5), by_shuffles(5);
        AWQ_LAUNCH((sum_by_halves<float>), 5, threads, stream, by_halves.data, x.data);
        AWQ_LAUNCH(sum_by_shuffles, 5, threads, stream, by_shuffles.data, x.data);
        for (size_t block = 0; block < 5; block++) {
            float sum = 0;
            for (int i = 0; i < threads; i++) sum += in[block * (size_t)threads + (size_t)i];
            assert_true(by_halves.fetch()[block] == sum);
            assert_true(by_shuffles.fetch()[block] == sum);
        }
    }
}

static void shuffles_take_the_lane_that_the_manual_says(void **)
{
    device_array<int> out(64 * 5);
    AWQ_LAUNCH(shuffles, 1, 64, stream, out.data);
    std::vector<int> result = out.fetch();
    for (int i = 0; i < 64; i++) {
        int lane = i % 32, *mine = &result[(size_t)i * 5];
        assert_int_equal(mine[0], 7);
        assert_int_equal(mine[1], lane / 8 * 8 + 1);
        assert_int_equal(mine[2], lane < 3 ? lane : lane - 3);
        assert_int_equal(mine[3], lane % 16 + 3 < 16 ? lane + 3 : lane);
        assert_int_equal(mine[4], lane ^ 16);
    }
}

static void tiles_are_transposed_through_shared_memory(void **)
{
    int rows = 71, cols = 45;
    std::vector<float> in((size_t)(rows * cols));
    for (size_t i = 0; i < in.size(); i++) in[i] = (float)i;
    device_array<float> x(in), out(in.size());
    AWQ_LAUNCH(transpose, dim3(2, 3), dim3(tile, 8), stream, out.data, x.data, rows, cols);
    std::vector<float> result = out.fetch();
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            assert_true(result[(size_t)(c * rows + r)] == in[(size_t)(r * cols + c)]);
}

/* More shared memory than a block has: nvcc would refuse it, test_limits.py must find it. */
__global__ static void greedy_kernel(int *out)
{
    __shared__ int most[48 << 8];
    __shared__ int one_more;
    most[threadIdx.x] = static_cast<int>(threadIdx.x);
    one_more = 1;
    __syncthreads();
    out[threadIdx.x] = most[threadIdx.x] + one_more;
}

static void shared_memory_is_what_a_kernel_asks_for(void **)
{
    device_array<int> out(32);
    AWQ_LAUNCH(greedy_kernel, 1, 32, stream, out.data);
    assert_int_equal(out.fetch()[31], 32);
}

static void a_missing_barrier_shows(void **)
{
    device_array<float> out(64);
    AWQ_LAUNCH(neighbours_without_barrier, 1, 64, stream, out.data);
    std::vector<float> result = out.fetch();
    int wrong = 0;
    for (size_t i = 0; i < 64; i++) wrong += result[i] != (float)((i + 32) % 64 + 1);
    assert_true(wrong >= 32);
}

static void sixteen_bit_types_round_as_io_does(void **)
{
    std::vector<float> x(100000);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = awq_float_from_bits((uint32_t)(i * 2654435761u)); /* NaN, denormals, all scales */
    device_array<float> in(x);
    device_array<uint16_t> f16(x.size()), bf16(x.size());
    AWQ_LAUNCH(narrow, (x.size() + 255) / 256, 256, stream, f16.data, bf16.data, in.data, x.size());
    for (awq_dtype type : {AWQ_F16, AWQ_BF16}) {
        std::vector<uint16_t> bits = (type == AWQ_F16 ? f16 : bf16).fetch(), expected(x.size());
        std::vector<float> value(x.size());
        awq_narrow(expected.data(), x.data(), type, x.size());
        awq_widen(value.data(), bits.data(), type, x.size());
        for (size_t i = 0; i < x.size(); i++)
            assert_true(x[i] != x[i] ? value[i] != value[i] : bits[i] == expected[i]);
    }
}

/* ---- products ---- */

/* Integers from -2 to 2, exact in every type, as are their sums. */
static std::vector<float> integers(size_t count, unsigned seed)
{
    std::vector<float> values(count);
    for (float &value : values) value = (float)((seed = seed * 1103515245 + 12345) >> 16 & 3) - 2;
    return values;
}

static std::vector<char> packed(const std::vector<float> &values, awq_dtype type)
{
    std::vector<char> bytes(values.size() * awq_dtype_bytes(type));
    awq_narrow(bytes.data(), values.data(), type, values.size());
    return bytes;
}

static const struct {
    awq_dtype ours;
    cudaDataType cuda;
} types[] = {{AWQ_F32, CUDA_R_32F}, {AWQ_F16, CUDA_R_16F}, {AWQ_BF16, CUDA_R_16BF}};

static void check_product(cublasHandle_t handle, bool at, bool bt, int in, int out, float beta)
{
    const int m = 9, n = 7, k = 13, lda = (at ? k : m) + 2, ldb = (bt ? n : k) + 1, ldc = m + 3;
    const int batches = 2, a_step = lda * k + lda * m, b_step = ldb * k + ldb * n, c_step = ldc * n;
    const float alpha = 2;
    std::vector<float> a = integers((size_t)(batches * a_step), 1);
    std::vector<float> b = integers((size_t)(batches * b_step), 2);
    std::vector<float> c = integers((size_t)(batches * c_step), 3), result(c.size());
    if (beta == 0) c.assign(c.size(), NAN);
    device_array<char> da(packed(a, types[in].ours)), db(packed(b, types[in].ours));
    device_array<char> dc(packed(c, types[out].ours));
    assert_int_equal(cublasGemmStridedBatchedEx(
                         handle, at ? CUBLAS_OP_T : CUBLAS_OP_N, bt ? CUBLAS_OP_T : CUBLAS_OP_N, m,
                         n, k, &alpha, da.data, types[in].cuda, lda, a_step, db.data,
                         types[in].cuda, ldb, b_step, &beta, dc.data, types[out].cuda, ldc, c_step,
                         batches, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_SUCCESS);
    awq_widen(result.data(), dc.fetch().data(), types[out].ours, c.size());
    for (int batch = 0; batch < batches; batch++)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                size_t at_c = (size_t)(batch * c_step + j * ldc + i);
                float sum = 0;
                for (int l = 0; l < k; l++)
                    sum += a[(size_t)(batch * a_step + (at ? i * lda + l : l * lda + i))] *
                           b[(size_t)(batch * b_step + (bt ? l * ldb + j : j * ldb + l))];
                assert_true(result[at_c] == alpha * sum + (beta != 0 ? beta * c[at_c] : 0));
            }
}

static void products_are_those_of_three_loops(void **)
{
    cublasHandle_t handle;
    cublasCreate(&handle);
    cublasSetStream(handle, stream);
    for (int transposes = 0; transposes < 4; transposes++)
        for (int in = 0; in < 3; in++)
            for (int out : {0, in})
                for (float beta : {0.0f, -3.0f})
                    check_product(handle, transposes & 1, transposes & 2, in, out, beta);
    cublasDestroy(handle);
}

/* 1 + 2^-10 is a TF32 number; 1 + 2^-11 is half way to it, 1 + 2^-12 below. */
static void tf32_has_eleven_bits(void **)
{
    cublasHandle_t handle;
    const char *how = getenv("AWQ_EMULATOR_TF32");
    bool cut = how && !strcmp(how, "cut");
    const float one = 1, zero = 0, next = 1 + 0x1p-10f;
    const float values[][2] = {{next, next},
                               {1 + 0x1p-11f, cut ? 1 : next},
                               {-1 - 0x1p-11f, cut ? -1 : -next},
                               {1 + 0x1p-12f, 1},
                               {next + 0x1.8p-11f, cut ? next : 1 + 0x1p-9f},
                               {INFINITY, INFINITY},
                               {NAN, NAN}};
    cublasCreate(&handle);
    cublasSetStream(handle, stream);
    for (const float *value : values) {
        device_array<float> a(std::vector<float>{value[0]}), b(std::vector<float>{1}), c(1);
        cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.data, CUDA_R_32F, 1, b.data,
                     CUDA_R_32F, 1, &zero, c.data, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F_FAST_TF32,
                     CUBLAS_GEMM_DEFAULT);
        float result = c.fetch()[0];
        assert_true(result == value[1] || (result != result && value[1] != value[1]));
    }
    cublasDestroy(handle);
}

static void products_are_refused_as_cublas_does(void **)
{
    cublasHandle_t handle;
    float one = 1;
    device_array<float> x(64);
    cublasCreate(&handle);
    assert_int_equal(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, x.data, 7, x.data,
                                 8, &one, x.data, 8),
                     CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, x.data,
                                  CUDA_R_16F, 8, x.data, CUDA_R_16BF, 8, &one, x.data, CUDA_R_32F,
                                  8, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_NOT_SUPPORTED);
    cublasDestroy(handle);
}

/* ---- memory and streams ---- */

static void memory_is_refused_beyond_what_there_is(void **)
{
    size_t available, total;
    void *array;
    cudaMemGetInfo(&available, &total);
    assert_int_equal(cudaMalloc(&array, available + 1), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

static void new_memory_is_nan(void **)
{
    device_array<float> x(100);
    for (float value : x.fetch()) assert_true(value != value);
}

static void late_streams_run_when_they_are_waited_for(void **)
{
    const char *streams = getenv("AWQ_EMULATOR_STREAMS");
    bool late = streams && !strcmp(streams, "late");
    cudaStream_t second;
    cudaEvent_t event;
    int *pinned, before;
    device_array<int> x(std::vector<int>(32, 1));
    cudaMallocHost((void **)&pinned, sizeof *pinned);
    before = *pinned;
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    AWQ_LAUNCH(add_one, 1, 32, stream, x.data);
    cudaEventRecord(event, stream);
    AWQ_LAUNCH(add_one, 1, 32, stream, x.data); /* after the event: not waited for */
    cudaStreamWaitEvent(second, event, 0);
    cudaMemcpyAsync(pinned, x.data, sizeof *pinned, cudaMemcpyDeviceToHost, second);
    assert_int_equal(*pinned, late ? before : 3);
    cudaStreamSynchronize(second);
    assert_int_equal(*pinned, late ? 2 : 3);
    assert_int_equal(x.fetch()[31], 3);
    cudaEventDestroy(event);
    cudaStreamDestroy(second);
    cudaFreeHost(pinned);
}

/* ---- what must be reported ---- */

__global__ static void barrier_in_half_a_block(int *)
{
    if (threadIdx.x < 32) __syncthreads();
}

__global__ static void two_barriers(int *)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

__global__ static void shuffle_in_half_a_warp(int *out)
{
    if (threadIdx.x % 2) out[threadIdx.x] = __shfl_xor_sync(0xffffffff, 1, 2);
    __syncthreads();
}

__global__ static void partial_mask(int *out)
{
    if (threadIdx.x < 16) *out = __shfl_xor_sync(0xffff, 1, 2);
}

/* `body` in a process of its own: it aborts, and says `what`. */
static void assert_reported(void (*body)(int *), const char *what)
{
    int ends[2], status;
    std::string said;
    char buffer[512];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        dup2(ends[1], STDERR_FILENO);
        int *array;
        cudaMalloc((void **)&array, 64 * sizeof *array);
        body(array);
        cudaStreamSynchronize(stream);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, (size_t)n);
    close(ends[0]);
    waitpid(child, &status, 0);
    if (said.find(what) == std::string::npos) fail_msg("'%s' is not in '%s'", what, said.c_str());
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

#define LAUNCHING(kernel, grid, block)                                                             \
    [](int *array) { AWQ_LAUNCH(kernel, grid, block, stream, array); }

static void divergence_is_reported(void **)
{
    assert_reported(LAUNCHING(barrier_in_half_a_block, 1, 64),
                    "kernel 'barrier_in_half_a_block': diverges in block (0, 0, 0): thread 0 waits "
                    "in __syncthreads at ");
    assert_reported(LAUNCHING(barrier_in_half_a_block, 1, 64),
                    "but thread 32 of its block has returned\n");
    assert_reported(LAUNCHING(two_barriers, 1, 64), "but thread 32 of its block is in "
                                                    "__syncthreads at ");
    assert_reported(LAUNCHING(shuffle_in_half_a_warp, 1, 64),
                    "thread 1 waits in __shfl_xor_sync at ");
    assert_reported(LAUNCHING(shuffle_in_half_a_warp, 1, 64),
                    "but thread 0 of its warp is in __syncthreads at ");
    assert_reported(LAUNCHING(partial_mask, 1, 32), "with the mask 0xffff, not that of a whole "
                                                    "warp");
}

static void launches_beyond_the_limits_are_reported(void **)
{
    assert_reported(LAUNCHING(add_one, 0, 32), "kernel 'add_one': a grid of 0 x 1 x 1 blocks");
    assert_reported(LAUNCHING(add_one, dim3(1, 65536), 32), "a grid of 1 x 65536 x 1 blocks");
    assert_reported(LAUNCHING(add_one, (int64_t)1 << 32, 32),
                    "4294967296 blocks or threads do not");
    assert_reported(LAUNCHING(add_one, 1, 1056), "a block of 1056 x 1 x 1 threads");
    assert_reported(LAUNCHING(add_one, 1, 40), "a block of 40 x 1 x 1 threads");
}

static void memory_errors_are_reported(void **)
{
    assert_reported([](int *array) { cudaMemsetAsync(array + 60, 0, 20, stream); },
                    "cudaMemsetAsync: bytes 240 to 260 of a device array of 256");
    assert_reported(
        [](int *array) {
            int host = 0;
            cudaMemcpyAsync(&host, array, sizeof host, cudaMemcpyHostToDevice, stream);
        },
        "is not in device memory");
    assert_reported([](int *array) { cudaFree(array + 1); }, "is not a device array");
#if !defined(__SANITIZE_ADDRESS__) /* which has its own words, tests/asan does not need ours */
    assert_reported([](int *array) { AWQ_LAUNCH(add_one, 1, 64, stream, array + 1); },
                    "kernel 'add_one': bytes behind a device array of 256 were written");
#endif
}

/* First, while no launch has asked for it. */
static void an_unknown_order_is_reported(void **)
{
    assert_reported(
        [](int *array) {
            setenv("AWQ_EMULATOR_ORDER", "sideways", 1);
            AWQ_LAUNCH(add_one, 1, 32, stream, array);
        },
        "AWQ_EMULATOR_ORDER is 'sideways', which is none of its values");
}

int main()
{
    const struct CMUnitTest emulator_tests[] = {
        cmocka_unit_test(an_unknown_order_is_reported),
        cmocka_unit_test(threads_know_their_place),
        cmocka_unit_test(blocks_sum_through_barriers_and_shuffles),
        cmocka_unit_test(shuffles_take_the_lane_that_the_manual_says),
        cmocka_unit_test(tiles_are_transposed_through_shared_memory),
        cmocka_unit_test(shared_memory_is_what_a_kernel_asks_for),
        cmocka_unit_test(a_missing_barrier_shows),
        cmocka_unit_test(sixteen_bit_types_round_as_io_does),
        cmocka_unit_test(products_are_those_of_three_loops),
        cmocka_unit_test(tf32_has_eleven_bits),
        cmocka_unit_test(products_are_refused_as_cublas_does),
        cmocka_unit_test(memory_is_refused_beyond_what_there_is),
        cmocka_unit_test(new_memory_is_nan),
        cmocka_unit_test(late_streams_run_when_they_are_waited_for),
        cmocka_unit_test(divergence_is_reported),
        cmocka_unit_test(launches_beyond_the_limits_are_reported),
        cmocka_unit_test(memory_errors_are_reported),
    };
    return cmocka_run_group_tests(emulator_tests, open_stream, close_stream);
}
