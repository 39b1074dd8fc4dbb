/* trainer.c - what the trainers share: order of the rows, packing, options as text and JSON. No device is needed. */
#include "trainer/batch.h"
#include "trainer/log.h"
#include "trainer/options.h"
#include "trainer/shuffle.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t counts[] = { 1, 2, 31, 1000 };

START_TEST(every_epoch_is_a_permutation)
{
    const size_t n = counts[_i];
    shuffle s;

    shuffle_init(&s, n, 7);
    for (size_t epoch = 0; epoch < 3; epoch++) {
        char *seen = calloc(n, 1);
        for (size_t i = 0; i < n; i++) {
            const size_t row = shuffle_row(&s, epoch * n + i);
            ck_assert_uint_lt(row, n);
            ck_assert_msg(!seen[row]++, "row %zu twice in epoch %zu", row, epoch);
        }
        free(seen);
    }
    shuffle_free(&s);
}
END_TEST

/* The row at a position does not depend on which were asked for before; another seed or epoch gives another order. */
START_TEST(the_order_depends_on_seed_and_position)
{
    enum { N = 50 };
    shuffle a, b, c;
    size_t same_seed = 0, same_epoch = 0;

    shuffle_init(&a, N, 1), shuffle_init(&b, N, 1), shuffle_init(&c, N, 2);
    for (size_t p = 0; p < 3 * N; p++) {
        const size_t q = (p * 37) % (3 * N);
        ck_assert_uint_eq(shuffle_row(&a, q), shuffle_row(&b, q));
        shuffle_row(&b, 1000 + p);
        same_seed += shuffle_row(&a, p) == shuffle_row(&c, p);
        same_epoch += shuffle_row(&a, p) == shuffle_row(&a, p + N);
    }
    ck_assert_uint_lt(same_seed, 20); /* 3 of 150 are expected */
    ck_assert_uint_lt(same_epoch, 20);
    shuffle_free(&a), shuffle_free(&b), shuffle_free(&c);
}
END_TEST

/* Four rows of 2, 3, 1 and 4 tokens: 10 .. 19, labels 0 1 0 1. */
static int32_t tokens[] = { 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 }, labels[] = { 0, 1, 0, 1 };
static size_t starts[] = { 0, 2, 5, 6, 10 };
static const dataset four = { .n = 4, .label = labels, .start = starts, .token = tokens, .longest = 4 };

START_TEST(batches_take_what_fits)
{
    static const struct {
        size_t sequences, tokens, batches, first; /* rows of the first batch */
    } limit[] = { { 4, 10, 1, 4 }, { 2, 10, 2, 2 }, { 4, 5, 2, 2 }, { 4, 4, 3, 1 }, { 1, 100, 4, 1 } };
    batch b;
    size_t row = 0, batches = 0;

    batch_init(&b, limit[_i].sequences, limit[_i].tokens);
    for (size_t from = 0; batch_next(&b, &four, &row); from = row, batches++) {
        ck_assert_uint_eq(b.packed.S, row - from);
        if (from == 0) ck_assert_uint_eq(row, limit[_i].first);
        for (size_t q = 0; q < b.packed.S; q++) {
            ck_assert_int_eq(b.packed.labels[q], labels[from + q]);
            ck_assert_uint_eq((size_t)b.row_start[q], starts[from + q] - starts[from]);
        }
        ck_assert_uint_eq((size_t)b.row_start[b.packed.S], starts[row] - starts[from]);
        ck_assert_mem_eq(b.packed.tokens, tokens + starts[from], 4 * (starts[row] - starts[from]));
    }
    ck_assert_uint_eq(row, 4);
    ck_assert_uint_eq(batches, limit[_i].batches);
    batch_free(&b);
}
END_TEST

START_TEST(the_largest_batch_is_known_before)
{
    shuffle order;
    batch b;
    size_t most = 0;

    shuffle_init(&order, four.n, 3);
    batch_init(&b, 3, 100);
    for (uint64_t step = 0; step < 9; step++) {
        batch_of_step(&b, &four, &order, step, 3);
        ck_assert_uint_eq(b.packed.S, 3);
        const size_t T = (size_t)b.row_start[3];
        if (T > most) most = T;
    }
    ck_assert_uint_eq(batch_most_tokens(&four, &order, 9, 3), most);
    batch_free(&b), shuffle_free(&order);
}
END_TEST

static const char *const words[] = { "no", "yes", NULL };
static struct {
    float x;
    uint64_t n;
    int word, flag;
} value;
static option rows[] = {
    { .name = "x", .type = OPTION_FLOAT, .value = &value.x, .low = -1e38, .high = 1e38, .saved = true },
    { .name = "n", .type = OPTION_U64, .value = &value.n, .high = 1e15, .saved = true },
    { .name = "word", .type = OPTION_CHOICE, .value = &value.word, .choices = words, .saved = true },
    { .name = "flag", .type = OPTION_FLAG, .value = &value.flag, .saved = true },
    { 0 },
};
static const option_group groups[] = { { "All", rows }, { 0 } };

/* What a checkpoint holds gives back the same bits. */
START_TEST(options_survive_json)
{
    static const float x[] = { 0, 1e-3f, 0.1f, 1.0f / 3, 16777216, 1.17549435e-38f, 1e-45f, -9.99999e37f };
    static const char *const text[] = { "0.0",        "0.001",         "0.1",        "0.33333334",
                                        "16777216.0", "1.1754944e-38", "1.4013e-45", "-9.99999e37" };

    value.x = x[_i], value.n = 123456789012345, value.word = 1, value.flag = _i % 2;
    json_t *saved = options_json(groups, true);
    char *number = json_dumps(json_object_get(saved, "x"), JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    ck_assert_str_eq(number, text[_i]);
    memset(&value, 0x55, sizeof value);
    options_restore(groups, saved, "file");
    options_apply(groups);
    ck_assert_mem_eq(&value.x, &x[_i], sizeof value.x);
    ck_assert_uint_eq(value.n, 123456789012345);
    ck_assert_int_eq(value.word, 1);
    ck_assert_int_eq(value.flag, _i % 2);
    json_decref(saved);
    free(number);
}
END_TEST

START_TEST(a_log_holds_no_nan)
{
    const double numbers[] = { NAN, INFINITY, -INFINITY, 1.5 };

    for (int i = 0; i < 4; i++) {
        json_t *number = log_number(numbers[i]);
        ck_assert(i < 3 ? json_is_null(number) : json_is_real(number));
        json_decref(number);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trainer");
    TCase *t = tcase_create("trainer");

    tcase_add_loop_test(t, every_epoch_is_a_permutation, 0, 4);
    tcase_add_test(t, the_order_depends_on_seed_and_position);
    tcase_add_loop_test(t, batches_take_what_fits, 0, 5);
    tcase_add_test(t, the_largest_batch_is_known_before);
    tcase_add_loop_test(t, options_survive_json, 0, 8);
    tcase_add_test(t, a_log_holds_no_nan);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
