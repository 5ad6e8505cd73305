/* SPDX-License-Identifier: MIT
 * jobs/mail/gpu.h - what a GPU of this machine is, as the worker half tells the coordinator. */
#ifndef AWQ_JOBS_MAIL_GPU_H
#define AWQ_JOBS_MAIL_GPU_H

#include <stdint.h>

typedef struct awq_gpu {
    char name[96];
    uint64_t memory_bytes;
    int major, minor; /* compute capability */
    char driver[16];  /* the newest CUDA that its driver speaks: "13.0" */
} awq_gpu;

#endif
