/* loss.c - cross entropy and its gradient against float64 and central differences. */
#include "reference.h"

static const struct {
    size_t B, C, off, gap;
    float scale, shift;
} rows[] = {
    { 1, 1, 0, 0, 1, 0 },        { 7, 2, 3, 1, 4, 0 },     { 5, 63, 0, 5, 10, 0 },    { 33, 17, 2, 0, 1, -1e4f },
    { 3, 1000, 1, 1, 30, 1e4f }, { 2, 49152, 0, 0, 8, 3 }, { 40, 16, 5, 16, 100, 0 },
};
#define N_ROWS (int)(sizeof rows / sizeof *rows)

typedef struct {
    size_t B, C;
    int32_t *label;
    matrix x, labels, loss, correct, dx;
} batch;

static batch batch_make(size_t i)
{
    const size_t B = rows[i].B, C = rows[i].C;
    batch b = { .B = B, .C = C, .label = malloc(B * sizeof(int32_t)) };
    for (size_t r = 0; r < B; r++) b.label[r] = (int32_t)(0.5f * (random_float() + 1) * (float)C);
    if (B > 5)
        b.label[0] = -1, b.label[1] = (int32_t)C, b.label[2] = INT32_MIN, b.label[3] = INT32_MAX; /* do not count */
    b.x = matrix_random(B, C, rows[i].off, rows[i].gap);
    for (size_t r = 0; r < B; r++)
        for (size_t c = 0; c < C; c++) AT(b.x, r, c) = rows[i].shift + rows[i].scale * AT(b.x, r, c);
    if (B > 4) AT(b.x, 4, b.label[4]) = rows[i].shift + 2 * rows[i].scale; /* one that is right for sure */
    matrix_upload(&b.x);
    b.labels = matrix_ints(b.label, B, rows[i].off);
    b.loss = matrix_random(B, 1, rows[i].gap, rows[i].off), b.correct = matrix_random(B, 1, 1, rows[i].gap);
    b.dx = matrix_random(B, C, rows[i].gap, 1);
    return b;
}

static void batch_free(batch *b)
{
    matrix_free(&b->x), matrix_free(&b->labels), matrix_free(&b->loss), matrix_free(&b->correct), matrix_free(&b->dx),
        free(b->label);
}

static int counts(const batch *b, size_t r)
{
    return b->label[r] >= 0 && (size_t)b->label[r] < b->C;
}

static double largest(const double *x, size_t C)
{
    double most = -INFINITY;
    for (size_t c = 0; c < C; c++) most = fmax(most, x[c]);
    return most;
}

static double entropy(const double *x, size_t C, size_t label)
{
    const double most = largest(x, C);
    double sum = 0;
    for (size_t c = 0; c < C; c++) sum += exp(x[c] - most);
    return log(sum) + most - x[label];
}

static int first_largest_is(const double *x, size_t C, size_t label)
{
    size_t at = 0;
    for (size_t c = 1; c < C; c++)
        if (x[c] > x[at]) at = c;
    return at == label;
}

static int32_t int_at(const matrix *m, size_t i)
{
    int32_t value;
    memcpy(&value, &AT(*m, i, 0), sizeof value);
    return value;
}

/* The difference to the maximum is exact to an epsilon of itself, exp adds 4, the sum its own. */
static double part_error(double below, size_t C)
{
    return FLT_EPSILON * (fabs(below) + 8) + sum_error(C);
}

static void check_gradient(const batch *b, const matrix *dx, const double *x, double weight)
{
    for (size_t r = 0; r < b->B; r++) {
        const double *row = x + r * b->C, most = largest(row, b->C),
                     norm = entropy(row, b->C, 0) + row[0]; /* log of the sum */
        for (size_t c = 0; c < b->C; c++) {
            const double p = exp(row[c] - norm), want = counts(b, r) ? weight * (p - (b->label[r] == (int32_t)c)) : 0;
            const double bound = fabs(weight) * (p * part_error(row[c] - most, b->C) + FLT_EPSILON) + 1e-36;
            expect_near(AT(*dx, r, c), want, bound, "B %zu C %zu dx[%zu,%zu]", b->B, b->C, r, c);
        }
    }
}

START_TEST(cross_entropy_matches_float64)
{
    const clpeft_view none = { NULL, 0, 0 };
    const float weight = 0.37f;
    for (int with = 0; with < 4; with++) { /* bit 0: correct, bit 1: dx */
        batch b = batch_make((size_t)_i);
        double *x = values(&b.x);
        ck_ok(clpeft_cross_entropy(dev.ctx, b.B, b.C, b.x.view, b.labels.view, weight, b.loss.view,
                                   with & 1 ? b.correct.view : none, with & 2 ? b.dx.view : none, dev.queue, 0, NULL,
                                   NULL));
        matrix_download(&b.loss), matrix_download(&b.correct), matrix_download(&b.dx);
        for (size_t r = 0; r < b.B; r++) {
            const double *row = x + r * b.C, want = counts(&b, r) ? entropy(row, b.C, (size_t)b.label[r]) : 0;
            expect_near(AT(b.loss, r, 0), want, counts(&b, r) ? part_error(want, b.C) : 0, "B %zu C %zu loss %zu", b.B,
                        b.C, r);
            if (with & 1)
                ck_assert_int_eq(int_at(&b.correct, r),
                                 counts(&b, r) && first_largest_is(row, b.C, (size_t)b.label[r]));
        }
        if (with & 2) check_gradient(&b, &b.dx, x, weight);
        if (with == 3) { /* in place */
            ck_ok(clpeft_cross_entropy(dev.ctx, b.B, b.C, b.x.view, b.labels.view, weight, b.loss.view, none, b.x.view,
                                       dev.queue, 0, NULL, NULL));
            matrix_download(&b.x);
            expect_same(&b.x, &b.dx);
        }
        free(x), batch_free(&b);
    }
}
END_TEST

