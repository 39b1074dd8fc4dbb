/* abuse-handles.c - released objects and double release: refused with a message that names the argument, or nothing happens. Builds
 * with NDEBUG do not tell a released object: there the tests are skipped. */
#include "decoder.h"

#include "abuse.h"

#ifdef NDEBUG
enum { HANDLES_ARE_CHECKED = 0 };
#else
enum { HANDLES_ARE_CHECKED = 1 };
#endif

/* The call is refused because of the argument. */
#define released(argument, call) refused(argument " is no live clpeft_", call)

/* A question without a status: the answer is 0, and the message still tells of the failure before it. */
#define unanswered(call)                                                        \
    do {                                                                        \
        char before_[1000];                                                     \
        refused("ctx", clpeft_queue_create(&(cl_command_queue){ NULL }, NULL)); \
        snprintf(before_, sizeof before_, "%s", clpeft_error_message());        \
        ck_assert_uint_eq(0, call);                                             \
        ck_assert_str_eq(before_, clpeft_error_message());                      \
    } while (0)

START_TEST(a_context)
{
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_workspace *ws;
    clpeft_params *p;
    clpeft_linear *l;
    clpeft_model *m;
    clpeft_device_info info = { .group = 7 };
    const clpeft_linear_options o = { .N = 8, .K = 8 };

    ck_ok(clpeft_context_create(&ctx, NULL));
    clpeft_context_destroy(ctx);
    clpeft_context_destroy(ctx);
    ck_assert_ptr_null(clpeft_context_cl(ctx));
    ck_assert_ptr_null(clpeft_context_device(ctx));
    clpeft_context_info(ctx, &info);
    ck_assert_uint_eq(7, info.group);
    released("ctx", clpeft_queue_create(&queue, ctx));
    released("ctx", clpeft_workspace_create(&ws, ctx, 64));
    released("ctx", clpeft_workspace_adopt(&ws, ctx, ok.buf, 0, 64));
    released("ctx", clpeft_params_create(&p, ctx));
    released("ctx", clpeft_linear_create(&l, ctx, &o));
    released("ctx", clpeft_model_load(&m, ctx, x.files.dir, NULL));
    released("ctx", clpeft_row_norm(ctx, 8, 8, ok, ok, Q));
    released("ctx", clpeft_tune(ctx, NULL, NULL, &(clpeft_tune_result){ 0 }));
    unanswered(clpeft_linear_bytes(ctx, &o) + clpeft_gemm_workspace(ctx, 8, 8, 8));
    released("ctx", clpeft_row_norm((clpeft_context *)x.trainer, 8, 8, ok, ok, Q)); /* alive, but no context */
}
END_TEST

START_TEST(a_workspace_and_a_layer)
{
    const clpeft_linear_options o = { .N = 8, .K = 8 };
    const clpeft_site site = { "query", 0, linear, 0, 1, 8, 0, 0 };
    const clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_LORA);
    clpeft_site s = site;
    clpeft_params *p;
    clpeft_adapter *a;
    clpeft_workspace *ws;
    clpeft_linear *l;

    ck_ok(clpeft_linear_create(&l, dev.ctx, &o));
    ck_ok(clpeft_workspace_create(&ws, dev.ctx, 1 << 20));
    clpeft_workspace_destroy(ws);
    clpeft_workspace_destroy(ws);
    released("ws", clpeft_gemm(dev.ctx, 0, 0, 8, 8, 8, 1, ok, ok, 0, ok, ws, Q));
    released("ws", clpeft_linear_forward(l, NULL, 4, CLPEFT_IDENTITY, ok, none, ok, none, ws, Q));
    released("ws", clpeft_adapter_backward(adapter, ws, Q));

    clpeft_linear_destroy(l);
    clpeft_linear_destroy(l);
    unanswered(clpeft_linear_rows(l) + clpeft_linear_columns(l));
    unanswered(clpeft_linear_workspace(l, NULL, 4) + clpeft_linear_tape(l, NULL, 4));
    released("linear", clpeft_linear_load(l, 0, 8, host, CLPEFT_F32, NULL, dev.queue));
    released("linear", clpeft_linear_load_view(l, 0, 8, ok, CLPEFT_F32, none, dev.queue));
    released("linear", clpeft_linear_forward(l, NULL, 4, CLPEFT_IDENTITY, ok, none, ok, none, NULL, Q));
    released("linear", clpeft_linear_backward(l, NULL, 4, CLPEFT_IDENTITY, ok, none, ok, 0, ok, NULL, Q));
    released("linear", clpeft_adapter_merge(adapter, l, 0, 8, host, NULL));
    ck_ok(clpeft_params_create(&p, dev.ctx));
    s.linear = l;
    released("linear", clpeft_adapter_create(&a, p, &s, 1, &config));
    clpeft_params_destroy(p);
}
END_TEST

