/* dtype.c - element types: sizes, widening and narrowing bit for bit as the gguf package. */
#include "hash.h"

#include <math.h>

static const struct {
    clpeft_dtype dtype;
    size_t block, bytes;
    const char *name;
} type[] = {
    { CLPEFT_F32, 1, 4, "F32" },     { CLPEFT_F16, 1, 2, "F16" },       { CLPEFT_BF16, 1, 2, "BF16" },
    { CLPEFT_F64, 1, 8, "F64" },     { CLPEFT_Q4_0, 32, 18, "Q4_0" },   { CLPEFT_Q4_1, 32, 20, "Q4_1" },
    { CLPEFT_Q8_0, 32, 34, "Q8_0" }, { CLPEFT_Q6_K, 256, 210, "Q6_K" }, { CLPEFT_I64, 1, 8, "I64" },
    { CLPEFT_I32, 1, 4, "I32" },     { CLPEFT_OTHER, 0, 0, "other" },
};

START_TEST(a_type_has_a_name_and_a_block)
{
    ck_assert_str_eq(type[_i].name, clpeft_dtype_name(type[_i].dtype));
    ck_assert_uint_eq(type[_i].block, clpeft_dtype_block(type[_i].dtype));
    ck_assert_uint_eq(type[_i].bytes, clpeft_dtype_bytes(type[_i].dtype));
}
END_TEST

static const clpeft_dtype half_type[] = { CLPEFT_F16, CLPEFT_BF16 };

START_TEST(every_half_widens_as_the_reference)
{
    static uint16_t in[65536];
    static float out[65536];
    char name[20];
    for (size_t i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    ck_ok(clpeft_dtype_to_f32(half_type[_i], in, 65536, out));
    snprintf(name, sizeof name, "widen %s", clpeft_dtype_name(half_type[_i]));
    expect_hash(name, hash_bytes(out, sizeof out, 0));
}
END_TEST

START_TEST(doubles_round_to_nearest)
{
    static double in[4096];
    static float out[4096];
    uint64_t state = 1;
    size_t n = 0;
    for (size_t i = 0; i < 4096; i++) {
        const uint64_t low = random_word(&state), bits = low | (uint64_t)random_word(&state) << 32;
        memcpy(&in[n], &bits, 8);
        n += isfinite(in[n]) != 0;
    }
    ck_ok(clpeft_dtype_to_f32(CLPEFT_F64, in, n, out));
    expect_hash("widen F64", hash_bytes(out, 4 * n, 0));
}
END_TEST

/* Random blocks; the F16 numbers at these bytes are made finite. */
static const struct {
    clpeft_dtype dtype;
    size_t place[2];
} block_type[] = {
    { CLPEFT_Q4_0, { 0, 0 } },
    { CLPEFT_Q4_1, { 0, 2 } },
    { CLPEFT_Q8_0, { 0, 0 } },
    { CLPEFT_Q6_K, { 208, 208 } },
};

START_TEST(blocks_widen_as_the_reference)
{
    static float out[100 * 256];
    static unsigned char in[100 * 210 + 4];
    const size_t bytes = clpeft_dtype_bytes(block_type[_i].dtype), block = clpeft_dtype_block(block_type[_i].dtype);
    uint64_t state = 1;
    char name[20];
    for (size_t i = 0; i < 100 * bytes; i += 4) {
        const uint32_t word = random_word(&state);
        memcpy(in + 1 + i, &word, i + 4 > 100 * bytes ? 100 * bytes - i : 4); /* + 1: not aligned */
    }
    for (size_t i = 0; i < 200; i++) in[1 + i / 2 * bytes + block_type[_i].place[i % 2] + 1] &= 0xbf;
    ck_ok(clpeft_dtype_to_f32(block_type[_i].dtype, in + 1, 100 * block, out));
    snprintf(name, sizeof name, "widen %s", clpeft_dtype_name(block_type[_i].dtype));
    expect_hash(name, hash_bytes(out, 4 * 100 * block, 0));
}
END_TEST

/* Every half and its neighbours: just beside it, in the middle to the next one, just beside that. */
static const uint32_t near_half[2][6] = { { UINT32_MAX, 0, 1, 0xfff, 0x1000, 0x1001 },
                                          { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff } };

START_TEST(halves_round_to_nearest_even)
{
    static float in[65536 * 6];
    static uint16_t out[65536 * 6];
    char name[20];
    for (size_t i = 0; i < 65536; i++) {
        const uint16_t half = (uint16_t)i;
        uint32_t bits;
        float exact;
        ck_ok(clpeft_dtype_to_f32(half_type[_i], &half, 1, &exact));
        memcpy(&bits, &exact, 4);
        for (size_t k = 0; k < 6; k++) {
            const uint32_t close = bits + near_half[_i][k];
            memcpy(&in[6 * i + k], &close, 4);
        }
    }
    ck_ok(clpeft_dtype_from_f32(half_type[_i], in, 65536 * 6, out));
    snprintf(name, sizeof name, "narrow %s", clpeft_dtype_name(half_type[_i]));
    expect_hash(name, hash_bytes(out, sizeof out, 0));
}
END_TEST

START_TEST(q8_0_rounds_as_the_reference)
{
    static float in[513 * 32];
    static unsigned char out[513 * 34];
    uint64_t state = 1;
    for (size_t i = 0; i < 512 * 32; i++) { /* magnitudes 2^-7 .. 2^8; the last block is zeros */
        const uint32_t word = random_word(&state), bits = (word & 0x807fffff) | (120 + (word >> 23) % 16) << 23;
        memcpy(&in[i], &bits, 4);
    }
    ck_ok(clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 513 * 32, out));
    expect_hash("narrow Q8_0", hash_bytes(out, sizeof out, 0));
}
END_TEST

