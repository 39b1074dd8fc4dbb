/* export.c - adapters as GGUF files for llama.cpp, and merged into the weights of a model's file. */
#include "exchange.h"

#include "peft/layout.h"

/* ---- row order -------------------------------------------------------------------------------------------------- */

/* Row 2 j + t of a head in GGUF is row t D/2 + j of Hugging Face's. */
START_TEST(rows_of_rotary_heads_are_permuted)
{
    static const clpeft_model llama = { .info.family = CLPEFT_LLAMA,
                                        .n_modules = 3,
                                        .modules = { { .path = "self_attn.q_proj", .heads = 3, .head_size = 6 },
                                                     { .path = "self_attn.v_proj", .heads = 1, .head_size = 6 },
                                                     { .path = "self_attn.k_proj", .heads = 1, .head_size = 6 } } };
    static const size_t order[18] = { 0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, 12, 15, 13, 16, 14, 17 };
    char name[CLP_GGUF_NAME_SIZE];
    float values[36];

    for (size_t i = 0; i < 36; i++) values[i] = (float)i;
    ck_ok(clp_layout_rows(&llama, 6, 18, 2, values)); /* module 0 of block 2 */
    for (size_t i = 0; i < 18; i++) {
        ck_assert_uint_eq(order[i], clp_layout_row(&llama, 6, i));
        ck_assert(values[2 * i] == (float)(2 * order[i]) && values[2 * i + 1] == (float)(2 * order[i] + 1));
        ck_assert_uint_eq(i, clp_layout_row(&llama, 7, i));
    }
    for (size_t j = 0; j < 3; j++)
        for (size_t t = 0; t < 2; t++) ck_assert_uint_eq(t * 3 + j, clp_layout_row(&llama, 8, 2 * j + t));
    ck_ok(clp_layout_name(&llama, 6, name));
    ck_assert_str_eq("blk.2.attn_q.weight", name);
    ck_assert_str_eq("llama", clp_layout_architecture(&llama));
}
END_TEST

/* ---- GGUF adapter ----------------------------------------------------------------------------------------------- */

static void check_string(const clpeft_file *file, const char *key, const char *value)
{
    const clpeft_meta *meta = clpeft_file_meta_find(file, key);
    ck_assert_msg(meta && meta->type == CLPEFT_META_STRING, "%s", key);
    ck_assert_str_eq(value, meta->string);
}

static float *values_of(const clpeft_file *file, const char *name, size_t rows, size_t cols)
{
    const clpeft_file_tensor *t = clpeft_file_find(file, name);
    ck_assert_msg(t && t->n_dims == 2 && t->dims[0] == rows && t->dims[1] == cols, "%s", name);
    float *values = malloc(rows * cols * sizeof *values);
    ck_ok(clpeft_file_read_f32(t, 0, rows * cols, values));
    return values;
}

static const struct {
    clpeft_method method;
    int rslora;
    const char *sites;
    clpeft_dtype dtype;
} ways[] = {
    { CLPEFT_LORA, 0, "query,value", CLPEFT_F32 },
    { CLPEFT_LORA, 1, "query,1.up:3,0.up:1:0.7,down:2:9", CLPEFT_F32 },
    { CLPEFT_LORA, 0, "output:5,1.key:2:0.01", CLPEFT_F16 },
    { CLPEFT_HORA, 1, "query,value,down", CLPEFT_F32 },
};

