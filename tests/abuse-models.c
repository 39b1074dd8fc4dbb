/* abuse-models.c - wrong arguments to the functions of models, trainers, files and exports, as abuse.c has them. */
#include "abuse.h"

/* ---- models and trainers -------------------------------------------------------------------------------------------------------- */

START_TEST(models_refuse)
{
    const int32_t from_one[] = { 1, 2 }, falling[] = { 0, 5, 3 }, long_rows[] = { 0, INT32_MAX },
                  bad_token[] = { 9999 }, one[] = { 0, 1 };
    clpeft_model *m;
    clpeft_model_cache *cache;
    clpeft_site *sites;
    clpeft_model_info info;
    clpeft_batch b;
    clpeft_view y;
    size_t n;
    char path[200];

    refused("model", clpeft_model_load(NULL, dev.ctx, x.files.dir, NULL));
    refused("ctx", clpeft_model_load(&m, NULL, x.files.dir, NULL));
    refused("path", clpeft_model_load(&m, dev.ctx, NULL, NULL));
    refused("/nowhere", clpeft_model_load(&m, dev.ctx, "/nowhere", NULL));
#define OPTIONS(...) clpeft_model_load(&m, dev.ctx, x.files.dir, &(clpeft_model_options){ __VA_ARGS__ })
    refused("max_tokens", OPTIONS(.max_tokens = SIZE_MAX));
    refused("max_sequences", OPTIONS(.max_sequences = SIZE_MAX));
    refused("max_length", OPTIONS(.max_length = SIZE_MAX));
    refused("weights", OPTIONS(.weights = CLPEFT_Q4_0));
    refused("weights", OPTIONS(.weights = (clpeft_dtype)-1));

    refused("model", clpeft_model_sites(NULL, "all", &sites, &n));
    refused("list", clpeft_model_sites(x.model, NULL, &sites, &n));
    refused("sites", clpeft_model_sites(x.model, "all", NULL, &n));
    refused("query", clpeft_model_sites(x.model, "nothing", &sites, &n));
    refused("twice", clpeft_model_sites(x.model, "query,query", &sites, &n));
    refused("rank", clpeft_model_sites(x.model, "query:0", &sites, &n));
    refused("blocks", clpeft_model_sites(x.model, "999.query", &sites, &n));
    ck_ok(clpeft_model_sites(x.model, "query", &sites, &n));
    refused("model", clpeft_model_site_path(NULL, sites, path, sizeof path));
    refused("site", clpeft_model_site_path(x.model, NULL, path, sizeof path));
    refused("path", clpeft_model_site_path(x.model, sites, NULL, sizeof path));
    refused("size", clpeft_model_site_path(x.model, sites, path, 0));
    refused("size", clpeft_model_site_path(x.model, sites, path, 3));
    sites[0].block = SIZE_MAX;
    refused("block", clpeft_model_site_path(x.model, sites, path, sizeof path));
    free(sites);

    clpeft_model_get_info(NULL, &info);
    clpeft_model_get_info(x.model, NULL);
    ck_assert_ptr_null(clpeft_model_row_start(NULL).buf);
    clpeft_model_destroy(NULL);

#define RUN(b) clpeft_model_forward(x.model, adapter, b, 0, &y, Q)
    ck_ok(RUN(&tiny_batch));
    refused("model", clpeft_model_forward(NULL, adapter, &tiny_batch, 0, &y, Q));
    refused("y is NULL", clpeft_model_forward(x.model, adapter, &tiny_batch, 0, NULL, Q));
    refused("queue", clpeft_model_forward(x.model, adapter, &tiny_batch, 0, &y, far.queue, 0, NULL, NULL));
    refused("keep", clpeft_model_forward(x.model, NULL, &tiny_batch, 1, &y, Q));
    refused("adapter", clpeft_model_forward(far.model, adapter, &tiny_batch, 0, &y, far.queue, 0, NULL, NULL));
    refused("batch", RUN(NULL));
    b = tiny_batch, b.S = 0;
    refused("0 sequences", RUN(&b));
    b = tiny_batch, b.tokens = NULL;
    refused("tokens", RUN(&b));
    b = tiny_batch, b.row_start = NULL;
    refused("row_start", RUN(&b));
    b = tiny_batch, b.S = 1, b.row_start = from_one;
    refused("row_start", RUN(&b));
    b.S = 2, b.row_start = falling;
    refused("row_start", RUN(&b));
    b.S = 1, b.row_start = long_rows;
    refused("tokens", RUN(&b));
    b.row_start = one, b.tokens = bad_token;
    refused("token 0", RUN(&b));
    refused("model", clpeft_model_backward(NULL, adapter, ok, Q));
    refused("adapter", clpeft_model_backward(x.model, NULL, ok, Q));
    refused("forward", clpeft_model_backward(x.model, adapter, ok, Q));

    refused("cache", clpeft_model_cache_create(NULL, x.model, 0));
    refused("model", clpeft_model_cache_create(&cache, NULL, 0));
    refused("language", clpeft_model_cache_create(&cache, x.model, 0));
    refused("cache", clpeft_model_next_logits(NULL, NULL, 1, one, host, dev.queue));
    ck_assert_uint_eq(0, clpeft_model_cache_length(NULL));
    clpeft_model_cache_cut(NULL, 0);
    clpeft_model_cache_destroy(NULL);
}
END_TEST

