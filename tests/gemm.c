/* gemm.c - products, and frozen linear layers without sites, against float64. */
#include "device.h"

#include "context.h" /* the library's: a device's caches are set */

static const struct {
    size_t M, N, K, off, gap;
} shape[] = {
    { 1, 1, 1, 0, 0 },      { 3, 5, 7, 2, 1 },      { 13, 33, 17, 0, 3 }, { 12, 32, 16, 5, 0 },
    { 25, 31, 64, 1, 1 },   { 40, 97, 129, 0, 7 },  { 7, 64, 300, 3, 0 }, { 100, 9, 2100, 0, 1 },
    { 30, 40, 5000, 0, 0 }, { 60, 3001, 68, 1, 3 }, /* its panels do not fit GROUP_BYTES of panel.c */
};

/* Error of a sum of K products of values below 1 in f32: K roundings of partial sums that grow as sqrt(K). */
static double bound(size_t K)
{
    return FLT_EPSILON * (4 + (double)K);
}

static double dot(const matrix *a, int ta, const matrix *b, int tb, size_t i, size_t j, size_t K)
{
    double sum = 0;
    for (size_t k = 0; k < K; k++)
        sum += (double)(ta ? AT(*a, k, i) : AT(*a, i, k)) * (double)(tb ? AT(*b, j, k) : AT(*b, k, j));
    return sum;
}

static clpeft_workspace *workspace(size_t bytes)
{
    clpeft_workspace *ws = NULL;
    if (bytes > 0) ck_ok(clpeft_workspace_create(&ws, dev.ctx, bytes));
    return ws;
}

START_TEST(gemm_matches_float64)
{
    const size_t M = shape[_i / 4].M, N = shape[_i / 4].N, K = shape[_i / 4].K, off = shape[_i / 4].off,
                 gap = shape[_i / 4].gap;
    const int ta = _i & 1, tb = _i >> 1 & 1;
    const float alpha = 0.75f, beta = _i & 1 ? -0.5f : 0.0f;
    matrix a = ta ? matrix_random(K, M, off, gap) : matrix_random(M, K, off, gap);
    matrix b = tb ? matrix_random(N, K, gap, off) : matrix_random(K, N, gap, off), c = matrix_random(M, N, off, gap),
           was = matrix_random(M, N, 0, 0);
    clpeft_workspace *ws = workspace(clpeft_gemm_workspace(dev.ctx, M, N, K));

    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) AT(was, i, j) = AT(c, i, j);
    ck_ok(clpeft_gemm(dev.ctx, ta, tb, M, N, K, alpha, a.view, b.view, beta, c.view, ws, dev.queue, 0, NULL, NULL));
    matrix_download(&c);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            const double want = alpha * dot(&a, ta, &b, tb, i, j, K) + (double)beta * AT(was, i, j);
            expect_near(AT(c, i, j), want, bound(K), "%zux%zux%zu transposed %d %d at %zu,%zu", M, N, K, ta, tb, i, j);
        }
    clpeft_workspace_destroy(ws);
    matrix_free(&a), matrix_free(&b), matrix_free(&c), matrix_free(&was);
}
END_TEST

START_TEST(gemm_refuses_what_does_not_fit)
{
    matrix a = matrix_random(4, 6, 0, 0), b = matrix_random(6, 5, 0, 0), c = matrix_random(4, 5, 0, 0);
    clpeft_workspace *ws = workspace(1 << 16), *small = workspace(16);
    clpeft_view short_ld = a.view, past = a.view, none = { 0 };
    short_ld.ld = 5;
    past.off = 6;
#define GEMM(ctx, M, av, ws) clpeft_gemm(ctx, 0, 0, M, 5, 6, 1, av, b.view, 0, c.view, ws, dev.queue, 0, NULL, NULL)
    ck_ok(GEMM(dev.ctx, 4, a.view, ws));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "ctx", GEMM(NULL, 4, a.view, ws));
    ck_fails(CLPEFT_INVALID_SIZE, "M is 0", GEMM(dev.ctx, 0, a.view, ws));
    ck_fails(CLPEFT_INVALID_SIZE, "overflow", GEMM(dev.ctx, SIZE_MAX, a.view, ws));
    ck_fails(CLPEFT_INVALID_VIEW, "a has leading dimension 5", GEMM(dev.ctx, 4, short_ld, ws));
    ck_fails(CLPEFT_INVALID_VIEW, "a [4,6] at offset 6", GEMM(dev.ctx, 4, past, ws));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "a has no buffer", GEMM(dev.ctx, 4, none, ws));
    if (clpeft_gemm_workspace(dev.ctx, 4, 5, 6) > 0)
        ck_fails(CLPEFT_INVALID_SIZE, "workspace", GEMM(dev.ctx, 4, a.view, small));
    clpeft_workspace_destroy(ws), clpeft_workspace_destroy(small);
    matrix_free(&a), matrix_free(&b), matrix_free(&c);
}
END_TEST

