/* attention.c - attention over ragged batches against float64, its gradients also against central differences. */
#include "device.h"

/* Sequences of a batch: lengths, 0-terminated from the right; H, Hk, d as in op.h; matrices at an offset with a gap. */
typedef struct {
    size_t S, length[12], H, Hk, d, off, gap;
    int causal;
    float scale;
} batch;

static const batch batches[] = {
    { 1, { 1 }, 1, 1, 5, 0, 0, 0, 1.0f },                  /* smallest */
    { 4, { 3, 0, 17, 1 }, 1, 1, 7, 3, 2, 0, 0.4f },        /* empty and one-token sequences, odd d */
    { 4, { 0, 9, 33, 0 }, 3, 3, 7, 0, 5, 1, 0.4f },        /* causal; empty at both ends */
    { 3, { 16, 31, 32 }, 3, 3, 32, 4, 0, 0, 0.1767767f },  /* whole vectors */
    { 3, { 64, 65, 129 }, 3, 3, 32, 1, 3, 1, 0.1767767f }, /* on and over the border of a block of keys */
    { 2, { 70, 5 }, 9, 3, 64, 0, 4, 1, 0.125f },           /* grouped queries */
    { 2, { 40, 77 }, 4, 1, 5, 2, 1, 0, 0.5f },             /* one key head */
    { 12, { 512, 3, 1, 0, 8, 15, 2, 7, 1, 1, 20, 4 }, 2, 1, 8, 0, 0, 0, 0.35f }, /* one long, many short */
    { 2, { 12, 100 }, 2, 2, 80, 5, 7, 1, 0.11f },                                /* d of whole and half vectors */
};

/* A batch on the device. q, k, v and their gradients are column ranges of one matrix. */
typedef struct {
    const batch *b;
    clpeft_attention_shape shape;
    size_t T, width;
    matrix start, qkv, o, lse, d_o, dsum, dqkv;
    clpeft_view q, k, v, dq, dk, dv;
} run;

static run run_make(const batch *b, float spread)
{
    const float zero = 0;
    int32_t start[13] = { 0 };
    size_t longest = 0;
    run r = { .b = b, .width = (b->H + 2 * b->Hk) * b->d };

    for (size_t s = 0; s < b->S; s++) {
        start[s + 1] = start[s] + (int32_t)b->length[s];
        if (b->length[s] > longest) longest = b->length[s];
    }
    r.T = (size_t)start[b->S];
    r.shape = (clpeft_attention_shape){ r.T, b->S, b->H, b->Hk, b->d, longest + b->off, b->scale, b->causal };
    r.start = matrix_ints(start, b->S + 1, b->off);
    r.qkv = matrix_random(r.T, r.width, b->off, b->gap);
    r.dqkv = matrix_make(r.T, r.width, b->gap, b->off, &zero);
    r.o = matrix_make(r.T, b->H * b->d, b->off, b->gap, &zero);
    r.d_o = matrix_random(r.T, b->H * b->d, b->gap, 1);
    r.lse = matrix_make(r.T, b->H, 2, b->off, &zero);
    r.dsum = matrix_make(r.T, b->H, b->off, 2, &zero);
    for (size_t i = 0; i < r.T; i++)
        for (size_t j = 0; j < r.width; j++) AT(r.qkv, i, j) *= spread;
    matrix_upload(&r.qkv);
    r.q = r.k = r.v = r.qkv.view, r.dq = r.dk = r.dv = r.dqkv.view;
    r.k.off += b->H * b->d, r.v.off += (b->H + b->Hk) * b->d;
    r.dk.off += b->H * b->d, r.dv.off += (b->H + b->Hk) * b->d;
    return r;
}

static void run_free(run *r)
{
    matrix *all[] = { &r->start, &r->qkv, &r->o, &r->lse, &r->d_o, &r->dsum, &r->dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) matrix_free(all[i]);
}

static void run_forward(run *r)
{
    ck_ok(clpeft_attention(dev.ctx, &r->shape, r->start.view, r->q, r->k, r->v, r->o.view, r->lse.view, dev.queue, 0,
                           NULL, NULL));
}

static void run_backward(run *r)
{
    ck_ok(clpeft_attention_backward(dev.ctx, &r->shape, r->start.view, r->q, r->k, r->v, r->o.view, r->lse.view,
                                    r->d_o.view, r->dsum.view, r->dq, r->dk, r->dv, dev.queue, 0, NULL, NULL));
}

/* Columns of head h of q (which = 0), and of its key head in k (1) and in v (2). */
static size_t column(const run *r, int which, size_t h)
{
    const size_t key = h * r->b->Hk / r->b->H;
    return (which == 0 ? h : which == 1 ? r->b->H + key : r->b->H + r->b->Hk + key) * r->b->d;
}