START_TEST(trainers_refuse)
{
    static const int32_t large[] = { 0, 1, 2, 3, 0 };
    const clpeft_trainer_options good = exchange_options(CLPEFT_LORA);
    clpeft_trainer_options o;
    clpeft_trainer *t;
    clpeft_batch b = tiny_batch;
    char sites[64];

    refused("trainer", clpeft_trainer_create(NULL, x.model, &good));
    refused("model", clpeft_trainer_create(&t, NULL, &good));
    refused("options", clpeft_trainer_create(&t, x.model, NULL));
    o = good, o.classes = 1;
    refused("classes", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.classes = SIZE_MAX;
    refused("classes", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.sites = "";
    refused("module", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.adamw.lr = -1;
    refused("lr", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.pool = (clpeft_pool)17;
    refused("pool", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.task = (clpeft_task)17;
    refused("task", clpeft_trainer_create(&t, x.model, &o));
    o = good, o.task = CLPEFT_LANGUAGE_MODEL, o.classes = 0;
    refused("language", clpeft_trainer_create(&t, x.model, &o));

    refused("trainer", clpeft_train_step(NULL, &b, NULL));
    refused("batch", clpeft_train_step(x.trainer, NULL, NULL));
    refused("labels", clpeft_train_step(x.trainer, &b, NULL));
    b.labels = large;
    refused("label 3", clpeft_train_step(x.trainer, &b, NULL));
    refused("trainer", clpeft_train_begin(NULL));
    refused("begin", clpeft_train_gradient(x.trainer, &b, 1));
    refused("trainer", clpeft_train_gradient(NULL, &b, 1));
    refused("begin", clpeft_train_collect(x.trainer));
    refused("trainer", clpeft_train_collect(NULL));
    refused("collect", clpeft_train_update(x.trainer, NULL));
    refused("trainer", clpeft_train_update(NULL, NULL));
    ck_ok(clpeft_train_begin(x.trainer));
    refused("weight", clpeft_train_gradient(x.trainer, &b, INFINITY));
    refused("batch", clpeft_train_gradient(x.trainer, NULL, 1));
    refused("collect", clpeft_train_update(x.trainer, NULL));
    refused("begin", clpeft_trainer_save(x.trainer, exchange_path(&x, "checkpoint"), NULL, 0));
    refused("begin", clpeft_trainer_evaluate(x.trainer, &b, host, NULL, NULL));
    ck_ok(clpeft_train_collect(x.trainer));
    ck_ok(clpeft_train_update(x.trainer, NULL));
    refused("trainer", clpeft_trainer_evaluate(NULL, &b, host, NULL, NULL));
    refused("batch", clpeft_trainer_evaluate(x.trainer, NULL, host, NULL, NULL));
    refused("labels", clpeft_trainer_evaluate(x.trainer, &tiny_batch, NULL, NULL, host));

    refused("trainer", clpeft_trainer_save(NULL, "/tmp/none", NULL, 0));
    refused("path", clpeft_trainer_save(x.trainer, NULL, NULL, 0));
    refused("extra", clpeft_trainer_save(x.trainer, exchange_path(&x, "checkpoint"), NULL, 1));
    refused("/nowhere", clpeft_trainer_save(x.trainer, "/nowhere/checkpoint", NULL, 0));
    refused("key", clpeft_trainer_save(x.trainer, exchange_path(&x, "checkpoint"), &(clpeft_write_meta){ 0 }, 1));
    refused("trainer", clpeft_trainer_load(NULL, x.model, "/nowhere"));
    refused("model", clpeft_trainer_load(&t, NULL, "/nowhere"));
    refused("path", clpeft_trainer_load(&t, x.model, NULL));
    refused("/nowhere", clpeft_trainer_load(&t, x.model, "/nowhere"));
    refused("path", clpeft_trainer_peek(NULL, &o, sites, sizeof sites));
    refused("options", clpeft_trainer_peek("/nowhere", NULL, sites, sizeof sites));
    refused("sites", clpeft_trainer_peek("/nowhere", &o, NULL, 0));
    ck_ok(clpeft_trainer_save(x.trainer, exchange_path(&x, "checkpoint"), NULL, 0));
    refused("sites", clpeft_trainer_peek(exchange_path(&x, "checkpoint"), &o, sites, 3));
    ck_assert_ptr_null(clpeft_trainer_model(NULL));
    ck_assert_ptr_null(clpeft_trainer_adapter(NULL));
    ck_assert_ptr_null(clpeft_trainer_params(NULL));
    ck_assert_ptr_null(clpeft_trainer_queue(NULL));
    ck_assert_ptr_null(clpeft_trainer_get_options(NULL));
    ck_assert_uint_eq(0, clpeft_trainer_steps(NULL));
    clpeft_trainer_destroy(NULL);
    (void)clpeft_trainer_defaults((clpeft_method)99);
    (void)clpeft_adapter_defaults((clpeft_method)99);
}
END_TEST

/* ---- files ------------------------------------------------------------------------------------------------------------------------ */

START_TEST(files_refuse)
{
    const clpeft_write_tensor good = { .name = "a", .n_dims = 1, .dims = { 4 }, .data = host };
    clpeft_write_tensor t;
    clpeft_file *f;
    clpeft_meta item;
    char path[400];

    snprintf(path, sizeof path, "%s", exchange_path(&x, "file"));
    refused("file", clpeft_file_open(NULL, path));
    refused("path", clpeft_file_open(&f, NULL));
    refused("/nowhere", clpeft_file_open(&f, "/nowhere"));
    refused("regular", clpeft_file_open(&f, "/tmp"));
    clpeft_file_close(NULL);
    (void)clpeft_file_format(NULL);
    ck_assert_uint_eq(0, clpeft_file_tensors(NULL) + clpeft_file_metas(NULL));
    ck_assert_ptr_null(clpeft_file_tensor_at(NULL, 0));
    ck_assert_ptr_null(clpeft_file_find(NULL, "a"));
    ck_assert_ptr_null(clpeft_file_meta_at(NULL, 0));
    ck_assert_ptr_null(clpeft_file_meta_find(NULL, "a"));
    ck_assert_int_eq(0, clpeft_file_meta_item(NULL, NULL, 0, &item));

#define WRITERS(text, metas, n_metas, tensors, n)                                                         \
    refused(text, clpeft_safetensors_write(path, (const clpeft_write_meta *)metas, n_metas, tensors, n)); \
    refused(text, clpeft_gguf_write(path, (const clpeft_gguf_meta *)metas, n_metas, tensors, n));
    refused("path", clpeft_safetensors_write(NULL, NULL, 0, &good, 1));
    refused("path", clpeft_gguf_write(NULL, NULL, 0, &good, 1));
    WRITERS("metas", NULL, 1, &good, 1)
    WRITERS("tensors", NULL, 0, NULL, 1)
    t = good, t.name = NULL;
    WRITERS("name", NULL, 0, &t, 1)
    t = good, t.data = NULL;
    WRITERS("data", NULL, 0, &t, 1)
    t = good, t.n_dims = 5;
    WRITERS("dimensions", NULL, 0, &t, 1)
    t = good, t.n_dims = SIZE_MAX;
    WRITERS("dimensions", NULL, 0, &t, 1)
    t = good, t.n_dims = 2, t.dims[0] = t.dims[1] = (uint64_t)1 << 40;
    WRITERS("overflow", NULL, 0, &t, 1)
    t = good, t.dtype = (clpeft_dtype)99;
    WRITERS("type", NULL, 0, &t, 1)
    t = good, t.dtype = CLPEFT_OTHER;
    WRITERS("type", NULL, 0, &t, 1)
    t = good, t.dtype = CLPEFT_Q4_0;
    refused("block", clpeft_gguf_write(path, NULL, 0, &t, 1));
    refused("key", clpeft_safetensors_write(path, &(clpeft_write_meta){ 0 }, 1, &good, 1));
    refused("key", clpeft_gguf_write(path, &(clpeft_gguf_meta){ 0 }, 1, &good, 1));
    refused("k", clpeft_gguf_write(path, &(clpeft_gguf_meta){ .key = "k" }, 1, &good, 1));
    refused("k", clpeft_gguf_write(path, &(clpeft_gguf_meta){ .key = "k", .type = CLPEFT_GGUF_COPY }, 1, &good, 1));
    refused("path", clpeft_file_replace(NULL, host, 4));
    refused("bytes", clpeft_file_replace(path, NULL, 4));
    refused("/nowhere", clpeft_file_replace("/nowhere/file", host, 4));

    ck_ok(clpeft_safetensors_write(path, NULL, 0, &good, 1));
    ck_ok(clpeft_file_open(&f, path));
    const clpeft_file_tensor *a = clpeft_file_tensor_at(f, 0);
    ck_assert_ptr_null(clpeft_file_tensor_at(f, SIZE_MAX));
    ck_assert_ptr_null(clpeft_file_meta_at(f, SIZE_MAX));
    ck_assert_ptr_null(clpeft_file_find(f, NULL));
    ck_assert_ptr_null(clpeft_file_meta_find(f, NULL));
    ck_assert_int_eq(0, clpeft_file_meta_item(f, clpeft_file_meta_at(f, 0), 0, &item));
    ck_assert_int_eq(0, clpeft_file_meta_item(f, &item, 0, NULL));
    refused("tensor", clpeft_file_read_f32(NULL, 0, 1, host));
    refused("out", clpeft_file_read_f32(a, 0, 1, NULL));
    refused("elements", clpeft_file_read_f32(a, 4, 1, host));
    refused("elements", clpeft_file_read_f32(a, 1, UINT64_MAX, host));
    clpeft_file_close(f);
    refused("other", clpeft_dtype_from_f32((clpeft_dtype)99, host, 4, host));
    refused("in or out", clpeft_dtype_from_f32(CLPEFT_F16, NULL, 4, host));
    refused("block", clpeft_dtype_from_f32(CLPEFT_Q8_0, host, 4, host));
    refused("I64", clpeft_dtype_to_f32(CLPEFT_I64, host, 4, host));
    refused("in or out", clpeft_dtype_to_f32(CLPEFT_F16, host, 4, NULL));
    ck_assert_uint_eq(0, clpeft_dtype_block((clpeft_dtype)99) + clpeft_dtype_bytes((clpeft_dtype)-1));
    ck_assert_ptr_nonnull(clpeft_dtype_name((clpeft_dtype)99));
}
END_TEST

START_TEST(exports_refuse)
{
    clpeft_trainer_options o = exchange_options(CLPEFT_LORA);
    clpeft_peft_options peft = { .dtype = CLPEFT_Q4_0 };
    clpeft_peft_info info = { .classes = 7 };
    clpeft_trainer *plain;
    clpeft_peft *p;
    const char *gguf = exchange_path(&x, "a.gguf"), *merged = exchange_path(&x, "m.safetensors");

    ck_ok(clpeft_trainer_create(&plain, x.model, &o));
    clpeft_adapter *lora = clpeft_trainer_adapter(plain);
    refused("adapter", clpeft_gguf_export(NULL, x.model, gguf, CLPEFT_F32, NULL));
    refused("model", clpeft_gguf_export(lora, NULL, gguf, CLPEFT_F32, NULL));
    refused("path", clpeft_gguf_export(lora, x.model, NULL, CLPEFT_F32, NULL));
    refused("dtype", clpeft_gguf_export(lora, x.model, gguf, (clpeft_dtype)99, NULL));
    refused("magnitude", clpeft_gguf_export(adapter, x.model, gguf, CLPEFT_F32, NULL));
    refused("queue", clpeft_gguf_export(lora, x.model, gguf, CLPEFT_F32, far.queue));
    refused("of this model", clpeft_gguf_export(lora, far.model, gguf, CLPEFT_F32, NULL));
    refused("adapter", clpeft_merge_write(NULL, x.model, x.files.dir, merged, CLPEFT_F32, NULL));
    refused("model", clpeft_merge_write(adapter, NULL, x.files.dir, merged, CLPEFT_F32, NULL));
    refused("base", clpeft_merge_write(adapter, x.model, NULL, merged, CLPEFT_F32, NULL));
    refused("path", clpeft_merge_write(adapter, x.model, x.files.dir, NULL, CLPEFT_F32, NULL));
    refused("/nowhere", clpeft_merge_write(adapter, x.model, "/nowhere", merged, CLPEFT_F32, NULL));
    refused("Q4_0", clpeft_merge_write(adapter, x.model, x.files.dir, merged, CLPEFT_Q4_0, NULL));
    refused("queue", clpeft_merge_write(adapter, x.model, x.files.dir, merged, CLPEFT_F32, far.queue));
    refused("of this model", clpeft_merge_write(adapter, far.model, x.files.dir, merged, CLPEFT_F32, NULL));
    refused("adapter", clpeft_peft_export(NULL, x.model, x.dir, NULL, NULL));
    refused("model", clpeft_peft_export(adapter, NULL, x.dir, NULL, NULL));
    refused("path", clpeft_peft_export(adapter, x.model, NULL, NULL, NULL));
    refused("dtype", clpeft_peft_export(adapter, x.model, x.dir, &peft, NULL));
    refused("queue", clpeft_peft_export(adapter, x.model, x.dir, NULL, far.queue));
    refused("of this model", clpeft_peft_export(adapter, far.model, x.dir, NULL, NULL));

    peft = (clpeft_peft_options){ 0 };
    ck_ok(clpeft_peft_export(lora, x.model, x.dir, &peft, NULL));
    refused("peft", clpeft_peft_open(NULL, x.model, x.dir));
    refused("model", clpeft_peft_open(&p, NULL, x.dir));
    refused("path", clpeft_peft_open(&p, x.model, NULL));
    refused("/nowhere", clpeft_peft_open(&p, x.model, "/nowhere"));
    ck_ok(clpeft_peft_open(&p, x.model, x.dir));
    refused("peft", clpeft_peft_load(NULL, lora, 0, NULL));
    refused("adapter", clpeft_peft_load(p, NULL, 0, NULL));
    refused("method", clpeft_peft_load(p, adapter, 0, NULL));
    refused("head", clpeft_peft_load(p, lora, 1, NULL));
    refused("queue", clpeft_peft_load(p, lora, 0, far.queue));
    clpeft_peft_get_info(NULL, &info);
    clpeft_peft_get_info(p, NULL);
    ck_assert_uint_eq(7, info.classes);
    clpeft_peft_close(p);
    clpeft_peft_close(NULL);
    clpeft_trainer_destroy(plain);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, models_refuse);
    tcase_add_test(t, trainers_refuse);
    tcase_add_test(t, files_refuse);
    tcase_add_test(t, exports_refuse);
}

int main(void)
{
    return run_tests("abuse-models", add, 600, set_up, tear_down);
}
