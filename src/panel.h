/* panel.h - products for devices of tuning.panel: with a packed right operand (cl/pack.cl, cl/product.cl), of few columns (cl/narrow.cl),
 * of few rows (cl/site_gradients.cl). */
#ifndef CLP_PANEL_H
#define CLP_PANEL_H

#include "clpeft/op.h"
#include "launch.h"

/* Columns of a register tile and of a packed right operand's panel. */
static inline size_t clp_panel_columns(const clpeft_context *ctx)
{
    return 2 * (size_t)ctx->tuning.vector;
}

/* Work items that share a loop of n steps: STRIP of cl/strip.cl steps each. */
enum { CLP_STRIP = 512 };
enum { CLP_MOST_STEPS = 62 << 10 }; /* of a work item's loops: strip.cl says why */
static inline size_t clp_strips(size_t n)
{
    return (n + CLP_STRIP - 1) / CLP_STRIP;
}

/* Elements of a packed right operand [K,N]. */
static inline size_t clp_panel_columns_size(const clpeft_context *ctx, size_t K, size_t N)
{
    return clp_round_up(N, clp_panel_columns(ctx)) * K;
}

/* A copy of a left operand [M,K] in scratch, and its elements: rows are not a multiple of 4 KB apart, or they share one of a cache's sets. */
static inline size_t clp_prepare_size(size_t M, size_t K)
{
    return M * (K + 16);
}
static inline clpeft_view clp_prepared(cl_mem scratch, size_t off, size_t K)
{
    return (clpeft_view){ scratch, off, K % 1024 == 0 ? K + 16 : K };
}

/* Rows of x are a multiple of 4 KB apart, and a first-level cache may not hold a tile's. */
int clp_crowded(const clpeft_context *ctx, size_t M, clpeft_view x);
/* The left operand f(x), x [M,K]: *out is x itself where nothing is to be done, else made in scratch. A crowded one is copied too. */
clpeft_status clp_prepare(clp_stream *s, size_t M, size_t K, clpeft_view x, clpeft_activation f, cl_mem scratch,
                          size_t off, clpeft_view *out);

/* Pack a right operand of elements of `bytes` (4 or 2), w [K,N]; offsets in elements. */
clpeft_status clp_pack_columns(clp_stream *s, size_t N, size_t K, size_t bytes, clpeft_view w, cl_mem panel,
                               size_t off);
/* Rows [first, first + rows) of w [N,K] (w holds these rows) as columns of the right operand of x w^T. */
clpeft_status clp_pack_columns_transposed(clp_stream *s, size_t first, size_t rows, size_t K, size_t bytes,
                                          clpeft_view w, cl_mem panel, size_t off);
/* The same rows as steps of the right operand of x w. */
clpeft_status clp_pack_steps(clp_stream *s, size_t first, size_t rows, size_t N, size_t K, size_t bytes, clpeft_view w,
                             cl_mem panel, size_t off);

/* C [M,N] = epilogue(alpha (A W + U E)); cl/product.cl says in which order. A view without buffer is left out. */
typedef struct {
    size_t M, N, K;
    clpeft_view a; /* [M,K], or with transposed [K,M] */
    int transposed;
    cl_mem w;
    size_t w_off, w_panel, w_row; /* elements between column panels and between steps */
    clpeft_dtype w_type;          /* F32, F16 or BF16 */
    size_t R, area;               /* 0: no low-rank term; values of E that are in use */
    clpeft_view u, e;             /* [M,R] with rows up to a multiple of MR, [R,N] padded to whole vectors */
    cl_mem sites;                 /* table of clp_lowrank_table, or NULL */
    float alpha, beta;            /* beta 0: C is not read */
    clpeft_view z, g, bias, slope, residual, before, c;
    clpeft_activation f; /* with slope: v *= f'(slope); otherwise C = f(v), and before = v */
    int slopes;          /* v *= slope, before = f'(v) */
} clp_product;
clpeft_status clp_product_run(clp_stream *s, const clp_product *p);

/* U [M,R] = X W^T for few columns: X [M,K], W [R,K] with rows padded by zeros to a multiple of 16; U is written up to a multiple of 8. */
clpeft_status clp_narrow_run(clp_stream *s, size_t M, size_t R, size_t K, clpeft_view x, clpeft_view w, clpeft_view u);

/* Of the sites of a layer, in one pass over T tokens:  D [T,R] = Y B,  db [R,N] += (U^T Y) diag(g),  da [R,K] += D^T f(X),  with `kept` also
 * dg [N] += column sums of Y kept, with `scaled` also scaled = Y diag(g), which may be Y.  Y [T,N]; bt [R,N] is B^T, with rows as W above. */
typedef struct {
    size_t T, N, K, R;
    size_t area, spans; /* of clp_lowrank */
    clpeft_view u, y, bt, x, g, kept;
    clpeft_view d, db, da, dg, scaled;
    clpeft_activation f;
    cl_mem sites;   /* table of clp_lowrank_table */
    cl_mem scratch; /* clp_site_gradients_scratch elements */
    size_t scratch_off;
} clp_site_gradients;
size_t clp_site_gradients_scratch(const clpeft_context *ctx, size_t T, size_t N, size_t K, size_t R);
clpeft_status clp_site_gradients_run(clp_stream *s, const clp_site_gradients *p);

#endif
