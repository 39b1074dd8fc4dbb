/* health.c - training on huge, constant, zero and denormal numbers and at absurd learning rates, by all four methods: a step that is not
 * finite changes nothing and is counted, what it computed does not reach the next one, and no NaN or infinity reaches a checkpoint. */
#include "tiny.h"

enum { STEPS = 5, METHODS = CLPEFT_DORAN + 1, CLASSES = 3, BAD = 36, STATES = 3 };
static const int32_t labels[] = { 2, 0, -1, 1, 2 };
static const clpeft_params_buffer kept[STATES] = { CLPEFT_THETA, CLPEFT_MOMENT1, CLPEFT_MOMENT2 };

/* ---- what is unhealthy ------------------------------------------------------------------------------------------ */

static void fill(tiny_tensor *t, size_t first, size_t rows, float value)
{
    const size_t cols = t->cols ? t->cols : 1;
    for (size_t i = first * cols; i < (first + rows) * cols; i++) t->data[i] = value;
}

static void fill_all(tiny *m, const char *format, float value)
{
    for (size_t b = 0; b < m->L; b++) {
        char name[100];
        snprintf(name, sizeof name, format, b);
        tiny_tensor *t = tiny_find(m, "%s", name);
        fill(t, 0, t->rows, value);
    }
}

/* Of every token: the rows of the three tables. */
static void fill_tables(tiny *m, float value)
{
    fill(tiny_find(m, "embeddings.word_embeddings.weight"), 0, m->V, value);
    fill(tiny_find(m, "embeddings.position_embeddings.weight"), 0, m->P, value);
    fill(tiny_find(m, "embeddings.token_type_embeddings.weight"), 0, 2, value);
}

static void huge_token(tiny *m)
{
    fill(tiny_find(m, "embeddings.word_embeddings.weight"), BAD, 1, 1e30f);
}

static void overflowing_token(tiny *m)
{
    fill(tiny_find(m, "embeddings.word_embeddings.weight"), BAD, 1, 3e38f);
}

static void huge_hidden(tiny *m)
{
    fill(tiny_find(m, "embeddings.LayerNorm.weight"), 0, m->D, 1e30f);
}

static void huge_weights(tiny *m)
{
    fill_all(m, "encoder.layer.%zu.attention.self.value.weight", 1e30f);
}

static void huge_row(tiny *m)
{
    fill(tiny_find(m, "encoder.layer.1.attention.self.query.weight"), 3, 1, 1e30f);
}

/* Of the last layer norm: the head starts at zero, so that the loss is log 3 whatever the features are. */
static void huge_features(tiny *m)
{
    fill(tiny_find(m, "encoder.layer.2.output.LayerNorm.weight"), 0, m->D, 1e30f);
}

static void large_features(tiny *m)
{
    fill(tiny_find(m, "encoder.layer.2.output.LayerNorm.weight"), 0, m->D, 1e15f);
}

static void constant_rows(tiny *m)
{
    fill_tables(m, 0.37f);
}

static void zero_rows(tiny *m)
{
    fill_tables(m, 0);
    fill(tiny_find(m, "embeddings.LayerNorm.bias"), 0, m->D, 0);
}

static void zero_weights(tiny *m)
{
    fill_all(m, "encoder.layer.%zu.attention.self.query.weight", 0);
    fill(tiny_find(m, "encoder.layer.0.attention.self.value.weight"), 0, 5, 0);
    fill(tiny_find(m, "encoder.layer.2.attention.self.value.weight"), 23, 1, 0);
}

static void denormal_rows(tiny *m)
{
    fill_tables(m, 1e-40f);
}

static void denormal_weights(tiny *m)
{
    fill_all(m, "encoder.layer.%zu.attention.self.query.weight", m->dtype == CLPEFT_F16 ? 0x1p-24f : 1e-45f);
    fill_all(m, "encoder.layer.%zu.attention.self.value.weight", m->dtype == CLPEFT_F16 ? -0x1p-20f : -1e-40f);
}

