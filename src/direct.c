/* direct.c - launches for A and B that are parameters themselves (cl/direct.cl). */
#include "adapter.h"

clpeft_status clp_direct_expand(clpeft_adapter *x, clp_stream *s)
{
    cl_mem theta = x->params->buffer[CLPEFT_THETA];
    const clp_arg args[] = { BUFFER(x->site_table), BUFFER(theta), BUFFER(x->forms) };
    return clp_table_run(s, "direct", "direct_expand", ARGS(args), clp_pieces(s, x->max.K) + x->max.N, x->n_sites);
}

clpeft_status clp_direct_backward(clpeft_adapter *x, clp_stream *s)
{
    cl_mem grad = x->params->buffer[CLPEFT_GRAD];
    const clp_arg args[] = { BUFFER(x->site_table), BUFFER(x->back), BUFFER(grad) };
    return clp_table_run(s, "direct", "direct_collect", ARGS(args), clp_pieces(s, x->max.K) + clp_pieces(s, x->max.N),
                         x->n_sites);
}
