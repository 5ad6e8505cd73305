/* SPDX-License-Identifier: MIT
 * tests/unit/layers/check.h - cmocka, and a call that must succeed: its sentence if it does not. */
#ifndef AWQ_TESTS_LAYERS_CHECK_H
#define AWQ_TESTS_LAYERS_CHECK_H

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "io/core/error.h"

#define must(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s", err.text);                                                        \
    } while (0)

#endif
