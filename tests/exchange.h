/* exchange.h - what the tests of exports share: a trained adapter on a tiny model, a folder for what it leaves, files
 * taken apart. */
#ifndef TEST_EXCHANGE_H
#define TEST_EXCHANGE_H

#include "tiny.h"

#include <dirent.h>

/* A model in a folder, a trainer on it after three steps, and a folder for files. */
typedef struct {
    tiny files;
    clpeft_model *model;
    clpeft_trainer *trainer;
    char dir[64];
} exchange;

static inline clpeft_trainer_options exchange_options(clpeft_method method)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    o.adapter.rank = 2, o.adapter.alpha = 6, o.adapter.seed_width = o.adapter.hidden_width = 5;
    o.adamw.lr = 0.03f, o.classes = 3, o.decay = CLPEFT_DECAY_NONE, o.warmup = 0;
    return o;
}

static inline exchange exchange_start(const clpeft_trainer_options *o, tiny model)
{
    static const int32_t labels[] = { 2, 0, -1, 1, 2 };
    exchange x = { .files = tiny_make(model), .dir = "/tmp/clpeft-exchange-XXXXXX" };
    clpeft_batch batch = tiny_batch;
    clpeft_step_result last;

    batch.labels = labels;
    tiny_write(&x.files, "");
    ck_assert_ptr_nonnull(mkdtemp(x.dir));
    ck_ok(clpeft_model_load(&x.model, dev.ctx, x.files.dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&x.trainer, x.model, o));
    /* The last result is waited for: after the clFlush of a step without, Mesa 22's clFinish returns at once. */
    for (int i = 0; i < 3; i++) ck_ok(clpeft_train_step(x.trainer, &batch, i == 2 ? &last : NULL));
    return x;
}

static inline const char *exchange_path(const exchange *x, const char *name)
{
    static char path[4][400];
    static int next;
    snprintf(path[next = (next + 1) % 4], sizeof path[0], "%s/%s", x->dir, name);
    return path[next];
}

static inline void exchange_end(exchange *x)
{
    DIR *dir = opendir(x->dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.') unlink(exchange_path(x, e->d_name));
    closedir(dir);
    ck_assert_int_eq(0, rmdir(x->dir));
    clpeft_trainer_destroy(x->trainer);
    clpeft_model_destroy(x->model);
    tiny_free(&x->files);
}

/* Logits of the batch, [5,3]. */
static inline void logits_of(clpeft_trainer *t, float logits[15])
{
    ck_ok(clpeft_trainer_evaluate(t, &tiny_batch, logits, NULL, NULL));
}

#define MODEL          "adapter_model.safetensors"
#define CONFIG         "adapter_config.json"
#define LAYER(b, part) "base_model.model.bert.encoder.layer." #b ".attention.self." part

static const float SCALE = 4; /* of the head: a power of two changes no bit of a mantissa */

/* The adapter and its head as a PEFT folder. */
static inline void export(const exchange *x, clpeft_dtype dtype)
{
    const clpeft_peft_options o = { .dtype = dtype, .base_model = "tiny/model", .head_scale = SCALE };
    ck_ok(
        clpeft_peft_export(clpeft_trainer_adapter(x->trainer), x->model, x->dir, &o, clpeft_trainer_queue(x->trainer)));
}

/* The tensors of a file, to be changed and written again. */
enum { MAX_PARTS = 200 };
typedef struct {
    clpeft_file *file;
    clpeft_write_tensor tensor[MAX_PARTS];
    size_t n;
} parts;

static inline void parts_take(parts *p, const char *path)
{
    *p = (parts){ 0 };
    ck_ok(clpeft_file_open(&p->file, path));
    for (size_t i = 0; i < clpeft_file_tensors(p->file); i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(p->file, i);
        ck_assert_uint_lt(p->n, MAX_PARTS);
        p->tensor[p->n] =
            (clpeft_write_tensor){ .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data };
        memcpy(p->tensor[p->n++].dims, t->dims, t->n_dims * sizeof *t->dims);
    }
}

static inline clpeft_write_tensor *parts_find(parts *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->tensor[i].name, name) == 0) return &p->tensor[i];
    ck_abort_msg("no tensor %s", name);
}

/* Write them in place of the file that they came from, and forget them. */
static inline void parts_write(parts *p, const char *path)
{
    ck_ok(clpeft_safetensors_write(path, NULL, 0, p->tensor, p->n));
    clpeft_file_close(p->file);
}

/* All bytes of a file, zero-terminated; free(). */
static inline char *file_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = calloc(1, 1 << 20);
    ck_assert_ptr_nonnull(file);
    *size = fread(bytes, 1, (1 << 20) - 1, file);
    fclose(file);
    return bytes;
}

#endif
