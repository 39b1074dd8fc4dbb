/* low-rank.c - a site's part in output and gradients against float64, at sizes around the blocks of the kernels for few
 * columns and few rows: fewer tokens than a tile of rows, several slices of tokens and several launches of them, ranks of
 * half a vector, one and many, columns of many panels. */
#include "layers.h"

static const struct {
    size_t T, K, N, rank, row, rows; /* rows [row, row + rows) of the layer are the site */
    int magnitude;
} form[] = {
    /* the first four are small: they run where kernels are simulated, and on slow devices */
    { 1, 33, 70, 8, 3, 40, 1 },    { 13, 131, 40, 9, 8, 32, 0 },      { 133, 10, 40, 3, 7, 31, 1 },
    { 12, 17, 33, 7, 1, 31, 1 },   { 1000, 20, 300, 100, 5, 290, 1 }, { 143, 20, 1100, 5, 30, 999, 1 },
    { 1, 5, 9, 1, 0, 9, 0 },       { 33, 40, 530, 3, 7, 510, 1 },     { 7, 37, 50, 2, 0, 50, 1 },
    { 11, 16, 16, 4, 0, 16, 0 },   { 24, 64, 96, 16, 0, 96, 1 },      { 32, 1, 20, 17, 2, 11, 0 },
    { 45, 70, 131, 33, 64, 3, 0 }, { 70, 450, 30, 8, 0, 30, 1 },      { 37, 40, 700, 100, 10, 650, 1 },
    { 200, 600, 40, 8, 0, 40, 0 }, { 4, 2100, 40, 260, 0, 40, 1 },    { 4, 20, 2200, 260, 0, 2200, 1 },
};
#define FORMS (int)(sizeof form / sizeof *form)

typedef struct {
    double value, size; /* of the terms: what the error is measured by */
} sum;

static void add(sum *s, double term)
{
    s->value += term, s->size += fabs(term);
}

static void expect_sum(double got, sum want, const char *what, int i, size_t row, size_t column)
{
    expect_near(got, want.value, 3e-6 * (want.size + 0.1), "form %d %s [%zu,%zu]", i, what, row, column);
}

static double *zeros(size_t n)
{
    return calloc(n, sizeof(double));
}

/* out [N,K] = x^T y, x [T,N], y [T,K], with a column n for n < N of a wider x. */
static void expect_transposed(const float *got, const double *x, size_t x_ld, const double *y, size_t T, size_t N,
                              size_t K, const char *what, int i)
{
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) {
            sum s = { 0 };
            for (size_t t = 0; t < T; t++) add(&s, x[t * x_ld + n] * y[t * K + k]);
            expect_sum(got[n * K + k], s, what, i, n, k);
        }
}