/* Their norm is a normal number, the square of its inverse is not. */
static void faint_weights(tiny *m)
{
    fill_all(m, "encoder.layer.%zu.attention.self.value.weight", 1e-21f);
}

/* Parameters of the adapter, or their moments. */
static void set(clpeft_trainer *t, clpeft_params_buffer which, float value)
{
    clpeft_params *params = clpeft_trainer_params(t);
    float *x = malloc(clpeft_params_size(params) * sizeof *x);
    for (size_t i = 0; i < clpeft_params_size(params); i++) x[i] = value;
    for (size_t i = 0; i < clpeft_params_count(params); i++)
        ck_ok(clpeft_params_write(params, which, clpeft_params_tensor(params, i), x, clpeft_trainer_queue(t)));
    free(x);
}

static void denormal_parameters(clpeft_trainer *t)
{
    set(t, CLPEFT_THETA, -1e-41f);
}

static void denormal_moments(clpeft_trainer *t)
{
    set(t, CLPEFT_MOMENT1, -1e-41f);
    set(t, CLPEFT_MOMENT2, 1e-45f);
}

static void huge_parameters(clpeft_trainer *t)
{
    set(t, CLPEFT_THETA, 1e30f);
}

/* A loss past f32's range, of gradients that are not. */
static void huge_logits(clpeft_trainer *t)
{
    static const float bias[CLASSES] = { 3e38f, -3e38f, 0 };
    clpeft_params *params = clpeft_trainer_params(t);
    ck_ok(clpeft_params_write(params, CLPEFT_THETA, clpeft_params_find(params, "head.bias"), bias,
                              clpeft_trainer_queue(t)));
}

static const int32_t same_tokens[T] = { 0 };

/* Steps that are applied, of STEPS: all, none, or as many as the method and the device make finite. */
typedef enum { ALL, NONE, ANY } outcome;
typedef struct {
    const char *name;
    void (*weights)(tiny *);
    void (*state)(clpeft_trainer *);
    const int32_t *tokens;
    float lr, decay, clip; /* lr 0: 1e-3 */
    clpeft_dtype dtype;
    outcome applied;
    int refused; /* with a magnitude: it starts at the norms of W0 */
} unhealthy;
static const unhealthy cases[] = {
    { .name = "healthy", .clip = 1 },
    { .name = "a token of 1e30", .weights = huge_token, .clip = 1 },
    { .name = "a token that overflows", .weights = overflowing_token, .clip = 1, .applied = NONE },
    { .name = "hidden values of 1e30", .weights = huge_hidden, .clip = 1, .applied = NONE },
    { .name = "values of 1e30", .weights = huge_weights, .clip = 1, .refused = 1 },
    { .name = "a row of W0 of 1e30", .weights = huge_row, .clip = 1, .refused = 1 },
    { .name = "features of 1e30", .weights = huge_features, .clip = 1, .applied = NONE },
    { .name = "features of 1e15", .weights = large_features, .clip = 1 },
    { .name = "features of 1e15, not clipped", .weights = large_features },
    { .name = "equal tokens", .tokens = same_tokens, .clip = 1 },
    { .name = "constant rows", .weights = constant_rows, .clip = 1 },
    { .name = "rows of zeros", .weights = zero_rows, .clip = 1 },
    { .name = "zero rows of W0", .weights = zero_weights, .clip = 1 },
    { .name = "denormal rows", .weights = denormal_rows, .clip = 1 },
    { .name = "denormal W0", .weights = denormal_weights, .clip = 1 },
    { .name = "denormal W0, f16", .weights = denormal_weights, .clip = 1, .dtype = CLPEFT_F16 },
    { .name = "rows of W0 of norm 5e-21", .weights = faint_weights, .clip = 1, .applied = ANY },
    { .name = "denormal parameters", .state = denormal_parameters, .clip = 1 },
    { .name = "denormal moments", .state = denormal_moments, .clip = 1 },
    { .name = "parameters of 1e30", .state = huge_parameters, .clip = 1, .applied = ANY },
    { .name = "logits of 3e38", .state = huge_logits, .clip = 1, .applied = NONE },
    { .name = "lr x 10", .lr = 1e-2f, .clip = 1 },
    { .name = "lr x 100", .lr = 1e-1f, .clip = 1 },
    { .name = "lr x 100, not clipped", .lr = 1e-1f },
    { .name = "lr 1e30", .lr = 1e30f, .clip = 1, .applied = ANY },
    { .name = "lr 1e30 with decay", .lr = 1e30f, .decay = 0.1f, .clip = 1, .applied = ANY },
    { .name = "lr 3e38", .lr = 3e38f, .clip = 1, .applied = ANY },
    { .name = "lr 3e38 with decay", .lr = 3e38f, .decay = 10, .clip = 1, .applied = ANY },
};

