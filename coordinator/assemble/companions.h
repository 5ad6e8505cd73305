/* SPDX-License-Identifier: MIT
 * coordinator/assemble/companions.h - the small files of a checkpoint that go with it unchanged. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_COMPANIONS_H
#define AWQ_COORDINATOR_ASSEMBLE_COMPANIONS_H

#include "io/core/error.h"

/* Publishes copies in `to` of all files of `from` that awq_output_is_companion names, and that are
 * regular ones. */
awq_status awq_companions_copy(const char *from, const char *to, awq_error *err);

#endif
