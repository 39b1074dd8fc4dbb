/* abuse.h - what the tests of wrong arguments share: good objects, those of another context, and refusal. */
#ifndef TEST_ABUSE_H
#define TEST_ABUSE_H

#include "exchange.h"

#define HUGE_N (SIZE_MAX / 2 + 1)
#define Q      dev.queue, 0, NULL, NULL

/* The call fails, and its message holds text. */
#define refused(text, call)                                                                           \
    do {                                                                                              \
        const clpeft_status status_ = (call);                                                         \
        ck_assert_msg(status_ != CLPEFT_OK, "accepted: %s", #call);                                   \
        ck_assert_msg(strstr(clpeft_error_message(), text), "%s: message \"%s\" lacks \"%s\"", #call, \
                      clpeft_error_message(), text);                                                  \
    } while (0)

static exchange x;
static clpeft_adapter *adapter;
static clpeft_params *params;
static clpeft_linear *linear;

/* Another context of the same device, and what belongs to it. */
static struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    cl_mem buf;
    clpeft_linear *linear;
    clpeft_model *model;
} far;

static const clpeft_view none;
static clpeft_view ok, away; /* [8,8] of this context and of the other */
static float host[4096];

static inline void set_up(void)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    const clpeft_linear_options l = { .N = 8, .K = 8 };
    const clpeft_site *sites;
    cl_int code;

    device_open();
    x = exchange_start(&o, (tiny){ 0 });
    adapter = clpeft_trainer_adapter(x.trainer), params = clpeft_trainer_params(x.trainer);
    clpeft_adapter_sites(adapter, &sites);
    linear = sites[0].linear;
    ck_ok(clpeft_context_create(&far.ctx, NULL));
    ck_ok(clpeft_queue_create(&far.queue, far.ctx));
    far.buf = clCreateBuffer(clpeft_context_cl(far.ctx), CL_MEM_READ_WRITE, 16384, NULL, &code);
    ck_ok(clpeft_linear_create(&far.linear, far.ctx, &l));
    ck_ok(clpeft_model_load(&far.model, far.ctx, x.files.dir, &tiny_options));
    ok = (clpeft_view){ clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_READ_WRITE, 16384, NULL, &code), 0, 64 };
    away = (clpeft_view){ far.buf, 0, 64 };
}

static inline void tear_down(void)
{
    clpeft_model_destroy(far.model);
    clpeft_linear_destroy(far.linear);
    clReleaseMemObject(far.buf), clReleaseMemObject(ok.buf);
    clReleaseCommandQueue(far.queue);
    clpeft_context_destroy(far.ctx);
    exchange_end(&x);
    device_close();
}

#endif
