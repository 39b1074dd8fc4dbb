/* token.c - embedding, pooling and rotary positions against float64 on packed sequences, some of them empty. */
#include "reference.h"

/* Sequence lengths of a batch, widths, offsets. */
static const struct {
    size_t S, length[8], D, off, gap;
} batch[] = {
    { 1, { 1 }, 1, 0, 0 },
    { 1, { 5 }, 63, 3, 1 },
    { 8, { 0, 0, 3, 0, 1, 6, 0, 0 }, 100, 5, 7 },
    { 3, { 40, 1, 25 }, 384, 16, 16 },
    { 2, { 2, 2 }, 1023, 1, 1 },
};
#define N_BATCHES (int)(sizeof batch / sizeof *batch)

typedef struct {
    size_t S, T, D, off, gap;
    int32_t start[9];
    matrix row_start;
} tokens;

static tokens tokens_make(size_t i)
{
    tokens b = { .S = batch[i].S, .D = batch[i].D, .off = batch[i].off, .gap = batch[i].gap };
    for (size_t q = 0; q < b.S; q++) b.start[q + 1] = b.start[q] + (int32_t)batch[i].length[q];
    b.T = (size_t)b.start[b.S];
    b.row_start = matrix_ints(b.start, b.S + 1, b.off);
    return b;
}

static size_t sequence_of(const tokens *b, size_t t)
{
    size_t q = 0;
    while (b->start[q + 1] <= (int32_t)t) q++;
    return q;
}

static size_t clamped(int64_t i, size_t n)
{
    return i < 0 ? 0 : i >= (int64_t)n ? n - 1 : (size_t)i;
}

/* ---- embedding ----------------------------------------------------------------------------------------------------- */

static matrix make_ids(size_t T, size_t V, size_t off)
{
    int32_t *ids = malloc(T * sizeof *ids);
    for (size_t t = 0; t < T; t++) ids[t] = (int32_t)(0.5f * (random_float() + 1) * (float)V);
    if (T > 2) ids[0] = -1, ids[1] = (int32_t)V, ids[2] = INT32_MAX; /* are clamped */
    if (T > 4) ids[3] = INT32_MIN;
    matrix m = matrix_ints(ids, T, off);
    free(ids);
    return m;
}
static int32_t int_at(const matrix *m, size_t i)
{
    int32_t value;
    memcpy(&value, &AT(*m, i, 0), sizeof value);
    return value;
}

START_TEST(embedding_adds_its_tables)
{
    tokens b = tokens_make((size_t)_i);
    const size_t V = 13, P = 20;
    static const size_t firsts[] = { 0, 4, 1000 }; /* position numbers past the table are clamped */
    const clpeft_view none = { NULL, 0, 0 };
    for (int c = 0; c < 12; c++) {
        const int with_position = c & 1, with_type = c & 2;
        const size_t first = firsts[c / 4];
        matrix ids = make_ids(b.T, V, b.gap), word = matrix_random(V, b.D, b.off, b.gap),
               position = matrix_random(P, b.D, b.gap, b.off), type = matrix_random(2, b.D, 2, 3),
               y = matrix_random(b.T, b.D, b.off, 1);
        ck_ok(clpeft_embedding(dev.ctx, b.T, b.D, V, with_position ? P : 0, with_position ? b.S : 0, ids.view,
                               with_position ? b.row_start.view : none, word.view, with_position ? position.view : none,
                               first, with_type ? type.view : none, y.view, dev.queue, 0, NULL, NULL));
        matrix_download(&y);
        for (size_t t = 0; t < b.T; t++) {
            const size_t id = clamped(int_at(&ids, t), V), q = sequence_of(&b, t);
            const size_t p = clamped((int64_t)(t - (size_t)b.start[q] + first), P);
            for (size_t d = 0; d < b.D; d++) {
                double want = AT(word, id, d) + (with_position ? (double)AT(position, p, d) : 0) +
                              (with_type ? (double)AT(type, 0, d) : 0);
                expect_near(AT(y, t, d), want, 3 * FLT_EPSILON, "case %d [%zu,%zu]", c, t, d);
            }
        }
        matrix_free(&ids), matrix_free(&word), matrix_free(&position), matrix_free(&type), matrix_free(&y);
    }
    matrix_free(&b.row_start);
}
END_TEST