/* ---- frozen layers ------------------------------------------------------------------------------------------------------ */

/* A layer of random weights that its type holds exactly (multiples of 1/64 below 1), and the weights themselves. */
static clpeft_linear *layer(size_t N, size_t K, clpeft_dtype dtype, int one_copy, matrix *w, float *bias)
{
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = dtype, .has_bias = 1, .one_copy = one_copy };
    clpeft_linear *linear = NULL;
    float *rows = malloc(4 * N * K);

    *w = matrix_random(N, K, 0, 0);
    for (size_t i = 0; i < N * K; i++) rows[i] = w->host[i] = rintf(w->host[i] * 64) / 64;
    for (size_t n = 0; n < N; n++) bias[n] = random_float();
    ck_ok(clpeft_linear_create(&linear, dev.ctx, &options));
    const size_t half = N / 2; /* in two pieces, as a fused layer is filled */
    if (half > 0) ck_ok(clpeft_linear_load(linear, 0, half, rows, CLPEFT_F32, bias, dev.queue));
    ck_ok(clpeft_linear_load(linear, half, N - half, rows + half * K, CLPEFT_F32, bias + half, dev.queue));
    free(rows);
    return linear;
}

static const clpeft_dtype types[] = { CLPEFT_F32, CLPEFT_F16, CLPEFT_BF16 };

START_TEST(a_frozen_layer_matches_float64)
{
    const size_t T = shape[_i / 6].M, N = shape[_i / 6].N, K = shape[_i / 6].K, off = shape[_i / 6].off,
                 gap = shape[_i / 6].gap;
    const clpeft_activation f = _i & 1 ? CLPEFT_RELU : CLPEFT_IDENTITY;
    float bias[3001]; /* the largest N */
    matrix w, x = matrix_random(T, K, off, gap), y = matrix_random(T, N, gap, off), r = matrix_random(T, N, 1, 2);
    matrix dy = matrix_random(T, N, 2, 1), dx = matrix_random(T, K, off, gap), was = matrix_random(T, K, 0, 0);
    clpeft_linear *linear = layer(N, K, types[_i % 3], _i & 1, &w, bias);
    clpeft_workspace *ws = workspace(clpeft_linear_workspace(linear, NULL, T));
    const clpeft_view none = { 0 };

    for (size_t t = 0; t < T; t++)
        for (size_t k = 0; k < K; k++) AT(was, t, k) = AT(dx, t, k);
    ck_ok(clpeft_linear_forward(linear, NULL, T, f, x.view, r.view, y.view, none, ws, dev.queue, 0, NULL, NULL));
    ck_ok(
        clpeft_linear_backward(linear, NULL, T, f, x.view, none, dy.view, 0.5f, dx.view, ws, dev.queue, 0, NULL, NULL));
    matrix_download(&y), matrix_download(&dx);
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            double want = (double)bias[n] + AT(r, t, n);
            for (size_t k = 0; k < K; k++) want += (f && AT(x, t, k) < 0 ? 0 : (double)AT(x, t, k)) * AT(w, n, k);
            expect_near(AT(y, t, n), want, bound(K), "y %zu,%zu of %zux%zux%zu", t, n, T, N, K);
        }
    for (size_t t = 0; t < T; t++)
        for (size_t k = 0; k < K; k++) {
            double want = 0;
            for (size_t n = 0; n < N; n++) want += (double)AT(dy, t, n) * AT(w, n, k);
            want = (f && AT(x, t, k) < 0 ? 0 : want) + 0.5 * AT(was, t, k);
            expect_near(AT(dx, t, k), want, bound(N), "dx %zu,%zu of %zux%zux%zu", t, k, T, N, K);
        }
    clpeft_workspace_destroy(ws);
    clpeft_linear_destroy(linear);
    matrix_free(&w), matrix_free(&x), matrix_free(&y), matrix_free(&r), matrix_free(&dy), matrix_free(&dx),
        matrix_free(&was);
}
END_TEST

