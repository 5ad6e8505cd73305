/* SPDX-License-Identifier: MIT
 * io/files/tensor.h - a tensor of a file: its name, type and shape, and where its bytes are. */
#ifndef AWQ_IO_FILES_TENSOR_H
#define AWQ_IO_FILES_TENSOR_H

#include <stdint.h>

#include "io/core/dtype.h"

enum { AWQ_MAX_DIMS = 8 };

typedef struct awq_tensor {
    const char *name; /* owned by the file or list it came from */
    awq_dtype dtype;
    int dims;
    int64_t shape[AWQ_MAX_DIMS]; /* outermost first */
    uint64_t offset;             /* bytes from the start of the data section */
    uint64_t bytes;
    const void *data; /* in the mapping when read; unused when written */
} awq_tensor;

/* Elements: the product of the shape. */
int64_t awq_tensor_elements(const awq_tensor *tensor);
/* "[4096, 11008]" into out; returns out. */
enum { AWQ_SHAPE_TEXT_BYTES = 8 * 22 + 4 };
char *awq_tensor_shape_text(char out[AWQ_SHAPE_TEXT_BYTES], const awq_tensor *tensor);

#endif