/* alpha / rows of A times B A is s B A of every site. */
START_TEST(the_gguf_adapter_computes_the_same)
{
    static const char *const names[MODULES] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down" };
    clpeft_trainer_options o = exchange_options(ways[_i].method);
    o.adapter.rslora = ways[_i].rslora, o.sites = ways[_i].sites;
    exchange x = exchange_start(&o, (tiny){ 0 });
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);
    const double bound = ways[_i].dtype == CLPEFT_F16 ? 2e-3 : 1e-6;
    const clpeft_site *sites;
    clpeft_file *file;
    char name[60];

    ck_ok(clpeft_gguf_export(adapter, x.model, exchange_path(&x, "a.gguf"), ways[_i].dtype,
                             clpeft_trainer_queue(x.trainer)));
    ck_ok(clpeft_file_open(&file, exchange_path(&x, "a.gguf")));
    check_string(file, "general.type", "adapter");
    check_string(file, "general.architecture", "bert");
    check_string(file, "adapter.type", "lora");
    const double alpha = clpeft_file_meta_find(file, "adapter.lora.alpha")->number;
    expect_near(alpha, ways[_i].rslora ? 6 * sqrt(2) : 6, 1e-6, "alpha");
    const size_t n = clpeft_adapter_sites(adapter, &sites);
    ck_assert_uint_eq(2 * n, clpeft_file_tensors(file));
    for (size_t i = 0; i < n; i++) {
        const clpeft_site *s = &sites[i];
        const size_t r = s->rank ? s->rank : 2, N = s->heads * s->head_size, K = clpeft_linear_columns(s->linear);
        const double site_alpha = s->alpha > 0 ? (double)s->alpha : 6,
                     scale = site_alpha / (ways[_i].rslora ? sqrt((double)r) : (double)r);
        float *a = malloc(r * K * 4), *b = malloc(N * r * 4);
        int module = 0;
        while (strcmp(module_names[module], s->name) != 0) module++;
        ck_ok(clpeft_adapter_read_site(adapter, i, a, b, NULL, NULL, NULL, NULL));
        snprintf(name, sizeof name, "blk.%zu.%s.weight.lora_a", s->block, names[module]);
        float *file_a = values_of(file, name, r, K);
        name[strlen(name) - 1] = 'b';
        float *file_b = values_of(file, name, N, r);
        for (size_t e = 0; e < N * K; e++) {
            double want = 0, have = 0, size = 0;
            for (size_t p = 0; p < r; p++) {
                const double term = scale * (double)b[e / K * r + p] * (double)a[p * K + e % K];
                want += term, size += fabs(term);
                have += alpha / (double)r * (double)file_b[e / K * r + p] * (double)file_a[p * K + e % K];
            }
            expect_near(have, want, bound * size + 1e-6 * bound, "%s element %zu", name, e);
        }
        free(a), free(b), free(file_a), free(file_b);
    }
    clpeft_file_close(file);
    exchange_end(&x);
}
END_TEST

START_TEST(magnitudes_have_no_gguf_adapter)
{
    const clpeft_trainer_options o = exchange_options(_i ? CLPEFT_DORAN : CLPEFT_DORA);
    exchange x = exchange_start(&o, (tiny){ 0 });
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);

    ck_fails(CLPEFT_UNSUPPORTED, "merge this one into the model instead",
             clpeft_gguf_export(adapter, x.model, exchange_path(&x, "a.gguf"), CLPEFT_F32, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "neither F32 nor F16",
             clpeft_gguf_export(adapter, x.model, exchange_path(&x, "a.gguf"), CLPEFT_BF16, NULL));
    exchange_end(&x);
}
END_TEST

/* ---- merged weights --------------------------------------------------------------------------------------------- */

/* Hidden states of the batch, [T,D]. */
static void states_of(clpeft_model *model, clpeft_adapter *adapter, float *states)
{
    clpeft_model_info info;
    clpeft_view y;
    clpeft_model_get_info(model, &info);
    if (adapter) ck_ok(clpeft_adapter_materialize(adapter, 0, 0, dev.queue, 0, NULL, NULL));
    ck_ok(clpeft_model_forward(model, adapter, &tiny_batch, 0, &y, dev.queue, 0, NULL, NULL));
    read_view(y, T, info.width, states);
}

static const struct {
    clpeft_method method;
    const char *sites, *prefix;
    clpeft_dtype base, dtype, result;
    double bound;
} merges[] = {
    { CLPEFT_LORA, "query,value", NULL, CLPEFT_F32, CLPEFT_OTHER, CLPEFT_F32, 1e-4 },
    { CLPEFT_DORAN, "all", "bert.", CLPEFT_F32, CLPEFT_OTHER, CLPEFT_F32, 1e-4 },
    { CLPEFT_HORA, "1.down,0.down,2.down", "roberta.", CLPEFT_F16, CLPEFT_OTHER, CLPEFT_F16, 0.05 },
    { CLPEFT_DORA, "2.output,key:3:1", NULL, CLPEFT_F16, CLPEFT_F32, CLPEFT_F32, 1e-4 },
    { CLPEFT_DORA, "up", NULL, CLPEFT_F32, CLPEFT_BF16, CLPEFT_BF16, 0.5 },
};

