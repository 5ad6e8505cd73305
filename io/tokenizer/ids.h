/* SPDX-License-Identifier: MIT
 * io/tokenizer/ids.h - token ids under way. */
#ifndef AWQ_IO_TOKENIZER_IDS_H
#define AWQ_IO_TOKENIZER_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

/* Token ids; grows at the end. Start with a zeroed struct. */
typedef struct awq_ids {
    int32_t *ids;    /* [count], owned */
    uint8_t *marked; /* [count], owned: whether the token's last byte was marked */
    size_t count;
    size_t room;
} awq_ids;

awq_status awq_ids_append(awq_ids *ids, int32_t id, bool marked, awq_error *err);
void awq_ids_release(awq_ids *ids);

#endif
