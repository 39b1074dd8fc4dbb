/* vit.c - a small random vision transformer of each naming against float64: hidden states, gradients, refusals. */
#include "tiny_vit.h"

#include <sys/stat.h>

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static const struct {
    int named;
    size_t side;
} shapes[] = { { 0, SIDE }, { 1, SIDE }, { 0, 5 }, { 1, 6 }, { 1, 2 } };

START_TEST(hidden_states_match_float64)
{
    tiny_vit *v = make(shapes[_i].named, shapes[_i].side);
    const size_t rows = IMAGES * (1 + v->side * v->side), D = v->t.D;
    const clpeft_batch batch = batch_of(v);
    float *y = malloc(rows * D * sizeof *y);
    tiny_weights w;

    write_model(v, "");
    weights_copy(v, w);
    double *want = reference(v, w);
    for (int forward_only = 0; forward_only < 2; forward_only++) {
        const clpeft_model_options options = options_for(v, 0, forward_only);
        clpeft_model *model;
        clpeft_view view;
        ck_ok(clpeft_model_load(&model, dev.ctx, v->t.dir, &options));
        ck_ok(clpeft_model_forward(model, NULL, &batch, 0, &view, dev.queue, 0, NULL, NULL));
        read_view(view, rows, D, y);
        for (size_t i = 0; i < rows * D; i++)
            expect_near(y[i], want[i], 3e-5, "shape %d token %zu column %zu", _i, i / D, i % D);
        clpeft_model_destroy(model);
    }
    free(want), free(y);
    tiny_weights_free(&v->t, w);
    destroy(v);
}
END_TEST

/* Query, key and value in one tensor. */
static const char *const fused[] = { "attention.attention.qkv", "attention.qkv", "attn.qkv" };

START_TEST(a_fused_layer_is_the_same_model)
{
    tiny_vit *v = make(_i % 2, SIDE);
    const size_t n = IMAGES * (1 + v->side * v->side) * v->t.D;
    const clpeft_batch batch = batch_of(v);
    const clpeft_model_options options = options_for(v, 0, 0);
    float *y[2];

    for (int i = 0; i < 2; i++) {
        clpeft_model *model;
        clpeft_view view;
        if (i == 1) fuse(v, fused[_i]);
        write_model(v, "");
        ck_ok(clpeft_model_load(&model, dev.ctx, v->t.dir, &options));
        ck_ok(clpeft_model_forward(model, NULL, &batch, 0, &view, dev.queue, 0, NULL, NULL));
        y[i] = malloc(n * sizeof *y[i]);
        read_view(view, n / v->t.D, v->t.D, y[i]);
        clpeft_model_destroy(model);
    }
    ck_assert_mem_eq(y[0], y[1], n * sizeof *y[0]);
    free(y[0]), free(y[1]);
    destroy(v);
}
END_TEST

/* ---- backward --------------------------------------------------------------------------------------------------- */

static double loss_of(tiny_vit *v, tiny_weights w)
{
    double *y = reference(v, w), loss = 0;
    random_state = 99;
    for (size_t i = 0; i < IMAGES * (1 + v->side * v->side) * v->t.D; i++) loss += y[i] * (double)random_float();
    free(y);
    return loss;
}

static const struct {
    int named, recompute;
    const char *sites;
    clpeft_method method;
} backwards[] = {
    { 0, 0, "all", CLPEFT_LORA },    { 1, 0, "all", CLPEFT_LORA },         { 1, 1, "all", CLPEFT_LORA },
    { 1, 0, "output", CLPEFT_LORA }, { 1, 0, "query,value", CLPEFT_LORA }, { 0, 0, "up", CLPEFT_LORA },
    { 1, 0, "down", CLPEFT_LORA },   { 0, 0, "all", CLPEFT_DORA },
};

typedef struct {
    clpeft_model *model;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_site *sites;
    size_t n, size;
    double *theta;
} adapted;

