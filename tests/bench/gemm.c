/* gemm.c - how fast are products with a frozen right operand, and plain ones?   y [M,N] = x [M,K] w^T, w [N,K]
 *   linear   clpeft_linear_forward: w is packed once, x in every call      gemm   clpeft_gemm: packs both in every call
 *   peers    OpenBLAS (w as it is, and transposed once: the faster counts), CLBlast as it comes, and CLBlast with the
 *            parameters of its own tuner in CLBLAST_XGEMM="MWG=64 NWG=32 ..."
 * Usage: bench-gemm [ROUNDS [M N K]]; with M N K it prints the times of the linear layer alone, one line of JSON. */
#include "bench.h"

#include <clblast_c.h>
#include <unistd.h>
#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif

static struct {
    size_t M, N, K;
    float *x, *w, *wt, *y;  /* host */
    clpeft_view dx, dw, dy; /* device */
    clpeft_linear *linear;
    clpeft_workspace *linear_ws, *gemm_ws;
} p;

static void run_linear(void *self)
{
    const clpeft_view none = { 0 };
    (void)self;
    CHECK(clpeft_linear_forward(p.linear, NULL, p.M, CLPEFT_IDENTITY, p.dx, none, p.dy, none, p.linear_ws, dev.queue, 0,
                                NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void run_gemm(void *self)
{
    (void)self;
    CHECK(clpeft_gemm(dev.ctx, 0, 1, p.M, p.N, p.K, 1, p.dx, p.dw, 0, p.dy, p.gemm_ws, dev.queue, 0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void run_clblast(void *self)
{
    (void)self;
    const CLBlastStatusCode code =
        CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, p.M, p.N, p.K, 1, p.dx.buf, 0, p.K,
                     p.dw.buf, 0, p.K, 0, p.dy.buf, 0, p.N, &dev.queue, NULL);
    if (code != CLBlastSuccess) {
        fprintf(stderr, "CLBlast: %d\n", (int)code);
        exit(1);
    }
    CHECK(clFinish(dev.queue));
}

#ifdef HAVE_OPENBLAS
static void run_openblas(void *self)
{
    (void)self;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p.M, (int)p.N, (int)p.K, 1, p.x, (int)p.K, p.w, (int)p.K,
                0, p.y, (int)p.N);
}

static void run_openblas_transposed(void *self)
{
    (void)self;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p.M, (int)p.N, (int)p.K, 1, p.x, (int)p.K, p.wt,
                (int)p.N, 0, p.y, (int)p.N);
}
#endif

/* A fast wrong product is worth nothing: 100 elements against float64. */
static void verify(const char *name, const float *y)
{
    for (size_t t = 0; t < 100; t++) {
        const size_t i = t * 7919 % p.M, j = t * 104729 % p.N;
        double want = 0;
        for (size_t k = 0; k < p.K; k++) want += (double)p.x[i * p.K + k] * p.w[j * p.K + k];
        if (fabs(want - y[i * p.N + j]) <= 1e-4 * sqrt((double)p.K)) continue;
        fprintf(stderr, "%s: element %zu,%zu is %g, not %g\n", name, i, j, y[i * p.N + j], want);
        exit(1);
    }
}

static void verify_device(contestant *c)
{
    float *y = bench_alloc(4 * p.M * p.N);
    c->run(c->self);
    bench_download(p.dy, p.M * p.N, y);
    verify(c->name, y);
    free(y);
}

static void make(size_t M, size_t N, size_t K)
{
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = CLPEFT_F32, .forward_only = 1 };

    p.M = M, p.N = N, p.K = K;
    p.x = bench_random(M * K, 1), p.w = bench_random(N * K, 2), p.wt = bench_alloc(4 * N * K),
    p.y = bench_alloc(4 * M * N);
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) p.wt[k * N + n] = p.w[n * K + k];
    p.dx = bench_view(M, K, p.x), p.dw = bench_view(N, K, p.w), p.dy = bench_view(M, N, NULL);
    CHECK(clpeft_linear_create(&p.linear, dev.ctx, &options));
    CHECK(clpeft_linear_load(p.linear, 0, N, p.w, CLPEFT_F32, NULL, dev.queue));
    p.linear_ws = bench_workspace(clpeft_linear_workspace(p.linear, NULL, M));
    p.gemm_ws = bench_workspace(clpeft_gemm_workspace(dev.ctx, M, N, K));
}

static void unmake(void)
{
    clpeft_workspace_destroy(p.linear_ws), clpeft_workspace_destroy(p.gemm_ws);
    clpeft_linear_destroy(p.linear);
    clReleaseMemObject(p.dx.buf), clReleaseMemObject(p.dw.buf), clReleaseMemObject(p.dy.buf);
    free(p.x), free(p.w), free(p.wt), free(p.y);
}

static void report(contestant *ours, contestant *peer, const char *target)
{
    const double gflop = 2e-6 * (double)p.M * (double)p.N * (double)p.K; /* per ms: GFLOPS */
    char shape[64];

    snprintf(shape, sizeof shape, "%zu x %zu x %zu", p.M, p.N, p.K);
    bench_print(&(bench_row){ "gemm", ours->name, shape, "GFLOPS", peer->name, target, gflop / bench_min(ours),
                              gflop / bench_median(ours), gflop / bench_min(peer), gflop / bench_median(peer) });
}

enum { LINEAR, GEMM, CLBLAST, OPENBLAS, OPENBLAS_T, CONTESTANTS };

static void free_times(contestant *c)
{
    for (size_t i = 0; i < CONTESTANTS; i++) free(c[i].ms);
}

static void compare(size_t rounds, const char *blas)
{
    const char *faster = dev.info.type & CL_DEVICE_TYPE_CPU ? ">= 8" : NULL;
    contestant c[CONTESTANTS] = { { .name = "linear", .run = run_linear },
                                  { .name = "gemm", .run = run_gemm },
                                  { .name = "CLBlast, defaults", .run = run_clblast, .most = 5 } };
    for (size_t i = LINEAR; i <= CLBLAST; i++) verify_device(&c[i]);
#ifdef HAVE_OPENBLAS
    c[OPENBLAS] = (contestant){ .name = blas, .run = run_openblas, .spins = 1 };
    c[OPENBLAS_T] = (contestant){ .name = blas, .run = run_openblas_transposed, .spins = 1 };
    for (size_t i = OPENBLAS; i <= OPENBLAS_T; i++) c[i].run(NULL), verify(c[i].name, p.y);
#else
    (void)blas;
#endif
    bench_turns(c, CONTESTANTS, rounds, 30);
    for (size_t ours = LINEAR; ours <= GEMM; ours++) {
        contestant *open = bench_min(&c[OPENBLAS]) < bench_min(&c[OPENBLAS_T]) ? &c[OPENBLAS] : &c[OPENBLAS_T];
        if (open->run && dev.info.type & CL_DEVICE_TYPE_CPU) report(&c[ours], open, ">= 1");
        report(&c[ours], &c[CLBLAST], faster);
    }
    free_times(c);
}

static void compare_tuned(size_t rounds)
{
    contestant c[CONTESTANTS] = { { .name = "linear", .run = run_linear },
                                  { .name = "CLBlast, tuned", .run = run_clblast, .most = 5 } };
    verify_device(&c[1]);
    bench_turns(c, 2, rounds, 30);
    report(&c[0], &c[1], NULL);
    free_times(c);
}

/* "MWG=64 NWG=32": CLBlast's kernels are compiled anew, so all shapes are measured before and again after. */
static int override_clblast(void)
{
    const char *names[32];
    char *text = strdup(getenv("CLBLAST_XGEMM") ? getenv("CLBLAST_XGEMM") : ""), *save = NULL;
    size_t values[32], n = 0;

    for (char *pair = strtok_r(text, " ", &save); pair && n < 32; pair = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(pair, '=');
        if (!equals) continue;
        *equals = 0;
        names[n] = pair, values[n++] = strtoull(equals + 1, NULL, 10);
    }
    const cl_device_id device = clpeft_context_device(dev.ctx);
    CLBlastStatusCode code = CLBlastSuccess;
    if (n) code = CLBlastOverrideParameters(device, "Xgemm", CLBlastPrecisionSingle, n, names, values);
    /* The kernel that these are for serves all sizes then, not only large ones. */
    const char *least = "XGEMM_MIN_INDIRECT_SIZE";
    const size_t one = 1;
    if (n && code == CLBlastSuccess)
        code = CLBlastOverrideParameters(device, "GemmRoutine", CLBlastPrecisionSingle, 1, &least, &one);
    if (code != CLBlastSuccess) fprintf(stderr, "CLBLAST_XGEMM: CLBlast refuses these parameters (%d)\n", (int)code);
    free(text);
    return n > 0 && code == CLBlastSuccess;
}

static void times(size_t rounds)
{
    contestant c = { .name = "linear", .run = run_linear };
    bench_turns(&c, 1, rounds, 100);
    bench_print_times(&c);
    free(c.ms);
}

/* OpenBLAS reads its environment when it is loaded: start anew without the variables that choose a kernel for it. */
static void restart_without_openblas_settings(char **argv)
{
    if (!getenv("OPENBLAS_CORETYPE") && !getenv("OPENBLAS_L2_SIZE")) return;
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    execv("/proc/self/exe", argv);
    perror("execv");
    exit(1);
}

int main(int argc, char **argv)
{
    static const size_t shape[][3] = {
        { 1024, 384, 384 }, { 1024, 1536, 384 }, { 1024, 384, 1536 }, { 2048, 2048, 2048 }
    };
    const size_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20;
    char blas[128] = "";

    restart_without_openblas_settings(argv);
    bench_open();
    if (argc > 4) {
        make(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
        times(rounds);
        unmake();
        bench_close();
        return 0;
    }
#ifdef HAVE_OPENBLAS
    openblas_set_num_threads(dev.info.compute_units < 2 ? 1 : 2);
    snprintf(blas, sizeof blas, "OpenBLAS %s, %d threads", openblas_get_corename(), openblas_get_num_threads());
    fprintf(stderr, "%s\n", openblas_get_config());
#endif
    for (int tuned = 0; tuned < 2; tuned++) {
        if (tuned && !override_clblast()) break;
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
            make(shape[s][0], shape[s][1], shape[s][2]);
            if (tuned)
                compare_tuned(rounds);
            else
                compare(rounds, blas);
            unmake();
        }
    }
    bench_close();
    return 0;
}
