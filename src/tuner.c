/* tuner.c - measure candidates of the tuned parameters: register tile, depth and block, kB of panels, size of work groups, who serves
 * products. Each runs in a context of its own on the same device. */
#include "clpeft/tune.h"
#include "clpeft/linear.h"
#include "clpeft/op.h"
#include "gemm.h"
#include "tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const size_t shapes[CLPEFT_TUNE_SHAPES][3] = {
    { 1024, 384, 384 }, { 1024, 1536, 384 }, { 1024, 384, 1536 }, { 2048, 2048, 2048 }
};

typedef struct {
    clpeft_context *ctx;
    clp_tuning best;
    unsigned done, total;
    clpeft_tune_report report;
    void *user;
} tuner;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one measurement ------------------------------------------------------------------------------------------------- */

/* What is measured: a product of `shapes`, by its index, or what depends on the size of work groups: layer norm and attention, both
 * ways, of 32 sequences of 32 tokens in the widths of MiniLM. */
enum { GROUPS = CLPEFT_TUNE_SHAPES };
enum { LENGTH_OF_ONE = 32, TOKENS = 32 * LENGTH_OF_ONE, HEADS = 12, WIDTH = 384 };

typedef struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_linear *linear;
    clpeft_workspace *ws;
    cl_mem x, y, row_start;
} bench;

static void bench_close(bench *b)
{
    if (b->x) clReleaseMemObject(b->x);
    if (b->y) clReleaseMemObject(b->y);
    if (b->row_start) clReleaseMemObject(b->row_start);
    clpeft_workspace_destroy(b->ws);
    clpeft_linear_destroy(b->linear);
    if (b->queue) clReleaseCommandQueue(b->queue);
    clpeft_context_destroy(b->ctx);
}

static clpeft_status bench_open(bench *b, const tuner *t, const clp_tuning *tuning, size_t work)
{
    const clpeft_context_options options = { .context = t->ctx->cl,
                                             .device = t->ctx->device,
                                             .cache_dir = t->ctx->cache_dir ? t->ctx->cache_dir : "" };
    const cl_float value = 0.5f;
    size_t x = TOKENS * 3 * WIDTH, y = TOKENS * (4 * WIDTH + 2 * HEADS + 2);
    cl_int starts[TOKENS / LENGTH_OF_ONE + 1];
    clpeft_status status = CLPEFT_OK;

    TRY(clpeft_context_create(&b->ctx, &options));
    b->ctx->tuning = *tuning;
    TRY(clpeft_queue_create(&b->queue, b->ctx));
    if (work < GROUPS) {
        const size_t *shape = shapes[work];
        const clpeft_linear_options layer = { .N = shape[1], .K = shape[2], .dtype = CLPEFT_F32, .forward_only = 1 };
        TRY(clpeft_linear_create(&b->linear, b->ctx, &layer));
        TRY(clpeft_workspace_create(&b->ws, b->ctx, clpeft_linear_workspace(b->linear, NULL, shape[0])));
        x = shape[0] * shape[2], y = shape[0] * shape[1];
    }
    for (cl_int i = 0; i < (cl_int)LENGTH(starts); i++) starts[i] = i * LENGTH_OF_ONE;
    TRY(clp_buffer(b->ctx, sizeof starts, starts, &b->row_start));
    TRY(clp_buffer(b->ctx, 4 * x, NULL, &b->x));
    TRY(clp_buffer(b->ctx, 4 * y, NULL, &b->y));
    TRY_CL(clEnqueueFillBuffer(b->queue, b->x, &value, 4, 0, 4 * x, 0, NULL, NULL), "clpeft_tune");
out:
    return status;
}

/* A frozen layer's forward. */
static clpeft_status run_product(const bench *b, const size_t *shape)
{
    const clpeft_view none = { 0 };
    return clpeft_linear_forward(b->linear, NULL, shape[0], CLPEFT_IDENTITY, (clpeft_view){ b->x, 0, shape[2] }, none,
                                 (clpeft_view){ b->y, 0, shape[1] }, none, b->ws, b->queue, 0, NULL, NULL);
}

