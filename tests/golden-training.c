/* golden-training.c - replay training runs of a real model that PyTorch computed in float64.
 *
 *     golden-training MODEL_DIR FILE...
 *
 * One line per file with its worst values. Exit status: 0 if all hold, 1 if one does not, 2 if the model does not load. */
#include "clpeft.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double POOLED = 1e-5;     /* largest absolute error of the pooled features before the first step */
static const double LOSS = 2e-5;       /* largest relative error of a step's loss */
static const double GRADIENT = 5e-4;   /* relative Frobenius error of a tensor's first gradient */
static const double PARAMETERS = 5e-3; /* of a tensor after the last step */

typedef struct {
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_file *file;
    const char *reason; /* why the file can't be replayed */
    clpeft_trainer *trainer;
    clpeft_batch batch;
    int32_t *numbers[3]; /* tokens, row_start, labels: behind batch */
    size_t steps;
    double pooled, loss, gradient, parameters; /* worst errors */
    char gradient_name[96], parameter_name[96];
} replay;

static int stop(replay *r, const char *reason)
{
    if (!r->reason) r->reason = reason;
    return 0;
}

static int ok(replay *r, clpeft_status status)
{
    return status == CLPEFT_OK || stop(r, clpeft_error_message());
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static const clpeft_file_tensor *tensor(replay *r, const char *prefix, const char *name, const char *type)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const clpeft_file_tensor *t = clpeft_file_find(r->file, full);
    if (!t || strcmp(t->dtype_name, type) != 0) stop(r, "a tensor is missing or of another type");
    return r->reason ? NULL : t;
}

static int read_numbers(replay *r, int i, const char *name, size_t *n)
{
    const clpeft_file_tensor *t = tensor(r, "in.", name, "I64");
    if (!t || t->elements == 0) return stop(r, "no tokens, row_start or labels");
    r->numbers[i] = malloc((size_t)t->elements * sizeof(int32_t));
    if (!r->numbers[i]) return stop(r, "out of memory");
    *n = (size_t)t->elements;
    for (size_t j = 0; j < *n; j++) {
        int64_t value;
        memcpy(&value, (const char *)t->data + 8 * j, 8);
        r->numbers[i][j] = value < INT32_MIN || value > INT32_MAX ? INT32_MIN : (int32_t)value;
    }
    return 1;
}

static int read_batch(replay *r)
{
    size_t T, rows, S;
    if (!read_numbers(r, 0, "tokens", &T) || !read_numbers(r, 1, "row_start", &rows) ||
        !read_numbers(r, 2, "labels", &S))
        return 0;
    if (rows != S + 1 || r->numbers[1][S] != (int32_t)T) return stop(r, "tokens, row_start and labels do not fit");
    r->batch = (clpeft_batch){ .S = S, .tokens = r->numbers[0], .row_start = r->numbers[1], .labels = r->numbers[2] };
    return 1;
}

/* Index of a word of the configuration in a list; its last entry is NULL. */
static int word(replay *r, const json_t *config, const char *key, const char *const *words)
{
    const char *text = json_string_value(json_object_get(config, key));
    for (int i = 0; text && words[i]; i++)
        if (strcmp(words[i], text) == 0) return i;
    return stop(r, "a word of the configuration is not known");
}

