/* params.h - the arena: all trainable numbers of a run in flat buffers of one layout. */
#ifndef CLP_PARAMS_H
#define CLP_PARAMS_H

#include "clpeft/params.h"
#include "launch.h"

/* Tensors start at multiples of ALIGN elements; the gaps hold 0 in every buffer. So a kind belongs to ALIGN elements.
 * */
#define CLP_PARAMS_ALIGN 16

/* On the device, between the kernels of an optimizer step; the first four are clpeft_adamw_state. cl/optimizer.cl has
 * the same. */
typedef struct {
    cl_ulong applied, skipped;
    cl_float norm;
    cl_int finite;
    cl_float scale;                    /* of the gradient, by clipping */
    cl_float correction1, correction2; /* 1 / (1 - beta1^t), 1 / (1 - beta2^t) */
    cl_float unused;
} clp_adamw_state;

struct clpeft_params {
    clpeft_context *ctx;
    clpeft_tensor *tensors;
    size_t n, capacity;
    size_t size, trainable;
    float *init; /* first values, until allocate */
    size_t init_capacity;
    cl_mem buffer[4]; /* by clpeft_params_buffer */
    cl_mem kind;      /* a byte of clpeft_kind per ALIGN elements */
    cl_mem state;   /* two clp_adamw_state: a step writes the other one, and takes it over when all of it is enqueued */
    cl_uint at;     /* the one that holds */
    cl_mem partial; /* sums of squares, one per CLP_ADAMW_SPAN elements */
};

#define CLP_ADAMW_SPAN 1024 /* elements of the arena that one group of the optimizer's kernels works on */

/* Take back the last tensors, down to the first n of them; before allocate. */
void clp_params_truncate(clpeft_params *params, size_t n);

/* The arena is allocated; what names the operation. */
clpeft_status clp_params_ready(const clpeft_params *params, const char *what);

#endif
