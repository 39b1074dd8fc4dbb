/* lowrank.h - what an adapter gives to one linear layer, and takes back.
 *
 * The sites of a layer stand side by side: site p has columns [column, column + rank) of R in all. s is folded into bt and gbt, and
 * outside of a site's rows and columns they are 0, so that one product over all R columns is right for every row.
 * Padding (up to the leading dimension) is 0 in a, at, bt and gbt: the panel kernel loads whole vectors. */
#ifndef CLP_LOWRANK_H
#define CLP_LOWRANK_H

#include "clpeft/linear.h"
#include "context.h"

typedef struct {
    size_t row, rows;    /* of the layer */
    size_t column, rank; /* of R */
    int magnitude;       /* this site has a gain: dg is wanted */
} clp_lowrank_site;

typedef struct {
    const clpeft_linear *linear;
    size_t R;
    size_t n_sites;
    const clp_lowrank_site *sites; /* by row */
    int gain;                      /* g is in use; without it no site of the layer has a magnitude */
    clpeft_view a;                 /* [R,K]  A;        ld = K rounded up to 64, plus 64 */
    clpeft_view at;                /* [K,R]  A^T;      ld = R rounded up to 64 */
    clpeft_view bt;                /* [R,N]  s B^T;    ld = N rounded up to 64, plus 64 */
    clpeft_view gbt;               /* [R,N]  bt times g, or bt itself without a gain; ld of bt */
    clpeft_view g;                 /* [N]    gain, 1 outside of sites with a magnitude; ld 1 */
    clpeft_view da;                /* [R,K]  += (dZ s B)^T X;      backward adds */
    clpeft_view dbt;  /* [R,N]  += U^T dZ, without s; only the sites' own blocks mean something; backward adds */
    clpeft_view dg;   /* [N]    += sum_t dy Z in rows of sites with a magnitude; ld 1 */
    cl_mem table;     /* int4 per column panel of the layer, by clp_lowrank_table: first and last + 1 of the columns it
                          needs, its first column in Z or -1, unused; then per 8 columns of R: first and last + 1 of the layer's
                          rows that need them, in whole panels, unused, unused */
    size_t z_columns; /* columns of Z that a forward keeps: the panels that hold a row with a magnitude */
    size_t area;      /* rows times rank, of all sites */
    size_t spans;     /* rows that the groups of 8 columns of R need, of all groups, as the table has them */
} clp_lowrank;

/* Make table, z_columns, area and spans of an entry whose linear, R, sites and gain are set; the caller releases table. */
clpeft_status clp_lowrank_table(clpeft_context *ctx, clp_lowrank *lowrank);

/* The first member of struct clpeft_adapter, so that linear.c knows no more of an adapter than this. */
typedef struct {
    size_t n;
    clp_lowrank *layers;   /* one per adapted linear layer */
    float dropout_rate;    /* of the config: sizes the workspace */
    float dropout;         /* of this step: 0 when evaluating */
    uint64_t dropout_seed; /* of this step */
    size_t first_token;    /* the dropout masks are those of this token of the step's batch and the next ones */
} clp_lowrank_set;

/* The entry of a layer, or NULL: no adapter, or no site there. */
static inline const clp_lowrank *clp_lowrank_find(const clpeft_adapter *adapter, const clpeft_linear *linear)
{
    const clp_lowrank_set *set = (const void *)adapter;
    for (size_t i = 0; set && i < set->n; i++)
        if (set->layers[i].linear == linear) return &set->layers[i];
    return NULL;
}

#endif