START_TEST(embedding_gradient_adds_in_order)
{
    const size_t T = 3 * shape[_i].T, D = shape[_i].D, V = 7;
    matrix ids = make_ids(T, V, 3), dy = matrix_random(T, D, shape[_i].off, shape[_i].gap),
           table = matrix_random(V, D, shape[_i].gap, 2);
    matrix want = matrix_copy(&table);
    ck_ok(clpeft_embedding_backward(dev.ctx, T, D, V, ids.view, dy.view, table.view, dev.queue, 0, NULL, NULL));
    matrix_download(&table);
    for (size_t t = 0; t < T; t++)
        for (size_t d = 0; d < D; d++) AT(want, clamped(int_at(&ids, t), V), d) += AT(dy, t, d);
    expect_same(&table, &want); /* the same additions in the same order */
    matrix_free(&ids), matrix_free(&dy), matrix_free(&table), matrix_free(&want);
}
END_TEST

/* ---- pooling --------------------------------------------------------------------------------------------------------- */

START_TEST(pooling_matches_float64)
{
    tokens b = tokens_make((size_t)_i);
    matrix x = matrix_random(b.T, b.D, b.off, b.gap), mean = matrix_random(b.S, b.D, b.gap, 1),
           first = matrix_random(b.S, b.D, 1, b.off);
    ck_ok(clpeft_pool_mean(dev.ctx, b.T, b.D, b.S, b.row_start.view, x.view, mean.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_pool_first(dev.ctx, b.T, b.D, b.S, b.row_start.view, x.view, first.view, dev.queue, 0, NULL, NULL));
    matrix_download(&mean), matrix_download(&first);
    for (size_t q = 0; q < b.S; q++) {
        const size_t start = (size_t)b.start[q], end = (size_t)b.start[q + 1];
        for (size_t d = 0; d < b.D; d++) {
            double sum = 0, size = 0;
            for (size_t t = start; t < end; t++) sum += AT(x, t, d), size += fabs(AT(x, t, d));
            const double n = start < end ? (double)(end - start) : 1;
            expect_near(AT(mean, q, d), sum / n, sum_error(4 * (end - start)) * size / n,
                        "mean of sequence %zu, column %zu", q, d);
            ck_assert_msg(AT(first, q, d) == (start < end ? AT(x, start, d) : 0), "first of sequence %zu, column %zu",
                          q, d);
        }
    }
    matrix_free(&x), matrix_free(&mean), matrix_free(&first), matrix_free(&b.row_start);
}
END_TEST

/* Pooling is linear: its backward is its transpose, which one row at a time shows exactly. */
START_TEST(pooling_gradients_are_written_to_every_row)
{
    tokens b = tokens_make((size_t)_i);
    matrix dy = matrix_random(b.S, b.D, b.off, b.gap), mean = matrix_random(b.T, b.D, b.gap, 1),
           first = matrix_random(b.T, b.D, 1, b.off);
    matrix_fill(&mean, NAN), matrix_fill(&first, NAN);
    ck_ok(clpeft_pool_mean_backward(dev.ctx, b.T, b.D, b.S, b.row_start.view, dy.view, mean.view, dev.queue, 0, NULL,
                                    NULL));
    ck_ok(clpeft_pool_first_backward(dev.ctx, b.T, b.D, b.S, b.row_start.view, dy.view, first.view, dev.queue, 0, NULL,
                                     NULL));
    matrix_download(&mean), matrix_download(&first);
    for (size_t t = 0; t < b.T; t++) {
        const size_t q = sequence_of(&b, t);
        for (size_t d = 0; d < b.D; d++) {
            const double want = AT(dy, q, d) / (double)(b.start[q + 1] - b.start[q]);
            expect_near(AT(mean, t, d), want, 2 * FLT_EPSILON * fabs(want), "mean [%zu,%zu]", t, d);
            ck_assert_msg(AT(first, t, d) == ((int32_t)t == b.start[q] ? AT(dy, q, d) : 0), "first [%zu,%zu]", t, d);
        }
    }
    matrix_free(&dy), matrix_free(&mean), matrix_free(&first), matrix_free(&b.row_start);
}
END_TEST

/* With the first row and the mean, which are tested above: rest = (n mean - first) / (n - 1), both = first and rest. */
START_TEST(pooling_the_rest_matches_float64)
{
    tokens b = tokens_make((size_t)_i);
    matrix x = matrix_random(b.T, b.D, b.off, b.gap), rest = matrix_random(b.S, b.D, b.gap, 1),
           both = matrix_random(b.S, 2 * b.D, 1, b.off), drest = matrix_random(b.T, b.D, b.gap, 1),
           dboth = matrix_random(b.T, b.D, 1, b.off);
    matrix_fill(&drest, NAN), matrix_fill(&dboth, NAN);
    ck_ok(clpeft_pool_rest(dev.ctx, b.T, b.D, b.S, b.row_start.view, x.view, rest.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_pool_both(dev.ctx, b.T, b.D, b.S, b.row_start.view, x.view, both.view, dev.queue, 0, NULL, NULL));
    matrix_download(&rest), matrix_download(&both);
    for (size_t q = 0; q < b.S; q++) {
        const size_t start = (size_t)b.start[q], end = (size_t)b.start[q + 1];
        for (size_t d = 0; d < b.D; d++) {
            double sum = 0, size = 0;
            for (size_t t = start + 1; t < end; t++) sum += AT(x, t, d), size += fabs(AT(x, t, d));
            const double n = start + 1 < end ? (double)(end - start - 1) : 1;
            expect_near(AT(rest, q, d), sum / n, sum_error(4 * (end - start)) * size / n,
                        "rest of sequence %zu, column %zu", q, d);
            ck_assert(AT(both, q, b.D + d) == AT(rest, q, d));
            ck_assert(AT(both, q, d) == (start < end ? AT(x, start, d) : 0));
        }
    }
    ck_ok(clpeft_pool_rest_backward(dev.ctx, b.T, b.D, b.S, b.row_start.view, rest.view, drest.view, dev.queue, 0, NULL,
                                    NULL));
    ck_ok(clpeft_pool_both_backward(dev.ctx, b.T, b.D, b.S, b.row_start.view, both.view, dboth.view, dev.queue, 0, NULL,
                                    NULL));
    matrix_download(&drest), matrix_download(&dboth);
    for (size_t t = 0; t < b.T; t++) {
        const size_t q = sequence_of(&b, t);
        const int first = (int32_t)t == b.start[q];
        for (size_t d = 0; d < b.D; d++) {
            const double want = first ? 0 : AT(rest, q, d) / (double)(b.start[q + 1] - b.start[q] - 1);
            expect_near(AT(drest, t, d), want, 2 * FLT_EPSILON * fabs(want), "rest [%zu,%zu]", t, d);
            ck_assert(AT(dboth, t, d) == (first ? AT(both, q, d) : AT(drest, t, d)));
        }
    }
    matrix_free(&x), matrix_free(&rest), matrix_free(&both), matrix_free(&drest), matrix_free(&dboth);
    matrix_free(&b.row_start);
}
END_TEST

/* Tables that no caller should hand over: nothing outside of x and y is touched. */
START_TEST(wild_row_starts_stay_inside)
{
    static const int32_t wild[][4] = { { -5, 2, 100, 7 },
                                       { 3, 1, 0, INT32_MAX },
                                       { INT32_MIN, INT32_MAX, INT32_MIN, 0 } };
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        const size_t T = 7, D = 33, S = 3;
        matrix start = matrix_ints(wild[i], S + 1, 0), x = matrix_random(T, D, 4, 1), y = matrix_random(S, D, 4, 1),
               dx = matrix_random(T, D, 4, 1);
        matrix ids = make_ids(T, 5, 0), word = matrix_random(5, D, 0, 0), rows = matrix_random(T, D, 2, 1),
               turned = matrix_random(T, 32, 5, 1);
        ck_ok(clpeft_pool_mean(dev.ctx, T, D, S, start.view, x.view, y.view, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_pool_mean_backward(dev.ctx, T, D, S, start.view, y.view, dx.view, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_rope(dev.ctx, T, 2, 16, 10000, 0, S, start.view, 0, turned.view, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_embedding(dev.ctx, T, D, 5, 5, S, ids.view, start.view, word.view, word.view, 0, word.view,
                               rows.view, dev.queue, 0, NULL, NULL));
        matrix_download(&y), matrix_download(&dx), matrix_download(&rows), matrix_download(&turned);
        for (size_t t = 0; t < T; t++)
            for (size_t d = 0; d < D; d++)
                ck_assert_msg(fabsf(AT(rows, t, d)) <= 3 && fabsf(AT(dx, t, d)) <= 1, "[%zu,%zu]", t, d);
        matrix_free(&start), matrix_free(&x), matrix_free(&y), matrix_free(&dx), matrix_free(&ids), matrix_free(&word),
            matrix_free(&rows), matrix_free(&turned);
    }
}
END_TEST

/* ---- rotary positions -------------------------------------------------------------------------------------------------- */

static const struct {
    size_t H, d, first;
    float base;
} rotary[] = { { 1, 2, 0, 10000 },      { 3, 64, 0, 10000 },   { 2, 6, 17, 100 },
               { 9, 64, 8000, 100000 }, { 1, 128, 3, 500000 }, { 5, 34, 1, 10000 } };

START_TEST(rope_matches_float64)
{
    tokens b = tokens_make((size_t)_i % N_BATCHES);
    const size_t H = rotary[_i].H, d = rotary[_i].d, half = d / 2;
    matrix x = matrix_random(b.T, H * d, b.off, b.gap), y = matrix_copy(&x);
    ck_ok(clpeft_rope(dev.ctx, b.T, H, d, rotary[_i].base, 0, b.S, b.row_start.view, rotary[_i].first, y.view,
                      dev.queue, 0, NULL, NULL));
    matrix_download(&y);
    for (size_t t = 0; t < b.T; t++) {
        const double position = (double)(t - (size_t)b.start[sequence_of(&b, t)] + rotary[_i].first);
        for (size_t h = 0; h < H; h++)
            for (size_t j = 0; j < half; j++) {
                const double exponent = (double)j / (double)half * log2(rotary[_i].base),
                             angle = position * exp2(-exponent);
                const double u = AT(x, t, h * d + j), v = AT(x, t, h * d + half + j);
                /* the angle is a float product with a rounded exponent */
                const double bound = 2 * FLT_EPSILON * (4 + angle * (2 + exponent));
                expect_near(AT(y, t, h * d + j), u * cos(angle) - v * sin(angle), bound,
                            "row %zu head %zu pair %zu first", t, h, j);
                expect_near(AT(y, t, h * d + half + j), v * cos(angle) + u * sin(angle), bound,
                            "row %zu head %zu pair %zu second", t, h, j);
            }
    }
    /* back again */
    ck_ok(clpeft_rope(dev.ctx, b.T, H, d, rotary[_i].base, 1, b.S, b.row_start.view, rotary[_i].first, y.view,
                      dev.queue, 0, NULL, NULL));
    matrix_download(&y);
    for (size_t t = 0; t < b.T; t++)
        for (size_t c = 0; c < H * d; c++)
            expect_near(AT(y, t, c), AT(x, t, c), 16 * FLT_EPSILON, "back [%zu,%zu]", t, c);
    matrix_free(&x), matrix_free(&y), matrix_free(&b.row_start);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, embedding_adds_its_tables, 0, cases_of(N_BATCHES));
    tcase_add_loop_test(t, embedding_gradient_adds_in_order, 0, cases_of(N_SHAPES));
    tcase_add_loop_test(t, pooling_matches_float64, 0, cases_of(N_BATCHES));
    tcase_add_loop_test(t, pooling_gradients_are_written_to_every_row, 0, cases_of(N_BATCHES));
    tcase_add_loop_test(t, pooling_the_rest_matches_float64, 0, cases_of(N_BATCHES));
    tcase_add_test(t, wild_row_starts_stay_inside);
    tcase_add_loop_test(t, rope_matches_float64, 0, cases_of(sizeof rotary / sizeof *rotary));
}

int main(void)
{
    return run_suite("token", add, 120);
}
