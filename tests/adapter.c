/* adapter.c - first values, gain, what leaves an adapter. Gradients: adapter-rows.c and golden.c. */
#include "layers.h"

static double norm_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static const struct {
    clpeft_method method;
    clpeft_tau tau;
    int magnitude;
} form[] = {
    { CLPEFT_LORA, CLPEFT_TAU_NONE, 0 },      { CLPEFT_DORA, CLPEFT_TAU_NONE, 1 },
    { CLPEFT_HORA, CLPEFT_TAU_NONE, 0 },      { CLPEFT_DORAN, CLPEFT_TAU_LEARNED, 1 },
    { CLPEFT_DORA, CLPEFT_TAU_LEARNED, 1 },   { CLPEFT_HORA, CLPEFT_TAU_NONE, 1 },
    { CLPEFT_DORAN, CLPEFT_TAU_GAUSSIAN, 1 }, { CLPEFT_DORAN, CLPEFT_TAU_FIXED, 1 },
};

static clpeft_adapter_config form_config(int i)
{
    clpeft_adapter_config c = clpeft_adapter_defaults(form[i].method);
    c.tau = form[i].tau, c.magnitude = form[i].magnitude, c.seed = 11;
    return c;
}

/* Sizes of the sites of the tests below: K 300, 5 heads of 9. */
enum { K0 = 300, H0 = 5, D0 = 9, N0 = H0 * D0 };

typedef struct {
    clpeft_linear *linear;
    clpeft_params *params;
    clpeft_adapter *adapter;
    float *w0;
} one_site;

static one_site make_one(const clpeft_adapter_config *c, int zero_row)
{
    one_site o = { 0 };
    o.linear = make_linear(N0, K0, zero_row, &o.w0);
    const clpeft_site site = { .name = "fc", .linear = o.linear, .heads = H0, .head_size = D0 };
    ck_ok(clpeft_params_create(&o.params, dev.ctx));
    ck_ok(clpeft_adapter_create(&o.adapter, o.params, &site, 1, c));
    ck_ok(clpeft_params_allocate(o.params));
    return o;
}

static void free_one(one_site *o)
{
    clpeft_adapter_destroy(o->adapter);
    clpeft_params_destroy(o->params);
    clpeft_linear_destroy(o->linear);
    free(o->w0);
}

START_TEST(training_starts_at_the_pretrained_layer)
{
    const clpeft_adapter_config c = form_config(_i);
    const int zero_row = c.tau == CLPEFT_TAU_NONE && c.magnitude ? 3 : -1;
    one_site o = make_one(&c, zero_row);
    float a[8 * K0], b[N0 * 8], norm[N0], g[N0], tau, merged[N0 * K0];
    double mean = 0, square = 0;

    ck_ok(clpeft_adapter_materialize(o.adapter, 0, 0, dev.queue, 0, NULL, NULL));
    clFinish(dev.queue); /* a queue of its own does not wait for this one */
    ck_ok(clpeft_adapter_read_site(o.adapter, 0, a, b, norm, g, &tau, NULL));
    ck_ok(clpeft_adapter_merge(o.adapter, o.linear, 0, N0, merged, NULL));
    for (int i = 0; i < N0; i++) {
        expect_near(g[i], 1, 3 * FLT_EPSILON, "form %d gain %d", _i, i);
        if (c.magnitude) expect_near(norm[i], norm_of(o.w0 + i * K0, K0), 1e-6 * 20, "form %d norm %d", _i, i);
        mean += norm_of(o.w0 + i * K0, K0) / N0;
    }
    for (int i = 0; i < N0 * K0; i++) expect_near(merged[i], o.w0[i], 4 * FLT_EPSILON, "form %d merged %d", _i, i);
    for (int i = 0; i < N0 * 8; i++) ck_assert_float_eq(b[i], 0);
    expect_near(tau, c.tau == CLPEFT_TAU_LEARNED || c.tau == CLPEFT_TAU_FIXED ? 0.1 * mean : 0, 1e-6 * mean,
                "form %d tau", _i);
    /* A has LoRA's variance 1 / (3 K): 8 seeds of one row each decide how far one draw is from it. */
    for (int i = 0; i < 8 * K0; i++) square += (double)a[i] * a[i] / (8 * K0);
    expect_near(sqrt(square * 3 * K0), 1, c.generator ? 0.35 : 0.05, "form %d deviation of A", _i);
    free_one(&o);
}
END_TEST

START_TEST(first_values_depend_on_seed_and_name_alone)
{
    clpeft_adapter_config c = clpeft_adapter_defaults(CLPEFT_DORAN);
    float *first[3];
    size_t size = 0;

    for (int run = 0; run < 3; run++) {
        c.seed = run == 2 ? 6 : 5;
        random_state = 1;
        one_site o = make_one(&c, -1);
        size = clpeft_params_size(o.params);
        first[run] = malloc(4 * size);
        ck_ok(clpeft_params_read(o.params, CLPEFT_THETA, NULL, first[run], dev.queue));
        free_one(&o);
    }
    ck_assert_mem_eq(first[0], first[1], 4 * size);
    ck_assert_int_ne(0, memcmp(first[0], first[2], 4 * size));
    for (int run = 0; run < 3; run++) free(first[run]);
}
END_TEST

