/* element.c - activations, gates, sums, dropout against float64; slopes against central differences too. */
#include "reference.h"

#include <string.h>

/* ---- activations --------------------------------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double value(clpeft_activation f, double x)
{
    const double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    switch (f) {
    case CLPEFT_IDENTITY: return x;
    case CLPEFT_GELU: return x * erfc(-x / M_SQRT2) / 2;
    case CLPEFT_GELU_TANH: return x * sigmoid(2 * u); /* (1 + tanh u) / 2, without its cancellation */
    case CLPEFT_SILU: return x * sigmoid(x);
    case CLPEFT_RELU: return x > 0 ? x : 0;
    case CLPEFT_TANH: return tanh(x);
    }
    return NAN;
}

/* f'(x), and the size of its terms, which may cancel. */
static double slope(clpeft_activation f, double x, double *size)
{
    const double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x), du = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    double first = 0, second = 0;
    switch (f) {
    case CLPEFT_IDENTITY: first = 1; break;
    case CLPEFT_GELU: first = erfc(-x / M_SQRT2) / 2, second = x * exp(-x * x / 2) / sqrt(2 * M_PI); break;
    case CLPEFT_GELU_TANH: first = sigmoid(2 * u), second = 2 * x * du * sigmoid(2 * u) * sigmoid(-2 * u); break;
    case CLPEFT_SILU: first = sigmoid(x), second = x * sigmoid(x) * sigmoid(-x); break;
    case CLPEFT_RELU: first = x > 0; break;
    case CLPEFT_TANH: first = 1, second = -tanh(x) * tanh(x); break;
    }
    *size = fabs(first) + fabs(second);
    return first + second;
}

/* Some values of interest, then uniform in [-12, 12). */
static matrix spread(size_t T, size_t D, size_t off, size_t gap)
{
    static const float special[] = { 0, -0.0f, 1e-30f, -1e-8f, 40, -40, 100, -100, 3e5f, -3e5f, 1e15f, -1e15f };
    matrix x = matrix_random(T, D, off, gap);
    for (size_t i = 0; i < T * D; i++)
        AT(x, i / D, i % D) = i < sizeof special / sizeof *special ? special[i] : 12 * AT(x, i / D, i % D);
    matrix_upload(&x);
    return x;
}

/* An exponent of size e is off by e epsilon, the rest is a few roundings; a density below FLT_MIN is 0, times x. */
static double activation_error(double x, double size)
{
    return FLT_EPSILON * (8 + fmin(x * x, 200)) * size + 1e-35;
}