/* Rows 4 KB apart are copied where a cache may not hold a tile's, and where it does not the product is the same. */
START_TEST(rows_4_kb_apart_are_multiplied)
{
    const size_t T = 14, N = 33, K = 1024;
    const clpeft_view none = { 0 };
    float bias[33];
    matrix w, x = matrix_random(T, K, 3, 0), y[2] = { matrix_random(T, N, 0, 2), matrix_random(T, N, 1, 1) };
    clpeft_linear *linear = layer(N, K, CLPEFT_F32, 0, &w, bias);
    clpeft_workspace *ws = workspace(clpeft_linear_workspace(linear, NULL, T));

    for (size_t i = 0; i < 2; i++) {
        dev.ctx->tuning.l1_ways = i ? 1000 : 0;
        ck_ok(clpeft_linear_forward(linear, NULL, T, CLPEFT_IDENTITY, x.view, none, y[i].view, none, ws, dev.queue, 0,
                                    NULL, NULL));
        matrix_download(&y[i]);
    }
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            expect_near(AT(y[0], t, n), (double)bias[n] + dot(&x, 0, &w, 1, t, n, K), bound(K), "%zu,%zu", t, n);
            ck_assert(AT(y[0], t, n) == AT(y[1], t, n));
        }
    clpeft_workspace_destroy(ws);
    clpeft_linear_destroy(linear);
    matrix_free(&w), matrix_free(&x), matrix_free(&y[0]), matrix_free(&y[1]);
}
END_TEST

START_TEST(a_residual_may_be_the_output)
{
    const size_t T = 30, N = 40, K = 2100;
    float bias[40];
    matrix w, x = matrix_random(T, K, 0, 0), y = matrix_random(T, N, 0, 0), was = matrix_random(T, N, 0, 0);
    clpeft_linear *linear = layer(N, K, CLPEFT_F32, 0, &w, bias);
    clpeft_workspace *ws = workspace(clpeft_linear_workspace(linear, NULL, T));

    memcpy(was.host, y.host, 4 * y.size);
    ck_ok(clpeft_linear_forward(linear, NULL, T, CLPEFT_IDENTITY, x.view, y.view, y.view, (clpeft_view){ 0 }, ws,
                                dev.queue, 0, NULL, NULL));
    matrix_download(&y);
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++)
            expect_near(AT(y, t, n), dot(&x, 0, &w, 1, t, n, K) + (double)bias[n] + AT(was, t, n), bound(K),
                        "y %zu,%zu", t, n);
    clpeft_workspace_destroy(ws);
    clpeft_linear_destroy(linear);
    matrix_free(&w), matrix_free(&x), matrix_free(&y), matrix_free(&was);
}
END_TEST

START_TEST(layers_share_a_storage_buffer)
{
    clpeft_linear_options options = { .N = 50, .K = 40, .dtype = CLPEFT_F32 };
    const size_t bytes = clpeft_linear_bytes(dev.ctx, &options);
    float bias[50], rows[50 * 40];
    matrix w, x = matrix_random(9, 40, 0, 0), y[2] = { matrix_random(9, 50, 0, 0), matrix_random(9, 50, 0, 0) };
    clpeft_linear *shared[2] = { NULL, NULL }, *alone = layer(50, 40, CLPEFT_F32, 0, &w, bias);
    cl_int code;
    clpeft_workspace *ws = workspace(clpeft_linear_workspace(alone, NULL, 9));

    ck_assert_uint_eq(0, bytes % 4096);
    options.storage.buf = clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_READ_WRITE, 2 * bytes, NULL, &code);
    for (size_t i = 0; i < 50 * 40; i++) rows[i] = w.host[i];
    for (size_t i = 0; i < 2; i++) {
        options.storage.off = i * bytes;
        ck_ok(clpeft_linear_create(&shared[i], dev.ctx, &options));
        ck_ok(clpeft_linear_load(shared[i], 0, 50, rows, CLPEFT_F32, NULL, dev.queue));
    }
    for (size_t i = 0; i < 2; i++)
        ck_ok(clpeft_linear_forward(shared[i], NULL, 9, CLPEFT_IDENTITY, x.view, (clpeft_view){ 0 }, y[i].view,
                                    (clpeft_view){ 0 }, ws, dev.queue, 0, NULL, NULL));
    matrix_download(&y[0]), matrix_download(&y[1]);
    for (size_t t = 0; t < 9; t++)
        for (size_t n = 0; n < 50; n++) {
            expect_near(AT(y[0], t, n), dot(&x, 0, &w, 1, t, n, 40), bound(40), "y %zu,%zu", t, n);
            ck_assert(AT(y[0], t, n) == AT(y[1], t, n));
        }
    options.storage.off = bytes + 4096;
    clpeft_linear *refused = NULL;
    ck_fails(CLPEFT_INVALID_VIEW, "storage", clpeft_linear_create(&refused, dev.ctx, &options));
    clReleaseMemObject(options.storage.buf);
    clpeft_linear_destroy(shared[0]), clpeft_linear_destroy(shared[1]), clpeft_linear_destroy(alone);
    clpeft_workspace_destroy(ws);
    matrix_free(&w), matrix_free(&x), matrix_free(&y[0]), matrix_free(&y[1]);
}
END_TEST

