/* block.c - frozen layers in every type that can be kept: what the device multiplies with is the file's number, bit for bit. */
#include "device.h"

static const struct {
    clpeft_dtype dtype;
    size_t halves[2]; /* byte positions of a block's f16 scales */
    size_t N, K;
} cases[] = {
    { CLPEFT_Q4_0, { 0, 0 }, 37, 96 },      { CLPEFT_Q4_1, { 0, 2 }, 37, 96 }, { CLPEFT_Q8_0, { 0, 0 }, 37, 96 },
    { CLPEFT_Q6_K, { 208, 208 }, 19, 512 }, { CLPEFT_Q4_1, { 0, 2 }, 1, 32 },  { CLPEFT_F32, { 0, 0 }, 37, 45 },
    { CLPEFT_F16, { 0, 0 }, 37, 45 },       { CLPEFT_BF16, { 0, 0 }, 35, 45 },
};

/* Random blocks; scales of ordinary and denormal halves, of both signs. Or random numbers. */
static void *random_weight(clpeft_dtype dtype, const size_t *halves, size_t elements)
{
    static const uint16_t scale[] = { 0x2e66, 0xa9a9, 0x0123, 0x8001, 0x3c00, 0x0400 };
    const size_t bytes = clpeft_dtype_bytes(dtype), blocks = elements / clpeft_dtype_block(dtype);
    unsigned char *data = malloc(blocks * bytes);

    if (clpeft_dtype_block(dtype) == 1) {
        float *wide = malloc(elements * sizeof *wide);
        for (size_t i = 0; i < elements; i++) wide[i] = i % 7 == 3 ? 1e-6f * random_float() : random_float();
        ck_ok(clpeft_dtype_from_f32(dtype, wide, elements, data));
        free(wide);
        return data;
    }
    for (size_t i = 0; i < blocks * bytes; i++) data[i] = (unsigned char)(128 + 128 * random_float());
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < 2; j++) memcpy(data + i * bytes + halves[j], &scale[(i + j) % 6], 2);
    return data;
}

static matrix identity(size_t n)
{
    const float zero = 0;
    matrix m = matrix_make(n, n, 0, 1, &zero);
    for (size_t i = 0; i < n; i++) AT(m, i, i) = 1;
    matrix_upload(&m);
    return m;
}

/* I W0^T and I W0: sums of one number and zeros. */
START_TEST(a_layer_holds_the_numbers_of_the_file)
{
    const size_t N = cases[_i].N, K = cases[_i].K;
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = cases[_i].dtype };
    const clpeft_view none = { 0 };
    void *data = random_weight(cases[_i].dtype, cases[_i].halves, N * K);
    float *want = malloc(N * K * sizeof *want);
    matrix x = identity(K), dy = identity(N), y = matrix_random(K, N, 3, 2), dx = matrix_random(N, K, 1, 5);
    clpeft_linear *linear;
    clpeft_workspace *ws;

    ck_ok(clpeft_dtype_to_f32(cases[_i].dtype, data, N * K, want));
    ck_ok(clpeft_linear_create(&linear, dev.ctx, &options));
    ck_ok(clpeft_linear_load(linear, 0, N, data, cases[_i].dtype, NULL, dev.queue));
    ck_ok(clpeft_workspace_create(&ws, dev.ctx, clpeft_linear_workspace(linear, NULL, K > N ? K : N)));
    ck_ok(clpeft_linear_forward(linear, NULL, K, CLPEFT_IDENTITY, x.view, none, y.view, none, ws, dev.queue, 0, NULL,
                                NULL));
    ck_ok(clpeft_linear_backward(linear, NULL, N, CLPEFT_IDENTITY, dx.view, none, dy.view, 0, dx.view, ws, dev.queue, 0,
                                 NULL, NULL));
    matrix_download(&y), matrix_download(&dx);
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) {
            const float w = want[n * K + k];
            ck_assert_msg(AT(y, k, n) == w, "forward [%zu,%zu]: %.9g, not %.9g", n, k, (double)AT(y, k, n), (double)w);
            ck_assert_msg(AT(dx, n, k) == w, "backward [%zu,%zu]: %.9g, not %.9g", n, k, (double)AT(dx, n, k),
                          (double)w);
        }
    clpeft_workspace_destroy(ws);
    clpeft_linear_destroy(linear);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y), matrix_free(&dx);
    free(want), free(data);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, a_layer_holds_the_numbers_of_the_file, 0, sizeof cases / sizeof *cases);
}

int main(void)
{
    return run_suite("block", add, 120);
}
