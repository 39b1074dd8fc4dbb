/* rownorm.c - how fast and how exact is c_i = ||W0_i + s (B A)_i||, 4096 x 4096, r 4 and 16?
 *   ours      the row norms of one DoRA site, by themselves, and clpeft_adapter_materialize of that site
 *   roofline  the longer of reading W0 once, at the bandwidth that a read-only kernel reaches here, and 2 N K (r + 1)
 *             operations at the rate of a 2048 x 2048 x 2048 product with a frozen right operand
 *   peer      forming s B A as a matrix, adding W0, then clpeft_row_norm   (PEFT's own way: peft.py)
 *   error     against float64: relative; and where B A nearly cancels W0, absolute over the row norm of W0
 * Usage: bench-rownorm [ROUNDS]; bench-rownorm ROUNDS RANK prints the times of the row norms alone, one line of JSON. */
#include "bench.h"
#include "norm.h"

#include <float.h>

enum { N = 4096, K = 4096 };

static struct {
    clpeft_linear *linear;
    clp_norm_plan *plan;
    clpeft_view c;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_view b, a, w, sum; /* for the matrix form: s B [N,r], A [r,K], W0, W0 + s B A */
    clpeft_workspace *ws;
    size_t rank;
} p;

static void run_norms(void *self)
{
    clp_stream s;
    (void)self;
    CHECK(clp_begin(&s, "row norms", dev.ctx, dev.queue, 0, NULL));
    CHECK(clp_norm_plan_run(p.plan, &s, p.c.buf));
    CHECK(clp_end(&s, NULL));
    CHECK(clFinish(dev.queue));
}