START_TEST(a_site_is_the_formula)
{
    const size_t T = form[_i].T, K = form[_i].K, N = form[_i].N, r = form[_i].rank, rows = form[_i].rows;
    const size_t first = form[_i].row, last = first + rows;
    const clpeft_view none = { NULL, 0, 0 };
    const float zero = 0;
    clpeft_adapter_config c = clpeft_adapter_defaults(CLPEFT_LORA);
    float *w0, *a = malloc(4 * r * K), *b = malloc(4 * rows * r), *g = malloc(4 * rows), *da = malloc(4 * r * K),
               *db = malloc(4 * rows * r), *m = malloc(4 * rows), *dm = malloc(4 * rows);
    clpeft_linear *linear = make_linear(N, K, -1, &w0);
    const clpeft_site site = { .name = "fc", .linear = linear, .row = first, .heads = 1, .head_size = rows };
    matrix x = matrix_random(T, K, 2, 4), dy = matrix_random(T, N, 1, 2), y0 = matrix_make(T, N, 3, 5, &zero),
           y = matrix_make(T, N, 3, 5, &zero), dx = matrix_make(T, K, 6, 7, &zero), tape;
    clpeft_params *params = NULL;
    clpeft_adapter *adapter = NULL;
    clpeft_workspace *ws = NULL;

    c.rank = r, c.alpha = 1.5f * (float)r, c.magnitude = form[_i].magnitude;
    const double scale = 1.5;
    ck_ok(clpeft_params_create(&params, dev.ctx));
    ck_ok(clpeft_adapter_create(&adapter, params, &site, 1, &c));
    ck_ok(clpeft_params_allocate(params));
    randomize(params);
    ck_ok(clpeft_params_zero_grad(params, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_materialize(adapter, 1, 1, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_workspace_create(&ws, dev.ctx, clpeft_linear_workspace(linear, adapter, T) + 1));
    tape = matrix_make(clpeft_linear_tape(linear, adapter, T), 1, 7, 0, &zero);
    ck_ok(clpeft_linear_forward(linear, NULL, T, CLPEFT_IDENTITY, x.view, none, y0.view, none, ws, dev.queue, 0, NULL,
                                NULL));
    ck_ok(clpeft_linear_forward(linear, adapter, T, CLPEFT_IDENTITY, x.view, none, y.view, tape.view, ws, dev.queue, 0,
                                NULL, NULL));
    ck_ok(clpeft_linear_backward(linear, adapter, T, CLPEFT_IDENTITY, x.view, tape.view, dy.view, 0, dx.view, ws,
                                 dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_backward(adapter, NULL, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_read_site(adapter, 0, a, b, NULL, g, NULL, dev.queue));
    ck_ok(clpeft_params_read(params, CLPEFT_GRAD, clpeft_params_find(params, "blocks.0.fc.A"), da, dev.queue));
    ck_ok(clpeft_params_read(params, CLPEFT_GRAD, clpeft_params_find(params, "blocks.0.fc.B"), db, dev.queue));
    matrix_download(&y0), matrix_download(&y), matrix_download(&dx);

    /* Z = x (W0 + s B A)^T without bias, dz = g dy, U = x A^T, D = dz s B */
    double *z = zeros(T * N), *dz = zeros(T * N), *u = zeros(T * r), *d = zeros(T * r), *xs = zeros(T * K);
    for (size_t t = 0; t < T; t++) {
        for (size_t k = 0; k < K; k++) xs[t * K + k] = AT(x, t, k);
        for (size_t p = 0; p < r; p++)
            for (size_t k = 0; k < K; k++) u[t * r + p] += xs[t * K + k] * a[p * K + k];
        for (size_t n = 0; n < N; n++) {
            const int adapted = n >= first && n < last;
            const double gain = adapted ? g[n - first] : 1;
            sum plain = { 0 }, want = { 0 };
            for (size_t k = 0; k < K; k++) add(&plain, xs[t * K + k] * w0[n * K + k]);
            want = plain;
            for (size_t p = 0; adapted && p < r; p++) add(&want, scale * u[t * r + p] * b[(n - first) * r + p]);
            z[t * N + n] = want.value, dz[t * N + n] = gain * AT(dy, t, n);
            const double bias = AT(y0, t, n) - plain.value;
            want.value = gain * want.value + bias, want.size = gain * want.size + plain.size;
            expect_sum(AT(y, t, n), want, "y", _i, t, n);
            for (size_t p = 0; adapted && p < r; p++) d[t * r + p] += scale * dz[t * N + n] * b[(n - first) * r + p];
        }
        for (size_t k = 0; k < K; k++) {
            sum want = { 0 };
            for (size_t n = 0; n < N; n++) add(&want, dz[t * N + n] * w0[n * K + k]);
            for (size_t p = 0; p < r; p++) add(&want, d[t * r + p] * a[p * K + k]);
            expect_sum(AT(dx, t, k), want, "dx", _i, t, k);
        }
    }
    for (size_t i = 0; i < T * r; i++) u[i] *= scale;
    expect_transposed(da, d, r, xs, T, r, K, "dA", _i);
    expect_transposed(db, dz + first, N, u, T, rows, r, "dB", _i);
    if (form[_i].magnitude) { /* g = m / c: dm = dg / c = dg g / m */
        ck_ok(clpeft_params_read(params, CLPEFT_THETA, clpeft_params_find(params, "blocks.0.fc.m"), m, dev.queue));
        for (size_t n = 0; n < rows; n++) {
            double squares = 0;
            for (size_t k = 0; k < K; k++) {
                double v = w0[(first + n) * K + k];
                for (size_t p = 0; p < r; p++) v += scale * b[n * r + p] * a[p * K + k];
                squares += v * v;
            }
            expect_near(g[n], m[n] / sqrt(squares), 2e-6 * fabs(m[n]) / sqrt(squares), "form %d g [%zu]", _i, n);
        }
        ck_ok(clpeft_params_read(params, CLPEFT_GRAD, clpeft_params_find(params, "blocks.0.fc.m"), dm, dev.queue));
        for (size_t n = 0; n < rows; n++) {
            sum want = { 0 };
            for (size_t t = 0; t < T; t++) add(&want, AT(dy, t, first + n) * z[t * N + first + n] * g[n] / m[n]);
            expect_sum(dm[n], want, "dm", _i, n, 0);
        }
    }
    free(z), free(dz), free(u), free(d), free(xs);
    free(w0), free(a), free(b), free(g), free(da), free(db), free(m), free(dm);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y0), matrix_free(&y), matrix_free(&dx), matrix_free(&tape);
    clpeft_workspace_destroy(ws);
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(linear);
}
END_TEST

static void add_tests(TCase *t)
{
    tcase_add_loop_test(t, a_site_is_the_formula, 0, cases_of(FORMS));
}

int main(void)
{
    return run_suite("low-rank", add_tests, 120);
}