static void check_activation(clpeft_activation f, size_t T, size_t D, size_t off, size_t gap)
{
    const double step = 1e-5;
    matrix x = spread(T, D, off, gap), y = matrix_random(T, D, gap, off), dy = matrix_random(T, D, 1, 2),
           dx = matrix_random(T, D, 0, 1);
    ck_ok(clpeft_activate(dev.ctx, f, T, D, x.view, y.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_activate_backward(dev.ctx, f, T, D, x.view, dy.view, dx.view, dev.queue, 0, NULL, NULL));
    matrix_download(&y), matrix_download(&dx);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < D; d++) {
            double size;
            const double v = AT(x, t, d), want = value(f, v), rate = slope(f, v, &size);
            expect_near(AT(y, t, d), want, activation_error(v, fabs(want)), "f %d of %g", f, v);
            expect_near(AT(dx, t, d), rate * AT(dy, t, d), activation_error(v, size), "slope of f %d at %g", f, v);
            if (fabs(v) < 20 && (f != CLPEFT_RELU || fabs(v) > step))
                expect_near(rate, (value(f, v + step) - value(f, v - step)) / (2 * step), 1e-8,
                            "difference of f %d at %g", f, v);
        }
    /* in place, to the same bits */
    ck_ok(clpeft_activate_backward(dev.ctx, f, T, D, x.view, dy.view, dy.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_activate(dev.ctx, f, T, D, x.view, x.view, dev.queue, 0, NULL, NULL));
    matrix_download(&dy), matrix_download(&x);
    expect_same(&dy, &dx), expect_same(&x, &y);
    matrix_free(&x), matrix_free(&y), matrix_free(&dy), matrix_free(&dx);
}

START_TEST(activations_match_float64)
{
    for (int i = 0; i < N_SHAPES; i++)
        check_activation((clpeft_activation)_i, shape[i].T, shape[i].D, shape[i].off, shape[i].gap);
}
END_TEST

START_TEST(activations_keep_nan)
{
    for (clpeft_activation f = CLPEFT_IDENTITY; f <= CLPEFT_TANH; f++) {
        matrix x = matrix_random(3, 37, 0, 0);
        matrix_fill(&x, NAN);
        ck_ok(clpeft_activate(dev.ctx, f, 3, 37, x.view, x.view, dev.queue, 0, NULL, NULL));
        matrix_download(&x);
        for (size_t i = 0; i < 3 * 37; i++) ck_assert_msg(isnan(x.host[i]), "f %d of NaN is %g", f, x.host[i]);
        matrix_free(&x);
    }
}
END_TEST

START_TEST(swiglu_matches_float64)
{
    const size_t T = shape[_i].T, F = shape[_i].D, off = shape[_i].off, gap = shape[_i].gap;
    matrix gate = spread(T, F, off, gap), up = matrix_random(T, F, gap, 1), y = matrix_random(T, F, 1, off),
           dy = matrix_random(T, F, 2, 0), dgate = matrix_random(T, F, 0, gap), dup = matrix_random(T, F, off, 0);
    ck_ok(clpeft_swiglu(dev.ctx, T, F, gate.view, up.view, y.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_swiglu_backward(dev.ctx, T, F, gate.view, up.view, dy.view, dgate.view, dup.view, dev.queue, 0, NULL,
                                 NULL));
    matrix_download(&y), matrix_download(&dgate), matrix_download(&dup);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < F; d++) {
            double size;
            const double g = AT(gate, t, d), u = AT(up, t, d), v = AT(dy, t, d), s = value(CLPEFT_SILU, g),
                         rate = slope(CLPEFT_SILU, g, &size);
            expect_near(AT(y, t, d), s * u, activation_error(g, fabs(s * u)), "gate %g up %g", g, u);
            expect_near(AT(dup, t, d), v * s, activation_error(g, fabs(v * s)), "dup, gate %g dy %g", g, v);
            expect_near(AT(dgate, t, d), v * u * rate, activation_error(g, fabs(v * u) * size), "dgate, gate %g", g);
        }
    ck_ok(clpeft_swiglu_backward(dev.ctx, T, F, gate.view, up.view, dy.view, gate.view, up.view, dev.queue, 0, NULL,
                                 NULL));
    matrix_download(&gate), matrix_download(&up);
    expect_same(&gate, &dgate), expect_same(&up, &dup);
    matrix_free(&gate), matrix_free(&up), matrix_free(&y), matrix_free(&dy), matrix_free(&dgate), matrix_free(&dup);
}
END_TEST

/* ---- sums and products ----------------------------------------------------------------------------------------------- */

START_TEST(add_matches_float64)
{
    const size_t T = shape[_i].T, D = shape[_i].D, off = shape[_i].off, gap = shape[_i].gap;
    const float alpha = -0.75f, beta = 2.5f;
    matrix a = matrix_random(T, D, off, gap), b = matrix_random(T, D, gap, 1), y = matrix_random(T, D, 1, off),
           a2 = matrix_copy(&a);
    ck_ok(clpeft_add(dev.ctx, T, D, alpha, a.view, beta, b.view, y.view, dev.queue, 0, NULL, NULL));
    matrix_download(&y);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < D; d++) {
            const double left = (double)alpha * AT(a, t, d), right = (double)beta * AT(b, t, d);
            expect_near(AT(y, t, d), left + right, FLT_EPSILON * (fabs(left) + fabs(right)), "T %zu D %zu [%zu,%zu]", T,
                        D, t, d);
        }
    ck_ok(clpeft_add(dev.ctx, T, D, alpha, a2.view, beta, b.view, a2.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_add(dev.ctx, T, D, alpha, a.view, beta, b.view, b.view, dev.queue, 0, NULL, NULL));
    matrix_download(&a2), matrix_download(&b);
    expect_same(&a2, &y), expect_same(&b, &y);
    matrix_free(&a), matrix_free(&b), matrix_free(&y), matrix_free(&a2);
}
END_TEST

START_TEST(scale_columns_multiplies)
{
    const size_t T = shape[_i].T, D = shape[_i].D, off = shape[_i].off, gap = shape[_i].gap;
    matrix x = matrix_random(T, D, off, gap), g = matrix_random(D, 1, gap, off), y = matrix_random(T, D, 1, off);
    ck_ok(clpeft_scale_columns(dev.ctx, T, D, x.view, g.view, y.view, dev.queue, 0, NULL, NULL));
    matrix_download(&y);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < D; d++)
            ck_assert_msg(AT(y, t, d) == AT(x, t, d) * AT(g, d, 0), "T %zu D %zu [%zu,%zu]", T, D, t, d);
    ck_ok(clpeft_scale_columns(dev.ctx, T, D, x.view, g.view, x.view, dev.queue, 0, NULL, NULL));
    matrix_download(&x);
    expect_same(&x, &y);
    matrix_free(&x), matrix_free(&g), matrix_free(&y);
}
END_TEST

