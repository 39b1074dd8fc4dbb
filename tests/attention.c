/* attention.c - attention over ragged batches and against a cache, by float64; its errors. */
#include "attention.h"

START_TEST(forward_matches_float64)
{
    run r = run_make(&batches[_i], 1);
    const batch *b = r.b;
    double *x = widen(&r);

    run_forward(&r);
    matrix_download(&r.o), matrix_download(&r.lse), matrix_download(&r.qkv);
    for (size_t s = 0, first = 0; s < b->S; first += b->length[s++])
        for (size_t h = 0; h < b->H; h++) {
            head a = head_make(&r, x, first, b->length[s], h);
            for (size_t i = 0; i < b->length[s]; i++) {
                expect_near(AT(r.lse, first + i, h), a.lse[i], a.exponent + FLT_EPSILON * fabs(a.lse[i]),
                            "lse: sequence %zu head %zu row %zu", s, h, i);
                for (size_t c = 0; c < b->d; c++)
                    expect_near(AT(r.o, first + i, h * b->d + c), a.o[i * b->d + c], a.o_bound[i * b->d + c],
                                "o: sequence %zu head %zu row %zu column %zu", s, h, i, c);
            }
            head_free(&a);
        }
    free(x);
    run_free(&r);
}
END_TEST

START_TEST(cached_rows_equal_causal_rows)
{
    static const batch decode = { 1, { 83 }, 9, 3, 64, 2, 3, 1, 0.125f };
    static const size_t cut[] = {
        0, 1, 16, 50, 70, 82, 83
    }; /* rows of each call: a prompt, then some or one at a time */
    run r = run_make(&decode, 1);
    matrix o = matrix_random(r.T, r.o.cols, 1, 4);

    run_forward(&r);
    for (size_t i = 0; i + 1 < sizeof cut / sizeof *cut; i++) {
        const clpeft_attention_shape shape = { .T = cut[i + 1] - cut[i], .H = 9, .Hk = 3, .d = 64, .scale = 0.125f };
        clpeft_view q = r.q, to = o.view;
        q.off += cut[i] * q.ld, to.off += cut[i] * to.ld;
        ck_ok(clpeft_attention_cached(dev.ctx, &shape, cut[i], q, r.k, r.v, to, dev.queue, 0, NULL, NULL));
    }
    matrix_download(&r.o), matrix_download(&o);
    for (size_t i = 0; i < r.T; i++)
        for (size_t c = 0; c < o.cols; c++)
            expect_near(AT(o, i, c), AT(r.o, i, c), 4 * FLT_EPSILON, "row %zu column %zu", i, c);
    matrix_free(&o);
    run_free(&r);
}
END_TEST

START_TEST(no_tokens_do_nothing)
{
    const batch none = { 3, { 0, 0, 0 }, 2, 1, 32, 0, 0, _i, 0.2f };
    run r = run_make(&none, 1);

    r.shape.max_length = 0;
    run_forward(&r);
    run_backward(&r);
    ck_ok(clpeft_attention_cached(dev.ctx, &r.shape, 0, r.q, r.k, r.v, r.o.view, dev.queue, 0, NULL, NULL));
    matrix_download(&r.o), matrix_download(&r.dqkv), matrix_download(&r.lse);
    run_free(&r);
}
END_TEST

START_TEST(errors_name_the_argument)
{
    const batch b = { 2, { 4, 6 }, 4, 2, 8, 0, 0, 0, 0.3f };
    static const struct {
        clpeft_attention_shape shape;
        const char *text;
    } sizes[] = {
        { { 10, 0, 4, 2, 8, 6, 1, 0 }, "S is 0" },          { { 10, 2, 0, 2, 8, 6, 1, 0 }, "H is 0" },
        { { 10, 2, 4, 0, 8, 6, 1, 0 }, "Hk is 0" },         { { 10, 2, 4, 3, 8, 6, 1, 0 }, "Hk is 3" },
        { { 10, 2, 4, 2, 0, 6, 1, 0 }, "d is 0" },          { { 10, 2, 4, 2, 257, 6, 1, 0 }, "d is 257" },
        { { 10, 2, 4, 2, 8, 0, 1, 0 }, "max_length" },      { { SIZE_MAX, 2, 4, 2, 8, 6, 1, 0 }, "T is" },
        { { 10, 2, SIZE_MAX - 1, 1, 8, 6, 1, 0 }, "H is" }, { { 10, SIZE_MAX, 4, 2, 8, 6, 1, 0 }, "S is" },
    };
    run r = run_make(&b, 1);
    clpeft_view *views[] = { &r.start.view, &r.q,         &r.k,  &r.v,  &r.o.view, &r.lse.view,
                             &r.d_o.view,   &r.dsum.view, &r.dq, &r.dk, &r.dv };
    static const char *names[] = { "row_start", "q", "k", "v", "o", "lse", "d_o", "dsum", "dq", "dk", "dv" };
#define FORWARD(shape) \
    clpeft_attention(dev.ctx, shape, r.start.view, r.q, r.k, r.v, r.o.view, r.lse.view, dev.queue, 0, NULL, NULL)
#define BACKWARD(shape)                                                                                      \
    clpeft_attention_backward(dev.ctx, shape, r.start.view, r.q, r.k, r.v, r.o.view, r.lse.view, r.d_o.view, \
                              r.dsum.view, r.dq, r.dk, r.dv, dev.queue, 0, NULL, NULL)
#define CACHED(shape, first) \
    clpeft_attention_cached(dev.ctx, shape, first, r.q, r.k, r.v, r.o.view, dev.queue, 0, NULL, NULL)

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_fails(CLPEFT_INVALID_SIZE, sizes[i].text, FORWARD(&sizes[i].shape));
        ck_fails(CLPEFT_INVALID_SIZE, sizes[i].text, BACKWARD(&sizes[i].shape));
    }
    ck_fails(CLPEFT_INVALID_SIZE, "Hk is 3", CACHED(&sizes[3].shape, 0));
    ck_fails(CLPEFT_INVALID_SIZE, "first is", CACHED(&r.shape, SIZE_MAX));
    ck_fails(CLPEFT_INVALID_VIEW, "k [", CACHED(&r.shape, 1)); /* a row more than the cache has */
    clpeft_attention_shape nan = r.shape;
    nan.scale = NAN;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "scale", FORWARD(&nan));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "shape is NULL", FORWARD(NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "shape is NULL", BACKWARD(NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "shape is NULL", CACHED(NULL, 0));
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        const clpeft_view kept = *views[i];
        char text[32];
        snprintf(text, sizeof text, ": %s [", names[i]);
        views[i]->off = 1 << 20;
        if (i < 6) ck_fails(CLPEFT_INVALID_VIEW, text, FORWARD(&r.shape));
        ck_fails(CLPEFT_INVALID_VIEW, text, BACKWARD(&r.shape));
        *views[i] = kept;
        if (i < 9) {
            snprintf(text, sizeof text, ": %s has no buffer", names[i]);
            views[i]->buf = NULL;
            ck_fails(CLPEFT_INVALID_ARGUMENT, text, BACKWARD(&r.shape));
            *views[i] = kept;
        }
    }
    ck_ok(BACKWARD(&r.shape));
    run_free(&r);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, forward_matches_float64, 0, cases_of(N_BATCHES));
    tcase_add_test(t, cached_rows_equal_causal_rows);
    tcase_add_loop_test(t, no_tokens_do_nothing, 0, 2);
    tcase_add_test(t, errors_name_the_argument);
}

int main(void)
{
    return run_suite("attention", add, 300);
}