START_TEST(gain_and_merge_are_the_formulas)
{
    const clpeft_adapter_config c = form_config(_i);
    one_site o = make_one(&c, -1);
    float a[8 * K0], b[N0 * 8], norm[N0], g[N0], m[N0], tau, merged[N0 * K0], part[7 * K0];

    randomize(o.params);
    ck_ok(clpeft_adapter_materialize(o.adapter, 3, 1, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_read_site(o.adapter, 0, a, b, norm, g, &tau, dev.queue));
    ck_ok(clpeft_adapter_merge(o.adapter, o.linear, 0, N0, merged, dev.queue));
    ck_ok(clpeft_adapter_merge(o.adapter, o.linear, 20, 7, part, dev.queue));
    ck_assert_mem_eq(part, merged + 20 * K0, sizeof part);
    if (c.magnitude)
        ck_ok(clpeft_params_read(o.params, CLPEFT_THETA, clpeft_params_find(o.params, "blocks.0.fc.m"), m, dev.queue));
    for (int i = 0; i < N0; i++) {
        double v[K0], size[K0], square = 0; /* size: of the terms, of which the rounding errors are parts */
        for (int k = 0; k < K0; k++) {
            v[k] = o.w0[i * K0 + k], size[k] = fabs(v[k]);
            for (int p = 0; p < 8; p++) {
                const double term = 2.0 * b[i * 8 + p] * a[p * K0 + k];
                v[k] += term, size[k] += fabs(term);
            }
            square += v[k] * v[k];
        }
        const double gain = c.magnitude ? m[i] / (sqrt(square) + tau) : 1;
        expect_near(g[i], gain, 2e-6 * fabs(gain), "form %d gain %d", _i, i);
        for (int k = 0; k < K0; k++)
            expect_near(merged[i * K0 + k], gain * v[k], 3e-6 * fabs(gain) * size[k], "form %d merged %d %d", _i, i, k);
    }
    ck_ok(clpeft_adapter_merge(NULL, o.linear, 0, N0, merged, dev.queue));
    ck_assert_mem_eq(merged, o.w0, sizeof merged);
    free_one(&o);
}
END_TEST

START_TEST(gaussian_tau_is_fresh_each_step_and_zero_at_evaluation)
{
    clpeft_adapter_config c = form_config(6);
    one_site o = make_one(&c, -1);
    double mean = 0, square = 0;
    float sigma, again, last = 0, tau;
    const clpeft_tensor *rho = clpeft_params_find(o.params, "blocks.0.fc.rho");

    ck_assert_int_eq(rho->kind, CLPEFT_KIND_FIXED);
    ck_ok(clpeft_params_read(o.params, CLPEFT_THETA, rho, &sigma, dev.queue));
    sigma = expf(sigma);
    for (uint64_t step = 0; step < 400; step++) {
        ck_ok(clpeft_adapter_materialize(o.adapter, step, 1, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adapter_read_site(o.adapter, 0, NULL, NULL, NULL, NULL, &tau, dev.queue));
        ck_assert(tau >= 0 && tau < 6 * sigma && tau != last);
        mean += tau / sigma / 400, square += tau / sigma * tau / sigma / 400;
        last = tau;
    }
    expect_near(mean, sqrt(2 / 3.14159265), 0.12, "mean of |xi|"); /* four standard errors */
    expect_near(square, 1, 0.29, "mean of xi^2");
    ck_ok(clpeft_adapter_materialize(o.adapter, 399, 1, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_read_site(o.adapter, 0, NULL, NULL, NULL, NULL, &again, dev.queue));
    ck_assert_float_eq(again, last);
    ck_ok(clpeft_adapter_materialize(o.adapter, 399, 0, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_read_site(o.adapter, 0, NULL, NULL, NULL, NULL, &tau, dev.queue));
    ck_assert_float_eq(tau, 0);
    free_one(&o);
}
END_TEST

START_TEST(a_layer_of_zeros_stays_finite)
{
    const clpeft_adapter_config c = form_config(_i);
    clpeft_linear *linear = NULL;
    clpeft_params *params = NULL;
    clpeft_adapter *adapter = NULL;
    float g[6];

    ck_ok(clpeft_linear_create(&linear, dev.ctx, &(clpeft_linear_options){ .N = 6, .K = 5, .dtype = CLPEFT_F32 }));
    ck_ok(clpeft_params_create(&params, dev.ctx));
    ck_ok(clpeft_adapter_create(&adapter, params,
                                &(clpeft_site){ .name = "fc", .linear = linear, .heads = 2, .head_size = 3 }, 1, &c));
    ck_ok(clpeft_params_allocate(params));
    ck_ok(clpeft_adapter_materialize(adapter, 0, 0, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_read_site(adapter, 0, NULL, NULL, NULL, g, NULL, dev.queue));
    for (int i = 0; i < 6; i++) expect_near(g[i], 1, 1e-3, "form %d gain %d", _i, i);
    for (int step = 0; step < 2; step++) {
        ck_ok(clpeft_adapter_backward(adapter, NULL, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adamw_step(
            params,
            &(clpeft_adamw){
                .lr = 1, .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .multiplier = { 1, 1, 1, 1, 1, 1, 1, 1 } },
            dev.queue, 0, NULL, NULL));
        float theta[4096];
        ck_assert_uint_le(clpeft_params_size(params), 4096);
        ck_ok(clpeft_params_read(params, CLPEFT_THETA, NULL, theta, dev.queue));
        for (size_t i = 0; i < clpeft_params_size(params); i++)
            ck_assert_msg(isfinite(theta[i]), "form %d theta %zu", _i, i);
    }
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(linear);
}
END_TEST

START_TEST(a_site_may_have_its_own_rank_and_alpha)
{
    clpeft_linear *linear = make_linear(20, 33, -1, NULL);
    clpeft_adapter_config c = clpeft_adapter_defaults(CLPEFT_DORA);
    const clpeft_site sites[] = {
        { .name = "late", .block = 1, .linear = linear, .row = 15, .heads = 1, .head_size = 5, .rank = 3, .alpha = 7 },
        { .name = "early", .block = 0, .linear = linear, .row = 1, .heads = 2, .head_size = 4 },
    };
    const double scale[] = { 7 / sqrt(3), 16 / sqrt(8) };
    const size_t rank[] = { 3, 8 }, rows[] = { 5, 8 };
    const clpeft_site *copy;
    clpeft_params *params = NULL;
    clpeft_adapter *adapter = NULL;
    float *merged = malloc(4 * 20 * 33), *plain = malloc(4 * 20 * 33);

    c.rslora = 1;
    ck_ok(clpeft_params_create(&params, dev.ctx));
    ck_ok(clpeft_adapter_create(&adapter, params, sites, 2, &c));
    ck_ok(clpeft_params_allocate(params));
    ck_assert_str_eq(clpeft_params_tensor(params, 0)->name, "blocks.0.early.A"); /* the arena is by block */
    ck_assert_uint_eq(clpeft_adapter_sites(adapter, &copy), 2);
    ck_assert_str_eq(copy[0].name, "late"); /* sites stay in the caller's order */
    ck_assert_int_eq(clpeft_adapter_get_config(adapter)->rslora, 1);
    randomize(params);
    ck_ok(clpeft_adapter_materialize(adapter, 0, 0, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_merge(adapter, linear, 0, 20, merged, dev.queue));
    ck_ok(clpeft_adapter_merge(NULL, linear, 0, 20, plain, dev.queue));
    for (size_t s = 0; s < 2; s++) {
        float a[8 * 33], b[8 * 8], g[8];
        ck_ok(clpeft_adapter_read_site(adapter, s, a, b, NULL, g, NULL, dev.queue));
        for (size_t i = 0; i < rows[s]; i++)
            for (size_t k = 0; k < 33; k++) {
                const size_t at = (sites[s].row + i) * 33 + k;
                double v = plain[at];
                for (size_t p = 0; p < rank[s]; p++) v += scale[s] * b[i * rank[s] + p] * a[p * 33 + k];
                expect_near(merged[at], g[i] * v, 1e-5, "site %zu row %zu", s, i);
            }
    }
    for (size_t i = 0; i < 20; i++)
        if (i < 1 || (i >= 9 && i < 15)) ck_assert_mem_eq(merged + i * 33, plain + i * 33, 33 * 4);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "site 2 of 2",
             clpeft_adapter_read_site(adapter, 2, NULL, NULL, NULL, NULL, NULL, dev.queue));
    ck_fails(CLPEFT_INVALID_SIZE, "the layer has 20", clpeft_adapter_merge(adapter, linear, 20, 1, merged, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_adapter_merge(adapter, NULL, 0, 1, merged, dev.queue));
    free(merged), free(plain);
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(linear);
}
END_TEST

static void add(TCase *t)
{
    const int forms = (int)(sizeof form / sizeof *form);
    tcase_add_loop_test(t, training_starts_at_the_pretrained_layer, 0, forms);
    tcase_add_test(t, first_values_depend_on_seed_and_name_alone);
    tcase_add_loop_test(t, gain_and_merge_are_the_formulas, 0, forms);
    tcase_add_test(t, gaussian_tau_is_fresh_each_step_and_zero_at_evaluation);
    tcase_add_loop_test(t, a_layer_of_zeros_stays_finite, 0, forms);
    tcase_add_test(t, a_site_may_have_its_own_rank_and_alpha);
}

int main(void)
{
    return run_suite("adapter", add, 120);
}
