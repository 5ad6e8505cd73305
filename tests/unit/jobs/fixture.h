/* SPDX-License-Identifier: MIT
 * tests/unit/jobs/fixture.h - a small job: a model of two layers, tokens, and what a run of it
 * leaves in its run directory. */
#ifndef AWQ_TESTS_UNIT_JOBS_FIXTURE_H
#define AWQ_TESTS_UNIT_JOBS_FIXTURE_H

#include <stdbool.h>

#include "io/checkpoint/checkpoint.h"
#include "io/core/problems.h"
#include "io/records/boundary.h"
#include "jobs/options/options.h"
#include "tests/unit/io/scratch.h"

/* A call that must succeed: fails with its sentence if it does not. Wants an `err`. */
#define must(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s", err.text);                                                        \
    } while (0)

/* Writes the model of tests/unit/io/tiny_model.h into the scratch directory's `name` and opens it;
 * `extra` is put at the end of its config.json. Tied: without a head. */
awq_checkpoint *fixture_model(void **state, const char *name, bool tied, const char *extra);
awq_checkpoint *fixture_open(const char *directory);

/* A layer's durable record in RUN/layers: two tensors of `bytes` bytes each, and statistics. */
void fixture_write_record(const char *run, int64_t layer, const char *fingerprint, int64_t bytes);

/* A boundary in RUN/boundaries in which value i is i / 8. */
void fixture_write_boundary(const char *run, const awq_boundary_shape *shape,
                            const char *fingerprint);

/* The option of this name; fails the test if there is none. */
const awq_option *fixture_option(const char *name);
/* For a test whose state is an awq_options with the defaults. */
int fixture_options_open(void **state);
int fixture_options_close(void **state);
#define options_test(name)                                                                         \
    cmocka_unit_test_setup_teardown(name, fixture_options_open, fixture_options_close)
/* A word that an option of type CHOICE takes and that is not its default. */
const char *fixture_other_choice(const awq_option *option);

/* Inverts one byte of a file. */
void fixture_damage(const char *path, long offset);

/* Fails unless one of the problems contains the part. */
void assert_problem(const awq_problems *problems, const char *part);

#endif
