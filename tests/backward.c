/* backward.c - a small random encoder's gradients against central differences, and what must not change them. */
#include "tiny.h"

/* A model with an adapter whose parameters are all random. */
typedef struct {
    clpeft_model *model;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_site *sites;
    size_t n;
} adapted;

static adapted adapt(const tiny *m, const char *list, const clpeft_adapter_config *config,
                     const clpeft_model_options *options)
{
    adapted a = { 0 };
    ck_ok(clpeft_model_load(&a.model, dev.ctx, m->dir, options));
    ck_ok(clpeft_model_sites(a.model, list, &a.sites, &a.n));
    ck_ok(clpeft_params_create(&a.params, dev.ctx));
    ck_ok(clpeft_adapter_create(&a.adapter, a.params, a.sites, a.n, config));
    ck_ok(clpeft_params_allocate(a.params));
    random_state = 77;
    for (size_t i = 0; i < clpeft_params_count(a.params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(a.params, i);
        float *x = malloc(t->size * sizeof *x);
        for (size_t j = 0; j < t->size; j++)
            x[j] = t->kind == CLPEFT_KIND_MAGNITUDE ? 1.5f + random_float() : 0.3f * random_float();
        ck_ok(clpeft_params_write(a.params, CLPEFT_THETA, t, x, NULL));
        free(x);
    }
    ck_ok(clpeft_adapter_materialize(a.adapter, 1, 1, dev.queue, 0, NULL, NULL));
    return a;
}

static void release(adapted *a)
{
    clFinish(dev.queue);
    clpeft_adapter_destroy(a->adapter);
    clpeft_params_destroy(a->params);
    clpeft_model_destroy(a->model);
    free(a->sites);
}

/* Gradients of sum(y dy) for a fixed random dy, in a copy of the arena; y too. */
static float *gradients(adapted *a, size_t D, float *y)
{
    float *grad = malloc(clpeft_params_size(a->params) * sizeof *grad);
    clpeft_view view;
    random_state = 99;
    matrix dy = matrix_random(T, D, 2, 3);
    ck_ok(clpeft_params_zero_grad(a->params, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(a->model, a->adapter, &tiny_batch, 1, &view, dev.queue, 0, NULL, NULL));
    read_view(view, T, D, y);
    ck_ok(clpeft_model_backward(a->model, a->adapter, dy.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_adapter_backward(a->adapter, NULL, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_params_read(a->params, CLPEFT_GRAD, NULL, grad, dev.queue));
    matrix_free(&dy);
    return grad;
}

static const struct {
    const char *sites;
    clpeft_method method;
} backwards[] = {
    { "query,value", CLPEFT_LORA }, { "all", CLPEFT_LORA },  { "key", CLPEFT_LORA }, { "output", CLPEFT_LORA },
    { "up", CLPEFT_DORA },          { "down", CLPEFT_DORA }, { "all", CLPEFT_DORA },
};

/* The weights that an adapter of LoRA or DoRA makes of theta, with its norms c held: g (W0 + s B A) of every site. */
static void adapt_weights(const adapted *a, tiny *m, const double *theta, double *const *c, tiny_weights w)
{
    const clpeft_adapter_config *config = clpeft_adapter_get_config(a->adapter);
    const double s = (double)config->alpha / (double)config->rank;
    char name[96];

    for (size_t p = 0; p < a->n; p++) {
        int module = 0;
        while (strcmp(module_names[module], a->sites[p].name) != 0) module++;
        const size_t K = module_columns(m, module), N = module_rows(m, module), r = config->rank,
                     block = a->sites[p].block;
        const double *part[3] = { 0 };
        for (int i = 0; i < (config->magnitude ? 3 : 2); i++) {
            snprintf(name, sizeof name, "blocks.%zu.%s.%c", block, a->sites[p].name, "ABm"[i]);
            part[i] = theta + clpeft_params_find(a->params, name)->off;
        }
        const float *w0 = tiny_find(m, "encoder.layer.%zu.%s.weight", block, module_paths[module])->data;
        for (size_t n = 0; n < N; n++)
            for (size_t k = 0; k < K; k++) {
                double sum = w0[n * K + k];
                for (size_t i = 0; i < r; i++) sum += s * part[1][n * r + i] * part[0][i * K + k];
                w[block][module][n * K + k] = config->magnitude ? part[2][n] / c[p][n] * sum : sum;
            }
    }
}

static double loss_at(const adapted *a, tiny *m, const double *theta, double *const *c, tiny_weights w)
{
    adapt_weights(a, m, theta, c, w);
    double *y = tiny_forward(m, w, &tiny_batch), loss = 0;
    random_state = 99;
    for (size_t i = 0; i < T * m->D; i++) loss += y[i] * (double)random_float();
    free(y);
    return loss;
}

/* Row norms of W0 + s B A of every site, from the weights without magnitude. */
static void norms_of(const adapted *a, double **c)
{
    const clpeft_site *sites = a->sites;
    for (size_t p = 0; p < a->n; p++) {
        const size_t N = sites[p].heads * sites[p].head_size;
        float *single = malloc(N * sizeof *single);
        ck_ok(clpeft_adapter_read_site(a->adapter, p, NULL, NULL, single, NULL, NULL, dev.queue));
        c[p] = malloc(N * sizeof **c);
        for (size_t n = 0; n < N; n++) c[p][n] = single[n];
        free(single);
    }
}

/* Central differences of a few elements of every tensor, all in float64. */
static void compare_gradients(const adapted *a, tiny *m, const float *grad, double *const *c, tiny_weights w)
{
    const size_t size = clpeft_params_size(a->params);
    float *single = malloc(size * sizeof *single);
    double *theta = malloc(size * sizeof *theta), largest = 0;
    const double h = 1e-5;

    ck_ok(clpeft_params_read(a->params, CLPEFT_THETA, NULL, single, dev.queue));
    for (size_t i = 0; i < size; i++) {
        theta[i] = single[i];
        if (fabs((double)grad[i]) > largest) largest = fabs((double)grad[i]);
    }
    ck_assert_double_gt(largest, 0);
    for (size_t i = 0; i < clpeft_params_count(a->params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(a->params, i);
        for (size_t j = i % 3; j < t->size; j += t->size / 3 + 1) {
            const double at = theta[t->off + j];
            theta[t->off + j] = at + h;
            const double above = loss_at(a, m, theta, c, w);
            theta[t->off + j] = at - h;
            const double below = loss_at(a, m, theta, c, w);
            theta[t->off + j] = at;
            expect_near(grad[t->off + j], (above - below) / (2 * h), 1e-5 * largest, "%s [%zu]", t->name, j);
        }
    }
    free(single), free(theta);
}

START_TEST(gradients_match_central_differences)
{
    clpeft_adapter_config config = clpeft_adapter_defaults(backwards[_i].method);
    tiny m = tiny_make((tiny){ 0 });
    double *c[32] = { 0 };
    tiny_weights w;
    float *y = malloc(T * m.D * sizeof *y);

    config.rank = 3, config.alpha = 6;
    tiny_write(&m, "");
    adapted a = adapt(&m, backwards[_i].sites, &config, &tiny_options);
    float *grad = gradients(&a, m.D, y);
    tiny_weights_copy(&m, w);
    if (config.magnitude) norms_of(&a, c);
    compare_gradients(&a, &m, grad, c, w);
    for (size_t p = 0; p < a.n; p++) free(c[p]);
    tiny_weights_free(&m, w);
    free(grad), free(y);
    release(&a);
    tiny_free(&m);
}
END_TEST

/* Sites in the upper blocks only: the blocks below keep what the first block's sites have, a gradient of nothing. */
START_TEST(the_backward_stops_at_the_lowest_site)
{
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_LORA);
    tiny m = tiny_make((tiny){ 0 });
    float *y = malloc(T * m.D * sizeof *y);

    tiny_write(&m, "");
    adapted all = adapt(&m, "query", &config, &tiny_options);
    /* Zero B below the last block: those sites change nothing, so the last block's gradients are the lone site's. */
    for (size_t b = 0; b + 1 < m.L; b++) {
        char name[96];
        snprintf(name, sizeof name, "blocks.%zu.query.B", b);
        const clpeft_tensor *t = clpeft_params_find(all.params, name);
        float *zero = calloc(t->size, sizeof *zero);
        ck_ok(clpeft_params_write(all.params, CLPEFT_THETA, t, zero, NULL));
        free(zero);
    }
    ck_ok(clpeft_adapter_materialize(all.adapter, 1, 1, dev.queue, 0, NULL, NULL));
    adapted one = { .model = all.model };
    clpeft_site site = all.sites[m.L - 1];
    site.block = 0;
    ck_ok(clpeft_params_create(&one.params, dev.ctx));
    ck_ok(clpeft_adapter_create(&one.adapter, one.params, &site, 1, &config));
    ck_ok(clpeft_params_allocate(one.params));
    for (int i = 0; i < 2; i++) {
        char from[96], to[96];
        snprintf(from, sizeof from, "blocks.%zu.query.%c", m.L - 1, "AB"[i]);
        snprintf(to, sizeof to, "blocks.0.query.%c", "AB"[i]);
        const clpeft_tensor *t = clpeft_params_find(all.params, from);
        float *x = malloc(t->size * sizeof *x);
        ck_ok(clpeft_params_read(all.params, CLPEFT_THETA, t, x, dev.queue));
        ck_ok(clpeft_params_write(one.params, CLPEFT_THETA, clpeft_params_find(one.params, to), x, NULL));
        free(x);
    }
    ck_ok(clpeft_adapter_materialize(one.adapter, 1, 1, dev.queue, 0, NULL, NULL));
    float *grad = gradients(&all, m.D, y), *lone = gradients(&one, m.D, y);
    const clpeft_tensor *t = clpeft_params_find(all.params, "blocks.2.query.B"),
                        *u = clpeft_params_find(one.params, "blocks.0.query.B");
    for (size_t i = 0; i < t->size; i++) expect_near(lone[u->off + i], grad[t->off + i], 1e-6, "B [%zu]", i);
    clpeft_adapter_destroy(one.adapter);
    clpeft_params_destroy(one.params);
    free(grad), free(lone), free(y);
    release(&all);
    tiny_free(&m);
}
END_TEST

START_TEST(recompute_and_one_copy_change_no_number)
{
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_DORAN);
    tiny m = tiny_make((tiny){ 0 });
    float *y = malloc(T * m.D * sizeof *y), *again = malloc(T * m.D * sizeof *y);

    config.dropout = 0.2f;
    tiny_write(&m, "");
    adapted a = adapt(&m, "all", &config, &tiny_options);
    const size_t size = clpeft_params_size(a.params);
    float *grad = gradients(&a, m.D, y);
    release(&a);
    for (int i = 1; i < 4; i++) {
        clpeft_model_options options = tiny_options;
        options.recompute = i & 1, options.one_copy = i >> 1;
        a = adapt(&m, "all", &config, &options);
        float *other = gradients(&a, m.D, again);
        ck_assert_int_eq(0, memcmp(y, again, T * m.D * sizeof *y));
        ck_assert_int_eq(0, memcmp(grad, other, size * sizeof *grad));
        free(other);
        release(&a);
    }
    free(grad), free(y), free(again);
    tiny_free(&m);
}
END_TEST

START_TEST(a_backward_needs_its_forward)
{
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_LORA);
    tiny m = tiny_make((tiny){ 0 });
    clpeft_model_options options = tiny_options;
    clpeft_view y;

    tiny_write(&m, "");
    adapted a = adapt(&m, "query", &config, &tiny_options);
    matrix dy = matrix_random(T, m.D, 0, 0);
    const char *says = "not one of this adapter with keep";
    ck_fails(CLPEFT_INVALID_ARGUMENT, says,
             clpeft_model_backward(a.model, a.adapter, dy.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(a.model, a.adapter, &tiny_batch, 0, &y, dev.queue, 0, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, says,
             clpeft_model_backward(a.model, a.adapter, dy.view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(a.model, a.adapter, &tiny_batch, 1, &y, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_backward(a.model, a.adapter, dy.view, dev.queue, 0, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, says,
             clpeft_model_backward(a.model, a.adapter, dy.view, dev.queue, 0, NULL, NULL));
    release(&a);
    options.forward_only = 1;
    a = adapt(&m, "query", &config, &options);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "forward_only",
             clpeft_model_forward(a.model, a.adapter, &tiny_batch, 1, &y, dev.queue, 0, NULL, NULL));
    release(&a);
    matrix_free(&dy);
    tiny_free(&m);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, gradients_match_central_differences, 0, sizeof backwards / sizeof *backwards);
    tcase_add_test(t, the_backward_stops_at_the_lowest_site);
    tcase_add_test(t, recompute_and_one_copy_change_no_number);
    tcase_add_test(t, a_backward_needs_its_forward);
}

int main(void)
{
    return run_suite("backward", add, 120);
}
