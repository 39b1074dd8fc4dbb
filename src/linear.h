/* linear.h - the frozen layer as the adapter sees it, besides its public face. */
#ifndef CLP_LINEAR_H
#define CLP_LINEAR_H

#include "product.h"

/* clpeft_linear_workspace, _forward and _backward of a layer that need not be a handle: a slice of a table. */
size_t clp_linear_workspace(const clpeft_linear *linear, const clpeft_adapter *adapter, size_t T);
clpeft_status clp_linear_forward(clp_layer_call *c, const clpeft_adapter *adapter, clpeft_view tape,
                                 clpeft_workspace *ws, CLPEFT_QUEUE);
clpeft_status clp_linear_backward(clp_layer_call *c, const clpeft_adapter *adapter, clpeft_view tape,
                                  clpeft_workspace *ws, CLPEFT_QUEUE);

/* out [M,N] = x W0^T, or with transposed out [M,K] = x W0: a few rows times the bare weight (norm gradient). ws:
 * clpeft_linear_workspace(linear, NULL, M) bytes. */
clpeft_status clp_linear_product(clp_stream *s, const clpeft_linear *linear, int transposed, size_t M, clpeft_view x,
                                 clpeft_view out, clpeft_workspace *ws);

#endif
