/* SPDX-License-Identifier: MIT
 * jobs/mail/neighbours.h - who else is on this rank's node. */
#ifndef AWQ_JOBS_MAIL_NEIGHBOURS_H
#define AWQ_JOBS_MAIL_NEIGHBOURS_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

/* The workers on this rank's node. Ranks 1.. are workers; a rank alone is one too. */
typedef struct awq_neighbours {
    int index;   /* of this worker among them */
    int workers; /* with this one */
    int sharing; /* of them, those that may run on the same cores as this one; with this one */
} awq_neighbours;

/* `cores` is a number that is equal on ranks that may run on the same cores. Collective. Returns
 * MPI's code. */
int awq_neighbours_find(MPI_Comm comm, bool is_worker, uint64_t cores, awq_neighbours *out);

#endif
