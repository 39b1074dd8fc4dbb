/* abuse.c - wrong arguments to every public function: NULL, zero, past the end, products that overflow, objects of another context.
 * Each is refused with a message that names the argument; nothing crashes. Here core, layers, parameters and adapters; the simple
 * operations are op.c's, models, trainers and files abuse-models.c's. */
#include "abuse.h"

/* ---- core ------------------------------------------------------------------------------------------------------------- */

START_TEST(core_refuses)
{
    clpeft_context *ctx;
    clpeft_workspace *ws;
    cl_command_queue queue;
    char text[8];
    clpeft_device_info info = { .group = 7 };
    cl_device_id device = clpeft_context_device(dev.ctx);

    refused("ctx", clpeft_context_create(NULL, NULL));
    refused("device", clpeft_context_create(&ctx, &(clpeft_context_options){ .device = device }));
    refused("queue", clpeft_queue_create(NULL, dev.ctx));
    refused("ctx", clpeft_queue_create(&queue, NULL));
    refused("count", clpeft_device_count(NULL));
    refused("text", clpeft_device_name(0, NULL, 8));
    refused("size", clpeft_device_name(0, text, 0));
    refused("device", clpeft_device_name(SIZE_MAX, text, sizeof text));
    ck_ok(clpeft_device_name(0, text, sizeof text)); /* cut */
    refused("ws", clpeft_workspace_create(NULL, dev.ctx, 64));
    refused("ctx", clpeft_workspace_create(&ws, NULL, 64));
    refused("bytes", clpeft_workspace_create(&ws, dev.ctx, 0));
    refused("bytes", clpeft_workspace_create(&ws, dev.ctx, SIZE_MAX));
    refused("ws", clpeft_workspace_adopt(NULL, dev.ctx, ok.buf, 0, 64));
    refused("ctx", clpeft_workspace_adopt(&ws, NULL, ok.buf, 0, 64));
    refused("buf", clpeft_workspace_adopt(&ws, dev.ctx, NULL, 0, 64));
    refused("buf", clpeft_workspace_adopt(&ws, dev.ctx, far.buf, 0, 64));
    refused("offset", clpeft_workspace_adopt(&ws, dev.ctx, ok.buf, 1, 64));
    refused("bytes", clpeft_workspace_adopt(&ws, dev.ctx, ok.buf, 0, 0));
    refused("buffer", clpeft_workspace_adopt(&ws, dev.ctx, ok.buf, 16384, 64));
    refused("buffer", clpeft_workspace_adopt(&ws, dev.ctx, ok.buf, SIZE_MAX - 4095, 8192));
    clpeft_context_info(NULL, &info);
    clpeft_context_info(dev.ctx, NULL);
    ck_assert_uint_eq(7, info.group);
    ck_assert_ptr_null(clpeft_context_cl(NULL));
    ck_assert_ptr_null(clpeft_context_device(NULL));
    clpeft_context_destroy(NULL);
    clpeft_workspace_destroy(NULL);
    ck_assert_str_eq("unknown status", clpeft_status_text(INT32_MAX));
    ck_assert_ptr_nonnull(clpeft_error_message());
    ck_assert_ptr_nonnull(clpeft_version());
    refused("result", clpeft_tune(dev.ctx, NULL, NULL, NULL));
    refused("ctx", clpeft_tune(NULL, NULL, NULL, &(clpeft_tune_result){ 0 }));
}
END_TEST

/* A device that the context to adopt does not have. */
START_TEST(a_device_of_another_context_is_refused)
{
    clpeft_context *ctx, *other;
    char name[300];
    size_t n, i = 0;

    ck_ok(clpeft_device_count(&n));
    for (; i < n; i++) {
        ck_ok(clpeft_device_name(i, name, sizeof name));
        ck_ok(clpeft_context_create(&other, &(clpeft_context_options){ .select = name }));
        if (clpeft_context_device(other) != clpeft_context_device(dev.ctx))
            refused("device",
                    clpeft_context_create(&ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                           .device = clpeft_context_device(other) }));
        clpeft_context_destroy(other);
    }
}
END_TEST