START_TEST(params_and_an_adapter)
{
    const size_t dims[] = { 3, 4 };
    const clpeft_site site = { "query", 0, linear, 0, 1, clpeft_linear_rows(linear), 0, 0 }, *sites;
    const clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_LORA);
    const clpeft_adamw adamw = clpeft_adamw_defaults();
    clpeft_adamw_state state;
    clpeft_params *p;
    clpeft_adapter *a, *b;
    clpeft_view y;

    ck_ok(clpeft_params_create(&p, dev.ctx));
    ck_ok(clpeft_adapter_create(&a, p, &site, 1, &config));
    ck_ok(clpeft_params_allocate(p));
    clpeft_params_destroy(p);
    clpeft_params_destroy(p);
    unanswered(clpeft_params_count(p) + clpeft_params_size(p) + clpeft_params_trainable(p));
    ck_assert_ptr_null(clpeft_params_tensor(p, 0));
    ck_assert_ptr_null(clpeft_params_find(p, "a"));
    ck_assert_ptr_null(clpeft_params_buffer_cl(p, CLPEFT_THETA));
    released("params", clpeft_params_add(p, "a", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    released("params", clpeft_params_allocate(p));
    released("params", clpeft_params_read(p, CLPEFT_THETA, NULL, host, dev.queue));
    released("params", clpeft_params_write(p, CLPEFT_THETA, NULL, host, dev.queue));
    released("params", clpeft_params_zero_grad(p, Q));
    released("params", clpeft_adamw_step(p, &adamw, Q));
    released("params", clpeft_adamw_read_state(p, &state, dev.queue));
    released("params", clpeft_adamw_write_state(p, &state, dev.queue));
    released("params", clpeft_adapter_create(&b, p, &site, 1, &config));
    released("params", clpeft_adapter_materialize(a, 0, 0, Q)); /* an adapter without its parameters */

    clpeft_adapter_destroy(a);
    clpeft_adapter_destroy(a);
    ck_assert_ptr_null(clpeft_adapter_get_config(a));
    unanswered(clpeft_adapter_sites(a, &sites) + clpeft_adapter_workspace(a));
    ck_assert_ptr_null(sites);
    released("adapter", clpeft_adapter_materialize(a, 0, 0, Q));
    released("adapter", clpeft_adapter_backward(a, NULL, Q));
    released("adapter", clpeft_adapter_read_site(a, 0, host, NULL, NULL, NULL, NULL, NULL));
    released("adapter", clpeft_adapter_merge(a, linear, 0, 1, host, NULL));
    unanswered(clpeft_linear_workspace(linear, a, 4) + clpeft_linear_tape(linear, a, 4));
    released("adapter", clpeft_linear_forward(linear, a, 4, CLPEFT_IDENTITY, ok, none, ok, none, NULL, Q));
    released("adapter", clpeft_linear_backward(linear, a, 4, CLPEFT_IDENTITY, ok, ok, ok, 0, ok, NULL, Q));
    released("adapter", clpeft_model_forward(x.model, a, &tiny_batch, 0, &y, Q));
    released("adapter", clpeft_model_backward(x.model, a, ok, Q));
    released("adapter", clpeft_gguf_export(a, x.model, exchange_path(&x, "a.gguf"), CLPEFT_F32, NULL));
    released("adapter", clpeft_merge_write(a, x.model, x.files.dir, exchange_path(&x, "m"), CLPEFT_F32, NULL));
    released("adapter", clpeft_peft_export(a, x.model, x.dir, NULL, NULL));
}
END_TEST

START_TEST(a_trainer_and_its_model)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_LORA);
    clpeft_model_info info = { .layers = 7 };
    clpeft_batch batch = tiny_batch;
    clpeft_trainer *t, *orphan;
    clpeft_model_cache *cache;
    clpeft_model *m;
    clpeft_site *sites;
    clpeft_peft *p;
    clpeft_view y;
    size_t n;

    ck_ok(clpeft_model_load(&m, dev.ctx, x.files.dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&t, m, &o));
    ck_ok(clpeft_trainer_create(&orphan, m, &o));
    clpeft_trainer_destroy(t);
    clpeft_trainer_destroy(t);
    ck_assert_ptr_null(clpeft_trainer_model(t));
    ck_assert_ptr_null(clpeft_trainer_adapter(t));
    ck_assert_ptr_null(clpeft_trainer_params(t));
    ck_assert_ptr_null(clpeft_trainer_queue(t));
    ck_assert_ptr_null(clpeft_trainer_get_options(t));
    unanswered(clpeft_trainer_steps(t));
    released("trainer", clpeft_train_step(t, &batch, NULL));
    released("trainer", clpeft_train_begin(t));
    released("trainer", clpeft_train_gradient(t, &batch, 1));
    released("trainer", clpeft_train_collect(t));
    released("trainer", clpeft_train_update(t, NULL));
    released("trainer", clpeft_trainer_evaluate(t, &batch, host, NULL, NULL));
    released("trainer", clpeft_trainer_save(t, exchange_path(&x, "checkpoint"), NULL, 0));

    clpeft_model_destroy(m);
    clpeft_model_destroy(m);
    clpeft_model_get_info(m, &info);
    ck_assert_uint_eq(7, info.layers);
    ck_assert_ptr_null(clpeft_model_row_start(m).buf);
    released("model", clpeft_model_sites(m, "all", &sites, &n));
    released("model", clpeft_model_site_path(m, &(clpeft_site){ "query", 0, linear, 0, 1, 8, 0, 0 }, (char *)host, 99));
    released("model", clpeft_model_forward(m, adapter, &batch, 0, &y, Q));
    released("model", clpeft_model_backward(m, adapter, ok, Q));
    released("model", clpeft_model_cache_create(&cache, m, 0));
    released("model", clpeft_trainer_create(&t, m, &o));
    released("model", clpeft_trainer_load(&t, m, exchange_path(&x, "checkpoint")));
    released("model", clpeft_gguf_export(adapter, m, exchange_path(&x, "a.gguf"), CLPEFT_F32, NULL));
    released("model", clpeft_merge_write(adapter, m, x.files.dir, exchange_path(&x, "m"), CLPEFT_F32, NULL));
    released("model", clpeft_peft_export(adapter, m, x.dir, NULL, NULL));
    released("model", clpeft_peft_open(&p, m, x.dir));
    released("model", clpeft_train_step(orphan, &batch, NULL)); /* a trainer without its model */
    released("model", clpeft_trainer_save(orphan, exchange_path(&x, "checkpoint"), NULL, 0));
    clpeft_trainer_destroy(orphan);
}
END_TEST

