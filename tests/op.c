/* op.c - what holds for every simple operation of op.h: the errors of its arguments, and events and queues of any order. */
#include "reference.h"

#include <unistd.h>

/* The arguments of a call; an operation takes its first sizes, views and values in the order of its declaration. */
typedef struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    size_t size[8];
    clpeft_view view[8];
    float value[2];
    cl_uint n_wait;
    const cl_event *wait;
} arguments;

#define SIZES2 a->size[0], a->size[1]
#define SIZES3 SIZES2, a->size[2]
#define VIEWS2 a->view[0], a->view[1]
#define VIEWS3 VIEWS2, a->view[2]
#define VIEWS4 VIEWS3, a->view[3]
#define VIEWS5 VIEWS4, a->view[4]

#define CALL(name, ...)                                                                 \
    static clpeft_status call_##name(const arguments *a, cl_event *event)               \
    {                                                                                   \
        return clpeft_##name(a->ctx, __VA_ARGS__, a->queue, a->n_wait, a->wait, event); \
    }
CALL(row_norm, SIZES2, VIEWS2)
CALL(column_sum, SIZES2, a->view[0], a->value[0], a->view[1])
CALL(layer_norm, 4, a->size[0], a->value[0], VIEWS5)
CALL(layer_norm_backward, SIZES2, VIEWS4, a->value[0], a->view[4], a->view[5], a->view[6])
CALL(rms_norm, SIZES2, a->value[0], VIEWS4)
CALL(rms_norm_backward, SIZES2, VIEWS4, a->value[0], a->view[4])
CALL(activate, CLPEFT_GELU, SIZES2, VIEWS2)
CALL(activate_backward, CLPEFT_GELU, SIZES2, VIEWS3)
CALL(swiglu, SIZES2, VIEWS3)
CALL(swiglu_backward, SIZES2, VIEWS5)
CALL(add, SIZES2, a->value[0], a->view[0], a->value[1], a->view[1], a->view[2])
CALL(scale_columns, SIZES2, VIEWS3)
CALL(dropout, SIZES2, a->value[0], 1, 0, VIEWS2)
CALL(embedding, SIZES3, a->size[3], a->size[4], VIEWS4, 0, a->view[4], a->view[5])
CALL(embedding_backward, SIZES3, VIEWS3)
CALL(pool_mean, SIZES3, VIEWS3)
CALL(pool_mean_backward, SIZES3, VIEWS3)
CALL(pool_first, SIZES3, VIEWS3)
CALL(pool_first_backward, SIZES3, VIEWS3)
CALL(rope, SIZES3, a->value[0], 0, a->size[3], a->view[0], 0, a->view[1])
CALL(cross_entropy, SIZES2, VIEWS2, a->value[0], a->view[2], a->view[3], a->view[4])

/* Names of sizes, views and values, for the messages. A view in capital letters is a matrix of 4 columns, one that starts with
 * ? may be absent. layer_norm's T may be 0: its test is with layer norm's. */
static const struct {
    const char *name, *sizes, *views, *values;
    clpeft_status (*call)(const arguments *, cl_event *);
} op[] = {
#define OP(name, sizes, views, values)                     \
    {                                                      \
        "clpeft_" #name, sizes, views, values, call_##name \
    }
    OP(row_norm, "N K", "W c", ""),
    OP(column_sum, "T N", "X s", "beta"),
    OP(layer_norm, "D", "X gamma beta Y stat", "eps"),
    OP(layer_norm_backward, "!T D", "X gamma stat DY DX ?dgamma ?dbeta", "accumulate"),
    OP(rms_norm, "T D", "X gamma Y stat", "eps"),
    OP(rms_norm_backward, "T D", "X gamma stat DY DX", "accumulate"),
    OP(activate, "T D", "X Y", ""),
    OP(activate_backward, "T D", "X DY DX", ""),
    OP(swiglu, "T F", "GATE UP Y", ""),
    OP(swiglu_backward, "T F", "GATE UP DY DGATE DUP", ""),
    OP(add, "T D", "A B Y", "alpha beta"),
    OP(scale_columns, "T D", "X g Y", ""),
    OP(dropout, "T D", "X Y", "p"),
    OP(embedding, "T D V P S", "ids row_start WORD ?POSITION ?TYPE Y", ""),
    OP(embedding_backward, "T D V", "ids DY DTABLE", ""),
    OP(pool_mean, "T D S", "row_start X Y", ""),
    OP(pool_mean_backward, "T D S", "row_start DY DX", ""),
    OP(pool_first, "T D S", "row_start X Y", ""),
    OP(pool_first_backward, "T D S", "row_start DY DX", ""),
    OP(rope, "T H d S", "row_start X", "base"),
    OP(cross_entropy, "B C", "X labels loss ?correct ?DX", "weight"),
};
#define N_OPS (int)(sizeof op / sizeof *op)

