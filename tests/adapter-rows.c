/* adapter-rows.c - sites on row ranges of one layer give what layers of their own give: output, gradients, parameters
 * after three steps. The weight is a fused query, key, value; key has no site. Offsets and leading dimensions are not
 * the natural ones. */
#include "layers.h"

enum { K = 37, D = 9, QUERY = 4 * D, KEY = 2 * D, VALUE = 2 * D, LEAD = 3, N = LEAD + QUERY + KEY + VALUE, T = 13 };

static const struct {
    clpeft_method method;
    clpeft_tau tau;
    int magnitude, norm_gradient;
    size_t value_rank; /* of the second site; 0: as the first */
} form[] = {
    { CLPEFT_LORA, CLPEFT_TAU_NONE, 0, 0, 0 },      { CLPEFT_LORA, CLPEFT_TAU_NONE, 0, 0, 3 },
    { CLPEFT_DORA, CLPEFT_TAU_NONE, 1, 0, 0 },      { CLPEFT_DORA, CLPEFT_TAU_LEARNED, 1, 1, 19 },
    { CLPEFT_HORA, CLPEFT_TAU_NONE, 0, 0, 0 },      { CLPEFT_HORA, CLPEFT_TAU_NONE, 1, 0, 0 },
    { CLPEFT_DORAN, CLPEFT_TAU_LEARNED, 1, 0, 0 },  { CLPEFT_DORAN, CLPEFT_TAU_LEARNED, 1, 1, 0 },
    { CLPEFT_DORAN, CLPEFT_TAU_GAUSSIAN, 1, 0, 0 },
};

/* Row ranges of the fused weight; each is also a layer of its own. Rows before LEAD belong to nobody. */
static const struct {
    const char *name;
    size_t row, rows;
} range[] = {
    { "lead", 0, LEAD }, { "query", LEAD, QUERY }, { "key", LEAD + QUERY, KEY }, { "value", LEAD + QUERY + KEY, VALUE }
};
#define RANGES 4

typedef struct {
    size_t n;
    clpeft_linear *linear[RANGES]; /* one fused, or one per range */
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_workspace *ws;
    matrix tape[RANGES];
} setup;

static void make_adapter(setup *s, int fused, int i, float dropout)
{
    clpeft_adapter_config c = clpeft_adapter_defaults(form[i].method);
    const size_t query = fused ? 0 : 1, value = fused ? 0 : 3;
    const clpeft_site sites[] = {
        /* not in the order of rows */
        { .name = "value",
          .linear = s->linear[value],
          .row = fused ? range[3].row : 0,
          .heads = VALUE / D,
          .head_size = D,
          .rank = form[i].value_rank },
        { .name = "query",
          .linear = s->linear[query],
          .row = fused ? range[1].row : 0,
          .heads = QUERY / D,
          .head_size = D },
    };
    const float zero = 0;
    size_t bytes;

    c.dropout = dropout;
    c.tau = form[i].tau, c.magnitude = form[i].magnitude, c.norm_gradient = form[i].norm_gradient;
    ck_ok(clpeft_params_create(&s->params, dev.ctx));
    ck_ok(clpeft_adapter_create(&s->adapter, s->params, sites, 2, &c));
    ck_ok(clpeft_params_allocate(s->params));
    random_state = 99;
    randomize(s->params);
    bytes = clpeft_adapter_workspace(s->adapter);
    ck_assert_int_eq(bytes > 0, form[i].norm_gradient);
    for (size_t l = 0; l < s->n; l++) {
        const size_t need = clpeft_linear_workspace(s->linear[l], s->adapter, T);
        bytes = need > bytes ? need : bytes;
        s->tape[l] = matrix_make(clpeft_linear_tape(s->linear[l], s->adapter, T), 1, 7, 0, &zero);
    }
    ck_ok(clpeft_workspace_create(&s->ws, dev.ctx, bytes + 1));
}

