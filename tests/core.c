/* core.c - contexts, status texts, views, workspace. */
#include "device.h"

START_TEST(an_adopted_context_computes)
{
    clpeft_context *ctx = NULL;
    const clpeft_context_options options = { .context = clpeft_context_cl(dev.ctx),
                                             .device = clpeft_context_device(dev.ctx) };
    ck_ok(clpeft_context_create(&ctx, &options));
    ck_assert_ptr_eq(clpeft_context_cl(ctx), clpeft_context_cl(dev.ctx));
    clpeft_context_destroy(ctx);
}
END_TEST

START_TEST(a_missing_device_is_named)
{
    clpeft_context *ctx = NULL;
    ck_fails(CLPEFT_NO_DEVICE, "no such card",
             clpeft_context_create(&ctx, &(clpeft_context_options){ .select = "no such card" }));
    ck_fails(CLPEFT_NO_DEVICE, "999", clpeft_context_create(&ctx, &(clpeft_context_options){ .select = "999" }));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "device",
             clpeft_context_create(&ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx) }));
    ck_assert_ptr_null(ctx);
}
END_TEST

START_TEST(a_device_is_found_by_index_and_by_name)
{
    size_t n = 0;
    char name[300];
    ck_ok(clpeft_device_count(&n));
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        clpeft_context *ctx = NULL;
        ck_ok(clpeft_device_name(i, name, sizeof name));
        ck_ok(clpeft_context_create(&ctx, &(clpeft_context_options){ .select = name }));
        clpeft_context_destroy(ctx);
    }
}
END_TEST

START_TEST(a_workspace_has_limits)
{
    clpeft_workspace *ws = NULL;
    ck_ok(clpeft_workspace_create(&ws, dev.ctx, 4096));
    clpeft_workspace_destroy(ws);
    ck_fails(CLPEFT_INVALID_SIZE, "0 bytes", clpeft_workspace_create(&ws, dev.ctx, 0));
    ck_fails(CLPEFT_INVALID_SIZE, "bytes", clpeft_workspace_create(&ws, dev.ctx, SIZE_MAX));
    matrix m = matrix_random(64, 64, 0, 0);
    ck_ok(clpeft_workspace_adopt(&ws, dev.ctx, m.view.buf, 0, 4096));
    clpeft_workspace_destroy(ws);
    ck_fails(CLPEFT_INVALID_SIZE, "of a buffer", clpeft_workspace_adopt(&ws, dev.ctx, m.view.buf, 0, 1 << 20));
    ck_fails(CLPEFT_INVALID_SIZE, "of a buffer",
             clpeft_workspace_adopt(&ws, dev.ctx, m.view.buf, SIZE_MAX - 127, 4096));
    matrix_free(&m);
}
END_TEST

START_TEST(status_texts_name_the_code)
{
    ck_assert_str_eq("CLPEFT_OK", clpeft_status_text(CLPEFT_OK));
    ck_assert_str_eq("CLPEFT_NOT_FINITE", clpeft_status_text(CLPEFT_NOT_FINITE));
    ck_assert_str_eq("CL_OUT_OF_RESOURCES", clpeft_status_text(CL_OUT_OF_RESOURCES));
    ck_assert_str_eq("unknown status", clpeft_status_text(12345));
    ck_assert_str_eq("0.1.0", clpeft_version());
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, an_adopted_context_computes);
    tcase_add_test(t, a_missing_device_is_named);
    tcase_add_test(t, a_device_is_found_by_index_and_by_name);
    tcase_add_test(t, a_workspace_has_limits);
    tcase_add_test(t, status_texts_name_the_code);
}

int main(void)
{
    return run_suite("core", add, 60);
}
