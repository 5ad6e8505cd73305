/* SPDX-License-Identifier: MIT
 * io/core/fault.h - named points where a test may kill the process.
 *
 * Compiles to nothing unless AWQ_FAULT_INJECTION is defined. Then AWQ_FAULT="name" in the
 * environment raises SIGKILL at that point, AWQ_FAULT="name:3" when it is reached the third time
 * (counted over all threads of the process). */
#ifndef AWQ_IO_CORE_FAULT_H
#define AWQ_IO_CORE_FAULT_H

#ifdef AWQ_FAULT_INJECTION
#define AWQ_FAULT_POINT(name) awq_fault_point(name)
#else
#define AWQ_FAULT_POINT(name) ((void)0)
#endif

void awq_fault_point(const char *name);

#endif
