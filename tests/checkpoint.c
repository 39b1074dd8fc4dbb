/* checkpoint.c - a checkpoint goes on to the same bits; what is not one, or not this model's, is refused. */
#include "tiny.h"

enum { MAX_TENSORS = 300, MAX_METAS = 20 };

static const int32_t labels[] = { 2, 0, -1, 1, 2 };

/* A model in a folder, a trainer on it, and its checkpoint after three steps. */
typedef struct {
    tiny files;
    clpeft_model *model;
    clpeft_trainer *trainer;
    char path[100];
} fixture;

static void step(clpeft_trainer *t)
{
    clpeft_batch batch = tiny_batch;
    batch.labels = labels;
    ck_ok(clpeft_train_step(t, &batch, NULL));
}

static fixture start(void)
{
    static const clpeft_write_meta extra[] = { { "labels", "[\"a\",\"b\",\"c\"]" } };
    clpeft_trainer_options o = clpeft_trainer_defaults(CLPEFT_DORAN);
    fixture f = { .files = tiny_make((tiny){ 0 }) };

    o.classes = 3, o.adapter.rank = 2, o.adapter.dropout = 0.1f, o.adapter.seed = UINT64_MAX - 1,
    o.adapter.tau = CLPEFT_TAU_GAUSSIAN;
    o.sites = "value,down", o.total_steps = 9, o.decay = CLPEFT_DECAY_COSINE, o.adamw.weight_decay = 0.013f;
    tiny_write(&f.files, "");
    snprintf(f.path, sizeof f.path, "%s/checkpoint", f.files.dir);
    ck_ok(clpeft_model_load(&f.model, dev.ctx, f.files.dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&f.trainer, f.model, &o));
    for (int i = 0; i < 3; i++) step(f.trainer);
    ck_ok(clpeft_trainer_save(f.trainer, f.path, extra, 1));
    return f;
}

static void stop(fixture *f)
{
    clpeft_trainer_destroy(f->trainer);
    clpeft_model_destroy(f->model);
    tiny_free(&f->files);
}

START_TEST(a_resumed_run_has_the_same_bits)
{
    fixture f = start();
    clpeft_trainer *other;

    ck_ok(clpeft_trainer_load(&other, f.model, f.path));
    ck_assert_uint_eq(3, clpeft_trainer_steps(other));
    for (int i = 0; i < 4; i++) step(f.trainer), step(other);
    const size_t size = clpeft_params_size(clpeft_trainer_params(other));
    for (int which = CLPEFT_THETA; which <= CLPEFT_MOMENT2; which++) {
        float *x = malloc(size * sizeof *x), *y = malloc(size * sizeof *y);
        ck_ok(clpeft_params_read(clpeft_trainer_params(f.trainer), (clpeft_params_buffer)which, NULL, x,
                                 clpeft_trainer_queue(f.trainer)));
        ck_ok(clpeft_params_read(clpeft_trainer_params(other), (clpeft_params_buffer)which, NULL, y,
                                 clpeft_trainer_queue(other)));
        ck_assert_int_eq(0, memcmp(x, y, size * sizeof *x));
        free(x), free(y);
    }
    clpeft_trainer_destroy(other);
    stop(&f);
}
END_TEST

START_TEST(peek_tells_the_options)
{
    fixture f = start();
    const clpeft_trainer_options *o = clpeft_trainer_get_options(f.trainer);
    clpeft_trainer_options seen;
    char sites[32];

    ck_ok(clpeft_trainer_peek(f.path, &seen, sites, sizeof sites));
    ck_assert_str_eq("value,down", seen.sites);
    ck_assert(seen.adapter.seed == o->adapter.seed && seen.adapter.rank == 2 && seen.adapter.generator == 1);
    ck_assert(seen.adapter.tau == CLPEFT_TAU_GAUSSIAN && seen.adapter.dropout == o->adapter.dropout &&
              seen.classes == 3);
    ck_assert(memcmp(&seen.adamw, &o->adamw, sizeof seen.adamw) == 0 && seen.decay == CLPEFT_DECAY_COSINE &&
              seen.total_steps == 9);
    ck_fails(CLPEFT_INVALID_SIZE, "11 bytes", clpeft_trainer_peek(f.path, &seen, sites, 10));
    ck_fails(CLPEFT_INVALID_FILE, "not a checkpoint",
             (snprintf(f.path, sizeof f.path, "%s/model.safetensors", f.files.dir),
              clpeft_trainer_peek(f.path, &seen, sites, sizeof sites)));
    stop(&f);
}
END_TEST