static void free_setup(setup *s)
{
    clpeft_workspace_destroy(s->ws);
    clpeft_adapter_destroy(s->adapter);
    clpeft_params_destroy(s->params);
    for (size_t l = 0; l < s->n; l++) {
        clpeft_linear_destroy(s->linear[l]);
        matrix_free(&s->tape[l]);
    }
}

/* The same weight and bias in one layer, from a device view, and in four, from host memory. */
static void make_both(setup *fused, setup *apart, int i, float dropout)
{
    matrix w = matrix_random(N, K, 5, 3), bias = matrix_random(N, 1, 2, 0);
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = CLPEFT_F32, .has_bias = 1 };
    float rows[N * K];

    for (size_t n = 0; n < N; n++) memcpy(rows + n * K, &AT(w, n, 0), 4 * K);
    *fused = (setup){ .n = 1 }, *apart = (setup){ .n = RANGES };
    ck_ok(clpeft_linear_create(&fused->linear[0], dev.ctx, &options));
    ck_ok(clpeft_linear_load_view(fused->linear[0], 0, N, w.view, CLPEFT_F32, bias.view, dev.queue));
    for (size_t l = 0; l < RANGES; l++) {
        const clpeft_linear_options part = { .N = range[l].rows, .K = K, .dtype = CLPEFT_F32, .has_bias = 1 };
        ck_ok(clpeft_linear_create(&apart->linear[l], dev.ctx, &part));
        ck_ok(clpeft_linear_load(apart->linear[l], 0, range[l].rows, rows + range[l].row * K, CLPEFT_F32,
                                 &AT(bias, range[l].row, 0), dev.queue));
    }
    make_adapter(fused, 1, i, dropout);
    make_adapter(apart, 0, i, 0);
    matrix_free(&w), matrix_free(&bias);
}

