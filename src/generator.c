/* generator.c - launches of the head-shared generator over the tables of sites and blocks (cl/generator.cl). */
#include "adapter.h"

clpeft_status clp_generator_expand(clpeft_adapter *x, clp_stream *s)
{
    const clpeft_adapter_config *o = &x->config;
    const size_t r = o->rank, e = o->seed_width, h = o->hidden_width, plane = x->size.plane;
    const cl_int f = o->act;
    cl_mem theta = x->params->buffer[CLPEFT_THETA];
    clpeft_status status = CLPEFT_OK;
    const clp_arg hidden[] = { SIZE(r),       SIZE(e),          SIZE(h), VALUE(f), SIZE(plane), BUFFER(x->block_table),
                               BUFFER(theta), BUFFER(x->hidden) };
    const clp_arg expand[] = { SIZE(h),       SIZE(plane),       BUFFER(x->site_table), BUFFER(x->block_table),
                               BUFFER(theta), BUFFER(x->hidden), BUFFER(x->forms) };

    TRY(clp_table_run(s, "generator", "generator_hidden", ARGS(hidden),
                      r * clp_pieces(s, h) + x->max.H * h * clp_pieces(s, r), x->n_blocks));
    TRY(clp_table_run(s, "generator", "generator_expand", ARGS(expand), clp_pieces(s, x->max.K) + x->max.N,
                      x->n_sites));
out:
    return status;
}

clpeft_status clp_generator_backward(clpeft_adapter *x, clp_stream *s)
{
    const clpeft_adapter_config *o = &x->config;
    const size_t r = o->rank, e = o->seed_width, h = o->hidden_width, plane = x->size.plane;
    const size_t share = o->share == CLPEFT_SHARE_MODEL ? x->n_blocks : 1,
                 owners = o->w2b == CLPEFT_W2B_PER_HEAD ? x->max.H : 1;
    const cl_int f = o->act;
    cl_mem theta = x->params->buffer[CLPEFT_THETA], grad = x->params->buffer[CLPEFT_GRAD];
    clpeft_status status = CLPEFT_OK;
    const clp_arg w2[] = { SIZE(h),           SIZE(plane),     BUFFER(x->site_table), BUFFER(x->block_table),
                           BUFFER(x->hidden), BUFFER(x->back), BUFFER(grad) };
    const clp_arg seed_a[] = {
        SIZE(h),       VALUE(f),        SIZE(plane),      BUFFER(x->site_table), BUFFER(x->block_table),
        BUFFER(theta), BUFFER(x->back), BUFFER(x->hidden)
    };
    const clp_arg seed_b[] = {
        SIZE(r),       SIZE(h),         VALUE(f),         SIZE(plane), BUFFER(x->site_table), BUFFER(x->block_table),
        BUFFER(theta), BUFFER(x->back), BUFFER(x->hidden)
    };
    const clp_arg w1[] = { SIZE(r),       SIZE(e),           SIZE(h),
                           SIZE(plane),   SIZE(share),       BUFFER(x->block_table),
                           BUFFER(theta), BUFFER(x->hidden), BUFFER(grad) };

    TRY(clp_table_run(s, "generator", "generator_w2", ARGS(w2),
                      clp_pieces(s, x->max.K) + owners * h * clp_pieces(s, x->max.d), x->n_sites));
    TRY(clp_table_run(s, "generator", "generator_seed_a", ARGS(seed_a), r * h * s->ctx->tuning.group, x->n_blocks));
    TRY(clp_table_run(s, "generator", "generator_seed_b", ARGS(seed_b), x->max.H * r * clp_pieces(s, h), x->n_blocks));
    TRY(clp_table_run(s, "generator", "generator_w1", ARGS(w1),
                      r * e + x->max.H * e * clp_pieces(s, r) + e * clp_pieces(s, h) + h * e, x->n_blocks));
out:
    return status;
}