/* ---- damaged and foreign files ---------------------------------------------------------------------------------- */

/* The parts of a checkpoint, to be changed and written again. */
typedef struct {
    clpeft_file *file;
    clpeft_write_tensor tensor[MAX_TENSORS];
    clpeft_write_meta meta[MAX_METAS];
    size_t n_tensors, n_metas;
} parts;

static parts take(const char *path)
{
    parts p = { 0 };
    ck_ok(clpeft_file_open(&p.file, path));
    for (size_t i = 0; i < clpeft_file_tensors(p.file); i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(p.file, i);
        ck_assert_uint_lt(i, MAX_TENSORS);
        p.tensor[p.n_tensors] =
            (clpeft_write_tensor){ .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data };
        memcpy(p.tensor[p.n_tensors++].dims, t->dims, t->n_dims * sizeof *t->dims);
    }
    for (size_t i = 0; i < clpeft_file_metas(p.file); i++) {
        const clpeft_meta *m = clpeft_file_meta_at(p.file, i);
        if (strcmp(m->key, "format") != 0) p.meta[p.n_metas++] = (clpeft_write_meta){ m->key, m->string };
    }
    return p;
}

static clpeft_write_tensor *tensor(parts *p, const char *name)
{
    for (size_t i = 0; i < p->n_tensors; i++)
        if (strcmp(p->tensor[i].name, name) == 0) return &p->tensor[i];
    ck_abort_msg("no tensor %s", name);
}

/* Write the parts, expect the refusal, and forget them. */
static void refused(fixture *f, parts *p, clpeft_status code, const char *says)
{
    clpeft_trainer *t = NULL;
    ck_ok(clpeft_safetensors_write(f->path, p->meta, p->n_metas, p->tensor, p->n_tensors));
    clpeft_file_close(p->file);
    const clpeft_status status = clpeft_trainer_load(&t, f->model, f->path);
    ck_assert_str_eq(clpeft_status_text(code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), says), "\"%s\" lacks \"%s\"", clpeft_error_message(), says);
    ck_assert_ptr_null(t);
    clpeft_trainer_destroy(f->trainer);
    f->trainer = NULL;
}

static const struct {
    const char *key, *value, *says;
    clpeft_status code;
} metas[] = {
    { "clpeft", "merged", "not a checkpoint", CLPEFT_INVALID_FILE },
    { "step", "-3", "\"step\" is not a whole number", CLPEFT_INVALID_FILE },
    { "step", "4", "4 steps are not 3 applied and 0 skipped", CLPEFT_INVALID_FILE },
    { "step", "99999999999999999999999", "\"step\" is not", CLPEFT_INVALID_FILE },
    { "options", "{}", "options: sites is missing", CLPEFT_INVALID_FILE },
    { "options", "[1]", "options: not a JSON object", CLPEFT_INVALID_FILE },
    { "options", NULL, "\"options\" is missing", CLPEFT_INVALID_FILE },
    { "model_width", "25", "made for a model of width 25 with 3 layers", CLPEFT_UNSUPPORTED },
    { "model_hash", "0123456789abcdef", "made for other weights", CLPEFT_UNSUPPORTED },
};

START_TEST(bad_metadata_is_refused)
{
    fixture f = start();
    parts p = take(f.path);
    for (size_t i = 0; i < p.n_metas; i++)
        if (strcmp(p.meta[i].key, metas[_i].key) == 0) {
            if (metas[_i].value)
                p.meta[i].value = metas[_i].value;
            else
                p.meta[i].key = "other";
        }
    refused(&f, &p, metas[_i].code, metas[_i].says);
    stop(&f);
}
END_TEST

/* One value of the options replaced. */
static const struct {
    const char *from, *to, *says;
    clpeft_status code;
} options[] = {
    { "\"rank\":2", "\"rank\":2147483647", "rank 2147483647", CLPEFT_INVALID_FILE },
    { "\"rank\":2", "\"rank\":3", "dimension 0 is 2, not 3", CLPEFT_INVALID_FILE },
    { "\"rank\":2", "\"rank\":-2", "rank is not a whole number", CLPEFT_INVALID_FILE },
    { "\"classes\":3", "\"classes\":2000000000", "2000000000 classes", CLPEFT_INVALID_FILE },
    { "\"tau\":\"gaussian\"", "\"tau\":\"golden\"", "tau is \"golden\"", CLPEFT_INVALID_FILE },
    { "\"beta1\":0.8", "\"beta1\":7.8", "beta1", CLPEFT_INVALID_ARGUMENT },
    { "\"seed\":\"1", "\"seed\":\"x", "seed is not a whole number", CLPEFT_INVALID_FILE },
    { "value,down", "value,side", "no module \"side\"", CLPEFT_INVALID_ARGUMENT },
};

