/* SPDX-License-Identifier: MIT
 * worker/cores.h - what of a node's processors and memory a worker may use. */
#ifndef AWQ_WORKER_CORES_H
#define AWQ_WORKER_CORES_H

#include <stdint.h>

/* Cores that this process may run on, and cores of the node. */
int awq_cores_allowed(void);
int awq_cores_online(void);
/* A number that is equal for processes that may run on the same cores. */
uint64_t awq_cores_place(void);
/* Bytes that can be had without swapping: the least of the node's free memory and the limit of
 * this process's control group, divided among the workers of the node. */
uint64_t awq_memory_share(int workers_on_node);

#endif
