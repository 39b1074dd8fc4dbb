/* bench.h - what the benchmarks share: an open device, repetitions in turns, and one JSON line per result on stdout.
 *
 * A machine's speed drifts: who is compared is measured in turns, in many short rounds, and the minimum is what counts.
 * The median tells how noisy the run was. Errors end the program: a benchmark has nobody to hand them to. */
#ifndef BENCH_H
#define BENCH_H

#include "clpeft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_device_info info;
} dev;

#define CHECK(call) bench_check((call), #call)
static inline void bench_check(clpeft_status status, const char *call)
{
    if (status == CLPEFT_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", call, clpeft_status_text(status), clpeft_error_message());
    exit(1);
}

/* The device of CLPEFT_DEVICE. */
static inline void bench_open(void)
{
    CHECK(clpeft_context_create(&dev.ctx, NULL));
    CHECK(clpeft_queue_create(&dev.queue, dev.ctx));
    clpeft_context_info(dev.ctx, &dev.info);
}

static inline void bench_close(void)
{
    clReleaseCommandQueue(dev.queue);
    clpeft_context_destroy(dev.ctx);
}

static inline double bench_now(void) /* ms */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static inline void *bench_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

/* n values uniform in [-1, 1), repeatable. */
static inline float *bench_random(size_t n, uint64_t seed)
{
    float *v = bench_alloc(4 * n);
    uint64_t state = 2 * seed + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        v[i] = (float)((double)(state >> 11) / 4503599627370496.0 - 1.0);
    }
    return v;
}

/* rows x ld floats on the device; host NULL: zeros. */
static inline clpeft_view bench_view(size_t rows, size_t ld, const float *host)
{
    float *zeros = host ? NULL : bench_alloc(4 * rows * ld);
    cl_int code;
    const cl_mem buf = clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                      4 * rows * ld, (void *)(uintptr_t)(host ? host : zeros), &code);
    CHECK(code);
    free(zeros);
    return (clpeft_view){ buf, 0, ld };
}

static inline void bench_download(clpeft_view v, size_t n, float *host)
{
    CHECK(clEnqueueReadBuffer(dev.queue, v.buf, CL_TRUE, 4 * v.off, 4 * n, host, 0, NULL, NULL));
}

static inline clpeft_workspace *bench_workspace(size_t bytes)
{
    clpeft_workspace *ws = NULL;
    if (bytes > 0) CHECK(clpeft_workspace_create(&ws, dev.ctx, bytes));
    return ws;
}

/* ---- reading memory ---------------------------------------------------------------------------------------------- */

static const char *const bench_read_source =
    "__kernel void read(__global const float16 *w, ulong n, __global float *out)\n"
    "{\n"
    "    const size_t first = get_global_id(0) * n;\n"
    "    float16 s0 = 0, s1 = 0, s2 = 0, s3 = 0;\n"
    "    for (size_t i = 0; i < n; i += 4) {\n"
    "        s0 += w[first + i]; s1 += w[first + i + 1]; s2 += w[first + i + 2]; s3 += w[first + i + 3];\n"
    "    }\n"
    "    s0 += s1 + s2 + s3;\n"
    "    out[get_global_id(0)] = s0.s0 + s0.s1 + s0.s2 + s0.s3 + s0.s4 + s0.s5 + s0.s6 + s0.s7 + s0.s8 + s0.s9 + s0.sa + s0.sb + s0.sc\n"
    "        + s0.sd + s0.se + s0.sf;\n"
    "}\n";

/* Reads buffers in order and does nothing with them but add: what a kernel that must read them can't be faster than. */
typedef struct {
    cl_kernel kernel;
    size_t items;
    clpeft_view sums;
} bench_reader;

static inline bench_reader bench_reader_make(void)
{
    const cl_device_id device = clpeft_context_device(dev.ctx);
    const char *source = bench_read_source;
    bench_reader r = { .items = dev.info.type & CL_DEVICE_TYPE_CPU ? 64 : 4096 };
    cl_int code;
    const cl_program program = clCreateProgramWithSource(clpeft_context_cl(dev.ctx), 1, &source, NULL, &code);

    CHECK(code);
    CHECK(clBuildProgram(program, 1, &device, "-cl-fast-relaxed-math", NULL, NULL));
    r.kernel = clCreateKernel(program, "read", &code);
    CHECK(code);
    clReleaseProgram(program);
    r.sums = bench_view(1, r.items, NULL);
    return r;
}

static inline void bench_reader_free(bench_reader *r)
{
    clReleaseKernel(r->kernel);
    clReleaseMemObject(r->sums.buf);
}

