/* SPDX-License-Identifier: MIT
 * coordinator/crew/interrupt.h - signals that ask a job for a graceful stop: USR1 (which mpirun
 * forwards and SLURM sends before a limit), TERM, INT. */
#ifndef AWQ_COORDINATOR_CREW_INTERRUPT_H
#define AWQ_COORDINATOR_CREW_INTERRUPT_H

#include <stdbool.h>

/* On rank 0: they are counted. On other ranks: they are ignored, rank 0 tells what to do. */
void awq_interrupt_install(int rank);
/* How many have come. */
int awq_interrupt_count(void);
/* Whether the last one was SIGTERM: a launcher sends that to the others when a rank has died. */
bool awq_interrupt_by_launcher(void);

#endif
