/* linear.h - the frozen layer as adapter.c sees it: norms and products with its weight W0. */
#ifndef CLP_LINEAR_H
#define CLP_LINEAR_H

#include "launch.h"
#include "lowrank.h"

clpeft_context *clp_linear_context(const clpeft_linear *linear);

/* c_i = ||W0_i + sum_j bs_ij a_j|| for rows [row, row + rows), bs [N,R] holding s B, with lowrank->b and ->a; c [N] of the layer, ld 1,
 * written in these rows only. lowrank NULL: the norm of W0. Direct form of design decision 11. ws: scratch for weights that
 * are not laid out, clp_linear_norm_workspace bytes. */
clpeft_status clp_linear_norm(clp_stream *s, const clpeft_linear *linear, size_t row, size_t rows, const clp_lowrank *lowrank,
                              clpeft_view c, clpeft_workspace *ws);
size_t clp_linear_norm_workspace(const clpeft_linear *linear);

/* out [M,N] = x W0^T, or with transposed [M,K] = x W0: products of a few rows with the bare weight (norm gradient). ws:
 * clpeft_linear_workspace(linear, NULL, M) bytes. */
clpeft_status clp_linear_product(clp_stream *s, const clpeft_linear *linear, int transposed, size_t M, clpeft_view x,
                                 clpeft_view out, clpeft_workspace *ws);

/* Group layers for shared launches: layers with the same key keep their weights in one buffer and one layout. */
cl_mem clp_linear_storage(const clpeft_linear *linear);

#endif