/* ---- operations that op.c does not have -------------------------------------------------------------------------------- */

START_TEST(products_refuse)
{
    clpeft_workspace *ws;
    ck_ok(clpeft_workspace_create(&ws, dev.ctx, 1 << 20));
#define GEMM(M, N, K, a, b, c) clpeft_gemm(dev.ctx, 0, 0, M, N, K, 1, a, b, 0, c, ws, Q)
    ck_ok(GEMM(8, 8, 8, ok, ok, ((clpeft_view){ ok.buf, 1024, 64 })));
    refused("ctx", clpeft_gemm(NULL, 0, 0, 8, 8, 8, 1, ok, ok, 0, ok, ws, Q));
    refused("queue", clpeft_gemm(dev.ctx, 0, 0, 8, 8, 8, 1, ok, ok, 0, ok, ws, NULL, 0, NULL, NULL));
    refused("queue", clpeft_gemm(dev.ctx, 0, 0, 8, 8, 8, 1, ok, ok, 0, ok, ws, far.queue, 0, NULL, NULL));
    refused("M is 0", GEMM(0, 8, 8, ok, ok, ok));
    refused("N is 0", GEMM(8, 0, 8, ok, ok, ok));
    refused("K is 0", GEMM(8, 8, 0, ok, ok, ok));
    refused("overflows", GEMM(HUGE_N, 8, 8, ok, ok, ok));
    refused("overflows", GEMM(8, HUGE_N, 8, ok, ok, ok));
    refused(": a", GEMM(8, 8, 8, none, ok, ok));
    refused(": b", GEMM(8, 8, 8, ok, away, ok));
    refused(": c", GEMM(8, 8, 8, ok, ok, away));
    refused(": c", GEMM(8, 8, 8, ok, ok, ((clpeft_view){ ok.buf, SIZE_MAX, 64 })));
    ck_assert_uint_eq(0, clpeft_gemm_workspace(NULL, 8, 8, 8));
    if (clpeft_gemm_workspace(dev.ctx, 8, 8, 8))
        refused("ws", clpeft_gemm(dev.ctx, 0, 0, 8, 8, 8, 1, ok, ok, 0, ok, NULL, Q));
    clpeft_workspace_destroy(ws);
}
END_TEST