/* What float64 says about head h of the sequence of rows first .. first + n - 1, and how far float32 may be from it. A bound
 * is the same sum over absolute values, times the rounding steps of a term. */
typedef struct {
    double *p, *lse; /* P [n,n] and the denominators' logs */
    double *o, *o_bound;
    double exponent; /* bound of the error of a score and of lse: relative error of P */
} head;

static double dot(const matrix *a, size_t i, size_t ci, const matrix *b, size_t j, size_t cj, size_t d, int absolute)
{
    double sum = 0;
    for (size_t c = 0; c < d; c++) {
        const double x = (double)AT(*a, i, ci + c) * (double)AT(*b, j, cj + c);
        sum += absolute ? fabs(x) : x;
    }
    return sum;
}

static head head_make(const run *r, const double *x, size_t first, size_t n, size_t h)
{
    const size_t d = r->b->d, cq = column(r, 0, h), ck = column(r, 1, h), cv = column(r, 2, h), w = r->width;
    head a = { .p = calloc(n * n, 8), .lse = calloc(n, 8), .o = calloc(n * d, 8), .o_bound = calloc(n * d, 8) };
    double size = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t keys = r->b->causal ? i + 1 : n;
        double largest = -INFINITY, sum = 0;
        for (size_t j = 0; j < keys; j++) {
            double s = 0, absolute = 0;
            for (size_t c = 0; c < d; c++) {
                const double y = r->b->scale * x[(first + i) * w + cq + c] * x[(first + j) * w + ck + c];
                s += y, absolute += fabs(y);
            }
            a.p[i * n + j] = s;
            largest = fmax(largest, s), size = fmax(size, absolute);
        }
        for (size_t j = 0; j < keys; j++) sum += exp(a.p[i * n + j] - largest);
        a.lse[i] = largest + log(sum);
        for (size_t j = 0; j < keys; j++) a.p[i * n + j] = exp(a.p[i * n + j] - a.lse[i]);
    }
    a.exponent = FLT_EPSILON * (2 * (double)(d + 3) * size + (double)n + 8 + log((double)n));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t c = 0; c < d; c++) {
                const double y = a.p[i * n + j] * x[(first + j) * w + cv + c];
                a.o[i * d + c] += y, a.o_bound[i * d + c] += fabs(y) * (a.exponent + FLT_EPSILON * (double)(n + 4));
            }
    return a;
}

static void head_free(head *a)
{
    free(a->p), free(a->lse), free(a->o), free(a->o_bound);
}

/* q, k and v in float64, rows adjacent. */
static double *widen(const run *r)
{
    double *x = malloc(8 * r->T * r->width + 8);
    for (size_t i = 0; i < r->T; i++)
        for (size_t j = 0; j < r->width; j++) x[i * r->width + j] = AT(r->qkv, i, j);
    return x;
}

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

/* sum of dO O, a function of q, k, v whose gradient is dqkv; only head rows' sequences that hold row t. */
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
                                   { 2, { 5, 3 }, 2, 2, 7, 0, 2, 1, 0.4f } };
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
    const batch ones = { 5, { 1, 1, 1, 1, 1 }, 3, 3, 20, 0, 0, _i, 0.3f };
    run r = run_make(&ones, 1);

    run_forward(&r);
    run_backward(&r);
    matrix_download(&r.o), matrix_download(&r.dqkv);
    for (size_t i = 0; i < r.T; i++)
        for (size_t c = 0; c < 60; c++) {
            ck_assert(AT(r.o, i, c) == AT(r.qkv, i, 120 + c)); /* P = 1 */
            ck_assert(AT(r.dqkv, i, c) == 0 && AT(r.dqkv, i, 60 + c) == 0 && AT(r.dqkv, i, 120 + c) == AT(r.d_o, i, c));
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
    run r = run_make(&batches[4], 1), again = r;
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
    run r = run_make(&batches[5], 1);
    const size_t d = r.b->d, first[4] = { 0, 9 * d, 12 * d, 15 * d }; /* columns of dq, dk, dv */
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
    const int n = sizeof batches / sizeof *batches;
    tcase_add_loop_test(t, forward_matches_float64, 0, n);
    tcase_add_loop_test(t, backward_matches_float64, 0, n);
    tcase_add_loop_test(t, backward_matches_central_differences, 0, 2);
    tcase_add_loop_test(t, one_token_is_its_own_value, 0, 2);
    tcase_add_loop_test(t, huge_scores_stay_finite, 0, 2);
    tcase_add_test(t, bits_repeat_in_any_queue);
    tcase_add_loop_test(t, gradients_not_asked_for_are_not_written, 0, 4);
    tcase_add_test(t, cached_rows_equal_causal_rows);
    tcase_add_loop_test(t, no_tokens_do_nothing, 0, 2);
    tcase_add_test(t, errors_name_the_argument);
}

int main(void)
{
    return run_suite("attention", add, 300);
}