/* A model with an adapter of rank 2 whose parameters are all random. */
static adapted adapt(const tiny_vit *v, clpeft_method method, const char *list, int recompute)
{
    const clpeft_model_options options = options_for(v, recompute, 0);
    clpeft_adapter_config config = clpeft_adapter_defaults(method);
    adapted a = { 0 };

    config.rank = 2, config.alpha = 3, config.norm_gradient = config.magnitude;
    ck_ok(clpeft_model_load(&a.model, dev.ctx, v->t.dir, &options));
    ck_ok(clpeft_model_sites(a.model, list, &a.sites, &a.n));
    ck_ok(clpeft_params_create(&a.params, dev.ctx));
    ck_ok(clpeft_adapter_create(&a.adapter, a.params, a.sites, a.n, &config));
    ck_ok(clpeft_params_allocate(a.params));
    a.size = clpeft_params_size(a.params);
    a.theta = malloc(a.size * sizeof *a.theta);
    float *single = malloc(a.size * sizeof *single);
    random_state = 77;
    for (size_t i = 0; i < a.size; i++) single[i] = 0.3f * random_float(), a.theta[i] = single[i];
    ck_ok(clpeft_params_write(a.params, CLPEFT_THETA, NULL, single, NULL));
    ck_ok(clpeft_adapter_materialize(a.adapter, 1, 1, dev.queue, 0, NULL, NULL));
    free(single);
    return a;
}

static void release(adapted *a)
{
    clFinish(dev.queue);
    clpeft_adapter_destroy(a->adapter);
    clpeft_params_destroy(a->params);
    clpeft_model_destroy(a->model);
    free(a->sites), free(a->theta);
}

