/* SPDX-License-Identifier: MIT */
#include "together.h"

#include <mpi.h>

void together_assert(bool condition, const char *text, const char *file, int line)
{
    int here = condition, everywhere = 0, rank = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (!condition) print_error("rank %d: false: %s\n", rank, text);
    MPI_Allreduce(&here, &everywhere, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (!everywhere) _fail(file, line);
}
