/* gain.c - norms and gains of all sites, their gradients, and the gradient through the norm (cl/gain.cl,
 * cl/norm_gradient.cl). */
#include "adapter.h"

clpeft_status clp_gain(clpeft_adapter *x, clp_stream *s, uint64_t step, int training)
{
    const cl_int mode = x->config.tau, on = training != 0;
    const cl_ulong seed = x->config.seed, at = step;
    cl_mem theta = x->params->buffer[CLPEFT_THETA];
    clpeft_status status = CLPEFT_OK;
    const clp_arg args[] = { VALUE(mode),   VALUE(on),    VALUE(seed),    VALUE(at),       BUFFER(x->site_table),
                             BUFFER(theta), BUFFER(x->c), BUFFER(x->tau), BUFFER(x->forms) };

    TRY(clp_norm_plan_run(x->norm, s, x->c));
    TRY(clp_table_run(s, "gain", "gain", ARGS(args), clp_pieces(s, x->max.N), x->n_sites));
out:
    return status;
}

/* dA and dB^T gain what flows through c. Two products with each layer's bare weight; the rest for all sites at once. */
static clpeft_status norm_gradient(clpeft_adapter *x, clp_stream *s, clpeft_workspace *ws)
{
    const size_t squares = x->max.r * x->max.r * s->ctx->tuning.group;
    clpeft_status status = CLPEFT_OK;
    const clp_arg gram[] = { BUFFER(x->site_table), BUFFER(x->forms), BUFFER(x->q), BUFFER(x->gram) };
    const clp_arg collect[] = { BUFFER(x->site_table), BUFFER(x->forms), BUFFER(x->q),
                                BUFFER(x->gram),       BUFFER(x->rest),  BUFFER(x->back) };

    TRY(clp_table_run(s, "norm_gradient", "norm_gram", ARGS(gram), squares, x->n_sites));
    for (size_t i = 0; i < x->set.n; i++) {
        const clp_lowrank *layer = &x->set.layers[i];
        const clpeft_view d = { x->d, layer->dbt.off, layer->dbt.ld };
        const clpeft_view rows = { x->rest, layer->dbt.off, layer->dbt.ld },
                          columns = { x->rest, layer->da.off, layer->da.ld };
        TRY(clp_linear_product(s, layer->linear, 0, layer->R, layer->a, rows, ws));
        TRY(clp_linear_product(s, layer->linear, 1, layer->R, d, columns, ws));
    }
    TRY(clp_table_run(s, "norm_gradient", "norm_collect", ARGS(collect),
                      clp_pieces(s, x->max.K) + clp_pieces(s, x->max.N), x->n_sites));
out:
    return status;
}

clpeft_status clp_gain_backward(clpeft_adapter *x, clp_stream *s, clpeft_workspace *ws)
{
    const cl_int mode = x->config.tau, through = x->config.norm_gradient != 0;
    cl_mem theta = x->params->buffer[CLPEFT_THETA], grad = x->params->buffer[CLPEFT_GRAD];
    cl_mem q = through ? x->q : x->c, d = through ? x->d : x->c; /* not touched without */
    clpeft_status status = CLPEFT_OK;
    const clp_arg args[] = { VALUE(mode),    VALUE(through),   BUFFER(x->site_table), BUFFER(theta), BUFFER(x->c),
                             BUFFER(x->tau), BUFFER(x->forms), BUFFER(x->back),       BUFFER(grad),  BUFFER(q),
                             BUFFER(d) };

    TRY(clp_table_run(s, "gain", "gain_backward", ARGS(args), s->ctx->tuning.group, x->n_sites));
    if (through) TRY(norm_gradient(x, s, ws));
out:
    return status;
}
