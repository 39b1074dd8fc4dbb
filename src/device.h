/* device.h - the devices there are, and a context: one of them, its facts and what is kept for it. */
#ifndef CLP_DEVICE_H
#define CLP_DEVICE_H

#include "handle.h"

#include <pthread.h>

/* Parameters of the tuned kernels: chosen from device facts, or by measuring (tune.c). */
typedef struct {
    unsigned vector;    /* VW: lanes of the vector type V */
    unsigned tile_rows; /* MR: rows of a register tile of MR x 2 VW */
    unsigned depth;     /* KC: columns of a panel that one pass multiplies, so that its slices stay in cache */
    unsigned block;     /* MB: row panels of one work item */
    unsigned panels_kb; /* of column panels that meet all rows before the next ones do: half of a second-level cache */
    unsigned l1_ways;   /* rows a multiple of 4 KB apart that a first-level cache holds at once; 0: not known */
    unsigned group;     /* WG: work items of a group in row and element kernels */
    unsigned panel;     /* products by the panel kernel (1) or by CLBlast (0) */
    unsigned blas;      /* CLBlast's parameters: a set of gemm.c's, 0 its own defaults */
} clp_tuning;

struct clp_kernel_entry;
struct clp_program_entry;
struct clp_profile;

struct clpeft_context {
    cl_context cl;
    cl_device_id device;
    clpeft_device_info info;
    clp_tuning tuning;
    unsigned blas_set;                  /* by gemm.c: the set that CLBlast was told, plus 1 */
    char *cache_dir;                    /* NULL: no cache */
    pthread_mutex_t lock;               /* guards all below, and the arguments of kernels while they are set */
    struct clp_program_entry *programs; /* by program.c */
    struct clp_kernel_entry *kernels;
    size_t n_programs, n_kernels;
    struct clp_profile *profile; /* by launch.c; NULL without CLPEFT_PROFILE */
};

/* The device that select names (an index or a part of a name, NULL: by kind); see clpeft_context_options. */
clpeft_status clp_device_pick(const char *select, cl_device_id *device);

/* Fill ctx->info from ctx->device. */
clpeft_status clp_device_facts(clpeft_context *ctx);

/* Release a queue of clpeft_queue_create (NULL: nothing) once its commands have ended: Intel's CPU runtime lets a command of the next queue
 * overtake even a blocking write of one that is released at once. */
void clp_queue_end(cl_command_queue queue);

#endif
