/* reference.h - what the tests of simple operations share: odd shapes, copies in double, error bounds. */
#ifndef TEST_REFERENCE_H
#define TEST_REFERENCE_H

#include "device.h"

/* [T,D] with an offset and a gap between rows: smallest; whole vectors and tails of any width; more than a group takes. */
static const struct {
    size_t T, D, off, gap;
} shape[] = { { 1, 1, 0, 0 },  { 3, 63, 5, 1 },     { 17, 100, 3, 7 }, { 5, 16, 0, 0 },
              { 70, 2, 1, 2 }, { 33, 384, 16, 16 }, { 2, 1023, 1, 1 }, { 1, 8200, 0, 3 } };
#define N_SHAPES (int)(sizeof shape / sizeof *shape)

/* Relative error of a float sum of n terms in lanes of 4 or more, with the usual constant: lambda sqrt(n) u holds but for a
 * chance of 2 exp(-lambda^2 / 2) (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019). */
static inline double sum_error(size_t n)
{
    return 8 * sqrt((double)n / 4 + 16) * FLT_EPSILON / 2;
}

/* The values of a matrix, rows x cols. */
static inline double *values(const matrix *m)
{
    double *v = malloc((m->rows * m->cols + 1) * sizeof *v);
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->cols; j++) v[i * m->cols + j] = AT(*m, i, j);
    return v;
}

static inline void matrix_fill(matrix *m, float value)
{
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->cols; j++) AT(*m, i, j) = value;
    matrix_upload(m);
}

/* A matrix of the same values. */
static inline matrix matrix_copy(const matrix *m)
{
    matrix copy = matrix_random(m->rows, m->cols, m->view.off, m->view.ld - m->cols);
    memcpy(copy.host, m->host, 4 * m->size);
    matrix_upload(&copy);
    return copy;
}

/* The same numbers. */
static inline void expect_same(const matrix *a, const matrix *b)
{
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < a->cols; j++)
            ck_assert_msg(AT(*a, i, j) == AT(*b, i, j), "[%zu,%zu]: %.9g, not %.9g", i, j, AT(*a, i, j), AT(*b, i, j));
}

#endif
