/* write.h - what both writers ask of the tensors they are given. */
#ifndef CLP_FILE_WRITE_H
#define CLP_FILE_WRITE_H

#include "file/dtype.h"

/* A checked tensor, and its type and size. */
typedef struct {
    const clpeft_write_tensor *tensor;
    const clp_type *type;
    uint64_t bytes;
} clp_writable;

/* Check n tensors: names, types, shapes and that no name stands twice. *out is for free. */
clpeft_status clp_writable_create(clp_writable **out, const clpeft_write_tensor *tensors, size_t n);

#endif