/* Of sum(y dy) for a fixed random dy; the norms of DoRA count as functions of A and B. */
static float *gradients(adapted *a, const tiny_vit *v)
{
    const clpeft_batch batch = batch_of(v);
    float *grad = malloc(a->size * sizeof *grad);
    clpeft_workspace *ws = NULL;
    clpeft_view view;

    random_state = 99;
    matrix dy = matrix_random(IMAGES * (1 + v->side * v->side), v->t.D, 0, 0);
    ck_ok(clpeft_params_zero_grad(a->params, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(a->model, a->adapter, &batch, 1, &view, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_backward(a->model, a->adapter, dy.view, dev.queue, 0, NULL, NULL));
    const size_t bytes = clpeft_adapter_workspace(a->adapter);
    if (bytes) ck_ok(clpeft_workspace_create(&ws, dev.ctx, bytes));
    ck_ok(clpeft_adapter_backward(a->adapter, ws, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_params_read(a->params, CLPEFT_GRAD, NULL, grad, dev.queue));
    clpeft_workspace_destroy(ws);
    matrix_free(&dy);
    return grad;
}

/* W0 + s B A of every site; with magnitudes m each row of it has the length that m says. */
static void adapt_weights(tiny_vit *v, const adapted *a, tiny_weights w)
{
    const size_t r = clpeft_adapter_get_config(a->adapter)->rank;
    const double s = (double)clpeft_adapter_get_config(a->adapter)->alpha / (double)r;
    const clpeft_site *sites = a->sites;
    const clpeft_tensor *m;
    char name[96];
    for (size_t p = 0; p < a->n; p++) {
        int module = 0;
        while (strcmp(module_names[module], sites[p].name) != 0) module++;
        const size_t cols = module_columns(&v->t, module), rows = module_rows(&v->t, module), b = sites[p].block;
        const float *w0 = tiny_find(&v->t, "encoder.layer.%zu.%s.weight", b, naming[v->named].path[module])->data;
        snprintf(name, sizeof name, "blocks.%zu.%s.A", b, sites[p].name);
        const double *A = a->theta + clpeft_params_find(a->params, name)->off;
        snprintf(name, sizeof name, "blocks.%zu.%s.B", b, sites[p].name);
        const double *B = a->theta + clpeft_params_find(a->params, name)->off;
        for (size_t i = 0; i < rows * cols; i++) {
            w[b][module][i] = w0[i];
            for (size_t j = 0; j < r; j++) w[b][module][i] += s * B[i / cols * r + j] * A[j * cols + i % cols];
        }
        snprintf(name, sizeof name, "blocks.%zu.%s.m", b, sites[p].name);
        for (size_t i = 0; (m = clpeft_params_find(a->params, name)) && i < rows; i++) {
            double square = 0, *row = w[b][module] + i * cols;
            for (size_t k = 0; k < cols; k++) square += row[k] * row[k];
            for (size_t k = 0; k < cols; k++) row[k] *= a->theta[m->off + i] / sqrt(square);
        }
    }
}

START_TEST(gradients_match_central_differences)
{
    tiny_vit *v = make(backwards[_i].named, 2);
    tiny_weights w;
    double largest = 0;

    write_model(v, "");
    adapted a = adapt(v, backwards[_i].method, backwards[_i].sites, backwards[_i].recompute);
    float *grad = gradients(&a, v);
    weights_copy(v, w);
    for (size_t i = 0; i < a.size; i++) largest = fmax(largest, fabs((double)grad[i]));
    ck_assert_double_gt(largest, 0);
    for (size_t i = 0; i < clpeft_params_count(a.params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(a.params, i);
        for (size_t j = i % 3; j < t->size; j += t->size / 2 + 1) {
            double *theta = &a.theta[t->off + j], at = *theta, loss[2];
            for (int side = 0; side < 2; side++) {
                *theta = at + (side ? 1e-5 : -1e-5);
                adapt_weights(v, &a, w);
                loss[side] = loss_of(v, w);
            }
            *theta = at;
            expect_near(grad[t->off + j], (loss[1] - loss[0]) / 2e-5, 2e-5 * largest, "%s [%zu]", t->name, j);
        }
    }
    free(grad);
    tiny_weights_free(&v->t, w);
    release(&a);
    destroy(v);
}
END_TEST

/* ---- training --------------------------------------------------------------------------------------------------- */

/* All images at once, or one at a time: the same step, for every way of pooling; it learns. */
START_TEST(a_step_takes_a_batch_in_parts)
{
    static const int32_t labels[] = { 0, 1, 2 };
    tiny_vit *v = make(1, 2);
    clpeft_batch batch = batch_of(v);
    clpeft_step_result result[2][8];

    batch.labels = labels;
    write_model(v, "");
    for (int parts = 0; parts < 2; parts++) {
        clpeft_model_options options = options_for(v, 0, 0);
        clpeft_trainer_options o = clpeft_trainer_defaults(CLPEFT_DORAN);
        clpeft_model *model;
        clpeft_trainer *trainer;
        int32_t predicted[IMAGES];
        if (parts) options.max_tokens = 7; /* an image has 5 tokens */
        o.classes = 3, o.pool = (clpeft_pool)_i, o.decay = CLPEFT_DECAY_NONE, o.warmup = 0;
        o.adapter.rank = 2, o.feature_scale = 1;
        ck_ok(clpeft_model_load(&model, dev.ctx, v->t.dir, &options));
        ck_ok(clpeft_trainer_create(&trainer, model, &o));
        for (int i = 0; i < 8; i++) ck_ok(clpeft_train_step(trainer, &batch, &result[parts][i]));
        ck_ok(clpeft_trainer_evaluate(trainer, &batch, NULL, predicted, NULL));
        for (int i = 0; i < IMAGES; i++) ck_assert_int_eq(labels[i], predicted[i]);
        clpeft_trainer_destroy(trainer);
        clpeft_model_destroy(model);
    }
    for (int i = 0; i < 8; i++) expect_near(result[1][i].loss, result[0][i].loss, 1e-4, "pool %d, step %d", _i, i);
    ck_assert_double_lt(result[0][7].loss, 0.7 * result[0][0].loss);
    destroy(v);
}
END_TEST

/* ---- PEFT ------------------------------------------------------------------------------------------------------- */

/* A folder with the tensors of another one, under the names that transformers 4 knew. */
static void write_old_names(const char *from, const char *to)
{
    static char name[24][160];
    static const char config[] =
        "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 3, \"target_modules\": [\"query\", \"attention.output.dense\"]}";
    clpeft_write_tensor list[24];
    clpeft_file *file;
    char path[200];

    snprintf(path, sizeof path, "%s/adapter_model.safetensors", from);
    ck_ok(clpeft_file_open(&file, path));
    const size_t n = clpeft_file_tensors(file);
    for (size_t i = 0; i < n; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, i);
        const char *number = strpbrk(t->name, "0123456789");
        snprintf(name[i], sizeof name[i], "base_model.model.encoder.layer.%c.%s.%s", *number,
                 strstr(t->name, "q_proj") ? "attention.attention.query" : "attention.output.dense",
                 strstr(t->name, "lora_"));
        list[i] = (clpeft_write_tensor){ .name = name[i], .dtype = t->dtype, .n_dims = 2, .data = t->data };
        list[i].dims[0] = t->dims[0], list[i].dims[1] = t->dims[1];
    }
    mkdir(to, 0700);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", to);
    ck_ok(clpeft_safetensors_write(path, NULL, 0, list, n));
    snprintf(path, sizeof path, "%s/adapter_config.json", to);
    ck_ok(clpeft_file_replace(path, config, strlen(config)));
    clpeft_file_close(file);
}

static void remove_folder(const char *folder)
{
    char path[200];

    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder), unlink(path);
    snprintf(path, sizeof path, "%s/adapter_config.json", folder), unlink(path);
    rmdir(folder);
}

/* What leaves has the names of modules in transformers 5; what comes in may have those of transformers 4. */
START_TEST(adapters_have_the_names_of_modules)
{
    static const char *const names[][2] = { { "layers.1.attention.q_proj", "layers.1.attention.o_proj" },
                                            { "encoder.layer.1.attention.q_proj",
                                              "encoder.layer.1.attention.o_proj" } };
    tiny_vit *v = make(_i, 2);
    char folder[120], old[120], key[160];
    clpeft_file *file;

    write_model(v, "");
    adapted a = adapt(v, CLPEFT_LORA, "query,output", 0);
    snprintf(folder, sizeof folder, "%s/peft", v->t.dir);
    snprintf(old, sizeof old, "%s/old", v->t.dir);
    ck_ok(clpeft_peft_export(a.adapter, a.model, folder, NULL, NULL));
    snprintf(key, sizeof key, "%s/adapter_model.safetensors", folder);
    ck_ok(clpeft_file_open(&file, key));
    ck_assert_uint_eq(8, clpeft_file_tensors(file));
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "base_model.model.%s.lora_A.weight", names[_i][i]);
        ck_assert_msg(clpeft_file_find(file, key) != NULL, "no %s", key);
    }
    clpeft_file_close(file);
    write_old_names(folder, old);
    for (int i = 0; i < 2; i++) {
        float *theta = malloc(a.size * sizeof *theta);
        clpeft_peft *peft;
        clpeft_peft_info info;
        ck_ok(clpeft_peft_open(&peft, a.model, i ? old : folder));
        clpeft_peft_get_info(peft, &info);
        ck_assert_str_eq("query,output", info.sites);
        for (size_t k = 0; k < a.size; k++) theta[k] = 0;
        ck_ok(clpeft_params_write(a.params, CLPEFT_THETA, NULL, theta, NULL));
        ck_ok(clpeft_peft_load(peft, a.adapter, 0, NULL));
        ck_ok(clpeft_params_read(a.params, CLPEFT_THETA, NULL, theta, NULL));
        for (size_t k = 0; k < clpeft_params_count(a.params); k++) {
            const clpeft_tensor *t = clpeft_params_tensor(a.params, k);
            for (size_t j = t->off; j < t->off + t->size; j++) ck_assert_float_eq((float)a.theta[j], theta[j]);
        }
        clpeft_peft_close(peft);
        free(theta);
    }
    remove_folder(folder), remove_folder(old);
    release(&a);
    destroy(v);
}
END_TEST

