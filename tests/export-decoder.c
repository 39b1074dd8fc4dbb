/* export-decoder.c - adapters of a decoder leave for PEFT and llama.cpp and come back, whatever file the model was loaded from; merged
 * weights compute the same, and the GGUF adapter beside the base is the merged GGUF. */
#include "decoder.h"

/* An adapter with random values on a model. */
typedef struct {
    clpeft_model *model;
    clpeft_params *params;
    clpeft_adapter *adapter;
} adapted;

static void load_model(clpeft_model **model, const char *path)
{
    ck_ok(clpeft_model_load(model, dev.ctx, path, &decoder_options));
}

static void make_adapter(adapted *x, const char *list, const clpeft_adapter_config *config)
{
    clpeft_site *sites;
    size_t n;
    ck_ok(clpeft_model_sites(x->model, list, &sites, &n));
    ck_ok(clpeft_params_create(&x->params, dev.ctx));
    ck_ok(clpeft_adapter_create(&x->adapter, x->params, sites, n, config));
    ck_ok(clpeft_params_allocate(x->params));
    free(sites);
}

static adapted start(decoder *m, const char *list, const clpeft_adapter_config *config)
{
    adapted x;
    load_model(&x.model, m->path);
    make_adapter(&x, list, config);
    for (size_t i = 0; i < clpeft_params_count(x.params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(x.params, i);
        float *values = malloc(4 * t->size);
        ck_ok(clpeft_params_read(x.params, CLPEFT_THETA, t, values, dev.queue));
        for (size_t e = 0; e < t->size; e++) values[e] += 0.15f * random_float();
        ck_ok(clpeft_params_write(x.params, CLPEFT_THETA, t, values, dev.queue));
        free(values);
    }
    return x;
}

static void end(adapted *x)
{
    clpeft_adapter_destroy(x->adapter);
    clpeft_params_destroy(x->params);
    clpeft_model_destroy(x->model);
}

/* Last hidden states, [TOKENS,D]; free(). */
static float *states(clpeft_model *model, clpeft_adapter *adapter, size_t D)
{
    float *y = malloc(TOKENS * D * sizeof *y);
    clpeft_view view;
    if (adapter) ck_ok(clpeft_adapter_materialize(adapter, 0, 0, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(model, adapter, &decoder_batch, 0, &view, dev.queue, 0, NULL, NULL));
    read_rows(view, TOKENS, D, y);
    return y;
}

static void expect_same(const float *have, const float *want, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++) expect_near(have[i], want[i], bound, "value %zu", i);
}

static void write_base(decoder *m, int gguf, clpeft_dtype dtype)
{
    if (gguf)
        decoder_write_gguf(m, dtype, SIZE_MAX);
    else
        decoder_write_folder(m, dtype, "");
}

static const struct {
    clpeft_method method;
    const char *sites;
    int rslora, gguf;
    clpeft_dtype dtype, merged;
    double bound;
} ways[] = {
    { CLPEFT_LORA, "q_proj,v_proj", 0, 0, CLPEFT_F32, CLPEFT_OTHER, 1e-4 },
    { CLPEFT_LORA, "all", 1, 1, CLPEFT_F32, CLPEFT_OTHER, 1e-4 },
    { CLPEFT_LORA, "key:5:3,1.query,2.down:1", 1, 1, CLPEFT_Q8_0, CLPEFT_F32, 1e-4 },
    { CLPEFT_DORAN, "q_proj,k_proj,gate_proj", 0, 1, CLPEFT_F32, CLPEFT_OTHER, 1e-4 },
    { CLPEFT_HORA, "q_proj,v_proj", 0, 1, CLPEFT_F16, CLPEFT_OTHER, 0.05 },
    { CLPEFT_DORA, "k_proj,o_proj,up_proj", 0, 0, CLPEFT_BF16, CLPEFT_F32, 1e-4 },
};

static adapted start_way(decoder *m, int i)
{
    clpeft_adapter_config config = clpeft_adapter_defaults(ways[i].method);
    *m = decoder_make((decoder){ .dtype = ways[i].dtype });
    config.rank = 2, config.alpha = 3, config.rslora = ways[i].rslora;
    config.seed_width = config.hidden_width = 6;
    write_base(m, ways[i].gguf, ways[i].dtype);
    return start(m, ways[i].sites, &config);
}

START_TEST(the_merged_model_computes_the_same)
{
    decoder m;
    adapted x = start_way(&m, _i);
    float *before = states(x.model, x.adapter, m.D), *plain = states(x.model, NULL, m.D), distance = 0;
    clpeft_model *merged;
    char path[100];

    snprintf(path, sizeof path, "%s/%s", m.dir, ways[_i].gguf ? "merged.gguf" : "model.safetensors");
    ck_ok(clpeft_merge_write(x.adapter, x.model, m.path, path, ways[_i].merged, dev.queue)); /* a folder: in place */
    load_model(&merged, ways[_i].gguf ? path : m.path);
    float *after = states(merged, NULL, m.D);
    expect_same(after, before, TOKENS * m.D, ways[_i].bound);
    for (size_t i = 0; i < TOKENS * m.D; i++) distance = fmaxf(distance, fabsf(plain[i] - before[i]));
    ck_assert_msg(distance > 0.2f, "the adapter changes states by %g only", (double)distance);
    free(before), free(after), free(plain);
    clpeft_model_destroy(merged);
    if (ways[_i].gguf) unlink(path);
    end(&x);
    decoder_free(&m);
}
END_TEST

/* What llama.cpp makes of base and adapter, W + alpha / r B A, is in its file format what the merged file holds. */
START_TEST(the_gguf_adapter_is_the_merged_model)
{
    decoder m;
    adapted x = start_way(&m, _i);
    clpeft_file *base, *merged, *adapter;
    char path[2][100];
    size_t pairs = 0;

    snprintf(path[0], sizeof path[0], "%s/adapter.gguf", m.dir);
    snprintf(path[1], sizeof path[1], "%s/merged.gguf", m.dir);
    ck_ok(clpeft_gguf_export(x.adapter, x.model, path[0], CLPEFT_F32, dev.queue));
    decoder_write_gguf(&m, CLPEFT_F32, SIZE_MAX); /* also where the adapter's own model is a folder */
    ck_ok(clpeft_merge_write(x.adapter, x.model, m.path, path[1], CLPEFT_OTHER, dev.queue));
    ck_ok(clpeft_file_open(&base, m.path));
    ck_ok(clpeft_file_open(&merged, path[1]));
    ck_ok(clpeft_file_open(&adapter, path[0]));
    const double alpha = clpeft_file_meta_find(adapter, "adapter.lora.alpha")->number;
    ck_assert_str_eq("llama", clpeft_file_meta_find(adapter, "general.architecture")->string);
    for (size_t i = 0; i < clpeft_file_tensors(base); i++) {
        const clpeft_file_tensor *w = clpeft_file_tensor_at(base, i), *v = clpeft_file_find(merged, w->name);
        char name[100];
        snprintf(name, sizeof name, "%s.lora_a", w->name);
        const clpeft_file_tensor *a = clpeft_file_find(adapter, name);
        name[strlen(name) - 1] = 'b';
        const clpeft_file_tensor *b = clpeft_file_find(adapter, name);
        ck_assert(!a == !b);
        if (!a) ck_assert_int_eq(0, memcmp(w->data, v->data, w->bytes));
        if (!a) continue;
        const size_t N = w->dims[0], K = w->dims[1], r = a->dims[0];
        float *values = malloc((2 * N * K + r * (N + K)) * 4), *fv = values + N * K, *fa = fv + N * K, *fb = fa + r * K;
        ck_ok(clpeft_file_read_f32(w, 0, N * K, values));
        ck_ok(clpeft_file_read_f32(v, 0, N * K, fv));
        ck_ok(clpeft_file_read_f32(a, 0, r * K, fa));
        ck_ok(clpeft_file_read_f32(b, 0, N * r, fb));
        for (size_t e = 0; e < N * K; e++) {
            double sum = values[e];
            for (size_t p = 0; p < r; p++)
                sum += alpha / (double)r * (double)fb[e / K * r + p] * (double)fa[p * K + e % K];
            expect_near(fv[e], sum, 1e-6, "%s element %zu", w->name, e);
        }
        free(values);
        pairs++;
    }
    ck_assert_uint_eq(2 * pairs, clpeft_file_tensors(adapter));
    ck_assert_uint_eq(pairs, clpeft_adapter_sites(x.adapter, NULL));
    clpeft_file_close(base), clpeft_file_close(merged), clpeft_file_close(adapter);
    unlink(path[0]), unlink(path[1]);
    end(&x);
    decoder_free(&m);
}
END_TEST

/* Exported from a model that one kind of file gave, loaded on the one that the other gives. */
START_TEST(peft_folders_fit_either_file)
{
    decoder m;
    adapted x = start_way(&m, _i), y = { 0 };
    clpeft_peft_info info;
    clpeft_peft *peft;
    clpeft_file *file;
    char path[100];

    float *before = states(x.model, x.adapter, m.D);
    snprintf(path, sizeof path, "%s/peft", m.dir);
    ck_ok(clpeft_peft_export(x.adapter, x.model, path, NULL, dev.queue));
    write_base(&m, !ways[_i].gguf, ways[_i].gguf && ways[_i].dtype == CLPEFT_Q8_0 ? CLPEFT_F32 : ways[_i].dtype);
    load_model(&y.model, m.path);
    ck_ok(clpeft_peft_open(&peft, y.model, path));
    clpeft_peft_get_info(peft, &info);
    ck_assert_str_eq("CAUSAL_LM", info.task_type);
    make_adapter(&y, info.sites, &info.adapter);
    ck_ok(clpeft_peft_load(peft, y.adapter, 0, dev.queue));
    float *after = states(y.model, y.adapter, m.D);
    expect_same(after, before, TOKENS * m.D, 1e-4);
    clpeft_peft_close(peft);
    snprintf(path, sizeof path, "%s/peft/adapter_model.safetensors", m.dir);
    ck_ok(clpeft_file_open(&file, path));
    ck_assert_int_eq(0, strncmp("base_model.model.model.layers.", clpeft_file_tensor_at(file, 0)->name, 30));
    clpeft_file_close(file);
    unlink(path);
    snprintf(path, sizeof path, "%s/peft/adapter_config.json", m.dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/peft", m.dir);
    rmdir(path);
    free(before), free(after);
    end(&x), end(&y);
    decoder_free(&m);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, the_merged_model_computes_the_same, 0, sizeof ways / sizeof *ways);
    tcase_add_loop_test(t, the_gguf_adapter_is_the_merged_model, 0, 3);
    tcase_add_loop_test(t, peft_folders_fit_either_file, 0, sizeof ways / sizeof *ways);
}

int main(void)
{
    return run_suite("export-decoder", add, 120);
}
