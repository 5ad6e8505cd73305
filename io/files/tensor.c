/* SPDX-License-Identifier: MIT */
#include "io/files/tensor.h"

#include <stdio.h>
#include <string.h>

int64_t awq_tensor_elements(const awq_tensor *tensor)
{
    int64_t elements = 1;
    for (int i = 0; i < tensor->dims; i++) elements *= tensor->shape[i];
    return elements;
}

char *awq_tensor_shape_text(char out[AWQ_SHAPE_TEXT_BYTES], const awq_tensor *tensor)
{
    size_t used = 1;
    strcpy(out, "[");
    for (int i = 0; i < tensor->dims; i++)
        used += (size_t)snprintf(out + used, AWQ_SHAPE_TEXT_BYTES - used, i ? ", %lld" : "%lld",
                                 (long long)tensor->shape[i]);
    strcpy(out + used, "]");
    return out;
}
