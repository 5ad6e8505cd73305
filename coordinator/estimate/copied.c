/* SPDX-License-Identifier: MIT */
#include "coordinator/estimate/copied.h"

#include <string.h>

#include "jobs/options/amounts.h"

/* ---- the line ---- */

enum { SHOWN = 6 };

/* Whether two names are of one tower, one projector.. */
static bool same_part(const char *a, const char *b)
{
    size_t length = awq_name_part_length(a);
    return length == awq_name_part_length(b) && !strncmp(a, b, length);
}

static bool is_first_of_part(const awq_checkpoint *checkpoint, size_t index)
{
    const char *name = awq_checkpoint_copied(checkpoint, index)->name;
    size_t i = 0;
    while (i < index && !same_part(name, awq_checkpoint_copied(checkpoint, i)->name)) i++;
    return i == index;
}

static void print_parts(FILE *file, const awq_checkpoint *checkpoint)
{
    int shown = 0;
    for (size_t i = 0; i < awq_checkpoint_copies(checkpoint) && shown <= SHOWN; i++) {
        const char *name = awq_checkpoint_copied(checkpoint, i)->name;
        if (!is_first_of_part(checkpoint, i)) continue;
        const char *before = shown ? ", " : ": ";
        if (shown++ == SHOWN)
            fprintf(file, ", ..");
        else
            fprintf(file, "%s%.*s", before, (int)awq_name_part_length(name), name);
    }
}

static void print_sum(FILE *file, const awq_checkpoint *checkpoint)
{
    char bytes[32];
    size_t count = awq_checkpoint_copies(checkpoint);
    awq_format_bytes(bytes, (double)awq_checkpoint_copied_bytes(checkpoint));
    fprintf(file, "%zu tensor%s, %s", count, count == 1 ? "" : "s", bytes);
}

void awq_copied_print(FILE *file, const awq_checkpoint *checkpoint)
{
    if (!awq_checkpoint_copies(checkpoint)) return;
    fprintf(file, "copied     ");
    print_sum(file, checkpoint);
    fprintf(file, ", as they are");
    print_parts(file, checkpoint);
    fprintf(file, "\n");
}

/* ---- the list ---- */

void awq_copied_print_list(FILE *file, const awq_checkpoint *checkpoint)
{
    for (size_t i = 0; i < awq_checkpoint_copies(checkpoint); i++) {
        const awq_tensor *tensor = awq_checkpoint_copied(checkpoint, i);
        char shape[AWQ_SHAPE_TEXT_BYTES];
        fprintf(file, "%s  %s %s  %llu\n", tensor->name, awq_dtype_name(tensor->dtype),
                awq_tensor_shape_text(shape, tensor), (unsigned long long)tensor->bytes);
    }
    print_sum(file, checkpoint);
    fprintf(file, " would be copied as they are\n");
}

static json_t *tensor_json(const awq_tensor *tensor)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->dims; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return json_pack("{s:s, s:s, s:o, s:I}", "name", tensor->name, "dtype",
                     awq_dtype_name(tensor->dtype), "shape", shape, "bytes",
                     (json_int_t)tensor->bytes);
}

json_t *awq_copied_json(const awq_checkpoint *checkpoint, bool list)
{
    json_t *items = list ? json_array() : NULL;
    size_t count = awq_checkpoint_copies(checkpoint);
    for (size_t i = 0; items && i < count; i++)
        json_array_append_new(items, tensor_json(awq_checkpoint_copied(checkpoint, i)));
    return json_pack("{s:I, s:I, s:o*}", "tensors", (json_int_t)count, "bytes",
                     (json_int_t)awq_checkpoint_copied_bytes(checkpoint), "list", items);
}
