/* row.c - row norm, column sum, layer norm and RMS norm against float64, their backwards against central differences too. */
#include "reference.h"

/* ---- norms of rows, sums of columns ------------------------------------------------------------------------------- */

START_TEST(row_norm_matches_float64)
{
    const size_t N = shape[_i].T, K = shape[_i].D;
    matrix w = matrix_random(N, K, shape[_i].off, shape[_i].gap), c = matrix_random(N, 1, shape[_i].gap, shape[_i].off);

    for (size_t k = 0; k < K; k++) AT(w, 0, k) = 0;
    matrix_upload(&w);
    ck_ok(clpeft_row_norm(dev.ctx, N, K, w.view, c.view, dev.queue, 0, NULL, NULL));
    matrix_download(&c);
    for (size_t i = 0; i < N; i++) {
        double sum = 0;
        for (size_t k = 0; k < K; k++) sum += (double)AT(w, i, k) * AT(w, i, k);
        expect_near(AT(c, i, 0), sqrt(sum), (sum_error(K) + 4 * FLT_EPSILON) * sqrt(sum), "N %zu K %zu row %zu", N, K,
                    i);
    }
    matrix_free(&w), matrix_free(&c);
}
END_TEST

START_TEST(column_sum_matches_float64)
{
    static const float betas[] = { 0, 1, -0.5f };
    const size_t T = shape[_i].T, N = shape[_i].D;

    for (size_t b = 0; b < sizeof betas / sizeof *betas; b++) {
        matrix x = matrix_random(T, N, shape[_i].off, shape[_i].gap),
               s = matrix_random(N, 1, shape[_i].gap, shape[_i].off);
        if (betas[b] == 0) matrix_fill(&s, NAN); /* is not read */
        double *before = values(&s);
        ck_ok(clpeft_column_sum(dev.ctx, T, N, x.view, betas[b], s.view, dev.queue, 0, NULL, NULL));
        matrix_download(&s);
        for (size_t n = 0; n < N; n++) {
            double sum = betas[b] == 0 ? 0 : betas[b] * before[n], size = fabs(sum);
            for (size_t t = 0; t < T; t++) sum += AT(x, t, n), size += fabs(AT(x, t, n));
            expect_near(AT(s, n, 0), sum, sum_error(4 * T) * size, "T %zu N %zu beta %g column %zu", T, N, betas[b], n);
        }
        free(before), matrix_free(&x), matrix_free(&s);
    }
}
END_TEST

/* ---- layer norm and RMS norm --------------------------------------------------------------------------------------- */

typedef struct {
    int rms;
    size_t T, D;
    matrix x, gamma, beta, y, stat, dy, dx, dgamma, dbeta;
} norm;
#define EPS 1e-5f

/* Row r of x, D values, normalized: h. Returns rstd. */
static double normalize(int rms, size_t D, const double *x, double *h)
{
    double mean = 0, square = 0;
    for (size_t d = 0; d < D && !rms; d++) mean += x[d] / (double)D;
    for (size_t d = 0; d < D; d++) square += (x[d] - mean) * (x[d] - mean) / (double)D;
    const double rstd = 1 / sqrt(square + EPS);
    for (size_t d = 0; d < D; d++) h[d] = (x[d] - mean) * rstd;
    return rstd;
}

/* shift moves x away from 0: a variance by mean(x^2) - mean^2 would be lost. */
static norm norm_make(int rms, size_t i, float shift)
{
    const size_t T = shape[i].T, D = shape[i].D, off = shape[i].off, gap = shape[i].gap;
    norm n = { .rms = rms, .T = T, .D = D };
    n.x = matrix_random(T, D, off, gap), n.y = matrix_random(T, D, gap, off),
    n.stat = matrix_random(T, rms ? 1 : 2, 3, gap);
    n.gamma = matrix_random(D, 1, off, gap % 3), n.beta = matrix_random(D, 1, 1, off % 2);
    n.dy = matrix_random(T, D, gap, 0), n.dx = matrix_random(T, D, 2, gap);
    n.dgamma = matrix_random(D, 1, gap, off), n.dbeta = matrix_random(D, 1, off, gap);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < D; d++) AT(n.x, t, d) += shift;
    matrix_upload(&n.x);
    return n;
}

static void norm_free(norm *n)
{
    matrix *all[] = { &n->x, &n->gamma, &n->beta, &n->y, &n->stat, &n->dy, &n->dx, &n->dgamma, &n->dbeta };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) matrix_free(all[i]);
}

static void norm_forward(const norm *n, clpeft_view y)
{
    if (n->rms)
        ck_ok(clpeft_rms_norm(dev.ctx, n->T, n->D, EPS, n->x.view, n->gamma.view, y, n->stat.view, dev.queue, 0, NULL,
                              NULL));
    else
        ck_ok(clpeft_layer_norm(dev.ctx, n->T, n->D, EPS, n->x.view, n->gamma.view, n->beta.view, y, n->stat.view,
                                dev.queue, 0, NULL, NULL));
}