/* The first n floats of a buffer, down to a multiple of 64 for each work item. */
static inline void bench_read(bench_reader *r, cl_mem buf, size_t n)
{
    const cl_ulong vectors = n / 64 / r->items * 4;

    CHECK(clSetKernelArg(r->kernel, 0, sizeof buf, &buf));
    CHECK(clSetKernelArg(r->kernel, 1, sizeof vectors, &vectors));
    CHECK(clSetKernelArg(r->kernel, 2, sizeof r->sums.buf, &r->sums.buf));
    CHECK(clEnqueueNDRangeKernel(dev.queue, r->kernel, 1, NULL, &r->items, NULL, 0, NULL, NULL));
}

/* ---- repetitions in turns ---------------------------------------------------------------------------------------- */

/* Something whose time is taken: run(self) returns when it is done. */
typedef struct contestant {
    const char *name;
    void (*run)(void *self);
    void *self;
    int spins;   /* its threads keep spinning after a call: give them time to fall asleep */
    size_t most; /* timed calls at most, for the slow ones; 0: no limit */
    double *ms;
    size_t n;
} contestant;

static inline void bench_sleep(double ms)
{
    const struct timespec t = { (time_t)(ms / 1e3), (long)(1e6 * fmod(ms, 1e3)) };
    nanosleep(&t, NULL);
}

static inline void bench_add(contestant *c, double ms)
{
    if (c->n % 256 == 0) c->ms = realloc(c->ms, (c->n + 256) * sizeof *c->ms);
    if (!c->ms) exit(1);
    c->ms[c->n++] = ms;
}

/* In every round each has its turn: calls that are not timed for `turn` ms, then timed ones for as long, at least one of each. A
 * turn lasts long enough for caches, clocks and the places of threads to settle: after a pause both threads of a pool may sit on
 * one core for some milliseconds (in a new process for up to 70). A contestant without run is skipped. */
static inline void bench_turns(contestant *c, size_t n, size_t rounds, double turn)
{
    for (size_t i = 0; i < n; i++) c[i].ms = NULL, c[i].n = 0;
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < n; i++) {
            if (!c[i].run || (c[i].most && c[i].n >= c[i].most)) continue;
            const double woken = bench_now();
            do c[i].run(c[i].self);
            while (bench_now() < woken + turn);
            const double start = bench_now();
            double now = start;
            do {
                const double begin = now;
                c[i].run(c[i].self);
                now = bench_now();
                bench_add(&c[i], now - begin);
            } while (now < start + turn);
            if (c[i].spins) bench_sleep(60);
        }
}

static int bench_ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_min(contestant *c)
{
    qsort(c->ms, c->n, sizeof *c->ms, bench_ascending);
    return c->n ? c->ms[0] : NAN;
}

static inline double bench_median(contestant *c)
{
    qsort(c->ms, c->n, sizeof *c->ms, bench_ascending);
    return c->n ? c->ms[c->n / 2] : NAN;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* One result: values in `unit`, the best and the median of the repetitions. peer NULL: nothing to compare with. */
typedef struct {
    const char *bench, *what, *shape, *unit, *peer, *target;
    double ours, ours_median, theirs, theirs_median;
} bench_row;

static inline void bench_text(const char *key, const char *text)
{
    printf("\"%s\":\"", key);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        if ((unsigned char)*text >= ' ') putchar(*text);
    }
    printf("\",");
}

static inline void bench_print(const bench_row *r)
{
    putchar('{');
    bench_text("device", dev.info.name);
    bench_text("bench", r->bench);
    bench_text("what", r->what);
    bench_text("shape", r->shape);
    bench_text("unit", r->unit);
    if (r->peer) {
        bench_text("peer", r->peer);
        printf("\"theirs\":%.6g,\"theirs_median\":%.6g,\"ratio\":%.4g,\"ratio_median\":%.4g,", r->theirs,
               r->theirs_median, r->ours / r->theirs, r->ours_median / r->theirs_median);
    }
    if (r->target) bench_text("target", r->target);
    printf("\"ours\":%.6g,\"ours_median\":%.6g}\n", r->ours, r->ours_median);
    fflush(stdout);
}

/* The times of one contestant, for a peer that measures itself elsewhere. */
static inline void bench_print_times(const contestant *c)
{
    putchar('{');
    bench_text("device", dev.info.name);
    printf("\"ms\":[");
    for (size_t i = 0; i < c->n; i++) printf("%s%.6g", i ? "," : "", c->ms[i]);
    printf("]}\n");
}

#endif
