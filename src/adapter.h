/* adapter.h - the inside of an adapter: tables of its sites and blocks, and its buffers. */
#ifndef CLP_ADAPTER_H
#define CLP_ADAPTER_H

#include "clpeft/adapter.h"
#include "launch.h"
#include "linear.h"
#include "lowrank.h"
#include "norm.h"
#include "params.h"

/* Rows of the tables on the device; cl/site.cl has the same structs and says what the fields are. */
typedef struct {
    cl_ulong block, r, K, N, H, d;
    cl_ulong w_a, w_b, w_b_head;
    cl_ulong m, rho;
    cl_ulong a, a_ld, at, at_ld;
    cl_ulong bt, bt_ld, gbt, g;
    cl_ulong da, dbt, dg;
    cl_ulong c, gram;
    cl_float s, unused;
} clp_site;

typedef struct {
    cl_ulong first, count;
    cl_ulong H;
    cl_ulong a0, b0, w1a, w1b;
    cl_ulong za, zb;
} clp_block;

struct clpeft_adapter {
    clp_lowrank_set set; /* first: what linear.c sees */
    clpeft_context *ctx;
    clpeft_params *params;
    clpeft_adapter_config config;

    clpeft_site *sites; /* as the caller gave them, names owned */
    size_t n_sites, n_blocks;
    size_t *order;   /* place in the table -> index in sites: by block, else in the caller's order */
    clp_site *table; /* by place */
    clp_block *blocks;
    size_t *layer_of;              /* place -> index in set.layers */
    clp_lowrank_site *layer_sites; /* of all layers */

    struct {
        size_t K, N, r, H, d; /* largest of any site */
    } max;
    struct {
        size_t forms, back, plane, c, gram; /* elements of the buffers; hidden has 3 planes */
    } size;

    cl_mem site_table, block_table;
    cl_mem forms;            /* A, A^T, s B^T, g s B^T, g of every layer */
    cl_mem back;             /* dA, dB^T, dg of every layer */
    cl_mem hidden;           /* Z, act(Z), dZ of every block's generator; with a generator */
    cl_mem c, tau;           /* norms by site, tau by place; with a magnitude, as all below */
    cl_mem q, d, rest, gram; /* with norm_gradient: see cl/norm_gradient.cl; q as c, d and rest as back */
    clp_norm_plan *norm;
};

/* adapter_config.c */
clpeft_status clp_adapter_check_config(const clpeft_adapter_config *config);

/* adapter_sites.c: check and copy the sites; make tables and layers, with all offsets but the arena's; sizes. */
clpeft_status clp_adapter_lay_out(clpeft_adapter *adapter, const clpeft_site *sites, size_t n);

/* adapter_init.c: add the parameters with their first values and note their offsets in the tables. norms: c of W0,
 * laid out as adapter->c; NULL without a magnitude. */
clpeft_status clp_adapter_add_params(clpeft_adapter *adapter, const float *norms);

/* generator.c, direct.c: theta -> A and B of every site; dA, dB -> gradient. */
clpeft_status clp_generator_expand(clpeft_adapter *adapter, clp_stream *s);
clpeft_status clp_generator_backward(clpeft_adapter *adapter, clp_stream *s);
clpeft_status clp_direct_expand(clpeft_adapter *adapter, clp_stream *s);
clpeft_status clp_direct_backward(clpeft_adapter *adapter, clp_stream *s);

/* Vectors of a row of n values. */
static inline size_t clp_pieces(const clp_stream *s, size_t n)
{
    return (n + s->ctx->tuning.vector - 1) / s->ctx->tuning.vector;
}

/* Launch a kernel with up to `work` work items, in whole groups, for every row of a table. */
static inline clpeft_status clp_table_run(clp_stream *s, const char *file, const char *kernel, size_t n_args,
                                          const clp_arg *args, size_t work, size_t rows)
{
    const size_t local[2] = { s->ctx->tuning.group, 1 }, global[2] = { clp_round_up(work, local[0]), rows };
    return clp_run(s, file, kernel, "", n_args, args, 2, global, local);
}

/* gain.c: c, tau, g; dg -> dm, drho, and through the norm. */
clpeft_status clp_gain(clpeft_adapter *adapter, clp_stream *s, uint64_t step, int training);
clpeft_status clp_gain_backward(clpeft_adapter *adapter, clp_stream *s, clpeft_workspace *ws);

#endif