static clpeft_status run_groups(const bench *b)
{
    const clpeft_attention_shape shape = { .T = TOKENS,
                                           .S = TOKENS / LENGTH_OF_ONE,
                                           .H = HEADS,
                                           .Hk = HEADS,
                                           .d = WIDTH / HEADS,
                                           .max_length = LENGTH_OF_ONE,
                                           .scale = 0.2f };
    const clpeft_view none = { 0 }, rows = { b->row_start, 0, 1 }, vector = { b->x, 0, 1 };
    const clpeft_view q = { b->x, 0, 3 * WIDTH }, k = { b->x, WIDTH, 3 * WIDTH }, v = { b->x, 2 * WIDTH, 3 * WIDTH };
    const clpeft_view o = { b->y, 0, WIDTH }, dq = { b->y, TOKENS * WIDTH, 3 * WIDTH };
    const clpeft_view dk = { b->y, dq.off + WIDTH, 3 * WIDTH }, dv = { b->y, dk.off + WIDTH, 3 * WIDTH };
    const clpeft_view stat = { b->y, TOKENS * 4 * WIDTH, 2 }, lse = { b->y, stat.off + TOKENS * 2, HEADS };
    const clpeft_view dsum = { b->y, lse.off + TOKENS * HEADS, HEADS };
    clpeft_status status = CLPEFT_OK;

    TRY(clpeft_layer_norm(b->ctx, TOKENS, WIDTH, 1e-5f, q, vector, vector, o, stat, b->queue, 0, NULL, NULL));
    TRY(clpeft_layer_norm_backward(b->ctx, TOKENS, WIDTH, q, vector, stat, o, 0, o, none, none, b->queue, 0, NULL,
                                   NULL));
    TRY(clpeft_attention(b->ctx, &shape, rows, q, k, v, o, lse, b->queue, 0, NULL, NULL));
    TRY(clpeft_attention_backward(b->ctx, &shape, rows, q, k, v, o, lse, o, dsum, dq, dk, dv, b->queue, 0, NULL, NULL));
out:
    return status;
}

/* Operations as they are counted everywhere: 20 a value for the norm, 2 a product of attention, of which there are seven. */
static double operations(size_t work)
{
    if (work < GROUPS) return 2.0 * (double)shapes[work][0] * (double)shapes[work][1] * (double)shapes[work][2];
    return (double)TOKENS * WIDTH * (20 + 14 * LENGTH_OF_ONE);
}

/* GFLOPS: the best of several runs. */
static clpeft_status measure(const tuner *t, const clp_tuning *tuning, size_t work, double *gflops)
{
    clpeft_status status = CLPEFT_OK;
    double best = 0, start = 0;
    bench b = { 0 };

    TRY(bench_open(&b, t, tuning, work));
    for (int run = 0; run < 3 || (run < 100 && now() - start < 0.05); run++) { /* the first compiles */
        const double begin = now();
        TRY(work < GROUPS ? run_product(&b, shapes[work]) : run_groups(&b));
        TRY_CL(clFinish(b.queue), "clpeft_tune");
        const double seconds = now() - begin;
        if (run == 0) start = now();
        if (run > 0 && (best == 0 || seconds < best)) best = seconds;
    }
    *gflops = 1e-9 * operations(work) / best;
out:
    bench_close(&b);
    return status;
}

/* Two tunings take turns, so that a change of the machine's speed meets both; each counts with its fastest run. */
static clpeft_status take_turns(const tuner *t, const clp_tuning *first, const clp_tuning *second, size_t work,
                                double fastest[2])
{
    clpeft_status status = CLPEFT_OK;
    double gflops = 0;

    fastest[0] = fastest[1] = 0;
    for (int turn = 0; turn < 4; turn++) {
        TRY(measure(t, turn % 2 ? second : first, work, &gflops));
        if (gflops > fastest[turn % 2]) fastest[turn % 2] = gflops;
    }
out:
    return status;
}

/* ---- candidates ------------------------------------------------------------------------------------------------------- */

/* Candidate and best so far take turns on works [first, last). Scores are harmonic means; the candidate becomes the best when it
 * wins by more than 3 %. */
static void try_candidate(tuner *t, const clp_tuning *candidate, size_t first, size_t last, const char *what)
{
    double inverse[2] = { 0, 0 }, fastest[2];
    int failed = 0;

    for (size_t i = first; i < last && !failed; i++) {
        failed = take_turns(t, &t->best, candidate, i, fastest) != CLPEFT_OK;
        for (int k = 0; k < 2 && !failed; k++) inverse[k] += 1 / fastest[k];
    }
    const double score = failed ? 0 : (double)(last - first) / inverse[1];
    const int best = !failed && inverse[0] > 1.03 * inverse[1];
    if (best) t->best = *candidate;
    t->done++;
    if (t->report) t->report(t->user, &(clpeft_tune_step){ what, t->done, t->total, score, best });
}

