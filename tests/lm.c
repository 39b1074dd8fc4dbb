/* lm.c - a language model's loss in slices, its gradient and its trainer, on a small random decoder. */
#include "decoder.h"

static clpeft_trainer_options options_of(clpeft_method method, const char *sites)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    o.task = CLPEFT_LANGUAGE_MODEL, o.sites = sites;
    o.adapter.rank = 3, o.adapter.alpha = 6, o.adapter.seed_width = 4, o.adapter.hidden_width = 5;
    o.warmup = 0, o.total_steps = 30;
    return o;
}

/* A model, and a trainer on it whose parameters are all random. */
typedef struct {
    decoder files;
    clpeft_model *model;
    clpeft_trainer *trainer;
    clpeft_params *params;
} fixture;

static fixture start(decoder change, const clpeft_trainer_options *options, const clpeft_model_options *made)
{
    fixture f = { .files = decoder_make(change) };
    decoder_write_gguf(&f.files, f.files.dtype, SIZE_MAX);
    ck_ok(clpeft_model_load(&f.model, dev.ctx, f.files.path, made));
    ck_ok(clpeft_trainer_create(&f.trainer, f.model, options));
    f.params = clpeft_trainer_params(f.trainer);
    random_state = 77;
    for (size_t i = 0; i < clpeft_params_count(f.params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(f.params, i);
        float *x = malloc(t->size * sizeof *x);
        for (size_t j = 0; j < t->size; j++)
            x[j] = t->kind == CLPEFT_KIND_MAGNITUDE ? 1.5f + random_float() : 0.3f * random_float();
        ck_ok(clpeft_params_write(f.params, CLPEFT_THETA, t, x, NULL));
        free(x);
    }
    return f;
}

static void stop(fixture *f)
{
    clpeft_trainer_destroy(f->trainer);
    clpeft_model_destroy(f->model);
    decoder_free(&f->files);
}

/* Gradients of half the summed loss, in a copy of the arena. */
static float *gradients(const fixture *f, const clpeft_batch *batch)
{
    float *grad = malloc(clpeft_params_size(f->params) * sizeof *grad);
    ck_ok(clpeft_train_begin(f->trainer));
    ck_ok(clpeft_train_gradient(f->trainer, batch, 0.5f));
    ck_ok(clpeft_train_collect(f->trainer));
    ck_ok(clpeft_params_read(f->params, CLPEFT_GRAD, NULL, grad, clpeft_trainer_queue(f->trainer)));
    return grad;
}

/* ---- the loss --------------------------------------------------------------------------------------------------- */

static const decoder sizes[] = {
    { .V = 70 },
    { .V = 4097, .untied = 1 },
    { .V = 9000, .dtype = CLPEFT_Q8_0 },
    { .V = 4096, .dtype = CLPEFT_BF16 },
};

/* Before training: the pretrained model. */
static void compare_losses(decoder change)
{
    const clpeft_trainer_options options = options_of(CLPEFT_LORA, "query,value");
    float losses[TOKENS];
    decoder_weights w;
    fixture f = start(change, &options, &decoder_options);
    clpeft_trainer *fresh;

    decoder_weights_copy(&f.files, w);
    double *want = decoder_losses(&f.files, w, &decoder_batch);
    ck_ok(clpeft_trainer_create(&fresh, f.model, &options));
    ck_ok(clpeft_trainer_evaluate(fresh, &decoder_batch, NULL, NULL, losses));
    for (size_t t = 0; t < TOKENS; t++) expect_near(losses[t], want[t], 2e-5, "token %zu", t);
    ck_assert(losses[0] == 0 && losses[7] == 0 && losses[1] > 0);
    clpeft_trainer_destroy(fresh);
    free(want);
    decoder_weights_free(&f.files, w);
    stop(&f);
}

START_TEST(losses_in_slices_match_float64)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) compare_losses(sizes[i]);
}
END_TEST

