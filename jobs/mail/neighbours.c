/* SPDX-License-Identifier: MIT */
#include "jobs/mail/neighbours.h"

#include <stdlib.h>

/* What a rank tells the others of its node. */
typedef struct node_rank {
    uint64_t cores;
    uint64_t is_worker;
} node_rank;

int awq_neighbours_find(MPI_Comm comm, bool is_worker, uint64_t cores, awq_neighbours *out)
{
    MPI_Comm node;
    int size, rank;
    int code = MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    if (code) return code;
    MPI_Comm_size(node, &size);
    MPI_Comm_rank(node, &rank);
    node_rank self = {cores, is_worker}, *ranks = calloc((size_t)size, sizeof *ranks);
    code = ranks ? MPI_Allgather(&self, 2, MPI_UINT64_T, ranks, 2, MPI_UINT64_T, node)
                 : MPI_ERR_NO_MEM;
    *out = (awq_neighbours){0};
    for (int i = 0; !code && i < size; i++) {
        if (!ranks[i].is_worker) continue;
        out->index += i < rank;
        out->workers++;
        out->sharing += ranks[i].cores == cores;
    }
    free(ranks);
    MPI_Comm_free(&node);
    return code;
}
