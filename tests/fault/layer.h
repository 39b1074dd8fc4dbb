/* layer.h - what a test program and the fault layer share. The layer stands between the OpenCL loader and the driver: it counts
 * objects, checks the ranges of buffer commands, and lets chosen calls fail. */
#ifndef TEST_FAULT_LAYER_H
#define TEST_FAULT_LAYER_H

#include <stdatomic.h>
#include <stddef.h>

typedef enum {
    FAULT_CONTEXT,
    FAULT_QUEUE,
    FAULT_BUFFER,
    FAULT_PROGRAM,
    FAULT_KERNEL,
    FAULT_EVENT,
    FAULT_DEVICE, /* retained devices */
    FAULT_KINDS
} fault_kind;

typedef struct {
    atomic_long live[FAULT_KINDS]; /* references: made and retained, less released */
    atomic_long out_of_range;      /* buffer commands past the end of a buffer, releases of more than was made */
    atomic_long seen;              /* calls that could have failed since `at` was set */
    atomic_long at;                /* the call that fails, from 1; 0: none */
    atomic_int sticky;             /* and all after it */
    atomic_int code;               /* what it returns; 0: the code that fits the entry point */
    atomic_int first;              /* what the first call that failed returned */
    atomic_long fired;             /* calls that failed */
    _Atomic(const char *) entry;   /* only calls of this entry point, "clCreateBuffer", count; NULL: all but releases */
    _Atomic(const char *) last;    /* the entry point that failed last */
    atomic_int skip_kernels;       /* kernels are not run: for what only measures them */
    atomic_size_t max_alloc; /* what the device says that it can allocate at most, and refuses more; 0: as it is */
} fault_control;

/* Exported by the layer. */
fault_control *fault_layer(void);

#endif