/* ---- the gradient ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *sites;
    clpeft_method method;
    decoder model;
} backwards[] = {
    { "query,value", CLPEFT_LORA, { .V = 70 } },      { "all", CLPEFT_LORA, { .V = 70, .dtype = CLPEFT_Q8_0 } },
    { "k_proj", CLPEFT_DORA, { .V = 70 } },           { "o_proj", CLPEFT_LORA, { .V = 70 } },
    { "gate_proj", CLPEFT_DORA, { .V = 70 } },        { "up_proj", CLPEFT_LORA, { .V = 70 } },
    { "down_proj", CLPEFT_DORA, { .V = 70 } },        { "all", CLPEFT_DORA, { .V = 70, .untied = 1 } },
    { "q_proj", CLPEFT_LORA, { .V = 9000, .L = 1 } },
};

/* The weights that LoRA or DoRA makes of theta, with its norms c held: g (W0 + s B A) of every site. */
static void adapt_weights(fixture *f, const double *theta, double *const *c, decoder_weights w)
{
    const clpeft_site *sites;
    clpeft_adapter *adapter = clpeft_trainer_adapter(f->trainer);
    const clpeft_adapter_config *config = clpeft_adapter_get_config(adapter);
    const size_t n = clpeft_adapter_sites(adapter, &sites), r = config->rank;
    const double s = (double)config->alpha / (double)r;
    char name[96];

    for (size_t p = 0; p < n; p++) {
        int proj = 0;
        while (strcmp(proj_names[proj], sites[p].name) != 0) proj++;
        const decoder_tensor *w0 = decoder_proj(&f->files, sites[p].block, proj);
        const double *part[3] = { 0 };
        for (int i = 0; i < (config->magnitude ? 3 : 2); i++) {
            snprintf(name, sizeof name, "blocks.%zu.%s.%c", sites[p].block, sites[p].name, "ABm"[i]);
            part[i] = theta + clpeft_params_find(f->params, name)->off;
        }
        for (size_t j = 0; j < w0->rows; j++)
            for (size_t k = 0; k < w0->cols; k++) {
                double sum = w0->data[j * w0->cols + k];
                for (size_t i = 0; i < r; i++) sum += s * part[1][j * r + i] * part[0][i * w0->cols + k];
                w[sites[p].block][proj][j * w0->cols + k] = config->magnitude ? part[2][j] / c[p][j] * sum : sum;
            }
    }
}

static double loss_at(fixture *f, const double *theta, double *const *c, decoder_weights w)
{
    double sum = 0;
    adapt_weights(f, theta, c, w);
    double *losses = decoder_losses(&f->files, w, &decoder_batch);
    for (size_t t = 0; t < TOKENS; t++) sum += 0.5 * losses[t];
    free(losses);
    return sum;
}

static void norms_of(const fixture *f, double **c)
{
    const clpeft_site *sites;
    clpeft_adapter *adapter = clpeft_trainer_adapter(f->trainer);
    const size_t n = clpeft_adapter_sites(adapter, &sites);
    for (size_t p = 0; p < n; p++) {
        const size_t N = sites[p].heads * sites[p].head_size;
        float *single = calloc(N, sizeof *single);
        ck_ok(clpeft_adapter_read_site(adapter, p, NULL, NULL, single, NULL, NULL, dev.queue));
        c[p] = malloc(N * sizeof **c);
        for (size_t j = 0; j < N; j++) c[p][j] = single[j];
        free(single);
    }
}

