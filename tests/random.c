/* random.c - Philox4x32-10 on the host against the answers published with it, and its draws. */
#include "expect.h"
#include "random.h"

#include <math.h>

START_TEST(known_answers)
{
    /* Random123's kat_vectors: counter, key, words. */
    static const struct {
        uint32_t counter[4];
        uint64_t key;
        uint32_t words[4];
    } row[] = {
        { { 0, 0, 0, 0 }, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          0xffffffffffffffffu,
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          0x299f31d0a4093822u,
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t words[4];
        clp_philox(row[i].key, row[i].counter, words);
        ck_assert_mem_eq(words, row[i].words, sizeof words);
    }
}
END_TEST

enum { COUNT = 100001 };
static float draws[COUNT], others[COUNT];

static void moments(const float *x, double *mean, double *square, double *fourth)
{
    *mean = *square = *fourth = 0;
    for (int i = 0; i < COUNT; i++) {
        const double s = (double)x[i] * x[i];
        *mean += x[i] / COUNT, *square += s / COUNT, *fourth += s * s / COUNT;
    }
}

/* |have - want| is at most four standard errors of the mean of COUNT values with this variance. */
static void expect_mean(double have, double want, double variance)
{
    ck_assert_msg(fabs(have - want) <= 4 * sqrt(variance / COUNT), "%g, expected %g", have, want);
}

START_TEST(draws_have_their_moments)
{
    double mean, square, fourth;

    clp_draw_normal(3, "blocks.0.generator.A0", 2, COUNT, draws);
    moments(draws, &mean, &square, &fourth);
    expect_mean(mean, 0, 4), expect_mean(square, 4, 2 * 16), expect_mean(fourth, 48, 96 * 256);
    clp_draw_uniform(3, "blocks.0.query.A", 3, COUNT, draws);
    moments(draws, &mean, &square, &fourth);
    expect_mean(mean, 0, 3), expect_mean(square, 3, 7.2), expect_mean(fourth, 16.2, 729 - 262.44);
    for (int i = 0; i < COUNT; i++) ck_assert(fabsf(draws[i]) <= 3);
}
END_TEST

START_TEST(a_draw_is_of_its_seed_name_and_index)
{
    double product = 0;

    clp_draw_normal(3, "a", 1, COUNT, draws);
    clp_draw_normal(3, "a", 1, 7, others);
    ck_assert_mem_eq(draws, others, 7 * sizeof *draws);
    clp_draw_normal(3, "b", 1, COUNT, others);
    for (int i = 0; i < COUNT; i++) product += (double)draws[i] * others[i] / COUNT;
    expect_mean(product, 0, 1);
    clp_draw_normal(4, "a", 1, COUNT, others);
    product = 0;
    for (int i = 0; i < COUNT; i++) product += (double)draws[i] * others[i] / COUNT;
    expect_mean(product, 0, 1);
    ck_assert(clp_mix(1, 2) != clp_mix(2, 1) && clp_mix(1, 2) != clp_mix(1, 3));
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, known_answers);
    tcase_add_test(t, draws_have_their_moments);
    tcase_add_test(t, a_draw_is_of_its_seed_name_and_index);
}

int main(void)
{
    return run_tests("random", add, 60, NULL, NULL);
}