/* ---- dropout --------------------------------------------------------------------------------------------------------- */

/* Philox4x32-10 from its definition. */
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;
        const uint32_t next[4] = { (uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1,
                                   (uint32_t)a };
        memcpy(c, next, sizeof next);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

/* The known answers of the Random123 library. */
START_TEST(reference_philox_is_right)
{
    static const uint32_t known[][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
          0x24126ea1 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t c[4];
        memcpy(c, known[i], sizeof c);
        philox(c, known[i][4], known[i][5]);
        ck_assert_mem_eq(c, known[i] + 6, sizeof c);
    }
}
END_TEST

START_TEST(dropout_follows_philox)
{
    const size_t T = shape[_i].T, D = shape[_i].D, off = shape[_i].off, gap = shape[_i].gap;
    static const float ps[] = { 0, 0.1f, 0.5f, 0.999f };
    const size_t starts[] = { 0, 3, 4294967296u / D,
                              (size_t)1 << 40 }; /* the third: a carry into the counter's upper half */
    const uint64_t seed = 0x123456789abcdef0u;
    for (size_t i = 0; i < 4; i++) {
        matrix x = matrix_random(T, D, off, gap), y = matrix_random(T, D, gap, off);
        ck_ok(clpeft_dropout(dev.ctx, T, D, ps[i], seed, starts[i] - i % 2, x.view, y.view, dev.queue, 0, NULL, NULL));
        matrix_download(&y);
        for (size_t t = 0; t < T; t++)
            for (size_t d = 0; d < D; d++) {
                const uint64_t n = (starts[i] - i % 2 + t) * D + d;
                uint32_t c[4] = { (uint32_t)n, (uint32_t)(n >> 32), 0, 0 };
                philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
                const float want = c[0] / 4294967296.0 >= ps[i] ? AT(x, t, d) * (1 / (1 - ps[i])) : 0;
                ck_assert_msg(AT(y, t, d) == want, "p %g T %zu D %zu [%zu,%zu]: %g, not %g", ps[i], T, D, t, d,
                              AT(y, t, d), want);
            }
        ck_ok(clpeft_dropout(dev.ctx, T, D, ps[i], seed, starts[i] - i % 2, x.view, x.view, dev.queue, 0, NULL, NULL));
        matrix_download(&x);
        expect_same(&x, &y);
        matrix_free(&x), matrix_free(&y);
    }
}
END_TEST

START_TEST(dropout_keeps_the_mean)
{
    const size_t T = 400, D = 250;
    const double p = 0.2, n = (double)(T * D);
    matrix x = matrix_random(T, D, 0, 0);
    double sum = 0;
    matrix_fill(&x, 1);
    ck_ok(clpeft_dropout(dev.ctx, T, D, (float)p, 7, 0, x.view, x.view, dev.queue, 0, NULL, NULL));
    matrix_download(&x);
    for (size_t i = 0; i < T * D; i++) sum += x.host[i];
    expect_near(sum / n, 1, 5 * sqrt(p / (1 - p) / n), "mean of %zu ones", T * D); /* five standard deviations */
    matrix_free(&x);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, activations_match_float64, 0, CLPEFT_TANH + 1);
    tcase_add_test(t, activations_keep_nan);
    tcase_add_loop_test(t, swiglu_matches_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, add_matches_float64, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, scale_columns_multiplies, 0, cases_of(N_SHAPES));
    tcase_add_test(t, reference_philox_is_right);
    tcase_add_loop_test(t, dropout_follows_philox, 0, cases_of(N_SHAPES));
    tcase_add_test(t, dropout_keeps_the_mean);
}

int main(void)
{
    return run_suite("element", add, 120);
}