/* ---- training --------------------------------------------------------------------------------------------------- */

typedef struct {
    tiny files;
    clpeft_model *model;
    char path[100];
} fixture;

static fixture start(clpeft_dtype dtype, void (*weights)(tiny *))
{
    fixture f = { .files = tiny_make((tiny){ .dtype = dtype }) };
    clpeft_model_options options = tiny_options;
    options.weights = dtype;
    if (weights) weights(&f.files);
    tiny_write(&f.files, "");
    snprintf(f.path, sizeof f.path, "%s/checkpoint", f.files.dir);
    ck_ok(clpeft_model_load(&f.model, dev.ctx, f.files.dir, &options));
    return f;
}

static void stop(fixture *f)
{
    clpeft_model_destroy(f->model);
    tiny_free(&f->files);
}

/* NULL: refused. */
static clpeft_trainer *make(const fixture *f, clpeft_method method, const unhealthy *how)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    clpeft_trainer *t = NULL;
    o.classes = CLASSES, o.adapter.rank = 2, o.adapter.seed_width = 4, o.adapter.hidden_width = 5;
    o.adapter.norm_gradient = o.adapter.magnitude;
    o.warmup = 0, o.decay = CLPEFT_DECAY_NONE;
    o.adamw.lr = how->lr > 0 ? how->lr : 1e-3f, o.adamw.weight_decay = how->decay, o.adamw.max_norm = how->clip;
    if (how->refused && o.adapter.magnitude)
        ck_fails(CLPEFT_NOT_FINITE, "is inf: its row of W0", clpeft_trainer_create(&t, f->model, &o));
    else
        ck_ok(clpeft_trainer_create(&t, f->model, &o));
    return t;
}

/* Parameters and moments. */
static float *state_of(const clpeft_trainer *t)
{
    const clpeft_params *params = clpeft_trainer_params(t);
    const size_t size = clpeft_params_size(params);
    float *x = malloc(STATES * size * sizeof *x);
    for (size_t b = 0; b < STATES; b++)
        ck_ok(clpeft_params_read(params, kept[b], NULL, x + b * size, clpeft_trainer_queue(t)));
    return x;
}

static int same_state(const clpeft_trainer *t, const float *a, const float *b)
{
    return memcmp(a, b, STATES * clpeft_params_size(clpeft_trainer_params(t)) * sizeof *a) == 0;
}

/* A step; whether it was applied. One that is not leaves the state's bits. */
static int step(clpeft_trainer *t, const int32_t *tokens, const char *name)
{
    clpeft_batch batch = tiny_batch;
    clpeft_step_result result;
    clpeft_adamw_state before, after;
    batch.labels = labels, batch.tokens = tokens;

    float *old = state_of(t);
    ck_ok(clpeft_adamw_read_state(clpeft_trainer_params(t), &before, clpeft_trainer_queue(t)));
    ck_ok(clpeft_train_step(t, &batch, &result));
    ck_ok(clpeft_adamw_read_state(clpeft_trainer_params(t), &after, clpeft_trainer_queue(t)));
    float *new = state_of(t);
    const int finite = isfinite(result.loss) && isfinite(result.grad_norm);
    ck_assert_msg(result.applied == finite, "%s: a step of loss %g and norm %g, applied %d", name, result.loss,
                  (double)result.grad_norm, result.applied);
    ck_assert_uint_eq(after.applied, before.applied + (uint64_t)finite);
    ck_assert_uint_eq(after.skipped, before.skipped + (uint64_t)!finite);
    ck_assert_uint_eq(result.skipped, after.skipped);
    ck_assert_uint_eq(result.step, after.applied + after.skipped);
    ck_assert_msg(finite || same_state(t, old, new), "%s: a skipped step changed something", name);
    free(old), free(new);
    return finite;
}

