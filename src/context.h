/* context.h - the device, its facts and what is cached for it. */
#ifndef CLP_CONTEXT_H
#define CLP_CONTEXT_H

#include "status.h"

#include <pthread.h>

/* Parameters of the tuned kernels: chosen from device facts, or by measuring (tune.c). */
typedef struct {
    unsigned vector;     /* VW: lanes of the vector type V */
    unsigned tile_rows;  /* MR: rows of a register tile of MR x 2 VW */
    unsigned depth;      /* KC: columns of a panel that one pass multiplies, so that its slices stay in cache */
    unsigned block;      /* MB: row panels of one work item */
    unsigned group;      /* WG: work items of a group in row and element kernels */
    unsigned panel;      /* products by the panel kernel (1) or by CLBlast (0) */
    unsigned blas;       /* CLBlast's parameters: a set of gemm.c's, 0 its own defaults */
} clp_tuning;

struct clp_kernel_entry;
struct clp_program_entry;
struct clp_profile;

struct clpeft_context {
    cl_context cl;
    cl_device_id device;
    clpeft_device_info info;
    clp_tuning tuning;
    unsigned blas_set;                   /* by gemm.c: the set that CLBlast was told, plus 1 */
    char *cache_dir;                     /* NULL: no cache */
    pthread_mutex_t lock;                /* guards all below, and the arguments of kernels while they are set */
    struct clp_program_entry *programs;  /* by program.c */
    struct clp_kernel_entry *kernels;
    size_t n_programs, n_kernels;
    struct clp_profile *profile;         /* by launch.c; NULL without CLPEFT_PROFILE */
};

/* A device string (CL_DEVICE_NAME, ...) into text; cut to size. */
void clp_device_text(cl_device_id device, cl_device_info what, char *text, size_t size);

struct clpeft_workspace {
    clpeft_context *ctx;
    cl_mem buf;
    size_t off, bytes;
};

/* Check that a workspace holds bytes; what names the operation. bytes 0 needs none. */
clpeft_status clp_workspace_check(const clpeft_workspace *ws, size_t bytes, const char *what);

#endif