START_TEST(q8_0_takes_the_smallest_floats_and_refuses_what_it_cannot_hold)
{
    float in[32] = { 0 }, back[32];
    unsigned char out[34];
    in[3] = 1e-38f;
    ck_ok(clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 32, out));
    ck_ok(clpeft_dtype_to_f32(CLPEFT_Q8_0, out, 32, back));
    ck_assert_float_eq(0, back[3]);
    in[3] = 1e7f;
    ck_fails(CLPEFT_NOT_FINITE, "1e+07", clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 32, out));
    in[3] = NAN;
    ck_fails(CLPEFT_NOT_FINITE, "element 3", clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 32, out));
    in[3] = -INFINITY;
    ck_fails(CLPEFT_NOT_FINITE, "element 3", clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 32, out));
}
END_TEST

START_TEST(refusals_name_the_type)
{
    float in[64] = { 0 };
    unsigned char out[512] = { 0 };
    ck_fails(CLPEFT_UNSUPPORTED, "I64", clpeft_dtype_to_f32(CLPEFT_I64, out, 1, in));
    ck_fails(CLPEFT_UNSUPPORTED, "I32", clpeft_dtype_to_f32(CLPEFT_I32, out, 1, in));
    ck_fails(CLPEFT_UNSUPPORTED, "other", clpeft_dtype_to_f32(CLPEFT_OTHER, out, 1, in));
    ck_fails(CLPEFT_INVALID_SIZE, "block of 32", clpeft_dtype_to_f32(CLPEFT_Q4_0, out, 33, in));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_dtype_to_f32(CLPEFT_F32, NULL, 1, in));
    ck_fails(CLPEFT_UNSUPPORTED, "Q4_1", clpeft_dtype_from_f32(CLPEFT_Q4_1, in, 32, out));
    ck_fails(CLPEFT_UNSUPPORTED, "F64", clpeft_dtype_from_f32(CLPEFT_F64, in, 1, out));
    ck_fails(CLPEFT_INVALID_SIZE, "block of 32", clpeft_dtype_from_f32(CLPEFT_Q8_0, in, 31, out));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_dtype_from_f32(CLPEFT_F16, in, 1, NULL));
    ck_ok(clpeft_dtype_to_f32(CLPEFT_Q6_K, NULL, 0, NULL));
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, a_type_has_a_name_and_a_block, 0, sizeof type / sizeof *type);
    tcase_add_loop_test(t, every_half_widens_as_the_reference, 0, 2);
    tcase_add_test(t, doubles_round_to_nearest);
    tcase_add_loop_test(t, blocks_widen_as_the_reference, 0, sizeof block_type / sizeof *block_type);
    tcase_add_loop_test(t, halves_round_to_nearest_even, 0, 2);
    tcase_add_test(t, q8_0_rounds_as_the_reference);
    tcase_add_test(t, q8_0_takes_the_smallest_floats_and_refuses_what_it_cannot_hold);
    tcase_add_test(t, refusals_name_the_type);
}

int main(void)
{
    return run_tests("dtype", add, 60, NULL, NULL);
}
