/* linear.h - the frozen layer as the adapter sees it, besides its public face. */
#ifndef CLP_LINEAR_H
#define CLP_LINEAR_H

#include "lowrank.h"
#include "weight.h"

/* out [M,N] = x W0^T, or with transposed out [M,K] = x W0: a few rows times the bare weight (norm gradient). ws:
 * clpeft_linear_workspace(linear, NULL, M) bytes. */
clpeft_status clp_linear_product(clp_stream *s, const clpeft_linear *linear, int transposed, size_t M, clpeft_view x,
                                 clpeft_view out, clpeft_workspace *ws);

#endif