/* The merged file is the model's but for the adapted layers, and computes what the adapter did beside it. */
START_TEST(the_merged_model_computes_the_same)
{
    clpeft_trainer_options o = exchange_options(merges[_i].method);
    float before[T * 24], after[T * 24];
    clpeft_model *merged;
    size_t changed = 0, n;
    clpeft_file *base, *file;
    char path[100];

    o.sites = merges[_i].sites;
    exchange x = exchange_start(&o, (tiny){ .prefix = merges[_i].prefix, .dtype = merges[_i].base });
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);
    const clpeft_site *sites;
    n = clpeft_adapter_sites(adapter, &sites);
    states_of(x.model, adapter, before);
    ck_ok(clpeft_merge_write(adapter, x.model, x.files.dir, exchange_path(&x, "model.safetensors"), merges[_i].dtype,
                             NULL));
    snprintf(path, sizeof path, "%s/model.safetensors", x.files.dir);
    ck_ok(clpeft_file_open(&base, path));
    ck_ok(clpeft_file_open(&file, exchange_path(&x, "model.safetensors")));
    ck_assert_uint_eq(clpeft_file_tensors(base), clpeft_file_tensors(file));
    for (size_t i = 0; i < clpeft_file_tensors(base); i++) {
        const clpeft_file_tensor *a = clpeft_file_tensor_at(base, i), *b = clpeft_file_find(file, a->name);
        ck_assert_ptr_nonnull(b);
        ck_assert_uint_eq(a->elements, b->elements);
        if (a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0) continue;
        ck_assert_int_eq(merges[_i].result, b->dtype);
        changed++;
    }
    ck_assert_uint_eq(n, changed);
    clpeft_file_close(base), clpeft_file_close(file);

    size_t size;
    snprintf(path, sizeof path, "%s/config.json", x.files.dir);
    char *config = file_bytes(path, &size);
    ck_ok(clpeft_file_replace(exchange_path(&x, "config.json"), config, size));
    free(config);
    ck_ok(clpeft_model_load(&merged, dev.ctx, x.dir, &tiny_options));
    states_of(merged, NULL, after);
    for (size_t i = 0; i < T * 24; i++) expect_near(after[i], before[i], merges[_i].bound, "state %zu", i);
    clpeft_model_destroy(merged);
    exchange_end(&x);
}
END_TEST