START_TEST(bad_options_are_refused)
{
    fixture f = start();
    parts p = take(f.path);
    char text[2000];
    for (size_t i = 0; i < p.n_metas; i++) {
        if (strcmp(p.meta[i].key, "options") != 0) continue;
        const char *at = strstr(p.meta[i].value, options[_i].from);
        ck_assert_msg(at, "no %s in %s", options[_i].from, p.meta[i].value);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - p.meta[i].value), p.meta[i].value, options[_i].to,
                 at + strlen(options[_i].from));
        p.meta[i].value = text;
    }
    refused(&f, &p, options[_i].code, options[_i].says);
    stop(&f);
}
END_TEST

START_TEST(bad_tensors_are_refused)
{
    static const float bad[] = { 1, NAN, 2 }, negative[] = { 0, 0, -1 };
    fixture f = start();
    parts p = take(f.path);
    clpeft_write_tensor *t;

    switch (_i) {
    case 0:
        tensor(&p, "theta.head.bias")->data = bad;
        refused(&f, &p, CLPEFT_INVALID_FILE, "theta.head.bias: value 1 is nan");
        break;
    case 1:
        tensor(&p, "moment2.head.bias")->data = negative;
        refused(&f, &p, CLPEFT_INVALID_FILE, "moment2.head.bias: value 2 is -1");
        break;
    case 2:
        tensor(&p, "moment1.head.bias")->name = "moment1.foot.bias";
        refused(&f, &p, CLPEFT_INVALID_FILE, "moment1.head.bias is missing");
        break;
    case 3:
        t = tensor(&p, "theta.head.weight");
        t->dims[0] = 6, t->dims[1] = 12;
        refused(&f, &p, CLPEFT_INVALID_FILE, "theta.head.weight: dimension 0 is 6, not 3");
        break;
    case 4:
        t = tensor(&p, "theta.head.weight");
        t->n_dims = 1, t->dims[0] = 72;
        refused(&f, &p, CLPEFT_INVALID_FILE, "theta.head.weight has 1 dimensions, not 2");
        break;
    case 5:
        tensor(&p, "theta.head.bias")->dtype = CLPEFT_I32;
        refused(&f, &p, CLPEFT_INVALID_FILE, "theta.head.bias is of type I32, not F32");
        break;
    default:
        p.tensor[p.n_tensors++] =
            (clpeft_write_tensor){ .name = "theta.more", .dtype = CLPEFT_F32, .n_dims = 1, .dims = { 3 }, .data = bad };
        refused(&f, &p, CLPEFT_INVALID_FILE, "tensors, not the");
    }
    stop(&f);
}
END_TEST

START_TEST(a_truncated_file_is_refused)
{
    fixture f = start();
    clpeft_trainer *t = NULL;
    parts p = take(f.path);
    char *bytes = calloc(1, 5000);

    FILE *in = fopen(f.path, "rb");
    ck_assert_ptr_nonnull(in);
    ck_assert_uint_eq(5000, fread(bytes, 1, 5000, in));
    fclose(in);
    clpeft_file_close(p.file);
    for (size_t n = 0; n < 5000; n += 499) {
        ck_ok(clpeft_file_replace(f.path, bytes, n));
        ck_assert_int_ne(CLPEFT_OK, clpeft_trainer_load(&t, f.model, f.path));
        ck_assert_msg(strstr(clpeft_error_message(), "checkpoint"), "%s", clpeft_error_message());
    }
    free(bytes);
    stop(&f);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_resumed_run_has_the_same_bits);
    tcase_add_test(t, peek_tells_the_options);
    tcase_add_loop_test(t, bad_metadata_is_refused, 0, sizeof metas / sizeof *metas);
    tcase_add_loop_test(t, bad_options_are_refused, 0, sizeof options / sizeof *options);
    tcase_add_loop_test(t, bad_tensors_are_refused, 0, 7);
    tcase_add_test(t, a_truncated_file_is_refused);
}

int main(void)
{
    return run_suite("checkpoint", add, 120);
}