START_TEST(gradient_is_the_slope_of_the_loss)
{
    batch b = batch_make(2);
    const double step = 1e-5;
    double *x = values(&b.x);
    ck_ok(clpeft_cross_entropy(dev.ctx, b.B, b.C, b.x.view, b.labels.view, 1, b.loss.view, (clpeft_view){ NULL, 0, 0 },
                               b.dx.view, dev.queue, 0, NULL, NULL));
    matrix_download(&b.dx);
    for (size_t r = 0; r < b.B; r++)
        for (size_t c = 0; c < b.C; c++) {
            double *row = x + r * b.C, at = row[c];
            row[c] = at + step;
            const double up = entropy(row, b.C, (size_t)b.label[r]);
            row[c] = at - step;
            const double down = entropy(row, b.C, (size_t)b.label[r]);
            row[c] = at;
            expect_near(AT(b.dx, r, c), (up - down) / (2 * step), 5e-6, "dx[%zu,%zu]", r, c);
        }
    free(x), batch_free(&b);
}
END_TEST

/* x of one row, the label, and what comes out; C = 20 so that there is a whole vector and a tail. */
static const struct {
    const char *name;
    float fill, value;
    int at, at2, label; /* x is fill, but value at these two columns */
    double loss;
    int correct;
} special[] = {
    { "a NaN in the tail", 0, NAN, 19, 19, 3, NAN, 0 },
    { "a NaN first", 0, NAN, 0, 0, 3, NAN, 0 },
    { "a NaN at the label", 0, NAN, 3, 3, 3, NAN, 0 },
    { "NaN everywhere", NAN, NAN, 0, 0, 3, NAN, 0 },
    { "plus infinity", 0, INFINITY, 5, 5, 5, NAN, 0 },
    { "minus infinity everywhere", -INFINITY, -INFINITY, 0, 0, 3, NAN, 0 },
    { "all masked but two", -INFINITY, 1, 4, 18, 18, 0.6931471805599453, 0 },
    { "the first of two largest", 0, 50, 4, 18, 4, 0.6931471805599453, 1 },
    { "the second of two largest", 0, 50, 4, 18, 18, 0.6931471805599453, 0 },
    { "a label masked out", 0, -INFINITY, 3, 3, 3, INFINITY, 0 },
    { "all the same", 3, 3, 0, 0, 0, 2.995732273553991, 1 },
    { "huge", -3e38f, 3e38f, 7, 7, 7, 0, 1 },
    { "a NaN in a row that does not count", 0, NAN, 4, 4, -1, 0, 0 },
};

START_TEST(special_rows)
{
    const size_t C = 20;
    matrix x = matrix_make(1, C, 0, 0, &special[_i].fill), loss = matrix_random(1, 1, 0, 0),
           correct = matrix_random(1, 1, 0, 0), dx = matrix_random(1, C, 0, 0),
           labels = matrix_ints(&special[_i].label, 1, 0);
    AT(x, 0, special[_i].at) = AT(x, 0, special[_i].at2) = special[_i].value;
    matrix_upload(&x);
    ck_ok(clpeft_cross_entropy(dev.ctx, 1, C, x.view, labels.view, 1, loss.view, correct.view, dx.view, dev.queue, 0,
                               NULL, NULL));
    matrix_download(&loss), matrix_download(&correct), matrix_download(&dx);
    const double want = special[_i].loss, have = AT(loss, 0, 0);
    ck_assert_msg(isnan(want) ? isnan(have) : have == want || fabs(have - want) <= 1e-6, "%s: loss %g",
                  special[_i].name, have);
    ck_assert_msg(int_at(&correct, 0) == special[_i].correct, "%s: correct", special[_i].name);
    if (isnan(want)) /* at least where the label is, the gradient tells as well */
        ck_assert_msg(isnan(AT(dx, 0, special[_i].label)), "%s: gradient %g", special[_i].name,
                      AT(dx, 0, special[_i].label));
    for (size_t c = 0; c < C && !isnan(want); c++)
        ck_assert_msg(isfinite(AT(dx, 0, c)), "%s: gradient %zu", special[_i].name, c);
    matrix_free(&x), matrix_free(&loss), matrix_free(&correct), matrix_free(&dx), matrix_free(&labels);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, cross_entropy_matches_float64, 0, cases_of(N_ROWS));
    tcase_add_test(t, gradient_is_the_slope_of_the_loss);
    tcase_add_loop_test(t, special_rows, 0, cases_of(sizeof special / sizeof *special));
}

int main(void)
{
    return run_suite("loss", add, 120);
}
