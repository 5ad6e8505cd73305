/* SPDX-License-Identifier: MIT
 * coordinator/assemble/companions.h - the small files of a checkpoint that go with it unchanged. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_COMPANIONS_H
#define AWQ_COORDINATOR_ASSEMBLE_COMPANIONS_H

#include "io/core/error.h"

/* Publishes a copy of from/name as to/name; a file that is not there, or is no regular one, is
 * left out. */
awq_status awq_companion_copy(const char *from, const char *to, const char *name, awq_error *err);
/* Copies all that awq_output_is_companion names. */
awq_status awq_companions_copy(const char *from, const char *to, awq_error *err);

#endif
