/* attention-backward.c - gradients of attention by float64 and by central differences; special values; repeatable bits. */
#include "attention.h"

/* dqkv and its bound [T,width] by the formulas of op.h, from the device's inputs. */
static void gradient(const run *r, const double *x, double *g, double *bound)
{
    const batch *b = r->b;
    const size_t d = b->d, w = r->width;

    for (size_t s = 0, first = 0; s < b->S; first += b->length[s++])
        for (size_t h = 0; h < b->H; h++) {
            const size_t n = b->length[s], cq = column(r, 0, h), ck = column(r, 1, h), cv = column(r, 2, h);
            head a = head_make(r, x, first, n, h);
            const double unit = a.exponent + FLT_EPSILON * (2 * (double)d + (double)(n * b->H) + 8);
            for (size_t i = 0; i < n; i++) {
                double dsum = 0, dsum_size = 0;
                for (size_t c = 0; c < d; c++) {
                    const double y = AT(r->d_o, first + i, h * d + c) * a.o[i * d + c];
                    dsum += y, dsum_size += fabs(AT(r->d_o, first + i, h * d + c)) *
                                            (a.o_bound[i * d + c] / unit + fabs(a.o[i * d + c]));
                }
                for (size_t j = 0; j < n; j++) {
                    const double p = a.p[i * n + j];
                    const double ds = p * (dot(&r->d_o, first + i, h * d, &r->qkv, first + j, cv, d, 0) - dsum);
                    const double size = p * (dot(&r->d_o, first + i, h * d, &r->qkv, first + j, cv, d, 1) + dsum_size);
                    for (size_t c = 0; c < d; c++) {
                        const double q = b->scale * x[(first + i) * w + cq + c],
                                     k = b->scale * x[(first + j) * w + ck + c];
                        const double dv = p * AT(r->d_o, first + i, h * d + c);
                        g[(first + i) * w + cq + c] += ds * k, bound[(first + i) * w + cq + c] += unit * size * fabs(k);
                        g[(first + j) * w + ck + c] += ds * q, bound[(first + j) * w + ck + c] += unit * size * fabs(q);
                        g[(first + j) * w + cv + c] += dv, bound[(first + j) * w + cv + c] += unit * fabs(dv);
                    }
                }
            }
            head_free(&a);
        }
}

START_TEST(backward_matches_float64)
{
    run r = run_make(&batches[_i], 1);
    double *x = widen(&r), *g = calloc(r.T * r.width, 8), *bound = calloc(r.T * r.width, 8);

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.dqkv), matrix_download(&r.dsum), matrix_download(&r.o), matrix_download(&r.d_o);
    gradient(&r, x, g, bound);
    for (size_t i = 0; i < r.T; i++)
        for (size_t j = 0; j < r.width; j++)
            expect_near(AT(r.dqkv, i, j), g[i * r.width + j], bound[i * r.width + j], "row %zu column %zu", i, j);
    free(x), free(g), free(bound);
    run_free(&r);
}
END_TEST

/* The sum of dO O: a function of q, k and v whose gradient is dqkv. */
static double loss(const run *r, const double *x)
{
    double sum = 0;
    for (size_t s = 0, first = 0; s < r->b->S; first += r->b->length[s++])
        for (size_t h = 0; h < r->b->H; h++) {
            head a = head_make(r, x, first, r->b->length[s], h);
            for (size_t i = 0; i < r->b->length[s]; i++)
                for (size_t c = 0; c < r->b->d; c++)
                    sum += AT(r->d_o, first + i, h * r->b->d + c) * a.o[i * r->b->d + c];
            head_free(&a);
        }
    return sum;
}

START_TEST(backward_matches_central_differences)
{
    static const batch small[] = { { 3, { 4, 1, 6 }, 2, 1, 5, 1, 1, 0, 0.4f },
                                   { 4, { 5, 1, 0, 3 }, 4, 2, 16, 0, 2, 1, 0.3f } };
    run r = run_make(&small[_i], 1.5f);
    double *x = widen(&r);
    const double step = 1e-5;

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.dqkv);
    for (size_t i = 0; i < r.T * r.width; i++) {
        const double x0 = x[i];
        x[i] = x0 + step;
        const double up = loss(&r, x);
        x[i] = x0 - step;
        const double down = loss(&r, x);
        x[i] = x0;
        expect_near(AT(r.dqkv, i / r.width, i % r.width), (up - down) / (2 * step), 1e-5, "row %zu column %zu",
                    i / r.width, i % r.width);
    }
    free(x);
    run_free(&r);
}
END_TEST

START_TEST(one_token_is_its_own_value)
{
    const batch ones = { 5, { 1, 1, 1, 1, 1 }, 3, 3, _i ? 32 : 7, 0, 0, _i, 0.3f };
    const size_t q = 3 * ones.d; /* columns of q, and of k and v */
    run r = run_make(&ones, 1);

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.o), matrix_download(&r.dqkv);
    for (size_t i = 0; i < r.T; i++)
        for (size_t c = 0; c < q; c++) {
            ck_assert(AT(r.o, i, c) == AT(r.qkv, i, 2 * q + c)); /* P = 1 */
            ck_assert(AT(r.dqkv, i, c) == 0 && AT(r.dqkv, i, q + c) == 0 &&
                      AT(r.dqkv, i, 2 * q + c) == AT(r.d_o, i, c));
        }
    run_free(&r);
}
END_TEST

