/* optimizer.c - AdamW against float64, clipping, skipped steps, schedule. */
#include "device.h"

static const struct {
    size_t n;
    float max_norm, size; /* of the gradient's entries */
} shape[] = { { 1, 0, 1 },        { 15, 1, 1 },       { 16, 1, 0.01f },  { 1023, 0.5f, 3 },
              { 1024, 0, 1e-6f }, { 5003, 1, 1e-4f }, { 70001, 10, 100 } };

static clpeft_params *arena(size_t n)
{
    clpeft_params *p = NULL;
    char name[2] = "a";

    ck_ok(clpeft_params_create(&p, dev.ctx));
    for (int k = 0; k < CLPEFT_KINDS; k++, name[0]++) {
        float *first = malloc(n * sizeof *first);
        for (size_t i = 0; i < n; i++) first[i] = random_float();
        ck_ok(clpeft_params_add(p, name, (clpeft_kind)k, 1, &n, first, NULL));
        free(first);
    }
    ck_ok(clpeft_params_allocate(p));
    return p;
}

/* A gradient for all tensors but the fixed one; its norm. */
static double set_gradient(clpeft_params *p, float size, float *grad)
{
    double square = 0;
    for (size_t k = 0; k < CLPEFT_KINDS; k++) {
        const clpeft_tensor *t = clpeft_params_tensor(p, k);
        for (size_t i = 0; i < t->size; i++) {
            grad[t->off + i] = t->kind == CLPEFT_KIND_FIXED ? 0 : size * random_float();
            square += (double)grad[t->off + i] * grad[t->off + i];
        }
    }
    ck_ok(clpeft_params_write(p, CLPEFT_GRAD, NULL, grad, dev.queue));
    return sqrt(square);
}

START_TEST(steps_match_float64)
{
    const size_t n = shape[_i].n;
    clpeft_params *p = arena(n);
    const size_t size = clpeft_params_size(p);
    clpeft_adamw o = clpeft_adamw_defaults();
    float *grad = calloc(size, 4), *theta = malloc(4 * size);
    double *want = malloc(8 * size), *m1 = calloc(size, 8), *m2 = calloc(size, 8);
    clpeft_adamw_state state;

    o.lr = 1e-2f, o.weight_decay = 0.1f, o.max_norm = shape[_i].max_norm;
    for (int k = 0; k < CLPEFT_KINDS; k++) o.multiplier[k] = (float)(1 + k);
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, theta, dev.queue));
    for (size_t i = 0; i < size; i++) want[i] = theta[i];
    for (int t = 1; t <= 5; t++) {
        const double norm = set_gradient(p, shape[_i].size, grad);
        const double scale = o.max_norm > 0 ? fmin(1, o.max_norm / (norm + 1e-6)) : 1;
        for (size_t k = 0; k < CLPEFT_KINDS - 1; k++) {
            const clpeft_tensor *at = clpeft_params_tensor(p, k);
            const double lr = (double)o.lr * o.multiplier[k];
            const double decay =
                k == CLPEFT_KIND_MAGNITUDE || k == CLPEFT_KIND_RHO || k == CLPEFT_KIND_HEAD_BIAS ? 0 : o.weight_decay;
            for (size_t i = at->off; i < at->off + at->size; i++) {
                const double g = scale * grad[i];
                m1[i] = o.beta1 * m1[i] + (1 - o.beta1) * g;
                m2[i] = o.beta2 * m2[i] + (1 - o.beta2) * g * g;
                const double c1 = 1 - pow(o.beta1, t), c2 = 1 - pow(o.beta2, t);
                want[i] -= lr * (m1[i] / c1 / (sqrt(m2[i] / c2) + o.eps) + decay * want[i]);
            }
        }
        ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adamw_read_state(p, &state, dev.queue));
        expect_near(state.grad_norm, norm, 2e-6 * norm, "norm of %zu", n);
        ck_assert(state.finite && state.applied == (uint64_t)t && state.skipped == 0);
    }
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, theta, dev.queue));
    for (size_t i = 0; i < size; i++) expect_near(theta[i], want[i], 2e-6, "theta %zu of %zu", i, n);
    ck_ok(clpeft_params_read(p, CLPEFT_MOMENT1, NULL, theta, dev.queue));
    for (size_t i = 0; i < size; i++) expect_near(theta[i], m1[i], 2e-6 * shape[_i].size, "moment1 %zu of %zu", i, n);
    ck_ok(clpeft_params_read(p, CLPEFT_MOMENT2, NULL, theta, dev.queue));
    for (size_t i = 0; i < size; i++) expect_near(theta[i], m2[i], 4e-6 * m2[i] + 1e-37, "moment2 %zu of %zu", i, n);
    free(grad), free(theta), free(want), free(m1), free(m2);
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(bias_correction_is_exact_late_and_early)
{
    static const uint64_t after[] = { 0, 1, 9, 1000, 100000, 1u << 30 };
    const size_t one = 1;
    clpeft_adamw o = clpeft_adamw_defaults();
    const float grad[16] = { 0.5f };

    o.max_norm = 0, o.eps = 1e-12f;
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        const clpeft_adamw_state set = { .applied = after[i] };
        const double t = (double)after[i] + 1, c1 = 1 - pow(o.beta1, t), c2 = 1 - pow(o.beta2, t);
        const double want = -o.lr * (1 - (double)o.beta1) / c1 / sqrt((1 - (double)o.beta2) / c2);
        clpeft_params *p = NULL;
        clpeft_adamw_state have;
        float theta[16];
        ck_ok(clpeft_params_create(&p, dev.ctx));
        ck_ok(clpeft_params_add(p, "x", CLPEFT_KIND_A, 1, &one, NULL, NULL));
        ck_ok(clpeft_params_allocate(p));
        ck_ok(clpeft_adamw_write_state(p, &set, dev.queue));
        ck_ok(clpeft_params_write(p, CLPEFT_GRAD, NULL, grad, dev.queue));
        ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adamw_read_state(p, &have, dev.queue));
        ck_assert_uint_eq(have.applied, after[i] + 1);
        ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, theta, dev.queue));
        expect_near(theta[0], want, 2e-6 * fabs(want), "step %.0f", t);
        clpeft_params_destroy(p);
    }
}
END_TEST

