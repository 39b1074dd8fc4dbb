/* attention.c - how fast is attention on packed sequences, forward and backward?  GFLOPS, counting 2 L^2 d operations for every
 * product of the scores' size (half of them when causal): two forward; in the backward the five of it that are new.
 * Usage: bench-attention [ROUNDS] */
#include "bench.h"

/* S sequences of lengths from shortest to longest. peaked: scores of up to 60 and gradients of 1e-6, more so than most that training
 * sees; the products of their tails are denormal, which must not cost time. */
static const struct {
    const char *name;
    size_t S, shortest, longest, H, Hk, d;
    int causal, peaked;
} shape[] = {
    { "32 x 32", 32, 32, 32, 12, 12, 32, 0, 0 },   { "8 x 128", 8, 128, 128, 12, 12, 32, 0, 0 },
    { "2 x 512", 2, 512, 512, 12, 12, 32, 0, 0 },  { "2 x 512, peaked", 2, 512, 512, 12, 12, 32, 0, 1 },
    { "32 x 3..64", 32, 3, 64, 12, 12, 32, 0, 0 }, { "1 x 512, causal", 1, 512, 512, 9, 3, 64, 1, 0 },
};

static struct {
    clpeft_attention_shape shape;
    clpeft_view rows, qkv, o, lse, d_o, dsum, dqkv;
    double product; /* operations of one product of the scores' size */
} p;

static clpeft_view part(clpeft_view all, size_t column)
{
    return (clpeft_view){ all.buf, all.off + column, all.ld };
}

static void run_forward(void *self)
{
    const size_t q = p.shape.H * p.shape.d, k = p.shape.Hk * p.shape.d;
    (void)self;
    CHECK(clpeft_attention(dev.ctx, &p.shape, p.rows, p.qkv, part(p.qkv, q), part(p.qkv, q + k), p.o, p.lse, dev.queue,
                           0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void run_backward(void *self)
{
    const size_t q = p.shape.H * p.shape.d, k = p.shape.Hk * p.shape.d;
    (void)self;
    CHECK(clpeft_attention_backward(dev.ctx, &p.shape, p.rows, p.qkv, part(p.qkv, q), part(p.qkv, q + k), p.o, p.lse,
                                    p.d_o, p.dsum, p.dqkv, part(p.dqkv, q), part(p.dqkv, q + k), dev.queue, 0, NULL,
                                    NULL));
    CHECK(clFinish(dev.queue));
}

static clpeft_view random_view(size_t rows, size_t columns, uint64_t seed, float scale)
{
    float *host = bench_random(rows * columns, seed);
    for (size_t i = 0; i < rows * columns; i++) host[i] *= scale;
    const clpeft_view v = bench_view(rows, columns, host);
    free(host);
    return v;
}

static void make(size_t s)
{
    const size_t S = shape[s].S, q = shape[s].H * shape[s].d, all = q + 2 * shape[s].Hk * shape[s].d;
    cl_int *row_start = bench_alloc(4 * (S + 1)), code;

    p.product = 0;
    for (size_t i = 0; i < S; i++) {
        const size_t length = shape[s].shortest + (S > 1 ? i * (shape[s].longest - shape[s].shortest) / (S - 1) : 0);
        row_start[i + 1] = row_start[i] + (cl_int)length;
        p.product += 2.0 * (double)(length * length * q) * (shape[s].causal ? 0.5 : 1);
    }
    const size_t T = (size_t)row_start[S];
    p.shape =
        (clpeft_attention_shape){ T, S, shape[s].H, shape[s].Hk, shape[s].d, shape[s].longest, 0.17f, shape[s].causal };
    p.rows =
        (clpeft_view){ clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_COPY_HOST_PTR, 4 * (S + 1), row_start, &code),
                       0, 1 };
    CHECK(code);
    p.qkv = random_view(T, all, 1, shape[s].peaked ? 8 : 1), p.d_o = random_view(T, q, 2, shape[s].peaked ? 1e-6f : 1);
    p.dqkv = bench_view(T, all, NULL);
    p.o = bench_view(T, q, NULL), p.lse = bench_view(T, shape[s].H, NULL), p.dsum = bench_view(T, shape[s].H, NULL);
    free(row_start);
}

static void unmake(void)
{
    const clpeft_view all[] = { p.rows, p.qkv, p.o, p.lse, p.d_o, p.dsum, p.dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) clReleaseMemObject(all[i].buf);
}

int main(int argc, char **argv)
{
    const size_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 30;

    bench_open();
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        contestant c[] = { { .name = "forward", .run = run_forward }, { .name = "backward", .run = run_backward } };
        make(s);
        bench_turns(c, 2, rounds, 15);
        for (size_t i = 0; i < 2; i++) {
            const double gflop = 1e-6 * p.product * (i ? 5 : 2);
            bench_print(&(bench_row){ .bench = "attention",
                                      .what = c[i].name,
                                      .shape = shape[s].name,
                                      .unit = "GFLOPS",
                                      .ours = gflop / bench_min(&c[i]),
                                      .ours_median = gflop / bench_median(&c[i]) });
            free(c[i].ms);
        }
        unmake();
    }
    bench_close();
    return 0;
}
