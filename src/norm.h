/* norm.h - row norms of V = W0 + s B A for many sites in a few launches, V never stored. */
#ifndef CLP_NORM_H
#define CLP_NORM_H

#include "launch.h"
#include "lowrank.h"

/* c[c_off + i] = ||W0_(row + i) + sum_j bt_j,i at_.,j||,  i < rows. rank 0: the norm of W0's rows. */
typedef struct {
    const clpeft_linear *linear;
    size_t row, rows, rank;
    clpeft_view at; /* [K,rank], this site's columns of clp_lowrank.at */
    clpeft_view bt; /* [rank,rows], this site's block of clp_lowrank.bt (s included) */
    size_t c_off;
} clp_norm_job;

/* The jobs' tables on the device. at and bt of all jobs are in one buffer. Layers that keep their weights in one buffer in one type
 * share a launch; a layer in a block format is widened first, into scratch that the plan owns. */
typedef struct clp_norm_plan clp_norm_plan;
clpeft_status clp_norm_plan_create(clp_norm_plan **plan, clpeft_context *ctx, const clp_norm_job *jobs, size_t n);
void clp_norm_plan_destroy(clp_norm_plan *plan);
clpeft_status clp_norm_plan_run(clp_norm_plan *plan, clp_stream *s, cl_mem c);

#endif
