/* train.c - steps, accumulation, skipped steps, evaluation, checkpoints, on a small random model. */
#include "tiny.h"

static const int32_t labels[] = { 2, 0, -1, 1, 2 };

static clpeft_batch labelled(void)
{
    clpeft_batch batch = tiny_batch;
    batch.labels = labels;
    return batch;
}

static clpeft_trainer_options options_of(clpeft_method method)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    o.classes = 3, o.adapter.rank = 2, o.adapter.seed_width = 4, o.adapter.hidden_width = 5,
    o.adapter.seed = 12345678901234567u;
    o.warmup = 2, o.total_steps = 30;
    return o;
}

/* A model in a folder, and a trainer on it. */
typedef struct {
    tiny files;
    clpeft_model *model;
    clpeft_trainer *trainer;
    char checkpoint[100];
} fixture;

static fixture start(const clpeft_trainer_options *options)
{
    fixture f = { .files = tiny_make((tiny){ 0 }) };
    tiny_write(&f.files, "");
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/checkpoint", f.files.dir);
    ck_ok(clpeft_model_load(&f.model, dev.ctx, f.files.dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&f.trainer, f.model, options));
    return f;
}

static void stop(fixture *f)
{
    clpeft_trainer_destroy(f->trainer);
    clpeft_model_destroy(f->model);
    tiny_free(&f->files);
}

static float *arena(const clpeft_trainer *t, clpeft_params_buffer which)
{
    const clpeft_params *params = clpeft_trainer_params(t);
    float *x = malloc(clpeft_params_size(params) * sizeof *x);
    ck_ok(clpeft_params_read(params, which, NULL, x, clpeft_trainer_queue(t)));
    return x;
}

static void expect_same(const clpeft_trainer *a, const clpeft_trainer *b)
{
    for (int which = CLPEFT_THETA; which <= CLPEFT_MOMENT2; which++) {
        if (which == CLPEFT_GRAD) continue;
        float *x = arena(a, (clpeft_params_buffer)which), *y = arena(b, (clpeft_params_buffer)which);
        ck_assert_int_eq(0, memcmp(x, y, clpeft_params_size(clpeft_trainer_params(a)) * sizeof *x));
        free(x), free(y);
    }
}

static double steps(clpeft_trainer *t, int n)
{
    const clpeft_batch batch = labelled();
    clpeft_step_result result = { 0 };
    for (int i = 0; i < n; i++) {
        ck_ok(clpeft_train_step(t, &batch, &result));
        ck_assert_int_eq(1, result.applied);
    }
    return result.loss;
}

START_TEST(the_loss_falls)
{
    clpeft_trainer_options o = options_of((clpeft_method)_i);
    const clpeft_batch batch = labelled();
    clpeft_step_result result;
    o.adamw.lr = 5e-3f;
    fixture f = start(&o);

    ck_ok(clpeft_train_step(f.trainer, &batch, &result));
    expect_near(result.loss, log(3), 1e-6, "the head starts at zero");
    ck_assert_uint_eq(4, result.counted);
    expect_near(result.lr, 5e-3 / 2, 1e-9, "half of the warm-up");
    ck_assert_uint_eq(1, result.step);
    ck_assert_double_lt(steps(f.trainer, 29), 0.1);
    ck_assert_uint_eq(30, clpeft_trainer_steps(f.trainer));
    stop(&f);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_bits)
{
    clpeft_trainer_options o = options_of(CLPEFT_DORAN);
    o.adapter.dropout = 0.1f, o.adapter.tau = CLPEFT_TAU_GAUSSIAN, o.pool = CLPEFT_POOL_FIRST;
    fixture f = start(&o);
    clpeft_trainer *other;
    const clpeft_batch batch = labelled();

    ck_ok(clpeft_trainer_create(&other, f.model, &o));
    steps(f.trainer, 4);
    for (int i = 0; i < 4; i++) ck_ok(clpeft_train_step(other, &batch, NULL)); /* without waiting */
    expect_same(f.trainer, other);
    clpeft_trainer_destroy(other);
    o.adapter.seed++;
    ck_ok(clpeft_trainer_create(&other, f.model, &o));
    steps(other, 4);
    float *x = arena(f.trainer, CLPEFT_THETA), *y = arena(other, CLPEFT_THETA);
    ck_assert_int_ne(0, memcmp(x, y, clpeft_params_size(clpeft_trainer_params(other)) * sizeof *x));
    free(x), free(y);
    clpeft_trainer_destroy(other);
    stop(&f);
}
END_TEST

/* The sequences [first, end) of the batch. */
static void accumulate(clpeft_trainer *t, size_t first, size_t end)
{
    int32_t rows[8];
    for (size_t q = first; q <= end; q++) rows[q - first] = tiny_row_start[q] - tiny_row_start[first];
    const clpeft_batch part = {
        .S = end - first,
        .row_start = rows,
        .tokens = tiny_tokens + tiny_row_start[first],
        .labels = labels + first,
        .first_token = (size_t)tiny_row_start[first],
    };
    ck_ok(clpeft_train_gradient(t, &part, 0.25f));
}

