/* linear.h - the frozen layer as the adapter sees it, besides its public face. */
#ifndef CLP_LINEAR_H
#define CLP_LINEAR_H

#include "launch.h"
#include "lowrank.h"

clpeft_context *clp_linear_context(const clpeft_linear *linear);

/* out [M,N] = x W0^T, or with transposed out [M,K] = x W0: a few rows times the bare weight (norm gradient). ws:
 * clpeft_linear_workspace(linear, NULL, M) bytes. */
clpeft_status clp_linear_product(clp_stream *s, const clpeft_linear *linear, int transposed, size_t M, clpeft_view x,
                                 clpeft_view out, clpeft_workspace *ws);

/* Rows [row, row + rows) of W0 as f32 [rows,K] in host memory. Blocks. */
clpeft_status clp_linear_read(const clpeft_linear *linear, size_t row, size_t rows, float *weight, cl_command_queue queue);

#endif