START_TEST(a_step_without_finite_gradient_changes_nothing)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 1e30f };
    clpeft_params *p = arena(2000);
    const size_t size = clpeft_params_size(p), bytes = 4 * size;
    float *grad = calloc(1, bytes), *before = malloc(3 * bytes), *after = malloc(3 * bytes);
    const clpeft_params_buffer kept[] = { CLPEFT_THETA, CLPEFT_MOMENT1, CLPEFT_MOMENT2 };
    const clpeft_adamw o = clpeft_adamw_defaults();
    clpeft_adamw_state state;

    set_gradient(p, 1, grad);
    ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
    for (size_t b = 0; b < 3; b++) ck_ok(clpeft_params_read(p, kept[b], NULL, before + b * size, dev.queue));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t place = i * 3001 % size;
        const float good = grad[place];
        grad[place] = bad[i];
        ck_ok(clpeft_params_write(p, CLPEFT_GRAD, NULL, grad, dev.queue));
        ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adamw_read_state(p, &state, dev.queue));
        ck_assert(!state.finite && state.applied == 1 && state.skipped == i + 1);
        grad[place] = good;
        for (size_t b = 0; b < 3; b++) ck_ok(clpeft_params_read(p, kept[b], NULL, after + b * size, dev.queue));
        ck_assert_mem_eq(before, after, 3 * bytes);
    }
    ck_ok(clpeft_params_write(p, CLPEFT_GRAD, NULL, grad, dev.queue));
    ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adamw_read_state(p, &state, dev.queue));
    ck_assert(state.finite && state.applied == 2 && state.skipped == 4);
    free(grad), free(before), free(after);
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(equal_runs_give_equal_bits)
{
    float *theta[2];
    size_t size = 0;

    for (int run = 0; run < 2; run++) {
        random_state = 7;
        clpeft_params *p = arena(3001);
        size = clpeft_params_size(p);
        float *grad = calloc(size, 4);
        const clpeft_adamw o = clpeft_adamw_defaults();
        for (int t = 0; t < 3; t++) {
            set_gradient(p, 1, grad);
            ck_ok(clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
        }
        theta[run] = malloc(4 * size);
        ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, theta[run], dev.queue));
        free(grad);
        clpeft_params_destroy(p);
    }
    ck_assert_mem_eq(theta[0], theta[1], 4 * size);
    free(theta[0]), free(theta[1]);
}
END_TEST

