/* weight.h - the frozen weight of a linear layer: its layout in device memory, filling, widening and reading it. */
#ifndef CLP_WEIGHT_H
#define CLP_WEIGHT_H

#include "clpeft/file.h"
#include "clpeft/linear.h"
#include "panel.h"

/* Dense weights on a panel device are kept as the panels of both products, W0^T (forward) and W0 (backward). Others, and
 * block formats, are kept as plain rows [N,K] and widened for each product. */
struct clpeft_linear {
    clpeft_context *ctx;
    size_t N, K;
    clpeft_dtype dtype;
    int panels; /* kept as panels */
    int forward_only, one_copy;
    cl_mem storage, bias;             /* bias f32, N rounded up to 64; NULL without one */
    size_t forward_off, backward_off; /* bytes in storage; equal when there is one copy */
};

/* A right operand ready for clp_product: panels of W0^T or of W0; or for CLBlast: plain f32 rows. */
typedef struct {
    cl_mem buf;
    size_t off; /* elements of type */
    clpeft_dtype type;
} clp_operand;

/* Elements of f32 scratch that clp_weight_operand needs: 0 when the operand is kept as it is. */
size_t clp_weight_scratch(const clpeft_linear *l, int backward);
/* The operand of the forward (W0^T) or backward (W0) product, widened into scratch where it is not kept. */
clpeft_status clp_weight_operand(clp_stream *s, const clpeft_linear *l, int backward, cl_mem scratch,
                                 size_t scratch_off, clp_operand *operand);

/* Bytes of a plain row. */
size_t clp_weight_row_bytes(const clpeft_linear *l);

clpeft_context *clp_linear_context(const clpeft_linear *l);

/* Rows [row, row + rows) of W0 as f32 [rows,K] in host memory. Blocks. */
clpeft_status clp_linear_read(const clpeft_linear *l, size_t row, size_t rows, float *weight, cl_command_queue queue);

#endif