/* One gradient with y, dx written; the layers of `apart` work on their columns of y and dy, and add up in dx. */
static void run(setup *s, uint64_t step, matrix *x, matrix *y, matrix *dy, matrix *dx)
{
    const clpeft_view none = { NULL, 0, 0 };

    ck_ok(clpeft_adapter_materialize(s->adapter, step, 1, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_params_zero_grad(s->params, dev.queue, 0, NULL, NULL));
    for (size_t l = 0; l < s->n; l++) {
        clpeft_view part = y->view, dpart = dy->view;
        if (s->n > 1) part.off += range[l].row, dpart.off += range[l].row;
        ck_ok(clpeft_linear_forward(s->linear[l], s->adapter, T, CLPEFT_IDENTITY, x->view, none, part, s->tape[l].view,
                                    s->ws, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_linear_backward(s->linear[l], s->adapter, T, CLPEFT_IDENTITY, x->view, s->tape[l].view, dpart,
                                     l > 0, dx->view, s->ws, dev.queue, 0, NULL, NULL));
    }
    ck_ok(clpeft_adapter_backward(s->adapter, s->ws, dev.queue, 0, NULL, NULL));
    matrix_download(y);
    matrix_download(dx);
}

/* Largest difference over largest value. */
static double difference(const float *a, const float *b, size_t n)
{
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        size = fmax(size, fabs((double)b[i]));
        ck_assert(isfinite(a[i]) && isfinite(b[i]));
    }
    ck_assert(size > 0);
    return most / size;
}

static void compare_params(const setup *a, const setup *b, clpeft_params_buffer which, double bound, int i)
{
    ck_assert_uint_eq(clpeft_params_size(a->params), clpeft_params_size(b->params));
    for (size_t p = 0; p < clpeft_params_count(a->params); p++) {
        const clpeft_tensor *t = clpeft_params_tensor(a->params, p);
        if (which == CLPEFT_GRAD && t->kind == CLPEFT_KIND_FIXED) continue;
        float *x = malloc(4 * t->size), *y = malloc(4 * t->size);
        ck_ok(clpeft_params_read(a->params, which, t, x, dev.queue));
        ck_ok(clpeft_params_read(b->params, which, clpeft_params_find(b->params, t->name), y, dev.queue));
        /* A single number is a sum over rows that nearly cancels; the two sides sum U in different orders. */
        expect_near(difference(x, y, t->size), 0, t->size == 1 ? 10 * bound : bound, "form %d buffer %d %s", i, which,
                    t->name);
        free(x), free(y);
    }
}

START_TEST(one_layer_gives_what_separate_layers_give)
{
    const float zero = 0;
    const clpeft_adamw adamw = clpeft_adamw_defaults();
    matrix x = matrix_random(T, K, 2, 4), dy = matrix_random(T, N, 1, 2);
    matrix y1 = matrix_make(T, N, 3, 5, &zero), y2 = matrix_make(T, N, 0, 1, &zero);
    matrix dx1 = matrix_make(T, K, 6, 7, &zero), dx2 = matrix_make(T, K, 1, 0, &zero);
    setup fused, apart;

    make_both(&fused, &apart, _i, 0);
    for (uint64_t step = 0; step < 3; step++) {
        run(&fused, step, &x, &y1, &dy, &dx1);
        run(&apart, step, &x, &y2, &dy, &dx2);
        if (step == 0) {
            for (size_t t = 0; t < T; t++) {
                expect_near(difference(&AT(y1, t, 0), &AT(y2, t, 0), N), 0, 1e-6, "form %d y %zu", _i, t);
                expect_near(difference(&AT(dx1, t, 0), &AT(dx2, t, 0), K), 0, 1e-6, "form %d dx %zu", _i, t);
            }
            compare_params(&fused, &apart, CLPEFT_GRAD, 1e-6, _i);
        }
        ck_ok(clpeft_adamw_step(fused.params, &adamw, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adamw_step(apart.params, &adamw, dev.queue, 0, NULL, NULL));
    }
    compare_params(&fused, &apart, CLPEFT_THETA, 1e-5, _i);
    free_setup(&fused), free_setup(&apart);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y1), matrix_free(&y2), matrix_free(&dx1), matrix_free(&dx2);
}
END_TEST

/* dx in the place of x: gradients and dx are what they are with dx apart. */
START_TEST(dx_may_be_x)
{
    const clpeft_view none = { NULL, 0, 0 };
    matrix x = matrix_random(T, K, 2, 4), dy = matrix_random(T, N, 1, 2), dx = matrix_random(T, K, 0, 0);
    matrix y = matrix_random(T, N, 0, 0);
    setup s, unused;

    make_both(&s, &unused, _i / 2, _i & 1 ? 0.3f : 0);
    const size_t size = clpeft_params_size(s.params);
    float *apart = malloc(4 * size), *place = malloc(4 * size);
    for (int again = 0; again < 2; again++) {
        ck_ok(clpeft_adapter_materialize(s.adapter, 1, 1, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_params_zero_grad(s.params, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_linear_forward(s.linear[0], s.adapter, T, CLPEFT_GELU, x.view, none, y.view, s.tape[0].view, s.ws,
                                    dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_linear_backward(s.linear[0], s.adapter, T, CLPEFT_GELU, x.view, s.tape[0].view, dy.view, 0,
                                     again ? x.view : dx.view, s.ws, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_adapter_backward(s.adapter, s.ws, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_params_read(s.params, CLPEFT_GRAD, NULL, again ? place : apart, dev.queue));
    }
    matrix_download(&dx), matrix_download(&x);
    ck_assert_int_eq(0, memcmp(apart, place, 4 * size));
    for (size_t t = 0; t < T; t++) ck_assert_int_eq(0, memcmp(&AT(dx, t, 0), &AT(x, t, 0), 4 * K));
    free(apart), free(place);
    free_setup(&s), free_setup(&unused);
    matrix_free(&x), matrix_free(&dy), matrix_free(&dx), matrix_free(&y);
}
END_TEST

START_TEST(the_output_is_that_of_the_merged_weight)
{
    const float zero = 0;
    matrix x = matrix_random(T, K, 2, 4), dy = matrix_random(T, N, 1, 2);
    matrix y = matrix_make(T, N, 3, 5, &zero), dx = matrix_make(T, K, 6, 7, &zero);
    float merged[N * K], plain[N * K], bias_of[N];
    setup fused, apart;

    make_both(&fused, &apart, _i, 0);
    run(&fused, 0, &x, &y, &dy, &dx);
    ck_ok(clpeft_adapter_merge(fused.adapter, fused.linear[0], 0, N, merged, dev.queue));
    ck_ok(clpeft_adapter_merge(NULL, fused.linear[0], 0, N, plain, dev.queue));
    for (size_t n = 0; n < N; n++)
        for (size_t t = 0; t < T; t++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < K; k++) {
                sum += (double)merged[n * K + k] * AT(x, t, k);
                size += fabs((double)merged[n * K + k] * AT(x, t, k));
            }
            if (t == 0) bias_of[n] = (float)(AT(y, t, n) - sum); /* the same for every token */
            expect_near(AT(y, t, n), sum + bias_of[n], 2e-6 * (1 + size), "form %d y %zu %zu", _i, t, n);
        }
    for (size_t n = 0; n < N; n++) {
        const int adapted = (n >= range[1].row && n < range[2].row) || n >= range[3].row;
        ck_assert_int_eq(adapted, memcmp(merged + n * K, plain + n * K, 4 * K) != 0);
    }
    free_setup(&fused), free_setup(&apart);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y), matrix_free(&dx);
}
END_TEST

START_TEST(equal_runs_give_equal_bits_and_gradients_add)
{
    const float zero = 0;
    matrix x = matrix_random(T, K, 2, 4), dy = matrix_random(T, N, 1, 2);
    matrix y = matrix_make(T, N, 3, 5, &zero), dx = matrix_make(T, K, 6, 7, &zero);
    setup fused, apart;

    make_both(&fused, &apart, _i, 0);
    const size_t size = clpeft_params_size(fused.params);
    float *first = malloc(4 * size), *second = malloc(4 * size);
    run(&fused, 5, &x, &y, &dy, &dx);
    ck_ok(clpeft_params_read(fused.params, CLPEFT_GRAD, NULL, first, dev.queue));
    run(&fused, 5, &x, &y, &dy, &dx);
    ck_ok(clpeft_params_read(fused.params, CLPEFT_GRAD, NULL, second, dev.queue));
    ck_assert_mem_eq(first, second, 4 * size);
    if (!form[_i].norm_gradient) { /* that one goes through dA and dB, which it changes */
        ck_ok(clpeft_adapter_backward(fused.adapter, fused.ws, dev.queue, 0, NULL, NULL));
        ck_ok(clpeft_params_read(fused.params, CLPEFT_GRAD, NULL, second, dev.queue));
        for (size_t i = 0; i < size; i++)
            expect_near(second[i], 2 * first[i], 1e-5 * fabs(first[i]), "form %d gradient %zu", _i, i);
    } else {
        ck_fails(CLPEFT_INVALID_ARGUMENT, "ws is NULL",
                 clpeft_adapter_backward(fused.adapter, NULL, dev.queue, 0, NULL, NULL));
    }
    free(first), free(second);
    free_setup(&fused), free_setup(&apart);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y), matrix_free(&dx);
}
END_TEST

static void add(TCase *t)
{
    const int forms = (int)(sizeof form / sizeof *form);
    tcase_add_loop_test(t, one_layer_gives_what_separate_layers_give, 0, forms);
    tcase_add_loop_test(t, dx_may_be_x, 0, 2 * sizeof form / sizeof *form);
    tcase_add_loop_test(t, the_output_is_that_of_the_merged_weight, 0, forms);
    tcase_add_loop_test(t, equal_runs_give_equal_bits_and_gradients_add, 0, forms);
}

int main(void)
{
    return run_suite("adapter-rows", add, 120);
}