static const unsigned tiles[][2] = { { 4, 6 },  { 4, 8 },  { 8, 4 },   { 8, 6 },  { 8, 12 },
                                     { 16, 6 }, { 16, 8 }, { 16, 12 }, { 16, 14 } };
static const unsigned depths[] = { 256, 512, 1024, 2048, 4096 }, blocks[] = { 2, 4, 8, 16 },
                      sizes_kb[] = { 256, 512, 1024, 2048 }, groups[] = { 32, 64, 128, 256 };

static void tune_panels(tuner *t)
{
    char what[64];

    for (size_t i = 0; i < LENGTH(tiles); i++) {
        clp_tuning c = t->best;
        c.vector = tiles[i][0], c.tile_rows = tiles[i][1];
        snprintf(what, sizeof what, "tile %u x %u", c.tile_rows, 2 * c.vector);
        try_candidate(t, &c, 0, 3, what);
    }
    for (size_t i = 0; i < LENGTH(depths) * LENGTH(blocks); i++) {
        clp_tuning c = t->best;
        c.depth = depths[i / LENGTH(blocks)], c.block = blocks[i % LENGTH(blocks)];
        snprintf(what, sizeof what, "depth %u, block %u", c.depth, c.block);
        try_candidate(t, &c, 1, 4, what);
    }
    for (size_t i = 0; i < LENGTH(sizes_kb); i++) {
        clp_tuning c = t->best;
        c.panels_kb = sizes_kb[i];
        snprintf(what, sizeof what, "%u kB of panels", c.panels_kb);
        try_candidate(t, &c, 1, 4, what);
    }
}

/* Of a device that CLBlast serves: its other kernels work in groups. */
static void tune_groups(tuner *t)
{
    char what[64];

    for (size_t i = 0; i < LENGTH(groups); i++) {
        clp_tuning c = t->best;
        c.group = groups[i];
        snprintf(what, sizeof what, "groups of %u", c.group);
        try_candidate(t, &c, GROUPS, GROUPS + 1, what);
    }
}

/* CLBlast with its defaults and with each set of parameters of gemm.c; and the panel kernel, should it win even here. */
static void tune_blas(tuner *t)
{
    char what[64];

    for (unsigned i = 0; i < clp_gemm_variants(); i++) {
        clp_tuning c = t->best;
        if (c.panel) c.panel = 0, c.vector = 1, c.group = 64;
        c.blas = i;
        snprintf(what, sizeof what, "CLBlast, parameters %u", i);
        try_candidate(t, &c, 0, 3, what);
    }
    if (!t->best.panel) {
        clp_tuning c = t->best;
        c.panel = 1, c.vector = 4, c.tile_rows = 6, c.group = 1;
        try_candidate(t, &c, 0, 3, "panels");
    }
}

clpeft_status clpeft_tune(clpeft_context *ctx, clpeft_tune_report report, void *user, clpeft_tune_result *result)
{
    clpeft_status status = CLPEFT_OK;
    tuner t = { .ctx = ctx, .report = report, .user = user };

    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_tune"));
    REQUIRE(result, CLPEFT_INVALID_ARGUMENT, "clpeft_tune: result is NULL");
    t.best = ctx->tuning;
    t.total = clp_gemm_variants() + (unsigned)(ctx->tuning.panel
                                                   ? LENGTH(tiles) + LENGTH(depths) * LENGTH(blocks) + LENGTH(sizes_kb)
                                                   : 1 + LENGTH(groups));
    clpeft_context_info(ctx, &result->before);
    if (ctx->tuning.panel)
        tune_panels(&t);
    else
        tune_groups(&t);
    tune_blas(&t);
    for (size_t i = 0; i < CLPEFT_TUNE_SHAPES; i++) {
        result->shape[i].M = shapes[i][0], result->shape[i].N = shapes[i][1], result->shape[i].K = shapes[i][2];
        double fastest[2];
        TRY(take_turns(&t, &ctx->tuning, &t.best, i, fastest));
        result->shape[i].before = fastest[0], result->shape[i].after = fastest[1];
    }
    result->after = result->before;
    result->after.panel_gemm = (int)t.best.panel, result->after.vector = t.best.vector;
    result->after.tile_rows = t.best.tile_rows, result->after.group = t.best.group;
    clp_tune_keep(ctx, &t.best);
out:
    return status;
}
