/* profile.c - time, GFLOPS and GB/s per kernel from OpenCL's events. */
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *file, *name;
    size_t calls;
    double seconds, flops, bytes;
} row;

typedef struct {
    size_t row;
    cl_event event;
} pending;

struct clp_profile {
    row rows[128];
    pending queue[4096]; /* events whose times are not yet read */
    size_t n_rows, n_pending;
};

clpeft_status clp_profile_create(clpeft_context *ctx)
{
    const char *wanted = getenv("CLPEFT_PROFILE");
    if (!wanted || strcmp(wanted, "1") != 0) return CLPEFT_OK;
    ctx->profile = calloc(1, sizeof *ctx->profile);
    return ctx->profile ? CLPEFT_OK : clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "CLPEFT_PROFILE: out of memory");
}

static void collect(struct clp_profile *p)
{
    for (size_t i = 0; i < p->n_pending; i++) {
        cl_ulong start = 0, end = 0;
        clWaitForEvents(1, &p->queue[i].event);
        if (clGetEventProfilingInfo(p->queue[i].event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) ==
                CL_SUCCESS &&
            clGetEventProfilingInfo(p->queue[i].event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) ==
                CL_SUCCESS &&
            end > start)
            p->rows[p->queue[i].row].seconds += 1e-9 * (double)(end - start);
        clReleaseEvent(p->queue[i].event);
    }
    p->n_pending = 0;
}

void clp_profile_add(clpeft_context *ctx, const char *file, const char *name, cl_event event, double flops,
                     double bytes)
{
    struct clp_profile *p = ctx->profile;
    size_t i = 0;

    if (p->n_pending == LENGTH(p->queue)) collect(p);
    while (i < p->n_rows && (strcmp(p->rows[i].file, file) != 0 || strcmp(p->rows[i].name, name) != 0)) i++;
    if (i == LENGTH(p->rows)) {
        clReleaseEvent(event);
        return;
    }
    if (i == p->n_rows) p->rows[p->n_rows++] = (row){ .file = file, .name = name };
    p->rows[i].calls++;
    p->rows[i].flops += flops;
    p->rows[i].bytes += bytes;
    p->queue[p->n_pending++] = (pending){ i, event };
}

static int slower_first(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

void clp_profile_destroy(clpeft_context *ctx)
{
    struct clp_profile *p = ctx->profile;
    double total = 0, peak_flops = 0, peak_bytes = 0;

    if (!p) return;
    collect(p);
    qsort(p->rows, p->n_rows, sizeof *p->rows, slower_first);
    for (const row *r = p->rows; r < p->rows + p->n_rows; r++) {
        total += r->seconds;
        if (r->seconds > 0 && r->flops / r->seconds > peak_flops) peak_flops = r->flops / r->seconds;
        if (r->seconds > 0 && r->bytes / r->seconds > peak_bytes) peak_bytes = r->bytes / r->seconds;
    }
    fprintf(stderr, "%s: %.3f s in kernels; fastest seen %.1f GFLOPS, %.1f GB/s\n%-28s %8s %10s %10s %6s %9s %8s\n",
            ctx->info.name, total, 1e-9 * peak_flops, 1e-9 * peak_bytes, "kernel", "calls", "total ms", "mean us",
            "share", "GFLOPS", "GB/s");
    for (const row *r = p->rows; r < p->rows + p->n_rows; r++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s", r->file, r->name);
        fprintf(stderr, "%-28s %8zu %10.2f %10.1f %5.1f%% %9.1f %8.1f\n", name, r->calls, 1e3 * r->seconds,
                1e6 * r->seconds / (double)r->calls, total > 0 ? 100 * r->seconds / total : 0,
                r->seconds > 0 ? 1e-9 * r->flops / r->seconds : 0, r->seconds > 0 ? 1e-9 * r->bytes / r->seconds : 0);
    }
    free(p);
    ctx->profile = NULL;
}
