/* params.c - the arena: layout, names, copies, errors. */
#include "device.h"

static clpeft_params *arena(void)
{
    const size_t matrix[] = { 3, 5 }, vector[] = { 17 }, one[] = { 1 };
    const float first[15] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    clpeft_params *p = NULL;
    size_t off = 99;

    ck_ok(clpeft_params_create(&p, dev.ctx));
    ck_ok(clpeft_params_add(p, "blocks.0.query.A", CLPEFT_KIND_A, 2, matrix, first, &off));
    ck_assert_uint_eq(off, 0);
    ck_ok(clpeft_params_add(p, "blocks.0.query.m", CLPEFT_KIND_MAGNITUDE, 1, vector, NULL, &off));
    ck_assert_uint_eq(off, 16);
    ck_ok(clpeft_params_add(p, "blocks.0.query.rho", CLPEFT_KIND_FIXED, 1, one, first, NULL));
    return p;
}

START_TEST(tensors_lie_apart_and_gaps_are_zero)
{
    clpeft_params *p = arena();
    float host[64], want[64] = { 0 };

    ck_assert_uint_eq(clpeft_params_count(p), 3);
    ck_assert_uint_eq(clpeft_params_size(p), 64);
    ck_assert_uint_eq(clpeft_params_trainable(p), 15 + 17);
    ck_assert_ptr_null(clpeft_params_buffer_cl(p, CLPEFT_THETA));
    ck_ok(clpeft_params_allocate(p));
    for (int i = 0; i < 15; i++) want[i] = (float)(i + 1);
    want[48] = 1;
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, host, dev.queue));
    ck_assert_mem_eq(host, want, sizeof want);
    memset(want, 0, sizeof want);
    for (int b = CLPEFT_GRAD; b <= CLPEFT_MOMENT2; b++) {
        ck_ok(clpeft_params_read(p, (clpeft_params_buffer)b, NULL, host, NULL));
        ck_assert_mem_eq(host, want, sizeof want);
    }
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(a_tensor_is_found_read_and_written)
{
    clpeft_params *p = arena();
    float host[17], all[64];

    ck_ok(clpeft_params_allocate(p));
    const clpeft_tensor *m = clpeft_params_find(p, "blocks.0.query.m");
    ck_assert_ptr_eq(m, clpeft_params_tensor(p, 1));
    ck_assert_uint_eq(m->n_dims, 1);
    ck_assert_uint_eq(m->dims[0], 17);
    ck_assert_ptr_null(clpeft_params_find(p, "blocks.0.query"));
    ck_assert_ptr_null(clpeft_params_tensor(p, 3));
    for (int i = 0; i < 17; i++) host[i] = (float)(100 + i);
    ck_ok(clpeft_params_write(p, CLPEFT_GRAD, m, host, dev.queue));
    ck_ok(clpeft_params_read(p, CLPEFT_GRAD, NULL, all, dev.queue));
    for (int i = 0; i < 64; i++) ck_assert_float_eq(all[i], i >= 16 && i < 33 ? (float)(100 + i - 16) : 0);
    ck_ok(clpeft_params_zero_grad(p, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_params_read(p, CLPEFT_GRAD, m, host, dev.queue));
    for (int i = 0; i < 17; i++) ck_assert_float_eq(host[i], 0);
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(misuse_is_refused)
{
    const size_t dims[] = { 2, 0 }, huge[] = { SIZE_MAX / 2, 4 }, large[] = { SIZE_MAX / 8 },
                 five[] = { 1, 1, 1, 1, 1 };
    clpeft_params *p = arena();
    char name[97];
    float host[64];

    memset(name, 'x', 96), name[96] = 0;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_params_create(NULL, dev.ctx));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_params_add(p, NULL, CLPEFT_KIND_A, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "taken",
             clpeft_params_add(p, "blocks.0.query.m", CLPEFT_KIND_A, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "longer", clpeft_params_add(p, name, CLPEFT_KIND_A, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "empty", clpeft_params_add(p, "", CLPEFT_KIND_A, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "kind", clpeft_params_add(p, "x", CLPEFT_KINDS, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "0 dims", clpeft_params_add(p, "x", CLPEFT_KIND_A, 0, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "5 dims", clpeft_params_add(p, "x", CLPEFT_KIND_A, 5, five, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "dim 1", clpeft_params_add(p, "x", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "dim 1", clpeft_params_add(p, "x", CLPEFT_KIND_A, 2, huge, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "elements", clpeft_params_add(p, "x", CLPEFT_KIND_A, 1, large, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not allocated", clpeft_params_read(p, CLPEFT_THETA, NULL, host, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not allocated", clpeft_params_zero_grad(p, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_params_allocate(p));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "already", clpeft_params_allocate(p));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "already", clpeft_params_add(p, "x", CLPEFT_KIND_A, 1, dims, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "host", clpeft_params_write(p, CLPEFT_THETA, NULL, NULL, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "buffer", clpeft_params_read(p, (clpeft_params_buffer)4, NULL, host, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "arena",
             clpeft_params_read(p, CLPEFT_THETA, &(clpeft_tensor){ .off = 60, .size = 5 }, host, dev.queue));
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, host, dev.queue));
    clpeft_params_destroy(p);
    clpeft_params_destroy(NULL);
    ck_ok(clpeft_params_create(&p, dev.ctx));
    ck_fails(CLPEFT_INVALID_SIZE, "no tensor", clpeft_params_allocate(p));
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(many_tensors_fit)
{
    const size_t dims[] = { 7 };
    clpeft_params *p = NULL;
    char name[32];
    float seven[7] = { 1, 2, 3, 4, 5, 6, 7 }, host[7];

    ck_ok(clpeft_params_create(&p, dev.ctx));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "t.%d", i);
        seven[0] = (float)i;
        ck_ok(clpeft_params_add(p, name, CLPEFT_KIND_HEAD, 1, dims, seven, NULL));
    }
    ck_ok(clpeft_params_allocate(p));
    for (int i = 0; i < 300; i++) {
        ck_ok(clpeft_params_read(p, CLPEFT_THETA, clpeft_params_tensor(p, (size_t)i), host, dev.queue));
        seven[0] = (float)i;
        ck_assert_mem_eq(host, seven, sizeof seven);
    }
    clpeft_params_destroy(p);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, tensors_lie_apart_and_gaps_are_zero);
    tcase_add_test(t, a_tensor_is_found_read_and_written);
    tcase_add_test(t, misuse_is_refused);
    tcase_add_test(t, many_tensors_fit);
}

int main(void)
{
    return run_suite("params", add, 60);
}