/* ---- merged weights --------------------------------------------------------------------------------------------- */

static const struct {
    clpeft_method method;
    const char *sites;
} merges[] = { { CLPEFT_LORA, "query,value" }, { CLPEFT_DORA, "value,down" }, { CLPEFT_DORAN, "all" } };

static float *states_of(const tiny_vit *v, clpeft_model *model, clpeft_adapter *adapter)
{
    const size_t rows = IMAGES * (1 + v->side * v->side);
    const clpeft_batch batch = batch_of(v);
    float *y = malloc(rows * v->t.D * sizeof *y);
    clpeft_view view;

    ck_ok(clpeft_model_forward(model, adapter, &batch, 0, &view, dev.queue, 0, NULL, NULL));
    read_view(view, rows, v->t.D, y);
    return y;
}

/* Query, key and value are rows of one tensor of the file: those that are adapted change there, and no others. */
START_TEST(a_fused_layer_is_merged)
{
    tiny_vit *v = make(_i % 2, 2);
    const size_t rows = IMAGES * (1 + v->side * v->side), D = v->t.D;
    const clpeft_model_options options = options_for(v, 0, 0);
    clpeft_model *model;
    clpeft_file *file;
    char base[100], merged[100], name[100];

    fuse(v, fused[_i]);
    write_model(v, "");
    adapted a = adapt(v, merges[_i].method, merges[_i].sites, 0);
    float *want = states_of(v, a.model, a.adapter), *qkv = malloc(3 * D * D * sizeof *qkv);
    snprintf(base, sizeof base, "%s/model.safetensors", v->t.dir);
    snprintf(merged, sizeof merged, "%s/merged.safetensors", v->t.dir);
    if (merges[_i].method == CLPEFT_LORA)
        ck_fails(CLPEFT_UNSUPPORTED, "GGUF", clpeft_gguf_export(a.adapter, a.model, merged, CLPEFT_F32, NULL));
    ck_ok(clpeft_merge_write(a.adapter, a.model, v->t.dir, merged, CLPEFT_OTHER, NULL));
    ck_assert_int_eq(0, rename(merged, base));
    ck_ok(clpeft_model_load(&model, dev.ctx, v->t.dir, &options));
    float *have = states_of(v, model, NULL);
    for (size_t i = 0; i < rows * D; i++) expect_near(have[i], want[i], 1e-4, "form %d state %zu", _i, i);

    ck_ok(clpeft_file_open(&file, base));
    for (size_t b = 0; b < v->t.L; b++) {
        snprintf(name, sizeof name, "%sencoder.layer.%zu.%s.weight", v->t.prefix, b, fused[_i]);
        ck_ok(clpeft_file_read_f32(clpeft_file_find(file, name), 0, 3 * D * D, qkv));
        const float *before = tiny_find(&v->t, "encoder.layer.%zu.%s.weight", b, fused[_i])->data;
        for (size_t part = 0; part < 3; part++) {
            int is_site = 0;
            for (size_t p = 0; p < a.n; p++) is_site |= strcmp(a.sites[p].name, module_names[part]) == 0;
            ck_assert_int_eq(is_site, memcmp(qkv + part * D * D, before + part * D * D, D * D * sizeof *qkv) != 0);
        }
    }
    clpeft_file_close(file);
    clpeft_model_destroy(model);
    free(want), free(have), free(qkv);
    release(&a);
    destroy(v);
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------------------------------- */

static void refuse(const char *more, size_t image_size, size_t max_tokens, const char *says, clpeft_status code)
{
    const clpeft_model_options options = { .image_size = image_size, .max_tokens = max_tokens };
    tiny_vit *v = make(1, 2);
    clpeft_model *model = NULL;

    write_model(v, more);
    const clpeft_status status = clpeft_model_load(&model, dev.ctx, v->t.dir, &options);
    ck_assert_str_eq(clpeft_status_text(code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), says), "%s", clpeft_error_message());
    ck_assert_ptr_null(model);
    destroy(v);
}

