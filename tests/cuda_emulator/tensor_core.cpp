/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/tensor_core.cpp - products of a warp, fragments, copies that come late. */
#include "tests/cuda_emulator/tensor_core.h"

#include <deque>

#include "tests/cuda_emulator/runtime.h"

namespace emulator
{

/* ---- products ---- */

/* A lane's factors, as others see them. */
template <int A, int B> struct factors {
    float a[A], b[B];
};

/* `HALVES` elements of a register are next to each other in k. */
template <int HALVES, int A, int B>
static void multiply(site place, float c[4], const float *a, const float *b)
{
    factors<A, B> own;
    std::memcpy(own.a, a, sizeof own.a);
    std::memcpy(own.b, b, sizeof own.b);
    bring(place, 0xffffffff, &own, sizeof own);
    const brought all = what_was_brought();
    int row = lane() / 4, pair = lane() % 4;
    for (int i = 0; i < B; i++)                /* of k, */
        for (int quad = 0; quad < 4; quad++) { /* and the lanes that have it */
            const float *left = all.of<factors<A, B>>(4 * row + quad).a;
            float upper = left[i / HALVES * HALVES + i],
                  lower = left[i / HALVES * HALVES + HALVES + i];
            float first = all.of<factors<A, B>>(8 * pair + quad).b[i];
            float second = all.of<factors<A, B>>(8 * pair + 4 + quad).b[i];
            c[0] += upper * first;
            c[1] += upper * second;
            c[2] += lower * first;
            c[3] += lower * second;
        }
}

void multiply_16(site place, float c[4], const float a[8], const float b[4])
{
    multiply<2, 8, 4>(place, c, a, b);
}

void multiply_8(site place, float c[4], const float a[4], const float b[2])
{
    multiply<1, 4, 2>(place, c, a, b);
}

uint32_t tf32_bits(float x)
{
    return std::isfinite(x) ? (__float_as_uint(x) + 0x1000) & ~0x1fffu : __float_as_uint(x);
}

static void widen_tf32(site place, float *to, const uint32_t *from, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = __uint_as_float(from[i]);
        if (std::isfinite(to[i]) && from[i] & 0x1fff)
            report("%s of %a, which is not TF32, at %s:%d", place.what, (double)to[i], place.file,
                   place.line);
    }
}

void mma_tf32(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file, int line)
{
    site place = {"mma_tf32", file, line};
    float wide_a[4], wide_b[2];
    widen_tf32(place, wide_a, a, 4);
    widen_tf32(place, wide_b, b, 2);
    multiply_8(place, c, wide_a, wide_b);
}

/* ---- fragments ---- */

static void share_rows(site place, const void *row)
{
    if ((uintptr_t)row % 16)
        report("%s of a row that does not begin on 16 bytes, at %s:%d", place.what, place.file,
               place.line);
    bring(place, 0xffffffff, &row, sizeof row);
}

static uint32_t element(const brought &rows, int matrix, int row, int column)
{
    uint16_t bits;
    std::memcpy(&bits, rows.of<const char *>(8 * matrix + row) + 2 * column, sizeof bits);
    return bits;
}

void load_matrices(uint32_t out[4], const void *row, const char *file, int line)
{
    share_rows({"load_matrices", file, line}, row);
    const brought rows = what_was_brought();
    int first = lane() / 4, pair = lane() % 4;
    for (int i = 0; i < 4; i++)
        out[i] = element(rows, i, first, 2 * pair) | element(rows, i, first, 2 * pair + 1) << 16;
}

void load_transposed(uint32_t out[4], const void *row, const char *file, int line)
{
    share_rows({"load_transposed", file, line}, row);
    const brought rows = what_was_brought();
    int first = lane() / 4, pair = lane() % 4;
    for (int i = 0; i < 4; i++)
        out[i] = element(rows, i, 2 * pair, first) | element(rows, i, 2 * pair + 1, first) << 16;
}

/* ---- copies ---- */

struct copy {
    void *to;
    const void *from; /* NULL: zeros */
    int bytes, group;
};

/* Of each thread of the block. */
static struct {
    std::deque<copy> under_way;
    int group;
} copies[1024];

void copy_async(void *to, const void *from, int bytes, bool inside)
{
    if ((uintptr_t)to % (unsigned)bytes || (uintptr_t)from % (unsigned)bytes)
        report("copy_async of %d bytes that are not aligned", bytes);
    auto &own = copies[thread_of_block()];
    own.under_way.push_back({to, inside ? from : nullptr, bytes, own.group});
}

void copies_commit()
{
    copies[thread_of_block()].group++;
}

void wait_for_copies(int pending)
{
    auto &own = copies[thread_of_block()];
    while (!own.under_way.empty() && own.under_way.front().group < own.group - pending) {
        copy next = own.under_way.front();
        own.under_way.pop_front();
        if (next.from)
            std::memcpy(next.to, next.from, (size_t)next.bytes);
        else
            std::memset(next.to, 0, (size_t)next.bytes);
    }
}

void check_copies()
{
    for (auto &own : copies)
        if (!own.under_way.empty()) report("returned with copies that nothing has waited for");
}

} // namespace emulator