/* Save, read every number of the file, and resume: the next step has the same bits. */
static void expect_healthy_checkpoint(const fixture *f, clpeft_trainer *t, const int32_t *tokens, const char *name)
{
    clpeft_file *file = NULL;
    clpeft_trainer *other = NULL;

    ck_ok(clpeft_trainer_save(t, f->path, NULL, 0));
    ck_ok(clpeft_file_open(&file, f->path));
    ck_assert_uint_eq(clpeft_file_tensors(file), STATES * clpeft_params_count(clpeft_trainer_params(t)));
    for (size_t i = 0; i < clpeft_file_tensors(file); i++) {
        const clpeft_file_tensor *tensor = clpeft_file_tensor_at(file, i);
        for (size_t j = 0; j < tensor->elements; j++) {
            float x;
            memcpy(&x, (const char *)tensor->data + j * sizeof x, sizeof x);
            ck_assert_msg(isfinite(x), "%s: %s[%zu] is %g", name, tensor->name, j, (double)x);
        }
    }
    clpeft_file_close(file);
    ck_ok(clpeft_trainer_load(&other, f->model, f->path));
    step(t, tokens, name), step(other, tokens, name);
    float *x = state_of(t), *y = state_of(other);
    ck_assert_msg(same_state(t, x, y), "%s: a resumed run has other bits", name);
    free(x), free(y);
    clpeft_trainer_destroy(other);
}

static void train(const unhealthy *how, clpeft_method method)
{
    const int32_t *tokens = how->tokens ? how->tokens : tiny_tokens;
    fixture f = start(how->dtype, how->weights);
    clpeft_trainer *t = make(&f, method, how);
    int applied = 0;

    if (t) {
        if (how->state) how->state(t);
        for (int i = 0; i < STEPS; i++) applied += step(t, tokens, how->name);
        if (how->applied != ANY)
            ck_assert_msg(applied == (how->applied == ALL ? STEPS : 0), "%s: %d steps applied", how->name, applied);
        expect_healthy_checkpoint(&f, t, tokens, how->name);
        clpeft_trainer_destroy(t);
    }
    stop(&f);
}

START_TEST(the_state_stays_finite)
{
    for (int i = 0; i < cases_of(sizeof cases / sizeof *cases); i++) train(&cases[i], (clpeft_method)_i);
}
END_TEST

/* Steps on the token that overflows, between others, are as if they had not been. */
START_TEST(a_skipped_step_leaves_nothing_behind)
{
    const unhealthy how = { .lr = 1e-2f, .decay = 0.01f, .clip = 1 };
    fixture f = start(CLPEFT_F32, overflowing_token);
    int32_t good[T];
    clpeft_trainer *t = make(&f, (clpeft_method)_i, &how), *other = make(&f, (clpeft_method)_i, &how);

    for (int i = 0; i < T; i++) good[i] = tiny_tokens[i] == BAD ? 1 : tiny_tokens[i];
    for (int i = 0; i < STEPS; i++) {
        ck_assert_int_eq(0, step(t, tiny_tokens, "the bad"));
        ck_assert_int_eq(1, step(t, good, "the good after the bad"));
        ck_assert_int_eq(1, step(other, good, "the good"));
        float *x = state_of(t), *y = state_of(other);
        ck_assert_msg(same_state(t, x, y), "step %d has other bits after a skipped one", i);
        free(x), free(y);
    }
    clpeft_trainer_destroy(t), clpeft_trainer_destroy(other);
    stop(&f);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, the_state_stays_finite, 0, METHODS);
    tcase_add_loop_test(t, a_skipped_step_leaves_nothing_behind, 0, METHODS);
}

int main(void)
{
    return run_suite("health", add, 120);
}