/* Errors of h and of rstd relative to it: the mean's error moves x, the rounding of x - mean is relative to x. */
static double h_error(const norm *n, double x, double h, double rstd, double largest)
{
    const double mean = n->rms ? 0 : sum_error(n->D) * largest + FLT_EPSILON * fabs(x), move = rstd * mean;
    return move + fabs(h) * (sum_error(n->D) + 8 * FLT_EPSILON + move * move);
}

START_TEST(norms_match_float64)
{
    static const float shifts[] = { 0, 300 };
    for (int c = 0; c < 4; c++) {
        norm n = norm_make(c % 2, (size_t)_i, shifts[c / 2]);
        double *x = values(&n.x), *h = malloc(n.D * sizeof *h);
        const double largest = shifts[c / 2] + 1;
        norm_forward(&n, n.y.view);
        matrix_download(&n.y), matrix_download(&n.stat);
        for (size_t t = 0; t < n.T; t++) {
            const double rstd = normalize(n.rms, n.D, x + t * n.D, h);
            expect_near(AT(n.stat, t, n.rms ? 0 : 1), rstd, h_error(&n, largest, 1, rstd, largest) * rstd,
                        "rstd of row %zu", t);
            for (size_t d = 0; d < n.D; d++) {
                const double g = AT(n.gamma, d, 0), b = n.rms ? 0 : AT(n.beta, d, 0);
                const double bound = fabs(g) * h_error(&n, x[t * n.D + d], h[d], rstd, largest) +
                                     2 * FLT_EPSILON * (fabs(g * h[d]) + fabs(b));
                expect_near(AT(n.y, t, d), h[d] * g + b, bound, "rms %d T %zu D %zu [%zu,%zu]", n.rms, n.T, n.D, t, d);
            }
        }
        free(x), free(h), norm_free(&n);
    }
}
END_TEST

START_TEST(norms_work_in_place)
{
    for (int rms = 0; rms < 2; rms++) {
        norm n = norm_make(rms, (size_t)_i, 0);
        norm_forward(&n, n.y.view);
        norm_forward(&n, n.x.view);
        matrix_download(&n.x), matrix_download(&n.y);
        for (size_t t = 0; t < n.T; t++)
            for (size_t d = 0; d < n.D; d++)
                ck_assert_msg(AT(n.x, t, d) == AT(n.y, t, d), "rms %d [%zu,%zu]", rms, t, d);
        norm_free(&n);
    }
}
END_TEST

/* dx of one row from the formula. */
static void norm_gradient(const norm *n, size_t t, double rstd, const double *h, double *dx)
{
    double mean = 0, dot = 0;
    for (size_t d = 0; d < n->D; d++) {
        const double dh = (double)AT(n->dy, t, d) * AT(n->gamma, d, 0) / (double)n->D;
        mean += n->rms ? 0 : dh, dot += dh * h[d];
    }
    for (size_t d = 0; d < n->D; d++) dx[d] = rstd * ((double)AT(n->dy, t, d) * AT(n->gamma, d, 0) - mean - h[d] * dot);
}

/* dx_d by central differences of sum_i dy_i y_i. */
static double norm_difference(const norm *n, size_t t, double *x, double *h, size_t d)
{
    const double step = 1e-4, at = x[d];
    double change = 0;
    for (int side = -1; side <= 1; side += 2) {
        x[d] = at + side * step;
        normalize(n->rms, n->D, x, h);
        for (size_t i = 0; i < n->D; i++) change += side * (double)AT(n->dy, t, i) * AT(n->gamma, i, 0) * h[i];
    }
    x[d] = at;
    return change / (2 * step);
}

static void check_dx(norm *n, matrix *result, const double *before, float accumulate)
{
    double *x = values(&n->x), *h = malloc(n->D * sizeof *h), *scratch = malloc(n->D * sizeof *h),
           *dx = malloc(n->D * sizeof *h);
    matrix_download(result);
    for (size_t t = 0; t < n->T; t++) {
        const double rstd = normalize(n->rms, n->D, x + t * n->D, h);
        norm_gradient(n, t, rstd, h, dx);
        for (size_t d = 0; d < n->D; d++) {
            const double old = accumulate == 0 ? 0 : accumulate * before[t * n->D + d];
            /* |dy|, |gamma| <= 1: dh <= 1, mean(dh h) <= rms(h) = 1 */
            const double size = rstd * (2 + 2 * fabs(h[d])), error = h_error(n, 1, 1 + fabs(h[d]), rstd, 1);
            const double bound = size * (error + sum_error(n->D)) + 2 * FLT_EPSILON * (fabs(old) + size);
            expect_near(AT(*result, t, d), old + dx[d], bound, "rms %d T %zu D %zu dx[%zu,%zu]", n->rms, n->T, n->D, t,
                        d);
            if (d % 7 == 0 && rstd < 10) /* the third derivative grows as rstd^3 */
                expect_near(dx[d], norm_difference(n, t, x + t * n->D, scratch, d), 1e-5, "D %zu difference [%zu,%zu]",
                            n->D, t, d);
        }
    }
    free(x), free(h), free(scratch), free(dx);
}

