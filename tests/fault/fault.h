/* fault.h - a test program under faults: the OpenCL layer and the wrapped host functions, and what is alive. */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include "host.h"
#include "layer.h"

#include "../expect.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Load the layer FAULT_LAYER (a path, by meson). Before the first OpenCL call. */
static inline fault_control *fault_start(void)
{
    fault_control *(*control)(void);
    cl_uint n = 0;

    host_start();
    setenv("OPENCL_LAYERS", FAULT_LAYER, 1);
    clGetPlatformIDs(0, NULL, &n);
    void *layer = dlopen(FAULT_LAYER, RTLD_NOW | RTLD_NOLOAD);
    if (!layer) {
        fprintf(stderr, "the OpenCL loader has no layers: %s\n", dlerror());
        exit(77); /* skipped */
    }
    *(void **)&control = dlsym(layer, "fault_layer");
    return control();
}

typedef struct {
    long kind[FAULT_KINDS], memory;
} fault_alive;

static inline fault_alive fault_count(fault_control *layer)
{
    fault_alive now = { .memory = host.live };
    for (int k = 0; k < FAULT_KINDS; k++) now.kind[k] = atomic_load(&layer->live[k]);
    return now;
}

/* How many objects and allocations more there are now than in `before`; prints them. */
static inline long fault_leaks(fault_control *layer, const fault_alive *before)
{
    static const char *const names[FAULT_KINDS] = { "contexts", "queues", "buffers", "programs",
                                                    "kernels",  "events", "devices" };
    const fault_alive now = fault_count(layer);
    long leaks = labs(now.memory - before->memory);
    if (leaks) fprintf(stderr, "    allocations: %+ld\n", now.memory - before->memory), host_print_leaks();
    for (int k = 0; k < FAULT_KINDS; k++) {
        const long more = now.kind[k] - before->kind[k];
        if (more) fprintf(stderr, "    %s: %+ld\n", names[k], more);
        leaks += labs(more);
    }
    return leaks;
}

#endif