static void run_materialize(void *self)
{
    (void)self;
    CHECK(clpeft_adapter_materialize(p.adapter, 1, 0, dev.queue, 0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void run_matrix(void *self)
{
    (void)self;
    CHECK(clpeft_gemm(dev.ctx, 0, 0, N, K, p.rank, 1, p.b, p.a, 0, p.sum, p.ws, dev.queue, 0, NULL, NULL));
    CHECK(clpeft_add(dev.ctx, N, K, 1, p.sum, 1, p.w, p.sum, dev.queue, 0, NULL, NULL));
    CHECK(clpeft_row_norm(dev.ctx, N, K, p.sum, p.c, dev.queue, 0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

/* ---- the roofline ------------------------------------------------------------------------------------------------ */

static struct {
    bench_reader reader;
    clpeft_linear *linear;
    clpeft_view x, y;
    clpeft_workspace *ws;
} roof;

static void run_read(void *self)
{
    (void)self;
    bench_read(&roof.reader, p.w.buf, (size_t)N * K);
    CHECK(clFinish(dev.queue));
}

static void run_product(void *self)
{
    const clpeft_view none = { 0 };
    (void)self;
    CHECK(clpeft_linear_forward(roof.linear, NULL, 2048, CLPEFT_IDENTITY, roof.x, none, roof.y, none, roof.ws,
                                dev.queue, 0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void make_roof(void)
{
    const clpeft_linear_options options = { .N = 2048, .K = 2048, .dtype = CLPEFT_F32, .forward_only = 1 };
    float *x = bench_random(2048 * 2048, 3);

    roof.reader = bench_reader_make();
    CHECK(clpeft_linear_create(&roof.linear, dev.ctx, &options));
    CHECK(clpeft_linear_load(roof.linear, 0, 2048, x, CLPEFT_F32, NULL, dev.queue));
    roof.x = bench_view(2048, 2048, x), roof.y = bench_view(2048, 2048, NULL);
    roof.ws = bench_workspace(clpeft_linear_workspace(roof.linear, NULL, 2048));
    free(x);
}

static void unmake_roof(void)
{
    bench_reader_free(&roof.reader);
    clReleaseMemObject(roof.x.buf), clReleaseMemObject(roof.y.buf);
    clpeft_workspace_destroy(roof.ws);
    clpeft_linear_destroy(roof.linear);
}

/* ---- the site ---------------------------------------------------------------------------------------------------- */

/* Leading dimensions as lowrank.h asks for them. */
static void make_plan(const float *b, const float *a)
{
    const size_t at_ld = clp_round_up(p.rank, 64), bt_ld = clp_round_up(N, 64) + 64, size = K * at_ld + p.rank * bt_ld;
    float *factors = bench_alloc(4 * size);
    clp_norm_job job = { .linear = p.linear, .rows = N, .rank = p.rank };

    for (size_t r = 0; r < p.rank; r++) {
        for (size_t k = 0; k < K; k++) factors[k * at_ld + r] = a[r * K + k];
        for (size_t n = 0; n < N; n++) factors[K * at_ld + r * bt_ld + n] = b[n * p.rank + r];
    }
    job.at = bench_view(1, size, factors), job.at.ld = at_ld;
    job.bt = (clpeft_view){ job.at.buf, K * at_ld, bt_ld };
    CHECK(clp_norm_plan_create(&p.plan, dev.ctx, &job, 1));
    free(factors);
    p.a = bench_view(p.rank, K, a), p.b = bench_view(N, p.rank, b);
}

static void make_adapter(void)
{
    const clpeft_site site = { .name = "query", .linear = p.linear, .heads = 1, .head_size = N };
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_DORA);

    config.rank = p.rank;
    CHECK(clpeft_params_create(&p.params, dev.ctx));
    CHECK(clpeft_adapter_create(&p.adapter, p.params, &site, 1, &config));
    CHECK(clpeft_params_allocate(p.params));
}

static void make(const float *w, const float *b, const float *a, size_t rank)
{
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = CLPEFT_F32, .forward_only = 1 };

    p.rank = rank;
    CHECK(clpeft_linear_create(&p.linear, dev.ctx, &options));
    CHECK(clpeft_linear_load(p.linear, 0, N, w, CLPEFT_F32, NULL, dev.queue));
    make_plan(b, a);
    make_adapter();
    p.c = bench_view(N, 1, NULL), p.w = bench_view(N, K, w), p.sum = bench_view(N, K, NULL);
    p.ws = bench_workspace(clpeft_gemm_workspace(dev.ctx, N, K, rank));
}

static void unmake(void)
{
    clpeft_workspace_destroy(p.ws);
    clReleaseMemObject(p.c.buf), clReleaseMemObject(p.w.buf), clReleaseMemObject(p.sum.buf);
    clReleaseMemObject(p.a.buf), clReleaseMemObject(p.b.buf);
    clpeft_adapter_destroy(p.adapter);
    clpeft_params_destroy(p.params);
    clp_norm_plan_destroy(p.plan);
    clpeft_linear_destroy(p.linear);
}

/* ---- error ------------------------------------------------------------------------------------------------------- */

/* The largest |c - reference| over the reference, or with cancelled over the row norm of W0. */
static double largest_error(const float *w, const float *b, const float *a, int cancelled)
{
    float *c = bench_alloc(4 * N);
    double largest = 0;

    run_norms(NULL);
    bench_download(p.c, N, c);
    for (size_t i = 0; i < N; i += 37) {
        double sum = 0, w_sum = 0;
        for (size_t k = 0; k < K; k++) {
            double v = w[i * K + k];
            w_sum += v * v;
            for (size_t r = 0; r < p.rank; r++) v += (double)b[i * p.rank + r] * a[r * K + k];
            sum += v * v;
        }
        const double error = fabs(c[i] - sqrt(sum)) / sqrt(cancelled ? w_sum : sum);
        if (!(error <= largest)) largest = error;
    }
    free(c);
    return largest;
}

static void report_error(const char *what, double error, const char *peer, double bound)
{
    char shape[64];
    snprintf(shape, sizeof shape, "%d x %d, r %zu", N, K, p.rank);
    bench_print(&(bench_row){ "rownorm", what, shape, "error", peer, "<= 1", error, error, bound, bound });
}

/* w = -B A in f32, and a trace of something else: rows of a norm near 1e-4 of W0's. */
static void cancel(float *w, const float *b, const float *a, size_t rank)
{
    float *noise = bench_random((size_t)N * K, 7);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < K; k++) {
            double v = 0;
            for (size_t r = 0; r < rank; r++) v -= (double)b[i * rank + r] * a[r * K + k];
            w[i * K + k] = (float)(v + 1e-4 * noise[i * K + k]);
        }
    free(noise);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static void report_times(contestant *norms, contestant *materialize, contestant *matrix, contestant *bytes,
                         contestant *product)
{
    const double flops = 2.0 * N * (double)K * (double)(p.rank + 1), share = flops / (2.0 * 2048 * 2048 * 2048);
    const double read = bench_min(bytes), compute = share * bench_min(product);
    const double read_median = bench_median(bytes), compute_median = share * bench_median(product);
    char shape[64], peer[128];
    contestant *ours[] = { norms, materialize };

    snprintf(shape, sizeof shape, "%d x %d, r %zu", N, K, p.rank);
    snprintf(peer, sizeof peer, "roofline: %s, %.1f GB/s, %.0f GFLOPS", read > compute ? "reading W0" : "2NK(r+1) FLOP",
             4e-6 * N * K / read, 1e-6 * flops / compute);
    for (size_t i = 0; i < 2; i++) {
        bench_print(&(bench_row){ "rownorm", ours[i]->name, shape, "ms", peer, i ? NULL : "<= 1.5", bench_min(ours[i]),
                                  bench_median(ours[i]), fmax(read, compute), fmax(read_median, compute_median) });
        bench_print(&(bench_row){ "rownorm", ours[i]->name, shape, "ms", "forming W0 + s B A", NULL, bench_min(ours[i]),
                                  bench_median(ours[i]), bench_min(matrix), bench_median(matrix) });
    }
}

static void measure(size_t rank, size_t rounds)
{
    float *w = bench_random((size_t)N * K, 4), *b = bench_random(N * rank, 5), *a = bench_random(rank * K, 6);
    contestant c[] = { { .name = "row norms", .run = run_norms },
                       { .name = "materialize, one DoRA site", .run = run_materialize },
                       { .name = "matrix", .run = run_matrix, .most = 10 },
                       { .name = "read", .run = run_read },
                       { .name = "product", .run = run_product } };

    for (size_t i = 0; i < (size_t)N * K; i++) w[i] *= 0.02f;
    for (size_t i = 0; i < N * rank; i++) b[i] *= 0.1f;
    for (size_t i = 0; i < rank * K; i++) a[i] *= 0.1f;
    make(w, b, a, rank);
    bench_turns(c, 5, rounds, 30);
    report_times(&c[0], &c[1], &c[2], &c[3], &c[4]);
    report_error("relative error", largest_error(w, b, a, 0), "1e-6", 1e-6);
    unmake();
    cancel(w, b, a, rank);
    make(w, b, a, rank);
    report_error("error over the row norm of W0, B A near -W0", largest_error(w, b, a, 1), "4 float epsilons",
                 4 * FLT_EPSILON);
    unmake();
    for (size_t i = 0; i < 5; i++) free(c[i].ms);
    free(w), free(b), free(a);
}

static void times(size_t rank, size_t rounds)
{
    float *w = bench_random((size_t)N * K, 4), *b = bench_random(N * rank, 5), *a = bench_random(rank * K, 6);
    contestant c = { .name = "row norms", .run = run_norms };

    make(w, b, a, rank);
    bench_turns(&c, 1, rounds, 100);
    bench_print_times(&c);
    unmake();
    free(w), free(b), free(a);
}

int main(int argc, char **argv)
{
    const size_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 30;

    bench_open();
    if (argc > 2) {
        times(strtoull(argv[2], NULL, 10), rounds);
    } else {
        make_roof();
        for (size_t rank = 4; rank <= 16; rank *= 4) measure(rank, rounds);
        unmake_roof();
    }
    bench_close();
    return 0;
}