static void norm_backward(const norm *n, clpeft_view dy, float accumulate, clpeft_view dx, clpeft_view dgamma,
                          clpeft_view dbeta)
{
    if (n->rms)
        ck_ok(clpeft_rms_norm_backward(dev.ctx, n->T, n->D, n->x.view, n->gamma.view, n->stat.view, dy, accumulate, dx,
                                       dev.queue, 0, NULL, NULL));
    else
        ck_ok(clpeft_layer_norm_backward(dev.ctx, n->T, n->D, n->x.view, n->gamma.view, n->stat.view, dy, accumulate,
                                         dx, dgamma, dbeta, dev.queue, 0, NULL, NULL));
}

START_TEST(norm_backwards_match_float64)
{
    static const float accumulate[] = { 0, 1, -0.5f };
    const clpeft_view none = { NULL, 0, 0 };
    for (int c = 0; c < 6; c++) {
        norm n = norm_make(c % 2, (size_t)_i, 0);
        if (c / 2 == 0) matrix_fill(&n.dx, NAN); /* is not read */
        double *before = values(&n.dx);
        norm_forward(&n, n.y.view);
        norm_backward(&n, n.dy.view, accumulate[c / 2], n.dx.view, none, none);
        check_dx(&n, &n.dx, before, accumulate[c / 2]);
        free(before);
        /* in place on a copy of dy */
        matrix copy = matrix_copy(&n.dy);
        before = values(&copy);
        norm_backward(&n, copy.view, accumulate[c / 2], copy.view, none, none);
        check_dx(&n, &copy, before, accumulate[c / 2]);
        free(before), matrix_free(&copy), norm_free(&n);
    }
}
END_TEST

START_TEST(layer_norm_parameter_gradients_add_up)
{
    for (int which = 1; which < 4; which++) { /* bit 0: dgamma, bit 1: dbeta */
        norm n = norm_make(0, (size_t)_i, 0);
        double *x = values(&n.x), *h = malloc(n.T * n.D * sizeof *h);
        double *dgamma = values(&n.dgamma), *dbeta = values(&n.dbeta), rstd = 0;
        matrix dy = matrix_copy(&n.dy);
        for (size_t t = 0; t < n.T; t++) rstd = fmax(rstd, normalize(0, n.D, x + t * n.D, h + t * n.D));
        norm_forward(&n, n.y.view);
        norm_backward(&n, dy.view, 0, dy.view,
                      which & 1 ? n.dgamma.view : (clpeft_view){ NULL, 0, 0 }, /* dy is used up */
                      which & 2 ? n.dbeta.view : (clpeft_view){ NULL, 0, 0 });
        matrix_download(&n.dgamma), matrix_download(&n.dbeta);
        for (size_t d = 0; d < n.D; d++) {
            double size = 0;
            for (size_t t = 0; t < n.T; t++) {
                dgamma[d] += which & 1 ? AT(n.dy, t, d) * h[t * n.D + d] : 0;
                dbeta[d] += which & 2 ? AT(n.dy, t, d) : 0;
                size += fabs(AT(n.dy, t, d)) * (1 + fabs(h[t * n.D + d]));
            }
            const double bound = (size + 1) * (sum_error(4 * n.T) + h_error(&n, 1, 1, rstd, 1));
            expect_near(AT(n.dgamma, d, 0), dgamma[d], bound, "T %zu D %zu dgamma[%zu]", n.T, n.D, d);
            expect_near(AT(n.dbeta, d, 0), dbeta[d], bound, "T %zu D %zu dbeta[%zu]", n.T, n.D, d);
        }
        free(x), free(h), free(dgamma), free(dbeta), matrix_free(&dy), norm_free(&n);
    }
}
END_TEST

START_TEST(layer_norm_of_no_rows_does_nothing)
{
    const clpeft_view none = { NULL, 0, 0 };
    matrix v = matrix_random(8, 1, 0, 0);
    cl_event event = NULL;
    ck_ok(clpeft_layer_norm(dev.ctx, 0, 8, EPS, none, v.view, v.view, none, none, dev.queue, 0, NULL, &event));
    ck_assert_int_eq(CL_SUCCESS, clWaitForEvents(1, &event));
    clReleaseEvent(event), matrix_free(&v);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, row_norm_matches_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, column_sum_matches_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, norms_match_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, norms_work_in_place, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, norm_backwards_match_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, layer_norm_parameter_gradients_add_up, 0, cases_of(N_SHAPES));
    tcase_add_test(t, layer_norm_of_no_rows_does_nothing);
}

int main(void)
{
    return run_suite("row", add, 120);
}