START_TEST(a_layer_loads_from_a_device_view_and_refuses_bad_sizes)
{
    const size_t N = 21, K = 19;
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = CLPEFT_F32 };
    matrix w = matrix_random(N, K, 3, 5), x = matrix_random(4, K, 0, 0), y = matrix_random(4, N, 0, 0);
    clpeft_linear *linear = NULL;
    const clpeft_view none = { 0 };

    ck_fails(CLPEFT_INVALID_SIZE, "N is 0", clpeft_linear_create(&linear, dev.ctx, &(clpeft_linear_options){ .K = K }));
    ck_fails(CLPEFT_INVALID_SIZE, "32",
             clpeft_linear_create(&linear, dev.ctx, &(clpeft_linear_options){ .N = N, .K = K, .dtype = CLPEFT_Q4_0 }));
    ck_fails(CLPEFT_UNSUPPORTED, "I64",
             clpeft_linear_create(&linear, dev.ctx, &(clpeft_linear_options){ .N = N, .K = K, .dtype = CLPEFT_I64 }));
    ck_fails(CLPEFT_INVALID_SIZE, "overflow",
             clpeft_linear_create(&linear, dev.ctx, &(clpeft_linear_options){ .N = SIZE_MAX / 80, .K = 1u << 20 }));
    ck_ok(clpeft_linear_create(&linear, dev.ctx, &options));
    clpeft_workspace *ws = workspace(clpeft_linear_workspace(linear, NULL, 4));
    ck_ok(clpeft_linear_load_view(linear, 0, N, w.view, CLPEFT_F32, none, dev.queue));
    ck_fails(CLPEFT_INVALID_SIZE, "rows", clpeft_linear_load_view(linear, 1, N, w.view, CLPEFT_F32, none, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "bias", clpeft_linear_load(linear, 0, 1, w.host, CLPEFT_F32, w.host, dev.queue));
    ck_ok(clpeft_linear_forward(linear, NULL, 4, CLPEFT_IDENTITY, x.view, none, y.view, none, ws, dev.queue, 0, NULL,
                                NULL));
    matrix_download(&y);
    for (size_t t = 0; t < 4; t++)
        for (size_t n = 0; n < N; n++)
            expect_near(AT(y, t, n), dot(&x, 0, &w, 1, t, n, K), bound(K), "y %zu,%zu", t, n);
    clpeft_workspace_destroy(ws);
    clpeft_linear_destroy(linear);
    matrix_free(&w), matrix_free(&x), matrix_free(&y);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, gemm_matches_float64, 0, 4 * cases_of(sizeof shape / sizeof *shape));
    tcase_add_test(t, gemm_refuses_what_does_not_fit);
    tcase_add_loop_test(t, a_frozen_layer_matches_float64, 0, 6 * cases_of(sizeof shape / sizeof *shape));
    tcase_add_test(t, rows_4_kb_apart_are_multiplied);
    tcase_add_test(t, a_residual_may_be_the_output);
    tcase_add_test(t, layers_share_a_storage_buffer);
    tcase_add_test(t, a_layer_loads_from_a_device_view_and_refuses_bad_sizes);
}

int main(void)
{
    return run_suite("gemm", add, 120);
}