/* The same weights under the names of GGUF: merged tensors keep their type, others go to one that can be written. */
START_TEST(gguf_files_are_merged)
{
    enum { WIDTH = 64, FFN = 96, LAYERS = 2 };
    clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    o.sites = "query,down";
    exchange x = exchange_start(&o, (tiny){ .V = 37, .P = 19, .D = WIDTH, .H = 4, .F = FFN, .L = LAYERS });
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);
    static const char *const types[] = { "Q8_0", "BF16" };
    unsigned char block[2 * WIDTH * FFN] = { 0 };
    clpeft_write_tensor tensor[LAYERS * 2 + 2];
    char names[LAYERS * 2][40];
    const clpeft_gguf_meta metas[] = { { .key = "general.architecture", .type = CLPEFT_GGUF_STRING, .string = "bert" },
                                       { .key = "bert.block_count", .type = CLPEFT_GGUF_U32, .u32 = LAYERS } };
    size_t n = 0;
    clpeft_file *file;

    for (size_t b = 0; b < LAYERS; b++) {
        snprintf(names[2 * b], sizeof names[0], "blk.%zu.attn_q.weight", b);
        snprintf(names[2 * b + 1], sizeof names[0], "blk.%zu.ffn_down.weight", b);
        tensor[n++] =
            (clpeft_write_tensor){ names[2 * b], b ? CLPEFT_Q4_1 : CLPEFT_BF16, NULL, 2, { WIDTH, WIDTH }, block };
        tensor[n++] = (clpeft_write_tensor){ names[2 * b + 1], CLPEFT_Q8_0, NULL, 2, { WIDTH, FFN }, block };
    }
    tensor[n++] = (clpeft_write_tensor){ "other", CLPEFT_OTHER, "Q5_0",
                                         2,       { 2, 32 },    "0123456789abcdefghijkl0123456789abcdefghijkl" };
    ck_ok(clpeft_gguf_write(exchange_path(&x, "base.gguf"), metas, 2, tensor, n));
    for (int k = 0; k < 2; k++) {
        ck_ok(clpeft_merge_write(adapter, x.model, exchange_path(&x, "base.gguf"), exchange_path(&x, "merged.gguf"),
                                 k ? CLPEFT_BF16 : CLPEFT_OTHER, NULL));
        ck_ok(clpeft_file_open(&file, exchange_path(&x, "merged.gguf")));
        check_string(file, "general.architecture", "bert");
        ck_assert_int_eq(LAYERS, clpeft_file_meta_find(file, "bert.block_count")->integer);
        ck_assert_str_eq("Q5_0", clpeft_file_find(file, "other")->dtype_name);
        ck_assert_int_eq(0, memcmp(clpeft_file_find(file, "other")->data, tensor[n - 1].data, 44));
        ck_assert_str_eq("BF16", clpeft_file_find(file, "blk.0.attn_q.weight")->dtype_name);
        ck_assert_str_eq(types[k], clpeft_file_find(file, "blk.1.attn_q.weight")->dtype_name);
        const clpeft_site *sites;
        for (size_t i = clpeft_adapter_sites(adapter, &sites); i-- > 0;) {
            const clpeft_site *s = &sites[i];
            const size_t N = s->heads * s->head_size, K = clpeft_linear_columns(s->linear);
            float *want = malloc(N * K * 4),
                  *have = values_of(file, names[2 * s->block + (strcmp(s->name, "down") == 0)], N, K);
            ck_ok(clpeft_adapter_merge(adapter, s->linear, s->row, N, want, NULL));
            for (size_t e = 0; e < N * K; e++) expect_near(have[e], want[e], 0.02, "%s %zu", s->name, e);
            free(want), free(have);
        }
        clpeft_file_close(file);
    }
    ck_fails(CLPEFT_UNSUPPORTED, "not written as Q4_0",
             clpeft_merge_write(adapter, x.model, exchange_path(&x, "base.gguf"), exchange_path(&x, "m.gguf"),
                                CLPEFT_Q4_0, NULL));
    ck_fails(CLPEFT_UNSUPPORTED, "not written as Q8_0",
             clpeft_merge_write(adapter, x.model, x.files.dir, exchange_path(&x, "m.safetensors"), CLPEFT_Q8_0, NULL));
    ck_ok(clpeft_gguf_write(exchange_path(&x, "base.gguf"), metas, 2, tensor, 3));
    ck_fails(CLPEFT_INVALID_FILE, "blk.1.ffn_down.weight is missing: this is not the model's file",
             clpeft_merge_write(adapter, x.model, exchange_path(&x, "base.gguf"), exchange_path(&x, "m.gguf"),
                                CLPEFT_OTHER, NULL));
    ck_ok(clpeft_safetensors_write(exchange_path(&x, "model.safetensors"), NULL, 0, tensor, 1));
    ck_fails(CLPEFT_INVALID_FILE, ".weight is missing",
             clpeft_merge_write(adapter, x.model, x.dir, exchange_path(&x, "m.safetensors"), CLPEFT_OTHER, NULL));
    ck_fails(CLPEFT_FILE_ERROR, "No such file",
             clpeft_merge_write(adapter, x.model, exchange_path(&x, "none"), exchange_path(&x, "m.gguf"), CLPEFT_OTHER,
                                NULL));
    exchange_end(&x);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, rows_of_rotary_heads_are_permuted);
    tcase_add_loop_test(t, the_gguf_adapter_computes_the_same, 0, sizeof ways / sizeof *ways);
    tcase_add_loop_test(t, magnitudes_have_no_gguf_adapter, 0, 2);
    tcase_add_loop_test(t, the_merged_model_computes_the_same, 0, sizeof merges / sizeof *merges);
    tcase_add_test(t, gguf_files_are_merged);
}

int main(void)
{
    return run_suite("export", add, 120);
}
