/* SPDX-License-Identifier: MIT
 * tests/unit/io/scratch.h - a directory of its own for each test, and files in it. */
#ifndef AWQ_TESTS_UNIT_IO_SCRATCH_H
#define AWQ_TESTS_UNIT_IO_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the four above first */

/* cmocka setup and teardown: *state is the directory's path. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* "DIR/name" in a buffer that the fourth later call uses again. */
const char *scratch_path(void **state, const char *name);

void scratch_write(const char *path, const void *data, size_t bytes);
void scratch_write_text(const char *path, const char *text);
/* The content with a NUL behind it; the caller frees. bytes may be NULL. */
char *scratch_read(const char *path, size_t *bytes);
/* Entries of a directory, but for . and .. */
int scratch_count(const char *directory);

#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

/* Fails unless the text contains the part, and shows both. */
void assert_contains(const char *text, const char *part);

#endif