START_TEST(a_cache_of_a_model)
{
    const int32_t token[] = { 1 };
    decoder d = decoder_make((decoder){ 0 });
    clpeft_model_cache *cache, *orphan;
    clpeft_model *m;

    decoder_write_gguf(&d, CLPEFT_F32, SIZE_MAX);
    ck_ok(clpeft_model_load(&m, dev.ctx, d.path, NULL));
    ck_ok(clpeft_model_cache_create(&cache, m, 0));
    ck_ok(clpeft_model_cache_create(&orphan, m, 0));
    ck_ok(clpeft_model_next_logits(cache, NULL, 1, token, NULL, dev.queue)); /* still at work when the cache goes */
    clpeft_model_cache_destroy(cache);
    clpeft_model_cache_destroy(cache);
    unanswered(clpeft_model_cache_length(cache));
    clpeft_model_cache_cut(cache, 0);
    released("cache", clpeft_model_next_logits(cache, NULL, 1, token, host, dev.queue));
    clpeft_model_destroy(m);
    released("model", clpeft_model_next_logits(orphan, NULL, 1, token, NULL, dev.queue));
    clpeft_model_cache_destroy(orphan);
    decoder_free(&d);
}
END_TEST

START_TEST(files)
{
    const clpeft_write_tensor tensor = { .name = "a", .n_dims = 1, .dims = { 4 }, .data = host };
    const char *path = exchange_path(&x, "file");
    clpeft_peft_info info = { .classes = 7 };
    clpeft_meta item;
    clpeft_file *f;
    clpeft_peft *p;

    ck_ok(clpeft_safetensors_write(path, NULL, 0, &tensor, 1));
    ck_ok(clpeft_file_open(&f, path));
    clpeft_file_close(f);
    clpeft_file_close(f);
    ck_assert_int_eq(CLPEFT_SAFETENSORS, clpeft_file_format(f));
    unanswered(clpeft_file_tensors(f) + clpeft_file_metas(f));
    ck_assert_ptr_null(clpeft_file_tensor_at(f, 0));
    ck_assert_ptr_null(clpeft_file_find(f, "a"));
    ck_assert_ptr_null(clpeft_file_meta_at(f, 0));
    ck_assert_ptr_null(clpeft_file_meta_find(f, "a"));
    ck_assert_int_eq(0, clpeft_file_meta_item(f, &item, 0, &item));

    ck_ok(clpeft_peft_export(adapter, x.model, x.dir, NULL, NULL));
    ck_ok(clpeft_peft_open(&p, x.model, x.dir));
    clpeft_peft_close(p);
    clpeft_peft_close(p);
    clpeft_peft_get_info(p, &info);
    ck_assert_uint_eq(7, info.classes);
    released("peft", clpeft_peft_load(p, adapter, 0, NULL));
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_context);
    tcase_add_test(t, a_workspace_and_a_layer);
    tcase_add_test(t, params_and_an_adapter);
    tcase_add_test(t, a_trainer_and_its_model);
    tcase_add_test(t, a_cache_of_a_model);
    tcase_add_test(t, files);
}

int main(void)
{
    return HANDLES_ARE_CHECKED ? run_tests("abuse-handles", add, 600, set_up, tear_down) : 77;
}