static int read_options(replay *r, const json_t *c, clpeft_trainer_options *o)
{
    static const char *const acts[] = { "identity", "gelu", "gelu_tanh", "silu", "relu", "tanh", NULL };
    static const char *const taus[] = { "none", "fixed", "learned", NULL };
    static const char *const shares[] = { "block", "model", NULL }, *const w2bs[] = { "shared", "per_head", NULL };
    const clpeft_file_tensor *bias = tensor(r, "theta0.", "head.bias", "F32");
    clpeft_adapter_config *a = &o->adapter;

    *o = clpeft_trainer_defaults(CLPEFT_LORA);
    a->generator = json_is_true(json_object_get(c, "generator")),
    a->magnitude = json_is_true(json_object_get(c, "magnitude"));
    a->rslora = json_is_true(json_object_get(c, "rslora")),
    a->norm_gradient = json_is_true(json_object_get(c, "norm_gradient"));
    a->tau = (clpeft_tau)word(r, c, "tau", taus), a->act = (clpeft_activation)word(r, c, "activation", acts);
    a->share = (clpeft_share)word(r, c, "share", shares), a->w2b = (clpeft_w2b)word(r, c, "w2b", w2bs);
    a->rank = (size_t)json_integer_value(json_object_get(c, "rank"));
    a->seed_width = (size_t)json_integer_value(json_object_get(c, "seed_dim"));
    a->hidden_width = (size_t)json_integer_value(json_object_get(c, "hidden"));
    a->alpha = (float)json_number_value(json_object_get(c, "alpha")),
    a->tau0 = (float)json_number_value(json_object_get(c, "tau0"));
    o->adamw = clpeft_adamw_defaults();
    o->adamw.lr = (float)json_number_value(json_object_get(c, "lr"));
    o->adamw.max_norm = (float)json_number_value(json_object_get(c, "max_norm"));
    o->adamw.weight_decay = (float)json_number_value(json_object_get(c, "weight_decay"));
    o->classes = bias ? (size_t)bias->elements : 0;
    o->feature_scale = 1, o->warmup = 0, o->decay = CLPEFT_DECAY_NONE;
    r->steps = (size_t)json_integer_value(json_object_get(c, "steps"));
    return !r->reason;
}

