/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/counts.cpp - the CUDA backend's table with each verb watched. */
#include "tests/cuda_emulator/counts.h"

#include "kernels/cuda/verbs.h"
#include "tests/cuda_emulator/runtime.h"

static emulator_count counts[EMULATOR_VERBS];

/* Calls of one verb, which may call no other. */
template <auto verb, typename Function> struct watched;

template <auto verb, typename Result, typename... Arguments>
struct watched<verb, Result (*)(Arguments...)> {
    static inline emulator_count *count;
    static Result call(Arguments... arguments)
    {
        count->calls++;
        emulator::counting.now = count;
        return (awq_backend_cuda.*verb)(arguments...);
    }
};

const awq_backend *emulator_count_only(emulator_fill *fill)
{
    static awq_backend table;
    int verbs = 0;
    table = awq_backend_cuda;
#define WATCH(member)                                                                              \
    {                                                                                              \
        using one = watched<&awq_backend::member, decltype(awq_backend::member)>;                  \
        one::count = &counts[verbs++];                                                             \
        one::count->verb = #member;                                                                \
        table.member = one::call;                                                                  \
    }
    AWQ_VERB_LIST(WATCH)
#undef WATCH
    emulator::counting.now = &counts[0];
    emulator::counting.fill = fill;
    return &table;
}

const emulator_count *emulator_counts(int *verbs)
{
    *verbs = AWQ_VERBS;
    return counts;
}