START_TEST(options_are_checked)
{
    static const struct {
        size_t field;
        float value;
        const char *text;
    } bad[] = {
        { offsetof(clpeft_adamw, lr), NAN, "lr" },
        { offsetof(clpeft_adamw, lr), -1, "lr" },
        { offsetof(clpeft_adamw, beta1), 1, "beta1" },
        { offsetof(clpeft_adamw, beta2), -0.1f, "beta2" },
        { offsetof(clpeft_adamw, beta2), NAN, "beta2" },
        { offsetof(clpeft_adamw, eps), 0, "eps" },
        { offsetof(clpeft_adamw, eps), INFINITY, "eps" },
        { offsetof(clpeft_adamw, eps), 1e-40f, "eps" },
        { offsetof(clpeft_adamw, weight_decay), -1, "weight_decay" },
        { offsetof(clpeft_adamw, max_norm), NAN, "max_norm" },
        { offsetof(clpeft_adamw, multiplier[3]), INFINITY, "multiplier 3" },
    };
    clpeft_params *p = arena(4);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clpeft_adamw o = clpeft_adamw_defaults();
        memcpy((char *)&o + bad[i].field, &bad[i].value, sizeof bad[i].value);
        ck_fails(CLPEFT_INVALID_ARGUMENT, bad[i].text, clpeft_adamw_step(p, &o, dev.queue, 0, NULL, NULL));
    }
    const clpeft_adamw o = clpeft_adamw_defaults();
    ck_fails(CLPEFT_INVALID_ARGUMENT, "adamw is NULL", clpeft_adamw_step(p, NULL, dev.queue, 0, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "params is NULL", clpeft_adamw_step(NULL, &o, dev.queue, 0, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "queue", clpeft_adamw_step(p, &o, NULL, 0, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "state", clpeft_adamw_read_state(p, NULL, dev.queue));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "state", clpeft_adamw_write_state(p, NULL, dev.queue));
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(schedule_values)
{
    static const struct {
        uint64_t step, warmup, total;
        clpeft_decay decay;
        double want;
    } row[] = {
        { 0, 0, 0, CLPEFT_DECAY_NONE, 1 },          { 5, 0, 10, CLPEFT_DECAY_NONE, 1 },
        { 0, 4, 10, CLPEFT_DECAY_NONE, 0.25 },      { 3, 4, 10, CLPEFT_DECAY_LINEAR, 1 },
        { 4, 4, 10, CLPEFT_DECAY_LINEAR, 1 },       { 7, 4, 10, CLPEFT_DECAY_LINEAR, 0.5 },
        { 9, 4, 10, CLPEFT_DECAY_LINEAR, 1.0 / 6 }, { 10, 4, 10, CLPEFT_DECAY_LINEAR, 0 },
        { 99, 4, 10, CLPEFT_DECAY_COSINE, 0 },      { 4, 4, 10, CLPEFT_DECAY_COSINE, 1 },
        { 7, 4, 10, CLPEFT_DECAY_COSINE, 0.5 },     { 6, 4, 10, CLPEFT_DECAY_COSINE, 0.75 },
        { 2, 10, 5, CLPEFT_DECAY_LINEAR, 0.3 },     { 10, 10, 5, CLPEFT_DECAY_LINEAR, 0 },
        { 0, 0, 1, CLPEFT_DECAY_LINEAR, 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        expect_near(clpeft_schedule(row[i].step, row[i].warmup, row[i].total, row[i].decay), row[i].want, 1e-15,
                    "row %zu", i);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, steps_match_float64, 0, cases_of(sizeof shape / sizeof *shape));
    tcase_add_test(t, bias_correction_is_exact_late_and_early);
    tcase_add_test(t, a_step_without_finite_gradient_changes_nothing);
    tcase_add_test(t, equal_runs_give_equal_bits);
    tcase_add_test(t, options_are_checked);
    tcase_add_test(t, schedule_values);
}

int main(void)
{
    return run_suite("optimizer", add, 60);
}
