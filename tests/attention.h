/* attention.h - what the tests of attention share: batches of odd shapes, and attention in float64 with error bounds. */
#ifndef TEST_ATTENTION_H
#define TEST_ATTENTION_H

#include "device.h"

/* A batch of S sequences; H, Hk, d as in op.h; its matrices start at an offset and have a gap between rows. Gradients come from
 * one kernel where there are many sequences and key heads and d is whole vectors, from two otherwise: both are among these. */
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
    { 2, { 12, 100 }, 2, 2, 80, 5, 7, 1, 0.11f }, /* d of whole and half pairs of vectors */
    { 1, { 67 }, 2, 1, 16, 3, 1, 1, 0.2f },       /* few sequences */
    { 12, { 5, 1, 17, 16, 40, 0, 3, 2, 9, 33, 12, 8 }, 32, 16, 16, 1, 3, 1, 0.25f }, /* many heads */
};
#define N_BATCHES (int)(sizeof batches / sizeof *batches)

/* A batch on the device. q, k, v and their gradients are column ranges of one matrix. */
typedef struct {
    const batch *b;
    clpeft_attention_shape shape;
    size_t T, width;
    matrix start, qkv, o, lse, d_o, dsum, dqkv;
    clpeft_view q, k, v, dq, dk, dv;
} run;

static inline run run_make(const batch *b, float spread)
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
    r.start = matrix_make(b->S + 1, 1, b->off, b->gap, &zero);
    for (size_t s = 0; s <= b->S; s++) memcpy(&AT(r.start, s, 0), &start[s], 4);
    matrix_upload(&r.start);
    r.qkv = matrix_random(r.T, r.width, b->off, b->gap);
    r.dqkv = matrix_random(r.T, r.width, b->gap, b->off);
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

static inline void run_free(run *r)
{
    matrix *all[] = { &r->start, &r->qkv, &r->o, &r->lse, &r->d_o, &r->dsum, &r->dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) matrix_free(all[i]);
}

static inline void run_forward(run *r)
{
    ck_ok(clpeft_attention(dev.ctx, &r->shape, r->start.view, r->q, r->k, r->v, r->o.view, r->lse.view, dev.queue, 0,
                           NULL, NULL));
}

static inline void run_backward(run *r)
{
    ck_ok(clpeft_attention_backward(dev.ctx, &r->shape, r->start.view, r->q, r->k, r->v, r->o.view, r->lse.view,
                                    r->d_o.view, r->dsum.view, r->dq, r->dk, r->dv, dev.queue, 0, NULL, NULL));
}

/* Columns of head h of q (which = 0), and of its key head in k (1) and in v (2). */
static inline size_t column(const run *r, int which, size_t h)
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

static inline double dot(const matrix *a, size_t i, size_t ci, const matrix *b, size_t j, size_t cj, size_t d,
                         int absolute)
{
    double sum = 0;
    for (size_t c = 0; c < d; c++) {
        const double x = (double)AT(*a, i, ci + c) * (double)AT(*b, j, cj + c);
        sum += absolute ? fabs(x) : x;
    }
    return sum;
}

static inline head head_make(const run *r, const double *x, size_t first, size_t n, size_t h)
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

static inline void head_free(head *a)
{
    free(a->p), free(a->lse), free(a->o), free(a->o_bound);
}

/* q, k and v in float64, rows adjacent. */
static inline double *widen(const run *r)
{
    double *x = malloc(8 * r->T * r->width + 8);
    for (size_t i = 0; i < r->T; i++)
        for (size_t j = 0; j < r->width; j++) x[i * r->width + j] = AT(r->qkv, i, j);
    return x;
}

#endif