static int open_trainer(replay *r)
{
    const clpeft_meta *meta = clpeft_file_meta_find(r->file, "config");
    json_t *config = meta ? json_loads(meta->string, JSON_REJECT_DUPLICATES, NULL) : NULL;
    clpeft_trainer_options options;
    const int good = config ? read_options(r, config, &options) : stop(r, "no config in the metadata");
    json_decref(config);
    return good && ok(r, clpeft_trainer_create(&r->trainer, r->model, &options));
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static int set_parameters(replay *r)
{
    clpeft_params *params = clpeft_trainer_params(r->trainer);
    for (size_t i = 0; i < clpeft_params_count(params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(params, i);
        const clpeft_file_tensor *f = tensor(r, "theta0.", t->name, "F32");
        float *x = malloc(t->size * sizeof *x);
        const int good = f && x && f->elements == t->size && ok(r, clpeft_file_read_f32(f, 0, t->size, x)) &&
                         ok(r, clpeft_params_write(params, CLPEFT_THETA, t, x, clpeft_trainer_queue(r->trainer)));
        free(x);
        if (!good) return stop(r, "a parameter is of another size");
    }
    return 1;
}

/* Relative Frobenius error of every tensor that is in the file, into *worst. */
static int compare(replay *r, const char *prefix, clpeft_params_buffer which, double *worst, char *name)
{
    clpeft_params *params = clpeft_trainer_params(r->trainer);
    for (size_t i = 0; i < clpeft_params_count(params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(params, i);
        if (t->kind == CLPEFT_KIND_FIXED && which == CLPEFT_GRAD) continue;
        const clpeft_file_tensor *f = tensor(r, prefix, t->name, "F32");
        float *x = malloc(2 * t->size * sizeof *x), *want = x + t->size;
        double off = 0, norm = 0;
        const int good = f && x && f->elements == t->size && ok(r, clpeft_file_read_f32(f, 0, t->size, want)) &&
                         ok(r, clpeft_params_read(params, which, t, x, clpeft_trainer_queue(r->trainer)));
        for (size_t j = 0; good && j < t->size; j++) {
            off += pow((double)x[j] - (double)want[j], 2);
            norm += pow((double)want[j], 2);
        }
        free(x);
        if (!good) return stop(r, "a tensor is of another size");
        const double error = off == 0 ? 0 : sqrt(off / norm);
        if (!(error <= *worst)) {
            *worst = error;
            strcpy(name, t->name);
        }
    }
    return 1;
}

static int compare_pooled(replay *r)
{
    cl_command_queue queue = clpeft_trainer_queue(r->trainer);
    clpeft_context *ctx = r->ctx;
    clpeft_model_info info;
    clpeft_view x, pooled = { NULL, 0, 0 };
    const size_t S = r->batch.S, T = (size_t)r->batch.row_start[S];
    cl_int code;

    clpeft_model_get_info(r->model, &info);
    const size_t D = pooled.ld = info.width;
    const clpeft_file_tensor *f = tensor(r, "", "pooled0", "F32");
    float *have = malloc(2 * S * D * sizeof *have), *want = have + S * D;
    pooled.buf = clCreateBuffer(clpeft_context_cl(ctx), CL_MEM_READ_WRITE, 4 * S * D, NULL, &code);
    const int good =
        f && have && pooled.buf && f->elements == S * D && ok(r, clpeft_file_read_f32(f, 0, S * D, want)) &&
        ok(r, clpeft_adapter_materialize(clpeft_trainer_adapter(r->trainer), 0, 0, queue, 0, NULL, NULL)) &&
        ok(r, clpeft_model_forward(r->model, clpeft_trainer_adapter(r->trainer), &r->batch, 0, &x, queue, 0, NULL,
                                   NULL)) &&
        ok(r, clpeft_pool_mean(ctx, T, D, S, clpeft_model_row_start(r->model), x, pooled, queue, 0, NULL, NULL)) &&
        ok(r, clEnqueueReadBuffer(queue, pooled.buf, CL_TRUE, 0, 4 * S * D, have, 0, NULL, NULL));
    for (size_t i = 0; good && i < S * D; i++) r->pooled = fmax(r->pooled, fabs((double)have[i] - (double)want[i]));
    if (pooled.buf) clReleaseMemObject(pooled.buf);
    free(have);
    return good || stop(r, "pooled0 is of another size");
}

static int train(replay *r)
{
    const clpeft_file_tensor *losses = tensor(r, "", "losses", "F64");
    if (!losses || losses->elements != r->steps) return stop(r, "losses are not one per step");
    for (size_t step = 0; step < r->steps; step++) {
        clpeft_step_result result;
        double want;
        if (!ok(r, clpeft_train_begin(r->trainer)) ||
            !ok(r, clpeft_train_gradient(r->trainer, &r->batch, 1.0f / (float)r->batch.S)) ||
            !ok(r, clpeft_train_collect(r->trainer)))
            return 0;
        if (step == 0 && !compare(r, "grad0.", CLPEFT_GRAD, &r->gradient, r->gradient_name)) return 0;
        if (!ok(r, clpeft_train_update(r->trainer, &result))) return 0;
        memcpy(&want, (const char *)losses->data + 8 * step, 8);
        r->loss = fmax(r->loss, result.applied ? fabs(result.loss - want) / fabs(want) : INFINITY);
    }
    return compare(r, "thetaN.", CLPEFT_THETA, &r->parameters, r->parameter_name);
}

static int replay_file(clpeft_context *ctx, clpeft_model *model, const char *path)
{
    replay r = { .ctx = ctx, .model = model };
    const int ran = ok(&r, clpeft_file_open(&r.file, path)) && read_batch(&r) && open_trainer(&r) &&
                    set_parameters(&r) && compare_pooled(&r) && train(&r);
    const int good =
        ran && r.pooled <= POOLED && r.loss <= LOSS && r.gradient <= GRADIENT && r.parameters <= PARAMETERS;
    if (ran)
        printf("%s: %s: pooled %.1e, loss %.1e, gradient %.1e (%s), parameters %.1e (%s)\n", path,
               good ? "ok" : "WRONG", r.pooled, r.loss, r.gradient, r.gradient_name, r.parameters, r.parameter_name);
    else
        printf("%s: cannot be replayed: %s\n", path, r.reason);
    clpeft_trainer_destroy(r.trainer);
    clpeft_file_close(r.file);
    for (int i = 0; i < 3; i++) free(r.numbers[i]);
    return good;
}

int main(int argc, char **argv)
{
    const clpeft_model_options options = { .max_tokens = 8192 };
    clpeft_context *ctx = NULL;
    clpeft_model *model = NULL;
    int good = 1;

    if (argc < 2) return fprintf(stderr, "usage: golden-training MODEL_DIR FILE...\n"), 2;
    if (clpeft_context_create(&ctx, NULL) != CLPEFT_OK ||
        clpeft_model_load(&model, ctx, argv[1], &options) != CLPEFT_OK) {
        fprintf(stderr, "%s\n", clpeft_error_message());
        good = -1;
    }
    for (int i = 2; good >= 0 && i < argc; i++) good &= replay_file(ctx, model, argv[i]);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
    return good < 0 ? 2 : !good;
}