START_TEST(huge_scores_stay_finite)
{
    const batch b = { 2, { 80, 3 }, 2, 2, 32, 0, 0, _i, 0.2f };
    run r = run_make(&b, 1e15f); /* scores to 1e30 */

    run_forward(&r);
    for (size_t i = 0; i < r.T; i++)
        for (size_t c = 0; c < 64; c++) AT(r.d_o, i, c) *= 1e-15f;
    matrix_upload(&r.d_o);
    run_backward(&r);
    matrix_download(&r.o), matrix_download(&r.lse), matrix_download(&r.dqkv);
    for (size_t i = 0; i < r.T; i++) {
        for (size_t c = 0; c < 64; c++) ck_assert(fabsf(AT(r.o, i, c)) <= 1e15f);
        for (size_t c = 0; c < 2; c++) ck_assert(isfinite(AT(r.lse, i, c)));
        for (size_t c = 0; c < r.width; c++) ck_assert(isfinite(AT(r.dqkv, i, c)));
    }
    run_free(&r);
}
END_TEST

START_TEST(bits_repeat_in_any_queue)
{
    run r = run_make(&batches[_i ? 4 : 9], 1), again = r;
    cl_int code;
    cl_event event;
    cl_command_queue other = clCreateCommandQueue(clpeft_context_cl(dev.ctx), clpeft_context_device(dev.ctx),
                                                  CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (code == CL_INVALID_QUEUE_PROPERTIES)
        other = clCreateCommandQueue(clpeft_context_cl(dev.ctx), clpeft_context_device(dev.ctx), 0, &code);
    ck_assert_int_eq(CL_SUCCESS, code);
    const float zero = 0;
    again.o = matrix_make(r.T, r.o.cols, r.b->off, r.b->gap, &zero);
    again.dqkv = matrix_make(r.T, r.width, r.b->gap, r.b->off, &zero);

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.o), matrix_download(&r.dqkv);
    again.dq.buf = again.dk.buf = again.dv.buf = again.dqkv.view.buf;
    ck_ok(clpeft_attention(dev.ctx, &r.shape, r.start.view, r.q, r.k, r.v, again.o.view, r.lse.view, other, 0, NULL,
                           &event));
    ck_ok(clpeft_attention_backward(dev.ctx, &r.shape, r.start.view, r.q, r.k, r.v, again.o.view, r.lse.view,
                                    r.d_o.view, r.dsum.view, again.dq, again.dk, again.dv, other, 1, &event, NULL));
    clFinish(other);
    matrix_download(&again.o), matrix_download(&again.dqkv);
    ck_assert_int_eq(0, memcmp(r.o.host, again.o.host, 4 * r.o.size));
    ck_assert_int_eq(0, memcmp(r.dqkv.host, again.dqkv.host, 4 * r.dqkv.size));
    clReleaseEvent(event);
    clReleaseCommandQueue(other);
    matrix_free(&again.o), matrix_free(&again.dqkv);
    run_free(&r);
}
END_TEST

START_TEST(gradients_not_asked_for_are_not_written)
{
    run r = run_make(&batches[_i & 4 ? 10 : 9], 1);
    const batch *b = r.b;
    const size_t first[4] = { 0, b->H * b->d, (b->H + b->Hk) * b->d, r.width }; /* columns of dq, dk, dv */
    const clpeft_view dk = r.dk, dv = r.dv;

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.dqkv);
    float *all = malloc(4 * r.dqkv.size);
    memcpy(all, r.dqkv.host, 4 * r.dqkv.size);
    for (size_t i = 0; i < r.T; i++)
        for (size_t c = 0; c < r.width; c++) AT(r.dqkv, i, c) = 7;
    matrix_upload(&r.dqkv);
    r.dk.buf = _i & 1 ? dk.buf : NULL, r.dv.buf = _i & 2 ? dv.buf : NULL;
    run_backward(&r);
    matrix_download(&r.dqkv);
    for (size_t i = 0; i < r.T; i++)
        for (size_t part = 0; part < 3; part++)
            for (size_t c = first[part]; c < first[part + 1]; c++) {
                const int asked = part == 0 || (part == 1 ? r.dk.buf : r.dv.buf) != NULL;
                ck_assert(AT(r.dqkv, i, c) == (asked ? all[&AT(r.dqkv, i, c) - r.dqkv.host] : 7));
            }
    free(all);
    run_free(&r);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, backward_matches_float64, 0, cases_of(N_BATCHES));
    tcase_add_loop_test(t, backward_matches_central_differences, 0, 2);
    tcase_add_loop_test(t, one_token_is_its_own_value, 0, 2);
    tcase_add_loop_test(t, huge_scores_stay_finite, 0, 2);
    tcase_add_loop_test(t, bits_repeat_in_any_queue, 0, cases_of(2));
    tcase_add_loop_test(t, gradients_not_asked_for_are_not_written, 0, 8);
}

int main(void)
{
    return run_suite("attention-backward", add, 300);
}