START_TEST(pools_refuse)
{
#define POOL(name)                                                                                \
    refused("ctx", clpeft_pool_##name(NULL, 8, 8, 2, ok, ok, ok, Q));                             \
    refused("queue", clpeft_pool_##name(dev.ctx, 8, 8, 2, ok, ok, ok, far.queue, 0, NULL, NULL)); \
    refused("T is 0", clpeft_pool_##name(dev.ctx, 0, 8, 2, ok, ok, ok, Q));                       \
    refused("D is 0", clpeft_pool_##name(dev.ctx, 8, 0, 2, ok, ok, ok, Q));                       \
    refused("S is 0", clpeft_pool_##name(dev.ctx, 8, 8, 0, ok, ok, ok, Q));                       \
    refused("clpeft_pool", clpeft_pool_##name(dev.ctx, HUGE_N, 8, 2, ok, ok, ok, Q));             \
    refused("clpeft_pool", clpeft_pool_##name(dev.ctx, 8, HUGE_N, 2, ok, ok, ok, Q));             \
    refused("row_start", clpeft_pool_##name(dev.ctx, 8, 8, 2, away, ok, ok, Q));                  \
    refused("S is", clpeft_pool_##name(dev.ctx, 8, 8, HUGE_N, ok, ok, ok, Q));                    \
    refused("buffer", clpeft_pool_##name(dev.ctx, 8, 8, 2, ok, none, ok, Q));                     \
    refused("buffer", clpeft_pool_##name(dev.ctx, 8, 8, 2, ok, ok, away, Q));
    POOL(mean)
    POOL(mean_backward)
    POOL(first)
    POOL(first_backward)
    POOL(rest)
    POOL(rest_backward)
    POOL(both)
    POOL(both_backward)
}
END_TEST

START_TEST(attention_refuses)
{
    const clpeft_attention_shape good = { .T = 4, .S = 1, .H = 2, .Hk = 1, .d = 4, .max_length = 4, .scale = 1 };
    clpeft_attention_shape s;
#define BOTH(text, ctx, shape, row, v)                                      \
    refused(text, clpeft_attention(ctx, shape, row, ok, ok, v, ok, ok, Q)); \
    refused(text, clpeft_attention_backward(ctx, shape, row, ok, ok, v, ok, ok, ok, ok, ok, ok, ok, Q));
    BOTH("ctx", NULL, &good, ok, ok)
    BOTH("shape", dev.ctx, NULL, ok, ok)
    BOTH("row_start", dev.ctx, &good, away, ok)
    BOTH(": v", dev.ctx, &good, ok, away)
    BOTH(": v", dev.ctx, &good, ok, ((clpeft_view){ ok.buf, 4096, 64 }))
    s = good, s.S = 0;
    BOTH("S ", dev.ctx, &s, ok, ok)
    s = good, s.H = 0;
    BOTH("H ", dev.ctx, &s, ok, ok)
    s = good, s.Hk = 0;
    BOTH("Hk", dev.ctx, &s, ok, ok)
    s = good, s.d = 257;
    BOTH("d is 257", dev.ctx, &s, ok, ok)
    s = good, s.H = HUGE_N, s.Hk = 1;
    BOTH("clpeft_attention", dev.ctx, &s, ok, ok)
    s = good, s.max_length = 0;
    BOTH("max_length", dev.ctx, &s, ok, ok)
    s = good, s.scale = NAN;
    BOTH("scale", dev.ctx, &s, ok, ok)
    refused("ctx", clpeft_attention_cached(NULL, &good, 0, ok, ok, ok, ok, Q));
    refused("shape", clpeft_attention_cached(dev.ctx, NULL, 0, ok, ok, ok, ok, Q));
    refused(": k", clpeft_attention_cached(dev.ctx, &good, 0, ok, away, ok, ok, Q));
    refused("clpeft_attention_cached", clpeft_attention_cached(dev.ctx, &good, SIZE_MAX - 1, ok, ok, ok, ok, Q));
    refused("clpeft_attention_cached", clpeft_attention_cached(dev.ctx, &good, 1 << 20, ok, ok, ok, ok, Q));
}
END_TEST

/* ---- a linear layer ------------------------------------------------------------------------------------------------------ */

START_TEST(linear_refuses)
{
    const clpeft_linear_options good = { .N = 8, .K = 8, .has_bias = 0 };
    clpeft_linear_options o;
    clpeft_linear *l;

    refused("linear", clpeft_linear_create(NULL, dev.ctx, &good));
    refused("ctx", clpeft_linear_create(&l, NULL, &good));
    refused("options", clpeft_linear_create(&l, dev.ctx, NULL));
    o = good, o.N = 0;
    refused("N is 0", clpeft_linear_create(&l, dev.ctx, &o));
    ck_assert_uint_eq(0, clpeft_linear_bytes(dev.ctx, &o));
    o = good, o.K = SIZE_MAX / 128;
    refused("K", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.N = o.K = (size_t)1 << 31;
    refused("N", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.dtype = CLPEFT_I64;
    refused("I64", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.dtype = (clpeft_dtype)99;
    refused("type", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.storage = away;
    refused("storage", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.storage = (clpeft_view){ ok.buf, 1, 0 };
    refused("storage", clpeft_linear_create(&l, dev.ctx, &o));
    o = good, o.storage = (clpeft_view){ ok.buf, SIZE_MAX - 4095, 0 };
    refused("storage", clpeft_linear_create(&l, dev.ctx, &o));
    ck_assert_uint_eq(0, clpeft_linear_bytes(NULL, &good));
    ck_assert_uint_eq(0, clpeft_linear_bytes(dev.ctx, NULL));
    ck_assert_uint_eq(0, clpeft_linear_rows(NULL));
    ck_assert_uint_eq(0, clpeft_linear_columns(NULL));
    ck_assert_uint_eq(0, clpeft_linear_workspace(NULL, adapter, 4));
    ck_assert_uint_eq(0, clpeft_linear_tape(NULL, adapter, 4));
    clpeft_linear_destroy(NULL);

    ck_ok(clpeft_linear_create(&l, dev.ctx, &good));
#define LOAD(l, row, rows, w, type, bias, queue) clpeft_linear_load(l, row, rows, w, type, bias, queue)
    refused("linear", LOAD(NULL, 0, 8, host, CLPEFT_F32, NULL, dev.queue));
    refused("weight", LOAD(l, 0, 8, NULL, CLPEFT_F32, NULL, dev.queue));
    refused("rows", LOAD(l, 0, 0, host, CLPEFT_F32, NULL, dev.queue));
    refused("rows", LOAD(l, 1, SIZE_MAX, host, CLPEFT_F32, NULL, dev.queue));
    refused("bias", LOAD(l, 0, 8, host, CLPEFT_F32, host, dev.queue));
    refused("Q4_0", LOAD(l, 0, 8, host, CLPEFT_Q4_0, NULL, dev.queue));
    refused("queue", LOAD(l, 0, 8, host, CLPEFT_F32, NULL, NULL));
    refused("queue", LOAD(l, 0, 8, host, CLPEFT_F32, NULL, far.queue));
#define LOAD_VIEW(l, row, rows, w, bias, queue) clpeft_linear_load_view(l, row, rows, w, CLPEFT_F32, bias, queue)
    refused("linear", LOAD_VIEW(NULL, 0, 8, ok, none, dev.queue));
    refused("weight", LOAD_VIEW(l, 0, 8, none, none, dev.queue));
    refused("weight", LOAD_VIEW(l, 0, 8, away, none, dev.queue));
    refused("weight", LOAD_VIEW(l, 0, 8, ((clpeft_view){ ok.buf, SIZE_MAX, 64 }), none, dev.queue));
    refused("queue", LOAD_VIEW(l, 0, 8, ok, none, NULL));
    refused("queue", LOAD_VIEW(l, 0, 8, ok, none, far.queue));
    refused("bias", LOAD_VIEW(l, 0, 8, ok, away, dev.queue));
    refused("bias", LOAD_VIEW(l, 0, 8, ok, ((clpeft_view){ ok.buf, SIZE_MAX / 4, 64 }), dev.queue));
    refused("rows", LOAD_VIEW(l, 8, 1, ok, none, dev.queue));
    clpeft_linear_destroy(l);
}
END_TEST

START_TEST(layers_refuse)
{
    const size_t N = clpeft_linear_rows(linear), bytes = clpeft_linear_workspace(linear, adapter, 4);
    clpeft_workspace *ws;
    matrix m = matrix_make(8, N + 64, 0, 0, &(float){ 0 });
    const clpeft_view v = m.view;

    ck_ok(clpeft_workspace_create(&ws, dev.ctx, bytes));
#define FORWARD(l, T, f, x, y, ws) clpeft_linear_forward(l, adapter, T, f, x, none, y, none, ws, Q)
    ck_ok(FORWARD(linear, 4, CLPEFT_IDENTITY, v, v, ws));
    ck_ok(FORWARD(linear, 0, CLPEFT_IDENTITY, none, none, NULL));
    refused("linear", FORWARD(NULL, 4, CLPEFT_IDENTITY, v, v, ws));
    refused("f is 77", FORWARD(linear, 4, (clpeft_activation)77, v, v, ws));
    refused(": x", FORWARD(linear, 4, CLPEFT_IDENTITY, none, v, ws));
    refused(": x", FORWARD(linear, 4, CLPEFT_IDENTITY, away, v, ws));
    refused(": y", FORWARD(linear, 4, CLPEFT_IDENTITY, v, away, ws));
    refused(": x", FORWARD(linear, HUGE_N, CLPEFT_IDENTITY, v, v, ws));
    refused("ws", FORWARD(linear, 4, CLPEFT_IDENTITY, v, v, NULL));
    refused("residual", clpeft_linear_forward(linear, adapter, 4, CLPEFT_IDENTITY, v, away, v, none, ws, Q));
    refused("tape", clpeft_linear_forward(linear, adapter, 4, CLPEFT_IDENTITY, v, none, v, away, ws, Q));
    refused("queue", clpeft_linear_forward(far.linear, NULL, 4, CLPEFT_IDENTITY, v, none, v, none, ws, Q));
#define BACKWARD(l, T, x, dy, dx, ws) clpeft_linear_backward(l, adapter, T, CLPEFT_IDENTITY, x, v, dy, 0, dx, ws, Q)
    refused("linear", BACKWARD(NULL, 4, v, v, none, ws));
    refused(": x", BACKWARD(linear, 4, none, v, none, ws));
    refused(": dy", BACKWARD(linear, 4, v, away, none, ws));
    refused(": dx", BACKWARD(linear, 4, v, v, away, ws));
    refused("ws", BACKWARD(linear, 4, v, v, none, NULL));
    refused("tape", clpeft_linear_backward(linear, adapter, 4, CLPEFT_IDENTITY, v, none, v, 0, none, ws, Q));
    clpeft_workspace_destroy(ws);
    matrix_free(&m);
}
END_TEST

/* ---- parameters and adapters ------------------------------------------------------------------------------------------------ */

START_TEST(params_refuse)
{
    const size_t dims[] = { 3, 4 }, empty[] = { 3, 0 }, wide[] = { HUGE_N, 4 };
    const clpeft_tensor wrong = { .off = SIZE_MAX - 3, .size = 8 };
    clpeft_adamw adamw = clpeft_adamw_defaults();
    clpeft_adamw_state state;
    clpeft_params *p;

    refused("params", clpeft_params_create(NULL, dev.ctx));
    refused("ctx", clpeft_params_create(&p, NULL));
    ck_ok(clpeft_params_create(&p, dev.ctx));
    refused("no tensor", clpeft_params_allocate(p));
    refused("params", clpeft_params_add(NULL, "a", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    refused("name", clpeft_params_add(p, NULL, CLPEFT_KIND_A, 2, dims, NULL, NULL));
    refused("name", clpeft_params_add(p, "", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    refused("dims", clpeft_params_add(p, "a", CLPEFT_KIND_A, 2, NULL, NULL, NULL));
    refused("dims", clpeft_params_add(p, "a", CLPEFT_KIND_A, 0, dims, NULL, NULL));
    refused("dims", clpeft_params_add(p, "a", CLPEFT_KIND_A, 5, dims, NULL, NULL));
    refused("dim 1", clpeft_params_add(p, "a", CLPEFT_KIND_A, 2, empty, NULL, NULL));
    refused("dim 1", clpeft_params_add(p, "a", CLPEFT_KIND_A, 2, wide, NULL, NULL));
    refused("elements", clpeft_params_add(p, "a", CLPEFT_KIND_A, 1, wide, NULL, NULL));
    refused("kind", clpeft_params_add(p, "a", (clpeft_kind)-1, 2, dims, NULL, NULL));
    ck_ok(clpeft_params_add(p, "a", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    refused("not allocated", clpeft_params_read(p, CLPEFT_THETA, NULL, host, dev.queue));
    refused("not allocated", clpeft_params_zero_grad(p, Q));
    refused("not allocated", clpeft_adamw_step(p, &adamw, Q));
    ck_assert_ptr_null(clpeft_params_buffer_cl(p, CLPEFT_THETA));
    ck_ok(clpeft_params_allocate(p));
    refused("already", clpeft_params_allocate(p));
    refused("already", clpeft_params_add(p, "b", CLPEFT_KIND_A, 2, dims, NULL, NULL));
    refused("params", clpeft_params_allocate(NULL));
    refused("params", clpeft_params_read(NULL, CLPEFT_THETA, NULL, host, dev.queue));
    refused("host", clpeft_params_read(p, CLPEFT_THETA, NULL, NULL, dev.queue));
    refused("buffer", clpeft_params_read(p, (clpeft_params_buffer)9, NULL, host, dev.queue));
    refused("tensor", clpeft_params_read(p, CLPEFT_THETA, &wrong, host, dev.queue));
    refused("queue", clpeft_params_read(p, CLPEFT_THETA, NULL, host, far.queue));
    refused("params", clpeft_params_write(NULL, CLPEFT_THETA, NULL, host, dev.queue));
    refused("host", clpeft_params_write(p, CLPEFT_THETA, NULL, NULL, dev.queue));
    refused("tensor", clpeft_params_write(p, CLPEFT_THETA, &wrong, host, dev.queue));
    refused("queue", clpeft_params_write(p, CLPEFT_THETA, NULL, host, far.queue));
    refused("params", clpeft_params_zero_grad(NULL, Q));
    refused("queue", clpeft_params_zero_grad(p, far.queue, 0, NULL, NULL));
    refused("params", clpeft_adamw_step(NULL, &adamw, Q));
    refused("adamw", clpeft_adamw_step(p, NULL, Q));
    adamw.lr = NAN;
    refused("lr", clpeft_adamw_step(p, &adamw, Q));
    refused("params", clpeft_adamw_read_state(NULL, &state, dev.queue));
    refused("state", clpeft_adamw_read_state(p, NULL, dev.queue));
    refused("queue", clpeft_adamw_read_state(p, &state, far.queue));
    refused("params", clpeft_adamw_write_state(NULL, &state, dev.queue));
    refused("state", clpeft_adamw_write_state(p, NULL, dev.queue));
    ck_assert_uint_eq(0, clpeft_params_count(NULL) + clpeft_params_size(NULL) + clpeft_params_trainable(NULL));
    ck_assert_ptr_null(clpeft_params_tensor(NULL, 0));
    ck_assert_ptr_null(clpeft_params_tensor(p, 1));
    ck_assert_ptr_null(clpeft_params_find(NULL, "a"));
    ck_assert_ptr_null(clpeft_params_find(p, NULL));
    ck_assert_ptr_null(clpeft_params_buffer_cl(NULL, CLPEFT_THETA));
    ck_assert_ptr_null(clpeft_params_buffer_cl(p, (clpeft_params_buffer)4));
    ck_assert(isfinite(clpeft_schedule(UINT64_MAX, UINT64_MAX, UINT64_MAX, CLPEFT_DECAY_COSINE)));
    ck_assert(isfinite(clpeft_schedule(0, 0, 0, CLPEFT_DECAY_LINEAR)));
    clpeft_params_destroy(p);
    clpeft_params_destroy(NULL);
}
END_TEST

START_TEST(adapters_refuse)
{
    const clpeft_site good = { "query", 0, linear, 0, 1, 8, 0, 0 };
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_DORA);
    clpeft_site s;
    clpeft_adapter *a;
    clpeft_params *p;
    float value[1];

    ck_ok(clpeft_params_create(&p, dev.ctx));
#define CREATE(sites, n) clpeft_adapter_create(&a, p, sites, n, &config)
    refused("adapter", clpeft_adapter_create(NULL, p, &good, 1, &config));
    refused("params", clpeft_adapter_create(&a, NULL, &good, 1, &config));
    refused("sites", CREATE(NULL, 1));
    refused("0 sites", CREATE(&good, 0));
    refused("sites", CREATE(&good, SIZE_MAX));
    refused("config", clpeft_adapter_create(&a, p, &good, 1, NULL));
    s = good, s.linear = NULL;
    refused("linear", CREATE(&s, 1));
    s = good, s.linear = far.linear;
    refused("context", CREATE(&s, 1));
    s = good, s.name = NULL;
    refused("name", CREATE(&s, 1));
    s = good, s.row = SIZE_MAX;
    refused("row", CREATE(&s, 1));
    s = good, s.heads = HUGE_N;
    refused("heads", CREATE(&s, 1));
    s = good, s.head_size = 0;
    refused("rows", CREATE(&s, 1));
    s = good, s.block = SIZE_MAX;
    refused("block", CREATE(&s, 1));
    s = good, s.rank = SIZE_MAX;
    refused("rank", CREATE(&s, 1));
    s = good, s.alpha = NAN;
    refused("alpha", CREATE(&s, 1));
    config.rank = 0;
    refused("rank", CREATE(&good, 1));
    config.rank = 4, config.tau = (clpeft_tau)9;
    refused("tau", CREATE(&good, 1));
    ck_assert_uint_eq(0, clpeft_params_count(p)); /* none of them left a tensor */
    clpeft_params_destroy(p);

    refused("adapter", clpeft_adapter_materialize(NULL, 0, 0, Q));
    refused("queue", clpeft_adapter_materialize(adapter, 0, 0, NULL, 0, NULL, NULL));
    refused("queue", clpeft_adapter_materialize(adapter, 0, 0, far.queue, 0, NULL, NULL));
    refused("wait", clpeft_adapter_materialize(adapter, 0, 0, dev.queue, 1, NULL, NULL));
    refused("adapter", clpeft_adapter_backward(NULL, NULL, Q));
    refused("queue", clpeft_adapter_backward(adapter, NULL, far.queue, 0, NULL, NULL));
    refused("adapter", clpeft_adapter_read_site(NULL, 0, value, NULL, NULL, NULL, NULL, NULL));
    refused("site", clpeft_adapter_read_site(adapter, SIZE_MAX, value, NULL, NULL, NULL, NULL, NULL));
    refused("queue", clpeft_adapter_read_site(adapter, 0, host, NULL, NULL, NULL, NULL, far.queue));
    refused("linear", clpeft_adapter_merge(adapter, NULL, 0, 1, host, NULL));
    refused("weight", clpeft_adapter_merge(adapter, linear, 0, 1, NULL, NULL));
    refused("rows", clpeft_adapter_merge(adapter, linear, 0, 0, host, NULL));
    refused("rows", clpeft_adapter_merge(adapter, linear, 1, SIZE_MAX, host, NULL));
    refused("queue", clpeft_adapter_merge(adapter, linear, 0, 1, host, far.queue));
    ck_assert_ptr_null(clpeft_adapter_get_config(NULL));
    ck_assert_uint_eq(0, clpeft_adapter_sites(NULL, NULL) + clpeft_adapter_workspace(NULL));
    clpeft_adapter_destroy(NULL);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, core_refuses);
    tcase_add_test(t, a_device_of_another_context_is_refused);
    tcase_add_test(t, products_refuse);
    tcase_add_test(t, pools_refuse);
    tcase_add_test(t, attention_refuses);
    tcase_add_test(t, linear_refuses);
    tcase_add_test(t, layers_refuse);
    tcase_add_test(t, params_refuse);
    tcase_add_test(t, adapters_refuse);
}

int main(void)
{
    return run_tests("abuse", add, 600, set_up, tear_down);
}