START_TEST(bad_models_and_batches_are_refused)
{
    tiny_vit *v = make(0, 2);
    const clpeft_model_options options = options_for(v, 0, 0);
    clpeft_batch batch = { .S = 1 };
    clpeft_model *model;
    clpeft_view y;

    refuse("", 10, 0, "multiple of the patch size 3", CLPEFT_INVALID_SIZE);
    refuse("", 0, 16, "max_tokens is 16: an image of 12 pixels has 17 tokens", CLPEFT_INVALID_SIZE);
    refuse(", \"use_swiglu_ffn\": true", 0, 0, "use_swiglu_ffn", CLPEFT_UNSUPPORTED);
    refuse(", \"hidden_act\": \"mish\"", 0, 0, "hidden_act \"mish\"", CLPEFT_UNSUPPORTED);
    v->t.tensor[1].rows--;
    write_model(v, "");
    ck_fails(CLPEFT_INVALID_FILE, "embeddings.position_embeddings is [1,16,24], the model needs [1,17,24]",
             clpeft_model_load(&model, dev.ctx, v->t.dir, NULL));
    v->t.tensor[1].rows++;
    write_model(v, "");
    ck_ok(clpeft_model_load(&model, dev.ctx, v->t.dir, &options));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "the model reads images",
             clpeft_model_forward(model, NULL, &batch, 0, &y, dev.queue, 0, NULL, NULL));
    batch = (clpeft_batch){ .S = 0, .pixels = v->pixels };
    ck_fails(CLPEFT_INVALID_SIZE, "0 images",
             clpeft_model_forward(model, NULL, &batch, 0, &y, dev.queue, 0, NULL, NULL));
    batch.S = 5; /* 25 tokens, of 20 */
    ck_fails(CLPEFT_INVALID_SIZE, "25 tokens",
             clpeft_model_forward(model, NULL, &batch, 0, &y, dev.queue, 0, NULL, NULL));
    clpeft_model_destroy(model);
    destroy(v);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, hidden_states_match_float64, 0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(t, a_fused_layer_is_the_same_model, 0, sizeof fused / sizeof *fused);
    tcase_add_loop_test(t, gradients_match_central_differences, 0, sizeof backwards / sizeof *backwards);
    tcase_add_loop_test(t, a_step_takes_a_batch_in_parts, CLPEFT_POOL_MEAN, CLPEFT_POOL_BOTH + 1);
    tcase_add_loop_test(t, adapters_have_the_names_of_modules, 0, 2);
    tcase_add_loop_test(t, a_fused_layer_is_merged, 0, sizeof merges / sizeof *merges);
    tcase_add_test(t, bad_models_and_batches_are_refused);
}

int main(void)
{
    return run_suite("vit", add, 120);
}