/* Word i of a list, in small letters; 0 past its end. */
static int word(const char *list, size_t i, char *text, size_t size)
{
    size_t n = 0;
    for (; i > 0 && list; i--) list = strchr(list, ' '), list = list ? list + 1 : NULL;
    if (!list || !*list) return 0;
    for (; list[n] && list[n] != ' ' && n + 1 < size; n++) text[n] = list[n];
    text[n] = 0;
    return 1;
}

static void small_letters(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z') *text += 'a' - 'A';
}

/* All sizes are 4, all views the same 64 x 64 zeros. */
static arguments make_arguments(const matrix *m)
{
    arguments a = { .ctx = dev.ctx, .queue = dev.queue, .value = { 0.5f, 0.5f } };
    for (size_t i = 0; i < 8; i++) a.size[i] = 4, a.view[i] = m[i].view;
    return a;
}

static void refuse(int o, const arguments *a, clpeft_status code, const char *name)
{
    char want[64];
    cl_event event = NULL;
    const clpeft_status status = op[o].call(a, &event);
    ck_assert_msg(status == code, "%s, wrong %s: %s: %s", op[o].name, name, clpeft_status_text(status),
                  clpeft_error_message());
    snprintf(want, sizeof want, "%s: ", op[o].name);
    ck_assert_msg(!strncmp(clpeft_error_message(), want, strlen(want)) &&
                      strstr(clpeft_error_message() + strlen(want), name),
                  "%s, wrong %s: \"%s\"", op[o].name, name, clpeft_error_message());
    ck_assert_msg(!event, "%s, wrong %s: an event", op[o].name, name);
}

static void refuse_views(int o, arguments a, const matrix *foreign)
{
    char name[20];
    for (size_t i = 0; word(op[o].views, i, name, sizeof name); i++) {
        const clpeft_view good = a.view[i];
        const int optional = name[0] == '?', is_matrix = name[optional] < 'a';
        char *text = name + optional;
        small_letters(text);
        a.view[i].buf = NULL;
        if (!optional) refuse(o, &a, CLPEFT_INVALID_ARGUMENT, text);
        a.view[i].buf = foreign->view.buf;
        refuse(o, &a, CLPEFT_INVALID_ARGUMENT, text);
        a.view[i] = good;
        a.view[i].off = 64 * 64;
        refuse(o, &a, CLPEFT_INVALID_VIEW, text);
        a.view[i].off = SIZE_MAX - 1;
        refuse(o, &a, CLPEFT_INVALID_VIEW, text);
        a.view[i] = good;
        a.view[i].ld = is_matrix ? 3 : 0;
        refuse(o, &a, CLPEFT_INVALID_VIEW, text);
        a.view[i].ld = SIZE_MAX / 2;
        if (strcmp(text, "type") != 0)
            refuse(o, &a, CLPEFT_INVALID_VIEW, text); /* one row has no second to be far away */
        a.view[i] = good;
    }
}

START_TEST(arguments_are_checked)
{
    char name[20];
    cl_int code;
    const float zero = 0;
    matrix m[8];
    for (size_t i = 0; i < 8; i++) m[i] = matrix_make(64, 64, 0, 0, &zero);
    const arguments good = make_arguments(m);
    cl_device_id device = clpeft_context_device(dev.ctx);
    cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    cl_command_queue other_queue = clCreateCommandQueue(other, device, 0, &code);
    matrix foreign = m[0];
    foreign.view.buf = clCreateBuffer(other, CL_MEM_READ_WRITE, 4 * 64 * 64, NULL, &code);

    ck_ok(op[_i].call(&good, NULL));
    arguments a = good;
    a.ctx = NULL, refuse(_i, &a, CLPEFT_INVALID_ARGUMENT, "ctx");
    a = good, a.queue = NULL, refuse(_i, &a, CLPEFT_INVALID_ARGUMENT, "queue");
    a = good, a.queue = other_queue, refuse(_i, &a, CLPEFT_INVALID_ARGUMENT, "queue");
    a = good, a.n_wait = 1, refuse(_i, &a, CLPEFT_INVALID_ARGUMENT, "wait");
    for (size_t i = 0; word(op[_i].sizes, i, name, sizeof name); i++) {
        const int zero_allowed = name[0] == '!';
        a = good, a.size[i] = 0;
        if (!zero_allowed) refuse(_i, &a, CLPEFT_INVALID_SIZE, name);
        /* too large: as a size, or as that of a view that no longer fits */
        a.size[i] = SIZE_MAX - 1;
        const clpeft_status status = op[_i].call(&a, NULL);
        ck_assert_msg(status == CLPEFT_INVALID_SIZE || status == CLPEFT_INVALID_VIEW, "%s, huge %s: %s", op[_i].name,
                      name, clpeft_status_text(status));
    }
    for (size_t i = 0; word(op[_i].values, i, name, sizeof name); i++)
        a = good, a.value[i] = NAN, refuse(_i, &a, CLPEFT_INVALID_ARGUMENT, name);
    refuse_views(_i, good, &foreign);
    ck_ok(op[_i].call(&good, NULL));

    clReleaseMemObject(foreign.view.buf), clReleaseCommandQueue(other_queue), clReleaseContext(other);
    for (size_t i = 0; i < 8; i++) matrix_free(&m[i]);
}
END_TEST

