/* product.h - the two ways to run a frozen layer with its sites: linear_panel.c and linear_blas.c. */
#ifndef CLP_PRODUCT_H
#define CLP_PRODUCT_H

#include "lowrank.h"
#include "weight.h"

/* A forward or backward of one layer, views checked. */
typedef struct {
    const clpeft_linear *linear;
    const clp_lowrank *low; /* NULL: no site */
    size_t T;
    clpeft_activation f;
    clpeft_view x, y, residual;   /* forward; in the backward y is dy */
    clpeft_activation activation; /* forward: y = activation(...) */
    clpeft_view before;           /* forward: y before its activation; buf NULL: not kept */
    int slopes;                   /* on packed weights: before, and x of a backward, hold slopes of the activation */
    clpeft_view dx;               /* backward; buf NULL: not asked for */
    float accumulate;
    int spent;             /* backward: nobody reads y after it, so it may hold g dy then */
    float dropout;         /* of the low-rank path, 0: none */
    uint64_t dropout_seed; /* of this layer and step */
    size_t first_token;    /* of its masks */
    cl_mem tape;           /* NULL: U and Z are scratch */
    size_t tape_off;       /* elements */
    cl_mem scratch;
    size_t scratch_off, scratch_size; /* elements */
} clp_layer_call;

/* Rows and leading dimension of U on the tape; Z follows it. */
static inline size_t clp_u_ld(const clp_lowrank *low)
{
    return clp_round_up(low->R, 16);
}
static inline size_t clp_u_size(const clpeft_linear *l, const clp_lowrank *low, size_t T)
{
    return clp_round_up(T, l->ctx->tuning.tile_rows) * clp_u_ld(low);
}

/* Scratch elements of a forward or backward. */
size_t clp_panel_scratch(const clpeft_linear *l, const clp_lowrank *low, float dropout, size_t T);
clpeft_status clp_panel_forward(clp_stream *s, const clp_layer_call *c);
clpeft_status clp_panel_backward(clp_stream *s, const clp_layer_call *c);

size_t clp_blas_scratch(const clpeft_linear *l, const clp_lowrank *low, float dropout, size_t T);
clpeft_status clp_blas_forward(clp_stream *s, const clp_layer_call *c);
clpeft_status clp_blas_backward(clp_stream *s, const clp_layer_call *c);

/* xd = dropout(f(x)) [T,K] into out (ld K), for the low-rank path. */
clpeft_status clp_dropped_input(clp_stream *s, const clp_layer_call *c, clpeft_view out);
/* t = f'(x) mask / (1 - p) t, t [T,K] holding D A: what dx is to gain. */
clpeft_status clp_dropped_gradient(clp_stream *s, const clp_layer_call *c, clpeft_view t);

/* Take n elements of the call's scratch. */
static inline size_t clp_take(size_t *at, size_t n)
{
    const size_t off = *at;
    *at += clp_round_up(n, 64);
    return off;
}

#endif