START_TEST(two_halves_are_one_batch)
{
    clpeft_trainer_options o = options_of(CLPEFT_HORA);
    o.adapter.dropout = 0.2f; /* the masks of one batch */
    fixture f = start(&o);
    const clpeft_batch batch = labelled();
    clpeft_step_result whole, halves;
    clpeft_trainer *other;

    ck_ok(clpeft_trainer_create(&other, f.model, &o));
    for (int i = 0; i < 3; i++) {
        ck_ok(clpeft_train_step(f.trainer, &batch, &whole));
        ck_ok(clpeft_train_begin(other));
        accumulate(other, 0, 3);
        accumulate(other, 3, 5);
        ck_ok(clpeft_train_collect(other));
        ck_ok(clpeft_train_update(other, &halves));
        expect_near(halves.loss, whole.loss, 1e-5 * whole.loss, "loss of step %d", i);
        expect_near(halves.grad_norm, whole.grad_norm, 1e-5 * (double)whole.grad_norm, "norm of step %d", i);
        ck_assert_uint_eq(whole.counted, halves.counted);
        ck_assert_uint_eq(whole.correct, halves.correct);
    }
    clpeft_trainer_destroy(other);
    stop(&f);
}
END_TEST

START_TEST(a_large_batch_is_taken_in_parts)
{
    clpeft_trainer_options o = options_of(CLPEFT_DORA);
    o.adapter.dropout = 0.2f;
    const clpeft_model_options little = { .max_tokens = 11, .max_sequences = 2 };
    fixture f = start(&o);
    const clpeft_batch batch = labelled();
    clpeft_step_result whole, parts;
    clpeft_trainer *other;
    clpeft_model *model;
    float logits[15], again[15], losses[5], losses_again[5];

    ck_ok(clpeft_model_load(&model, dev.ctx, f.files.dir, &little));
    ck_ok(clpeft_trainer_create(&other, model, &o));
    for (int i = 0; i < 3; i++) {
        ck_ok(clpeft_train_step(f.trainer, &batch, &whole));
        ck_ok(clpeft_train_step(other, &batch, &parts));
        expect_near(parts.loss, whole.loss, 1e-5 * whole.loss, "loss of step %d", i);
        expect_near(parts.grad_norm, whole.grad_norm, 1e-5 * (double)whole.grad_norm, "norm of step %d", i);
    }
    ck_ok(clpeft_trainer_evaluate(f.trainer, &batch, logits, NULL, losses));
    ck_ok(clpeft_trainer_evaluate(other, &batch, again, NULL, losses_again));
    for (int i = 0; i < 15; i++) expect_near(again[i], logits[i], 1e-5, "logit %d", i);
    for (int i = 0; i < 5; i++) expect_near(losses_again[i], losses[i], 1e-5, "loss of row %d", i);
    clpeft_trainer_destroy(other);
    clpeft_model_destroy(model);
    stop(&f);
}
END_TEST

START_TEST(a_step_that_is_not_finite_is_skipped)
{
    const clpeft_trainer_options o = options_of(CLPEFT_DORA);
    fixture f = start(&o);
    clpeft_params *params = clpeft_trainer_params(f.trainer);
    const clpeft_tensor *bias = clpeft_params_find(params, "head.bias");
    const float bad[][3] = { { 0, NAN, 0 }, { INFINITY, 0, 0 }, { 3e38f, -3e38f, 0 } }, good[3] = { 0 };
    const clpeft_batch batch = labelled();
    clpeft_step_result result;

    steps(f.trainer, 1);
    for (size_t i = 0; i < 3; i++) { /* the last: a loss that overflows, with gradients that do not */
        ck_ok(clpeft_params_write(params, CLPEFT_THETA, bias, bad[i], clpeft_trainer_queue(f.trainer)));
        float *before = arena(f.trainer, CLPEFT_THETA);
        ck_ok(clpeft_train_step(f.trainer, &batch, &result));
        float *after = arena(f.trainer, CLPEFT_THETA);
        ck_assert_int_eq(0, result.applied);
        ck_assert_uint_eq(i + 1, result.skipped);
        ck_assert_uint_eq(i + 2, result.step);
        ck_assert(!isfinite(result.loss));
        ck_assert_int_eq(0, memcmp(before, after, clpeft_params_size(params) * sizeof *before));
        free(before), free(after);
    }
    ck_ok(clpeft_params_write(params, CLPEFT_THETA, bias, good, clpeft_trainer_queue(f.trainer)));
    ck_ok(clpeft_train_step(f.trainer, &batch, &result));
    ck_assert_int_eq(1, result.applied);
    ck_assert_uint_eq(3, result.skipped);
    stop(&f);
}
END_TEST