START_TEST(values_have_ranges)
{
    const float zero = 0;
    matrix m = matrix_make(64, 64, 0, 0, &zero);
    const clpeft_view v = m.view;
#define QUEUE dev.queue, 0, NULL, NULL
    ck_fails(CLPEFT_INVALID_ARGUMENT, "eps", clpeft_layer_norm(dev.ctx, 4, 4, -1e-5f, v, v, v, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "eps", clpeft_rms_norm(dev.ctx, 4, 4, INFINITY, v, v, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "activation 6",
             clpeft_activate(dev.ctx, (clpeft_activation)6, 4, 4, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "activation -1",
             clpeft_activate_backward(dev.ctx, (clpeft_activation)-1, 4, 4, v, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "p is 1", clpeft_dropout(dev.ctx, 4, 4, 1, 0, 0, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "p is -0.1", clpeft_dropout(dev.ctx, 4, 4, -0.1f, 0, 0, v, v, QUEUE));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "base is 0", clpeft_rope(dev.ctx, 4, 1, 4, 0, 0, 1, v, 0, v, QUEUE));
    ck_fails(CLPEFT_INVALID_SIZE, "d is 5", clpeft_rope(dev.ctx, 4, 1, 5, 1e4f, 0, 1, v, 0, v, QUEUE));
    ck_fails(CLPEFT_INVALID_SIZE, "H is", clpeft_rope(dev.ctx, 4, SIZE_MAX / 2, 4, 1e4f, 0, 1, v, 0, v, QUEUE));
    matrix_free(&m);
}
END_TEST

/* ---- queues and events ------------------------------------------------------------------------------------------------ */

/* y = gelu(LN(x)) + x, then its backward and a loss: a chain in which every operation waits for the one before by an event, or not
 * at all. 8 kernels, the layer norm's backward alone three. */
static void run_chain(cl_command_queue queue, int with_events, const cl_event *start, matrix *m, matrix *labels)
{
    enum { X, GAMMA, BETA, STAT, H, Y, DY, DGAMMA, DBETA, LOSS };
    const size_t T = m[X].rows, D = m[X].cols;
    const clpeft_view none = { NULL, 0, 0 };
    cl_event event[6] = { NULL };
#define ORDER(i) queue, with_events, with_events ? ((i) ? &event[(i)-1] : start) : NULL, with_events ? &event[i] : NULL
    ck_ok(clpeft_layer_norm(dev.ctx, T, D, 1e-5f, m[X].view, m[GAMMA].view, m[BETA].view, m[H].view, m[STAT].view,
                            ORDER(0)));
    ck_ok(clpeft_activate(dev.ctx, CLPEFT_GELU, T, D, m[H].view, m[Y].view, ORDER(1)));
    ck_ok(clpeft_add(dev.ctx, T, D, 1, m[Y].view, 1, m[X].view, m[Y].view, ORDER(2)));
    ck_ok(clpeft_cross_entropy(dev.ctx, T, D, m[Y].view, labels->view, 1, m[LOSS].view, none, m[DY].view, ORDER(3)));
    ck_ok(clpeft_activate_backward(dev.ctx, CLPEFT_GELU, T, D, m[H].view, m[DY].view, m[DY].view, ORDER(4)));
    ck_ok(clpeft_layer_norm_backward(dev.ctx, T, D, m[X].view, m[GAMMA].view, m[STAT].view, m[DY].view, 0, m[DY].view,
                                     m[DGAMMA].view, m[DBETA].view, ORDER(5)));
    if (with_events)
        ck_assert_int_eq(CL_SUCCESS, clWaitForEvents(1, &event[5]));
    else
        clFinish(queue);
    for (size_t i = 0; i < 6 && with_events; i++) clReleaseEvent(event[i]);
}

START_TEST(queues_of_any_order_give_the_same_bits)
{
    const size_t T = 50, D = 77;
    const struct {
        size_t rows, cols;
    } size[] = { { T, D }, { D, 1 }, { D, 1 }, { T, 2 }, { T, D }, { T, D }, { T, D }, { D, 1 }, { D, 1 }, { T, 1 } };
    int32_t label[50];
    cl_int code;
    matrix a[10], b[10];
    for (size_t i = 0; i < 10; i++) a[i] = matrix_random(size[i].rows, size[i].cols, i, 1), b[i] = matrix_copy(&a[i]);
    for (size_t t = 0; t < T; t++) label[t] = (int32_t)t;
    matrix labels = matrix_ints(label, T, 0);
    cl_context cl = clpeft_context_cl(dev.ctx);
    cl_command_queue_properties can = 0;
    clGetDeviceInfo(clpeft_context_device(dev.ctx), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    /* some devices know in-order queues only: then a second one of these */
    cl_command_queue other =
        clCreateCommandQueue(cl, clpeft_context_device(dev.ctx), can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    ck_assert_int_eq(CL_SUCCESS, code);
    cl_event start = clCreateUserEvent(cl, &code);
    clSetUserEventStatus(start, CL_COMPLETE);

    run_chain(dev.queue, 0, NULL, a, &labels);
    run_chain(_i ? other : dev.queue, 1, &start, b, &labels);
    for (size_t i = 0; i < 10; i++) matrix_download(&a[i]), matrix_download(&b[i]), expect_same(&a[i], &b[i]);

    clReleaseEvent(start), clReleaseCommandQueue(other);
    for (size_t i = 0; i < 10; i++) matrix_free(&a[i]), matrix_free(&b[i]);
    matrix_free(&labels);
}
END_TEST

START_TEST(an_operation_waits_for_its_events)
{
    const float one = 1, two = 2;
    matrix x = matrix_make(5, 40, 0, 0, &one), y = matrix_make(5, 40, 0, 0, &one);
    cl_int code, state;
    cl_event gate = clCreateUserEvent(clpeft_context_cl(dev.ctx), &code), done;
    ck_ok(clpeft_add(dev.ctx, 5, 40, 1, x.view, 1, x.view, y.view, dev.queue, 1, &gate, &done));
    clFlush(dev.queue);
    ck_assert_int_eq(CL_SUCCESS, clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    ck_assert_int_ne(CL_COMPLETE, state);
    clSetUserEventStatus(gate, CL_COMPLETE);
    ck_assert_int_eq(CL_SUCCESS, clWaitForEvents(1, &done));
    matrix_download(&y);
    for (size_t i = 0; i < 5 * 40; i++) ck_assert(y.host[i] == two);
    clReleaseEvent(gate), clReleaseEvent(done), matrix_free(&x), matrix_free(&y);
}
END_TEST

/* One of no rows has no kernel, and what follows it in the queue waits all the same. */
START_TEST(an_empty_operation_waits_too)
{
    const float one = 1;
    matrix x = matrix_make(5, 40, 0, 0, &one);
    const clpeft_view v = x.view, vector = { v.buf, 0, 1 };
    cl_int code, state;
    cl_event gate = clCreateUserEvent(clpeft_context_cl(dev.ctx), &code), done;
    ck_ok(clpeft_layer_norm(dev.ctx, 0, 40, 1e-5f, v, vector, vector, v, vector, dev.queue, 1, &gate, NULL));
    ck_ok(clpeft_add(dev.ctx, 5, 40, 1, v, 1, v, v, dev.queue, 0, NULL, &done));
    clFlush(dev.queue);
    usleep(50000); /* were there nothing to wait for, the addition would be done */
    ck_assert_int_eq(CL_SUCCESS, clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    ck_assert_int_ne(CL_COMPLETE, state);
    clSetUserEventStatus(gate, CL_COMPLETE);
    ck_assert_int_eq(CL_SUCCESS, clWaitForEvents(1, &done));
    clReleaseEvent(gate), clReleaseEvent(done), matrix_free(&x);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, arguments_are_checked, 0, N_OPS);
    tcase_add_test(t, values_have_ranges);
    tcase_add_loop_test(t, queues_of_any_order_give_the_same_bits, 0, 2);
    tcase_add_test(t, an_operation_waits_for_its_events);
    tcase_add_test(t, an_empty_operation_waits_too);
}

int main(void)
{
    return run_suite("op", add, 120);
}
