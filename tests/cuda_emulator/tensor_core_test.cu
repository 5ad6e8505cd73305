/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/tensor_core_test.cu - kernels/cuda/mma.cuh: products beside three loops, from
 * fragments that are put together element by element as PTX documents them; ldmatrix beside those;
 * copies that come when they are waited for. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
// clang-format on

#include <vector>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/mma.cuh"

static cudaStream_t stream;

static int open_stream(void **)
{
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
}

static int close_stream(void **)
{
    return cudaStreamDestroy(stream);
}

template <typename T> static T *to_device(const std::vector<T> &host)
{
    T *array;
    cudaMalloc((void **)&array, host.size() * sizeof(T));
    cudaMemcpyAsync(array, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice, stream);
    return array;
}

template <typename T> static std::vector<T> fetch_and_free(T *array, size_t count)
{
    std::vector<T> host(count);
    cudaMemcpyAsync(host.data(), array, count * sizeof(T), cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    cudaFree(array);
    return host;
}

/* Small integers, exact in all types and sums. */
static float value_at(int row, int column, int seed)
{
    return (float)((row * 7 + column * 5 + seed) % 13 - 6);
}

/* Where the i-th of a lane's four sums belongs in [16, 8]. */
static int place_of_sum(int lane, int i)
{
    return (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
}

static void assert_products(const float *c, int depth)
{
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            float sum = value_at(row, column, 3);
            for (int k = 0; k < depth; k++) sum += value_at(row, k, 1) * value_at(k, column, 2);
            assert_true(c[row * 8 + column] == sum);
        }
}

template <typename T> __global__ static void product_kernel(float *out, bool *same)
{
    alignas(16) __shared__ T left[16][24], right[8][24], below[16][24]; /* right: b transposed */
    int lane = threadIdx.x, row = lane / 4, pair = lane % 4 * 2;
    for (int i = lane; i < 256; i += 32)
        left[i / 16][i % 16] = narrow<T>(value_at(i / 16, i % 16, 1));
    for (int i = lane; i < 128; i += 32) {
        right[i / 16][i % 16] = narrow<T>(value_at(i % 16, i / 16, 2));
        below[i / 8][i % 8] = narrow<T>(value_at(i / 8, i % 8, 2));
    }
    __syncthreads();
    uint32_t a[4], b[4], loaded[4], turned[4];
    for (int i = 0; i < 4; i++) {
        int its = row + i % 2 * 8, k = pair + i / 2 * 8;
        a[i] = pack<T>(value_at(its, k, 1), value_at(its, k + 1, 1));
        k = pair + i % 2 * 8;
        b[i] = pack<T>(value_at(k, row, 2), value_at(k + 1, row, 2));
    }
    load_matrices(loaded, &left[lane % 16][lane / 16 * 8]);
    *same = !memcmp(a, loaded, sizeof a) && (!lane || *same);
    load_matrices(loaded, &right[lane % 8][lane / 8 % 2 * 8]);
    load_transposed(turned, &below[lane % 16][0]);
    *same = *same && !memcmp(b, loaded, sizeof b) && !memcmp(b, turned, 2 * sizeof *b);
    float c[4];
    for (int i = 0; i < 4; i++) {
        int place = place_of_sum(lane, i);
        c[i] = value_at(place / 8, place % 8, 3);
    }
    mma<T>(c, a, b);
    for (int i = 0; i < 4; i++) out[place_of_sum(lane, i)] = c[i];
}

template <typename T> static void check_product()
{
    float *out = to_device(std::vector<float>(128));
    bool *same = (bool *)to_device(std::vector<char>(1, 1));
    AWQ_LAUNCH(product_kernel<T>, 1, 32, stream, out, same);
    assert_products(fetch_and_free(out, 128).data(), 16);
    assert_true(fetch_and_free((char *)same, 1)[0]);
}

static void a_product_of_16_bits_is_that_of_three_loops(void **)
{
    check_product<__half>();
    check_product<__nv_bfloat16>();
}

__global__ static void tf32_kernel(float *out)
{
    uint32_t a[4], b[2];
    float c[4];
    int lane = threadIdx.x, row = lane / 4, k = lane % 4;
    for (int i = 0; i < 4; i++) {
        int place = place_of_sum(lane, i);
        c[i] = value_at(place / 8, place % 8, 3);
        a[i] = tf32_bits(value_at(row + i % 2 * 8, k + i / 2 * 4, 1));
    }
    for (int i = 0; i < 2; i++) b[i] = tf32_bits(value_at(k + i * 4, row, 2));
    mma_tf32(c, a, b);
    for (int i = 0; i < 4; i++) out[place_of_sum(lane, i)] = c[i];
}

static void a_product_of_tf32_is_that_of_three_loops(void **)
{
    float *out = to_device(std::vector<float>(128));
    AWQ_LAUNCH(tf32_kernel, 1, 32, stream, out);
    assert_products(fetch_and_free(out, 128).data(), 8);
    assert_true(tf32_bits(1 + 0x1p-11f) == tf32_bits(1 + 0x1p-10f));
    assert_true(tf32_bits(1 + 0x1p-12f) == tf32_bits(1));
}

/* out: what a thread sees before it waits for the first of two groups, after it, after both. */
__global__ static void copies_kernel(int *out, const int *in)
{
    alignas(16) __shared__ int first[32][4], second[32];
    int i = threadIdx.x;
    for (int j = 0; j < 4; j++) first[i][j] = -1;
    second[i] = -1;
    copy_async<16>(first[i], in + 4 * i, i % 2 == 0);
    copies_commit();
    copy_async<4>(second + i, in + i, true);
    copies_commit();
    out[i] = first[i][3];
    copies_wait<1>();
    out[32 + i] = first[i][3];
    out[64 + i] = second[i];
    copies_wait<0>();
    out[96 + i] = second[i];
}

static void copies_come_when_they_are_waited_for(void **)
{
    std::vector<int> in(128);
    for (int i = 0; i < 128; i++) in[(size_t)i] = 1000 + i;
    int *from = to_device(in), *out = to_device(std::vector<int>(128));
    AWQ_LAUNCH(copies_kernel, 1, 32, stream, out, from);
    std::vector<int> seen = fetch_and_free(out, 128);
    fetch_and_free(from, 128);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(seen[(size_t)i], -1);
        assert_int_equal(seen[(size_t)(32 + i)], i % 2 ? 0 : 1000 + 4 * i + 3);
        assert_int_equal(seen[(size_t)(64 + i)], -1);
        assert_int_equal(seen[(size_t)(96 + i)], 1000 + i);
    }
}

int main()
{
    const struct CMUnitTest tensor_core[] = {
        cmocka_unit_test(a_product_of_16_bits_is_that_of_three_loops),
        cmocka_unit_test(a_product_of_tf32_is_that_of_three_loops),
        cmocka_unit_test(copies_come_when_they_are_waited_for),
    };
    return cmocka_run_group_tests(tensor_core, open_stream, close_stream);
}