static void compare_gradients(const char *sites, clpeft_method method, decoder change)
{
    const clpeft_trainer_options options = options_of(method, sites);
    fixture f = start(change, &options, &decoder_options);
    float *grad = gradients(&f, &decoder_batch), *single = malloc(clpeft_params_size(f.params) * sizeof *single);
    double *theta = malloc(clpeft_params_size(f.params) * sizeof *theta), largest = 0, *c[32] = { 0 };
    const double h = 1e-5;
    decoder_weights w;

    ck_ok(clpeft_params_read(f.params, CLPEFT_THETA, NULL, single, NULL));
    for (size_t i = 0; i < clpeft_params_size(f.params); i++) {
        theta[i] = single[i];
        largest = fmax(largest, fabs((double)grad[i]));
    }
    ck_assert_double_gt(largest, 1e-3);
    decoder_weights_copy(&f.files, w);
    if (options.adapter.magnitude) norms_of(&f, c);
    for (size_t i = 0; i < clpeft_params_count(f.params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(f.params, i);
        for (size_t j = i % 3; j < t->size; j += t->size / 2 + 1) {
            const double at = theta[t->off + j];
            theta[t->off + j] = at + h;
            const double above = loss_at(&f, theta, c, w);
            theta[t->off + j] = at - h;
            const double below = loss_at(&f, theta, c, w);
            theta[t->off + j] = at;
            expect_near(grad[t->off + j], (above - below) / (2 * h), 2e-5 * largest, "%s [%zu]", t->name, j);
        }
    }
    for (size_t p = 0; p < 32; p++) free(c[p]);
    decoder_weights_free(&f.files, w);
    free(grad), free(single), free(theta);
    stop(&f);
}

/* Several in one process: they share compiled kernels. */
START_TEST(gradients_match_central_differences)
{
    for (size_t i = (size_t)_i; i < sizeof backwards / sizeof *backwards; i += 3)
        compare_gradients(backwards[i].sites, backwards[i].method, backwards[i].model);
}
END_TEST

START_TEST(recompute_and_one_copy_change_no_number)
{
    clpeft_trainer_options options = options_of(CLPEFT_DORAN, "all");
    float *grad = NULL;

    options.adapter.dropout = 0.2f;
    for (int i = 0; i < 4; i++) {
        clpeft_model_options made = decoder_options;
        made.recompute = i & 1, made.one_copy = i >> 1;
        fixture f = start((decoder){ 0 }, &options, &made);
        float *other = gradients(&f, &decoder_batch);
        if (grad) ck_assert_int_eq(0, memcmp(grad, other, clpeft_params_size(f.params) * sizeof *grad));
        if (grad)
            free(other);
        else
            grad = other;
        stop(&f);
    }
    free(grad);
}
END_TEST

/* ---- the trainer ------------------------------------------------------------------------------------------------ */

/* In parts, where the model is too small for the batch. */
START_TEST(steps_lower_the_loss_and_count_tokens)
{
    const clpeft_trainer_options options = options_of((clpeft_method)_i, "all");
    const clpeft_model_options made = { .max_tokens = _i % 2 ? 11 : 23, .max_sequences = 6 };
    fixture f = start((decoder){ 0 }, &options, &made);
    float losses[TOKENS];
    clpeft_step_result result = { 0 };
    clpeft_trainer *fresh;
    double first = 0, sum = 0;
    size_t counted = 0;

    for (size_t t = 0; t < TOKENS; t++) counted += decoder_labels[t] >= 0;
    ck_ok(clpeft_trainer_create(&fresh, f.model, &options));
    for (int i = 0; i < 20; i++) {
        ck_ok(clpeft_train_step(fresh, &decoder_batch, &result));
        ck_assert_int_eq(1, result.applied);
        ck_assert_uint_eq(counted, result.counted);
        if (i == 0) first = result.loss;
    }
    ck_assert_double_lt(result.loss, 0.7 * first);
    ck_assert_uint_le(result.correct, counted);
    ck_ok(clpeft_trainer_evaluate(fresh, &decoder_batch, NULL, NULL, losses));
    for (size_t t = 0; t < TOKENS; t++) sum += losses[t];
    ck_assert_double_lt(sum / (double)counted, result.loss * 1.2);
    clpeft_trainer_destroy(fresh);
    stop(&f);
}
END_TEST

START_TEST(a_checkpoint_leads_on_to_the_same_bits)
{
    const clpeft_trainer_options options = options_of(CLPEFT_DORAN, "query,value,down");
    fixture f = start((decoder){ 0 }, &options, &decoder_options);
    float losses[2][TOKENS];
    clpeft_trainer *loaded;
    char path[100];

    snprintf(path, sizeof path, "%s/checkpoint", f.files.dir);
    for (int i = 0; i < 2; i++) ck_ok(clpeft_train_step(f.trainer, &decoder_batch, NULL));
    ck_ok(clpeft_trainer_save(f.trainer, path, NULL, 0));
    ck_ok(clpeft_trainer_load(&loaded, f.model, path));
    ck_assert_int_eq(CLPEFT_LANGUAGE_MODEL, clpeft_trainer_get_options(loaded)->task);
    for (int i = 0; i < 2; i++) {
        clpeft_trainer *t = i ? loaded : f.trainer;
        ck_ok(clpeft_train_step(t, &decoder_batch, NULL));
        ck_ok(clpeft_trainer_evaluate(t, &decoder_batch, NULL, NULL, losses[i]));
    }
    ck_assert_int_eq(0, memcmp(losses[0], losses[1], sizeof losses[0]));
    clpeft_trainer_destroy(loaded);
    stop(&f);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    clpeft_trainer_options options = options_of(CLPEFT_LORA, "query");
    fixture f = start((decoder){ 0 }, &options, &decoder_options);
    int32_t labels[TOKENS], predicted[TOKENS];
    float losses[TOKENS];
    clpeft_batch batch = decoder_batch;
    clpeft_trainer *trainer = NULL;

    for (size_t t = 0; t < TOKENS; t++) labels[t] = -1;
    batch.labels = labels;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "no row", clpeft_train_step(f.trainer, &batch, NULL));
    labels[19] = 70;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "label 19 is 70", clpeft_train_step(f.trainer, &batch, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "losses only",
             clpeft_trainer_evaluate(f.trainer, &decoder_batch, NULL, predicted, losses));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "losses only",
             clpeft_trainer_evaluate(f.trainer, &decoder_batch, NULL, NULL, NULL));
    options.classes = 3;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "classes is 3", clpeft_trainer_create(&trainer, f.model, &options));
    options.task = (clpeft_task)2;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "task is 2", clpeft_trainer_create(&trainer, f.model, &options));
    /* A part of a step in which nothing counts has no gradient. */
    labels[19] = -1;
    float *grad = gradients(&f, &batch);
    for (size_t i = 0; i < clpeft_params_size(f.params); i++) ck_assert(grad[i] == 0);
    free(grad);
    stop(&f);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, losses_in_slices_match_float64);
    tcase_add_loop_test(t, gradients_match_central_differences, 0, 3);
    tcase_add_test(t, recompute_and_one_copy_change_no_number);
    tcase_add_loop_test(t, steps_lower_the_loss_and_count_tokens, 0, 4);
    tcase_add_test(t, a_checkpoint_leads_on_to_the_same_bits);
    tcase_add_test(t, what_does_not_fit_is_refused);
}

int main(void)
{
    return run_suite("lm", add, 240);
}
