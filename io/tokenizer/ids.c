/* SPDX-License-Identifier: MIT */
#include "io/tokenizer/ids.h"

#include <stdlib.h>

awq_status awq_ids_append(awq_ids *ids, int32_t id, bool marked, awq_error *err)
{
    if (ids->count == ids->room) {
        size_t room = ids->room ? 2 * ids->room : 1024;
        int32_t *more_ids = realloc(ids->ids, room * sizeof *more_ids);
        if (more_ids) ids->ids = more_ids;
        uint8_t *more_marked = more_ids ? realloc(ids->marked, room) : NULL;
        if (!more_marked) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %zu tokens", room);
        ids->marked = more_marked;
        ids->room = room;
    }
    ids->ids[ids->count] = id;
    ids->marked[ids->count++] = marked;
    return AWQ_OK;
}

void awq_ids_release(awq_ids *ids)
{
    free(ids->ids);
    free(ids->marked);
    *ids = (awq_ids){0};
}