START_TEST(an_evaluation_changes_nothing)
{
    clpeft_trainer_options o = options_of(CLPEFT_DORAN);
    o.adapter.dropout = 0.5f;
    fixture f = start(&o);
    const clpeft_batch batch = labelled();
    float logits[15], losses[5], again[15];
    int32_t predicted[5];

    steps(f.trainer, 3);
    float *before = arena(f.trainer, CLPEFT_THETA);
    ck_ok(clpeft_trainer_evaluate(f.trainer, &batch, logits, predicted, losses));
    ck_ok(clpeft_trainer_evaluate(f.trainer, &tiny_batch, again, NULL, NULL));
    ck_assert_int_eq(0, memcmp(logits, again, sizeof logits));
    for (size_t q = 0; q < 5; q++) {
        const float *x = logits + 3 * q;
        const double sum = exp((double)x[0]) + exp((double)x[1]) + exp((double)x[2]);
        expect_near(losses[q], labels[q] < 0 ? 0 : log(sum) - (double)x[labels[q]], 1e-5, "loss of row %zu", q);
        for (int c = 0; c < 3; c++) ck_assert(x[predicted[q]] >= x[c]);
    }
    ck_fails(CLPEFT_INVALID_ARGUMENT, "labels", clpeft_trainer_evaluate(f.trainer, &tiny_batch, NULL, NULL, losses));
    float *after = arena(f.trainer, CLPEFT_THETA);
    ck_assert_int_eq(0, memcmp(before, after, clpeft_params_size(clpeft_trainer_params(f.trainer)) * sizeof *before));
    free(before), free(after);
    stop(&f);
}
END_TEST

START_TEST(a_step_is_done_in_order)
{
    const clpeft_trainer_options o = options_of(CLPEFT_LORA);
    fixture f = start(&o);
    clpeft_batch batch = labelled();
    static const int32_t wrong[] = { 0, 1, 3, 0, 0 }, nothing[] = { -1, -1, -1, -1, -1 };

    ck_fails(CLPEFT_INVALID_ARGUMENT, "clpeft_train_begin", clpeft_train_gradient(f.trainer, &batch, 1));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "clpeft_train_begin", clpeft_train_collect(f.trainer));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "clpeft_train_collect", clpeft_train_update(f.trainer, NULL));
    ck_ok(clpeft_train_begin(f.trainer));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "between", clpeft_trainer_evaluate(f.trainer, &batch, NULL, NULL, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "between", clpeft_trainer_save(f.trainer, f.checkpoint, NULL, 0));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "weight", clpeft_train_gradient(f.trainer, &batch, NAN));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "labels are NULL", clpeft_train_step(f.trainer, &tiny_batch, NULL));
    batch.labels = wrong;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "label 2 is 3", clpeft_train_step(f.trainer, &batch, NULL));
    batch.labels = nothing;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "no row", clpeft_train_step(f.trainer, &batch, NULL));
    stop(&f);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    const clpeft_trainer_options o = options_of(CLPEFT_LORA);
    fixture f = start(&o);
    clpeft_trainer *t = NULL;
#define REFUSED(text, change)                                                              \
    do {                                                                                   \
        clpeft_trainer_options bad = o;                                                    \
        bad.change;                                                                        \
        ck_fails(CLPEFT_INVALID_ARGUMENT, text, clpeft_trainer_create(&t, f.model, &bad)); \
    } while (0)
    REFUSED("classes is 1", classes = 1);
    REFUSED("lr is nan", adamw.lr = NAN);
    REFUSED("lr is 0", adamw.lr = 0);
    REFUSED("beta1", adamw.beta1 = 1);
    REFUSED("eps", adamw.eps = 0);
    REFUSED("eps", adamw.eps = 1e-40f);
    REFUSED("max_norm", adamw.max_norm = -1);
    REFUSED("multiplier 1", adamw.multiplier[CLPEFT_KIND_B] = -1);
    REFUSED("total_steps", total_steps = 0);
    REFUSED("feature_scale", feature_scale = INFINITY);
    REFUSED("rank", adapter.rank = 0);
    REFUSED("no module \"nothing\"", sites = "nothing");
    ck_assert_ptr_null(t);
    stop(&f);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, the_loss_falls, CLPEFT_LORA, CLPEFT_DORAN + 1);
    tcase_add_test(t, the_same_seed_gives_the_same_bits);
    tcase_add_test(t, two_halves_are_one_batch);
    tcase_add_test(t, a_large_batch_is_taken_in_parts);
    tcase_add_test(t, a_step_that_is_not_finite_is_skipped);
    tcase_add_test(t, an_evaluation_changes_nothing);
    tcase_add_test(t, a_step_is_done_in_order);
    tcase_add_test(t, bad_options_are_refused);
}

int main(void)
{
    return run_suite("train", add, 120);
}
