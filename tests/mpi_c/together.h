/* SPDX-License-Identifier: MIT
 * tests/mpi_c/together.h - assertions on all ranks at once.
 *
 * cmocka leaves a failed test by longjmp: on one rank alone that would leave the others waiting
 * for it. So a condition is first reduced over all ranks, and what is false on one fails on all.
 * Every rank must come by the same assertions in the same order. */
#ifndef AWQ_TESTS_MPI_C_TOGETHER_H
#define AWQ_TESTS_MPI_C_TOGETHER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants four of the above first */

/* Fails on all ranks unless the condition holds on all; who finds it false says so. */
#define together_true(condition) together_assert((condition), #condition, __FILE__, __LINE__)

void together_assert(bool condition, const char *text, const char *file, int line);

#endif
