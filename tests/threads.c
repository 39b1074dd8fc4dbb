/* threads.c - what core.h promises of threads: one context for several of them, each with objects and a queue of its own; several
 * contexts at once; queues that wait for each other by events. The bits are those of one thread. */
#include "exchange.h"

#include <pthread.h>

enum { THREADS = 4, STEPS = 3 };

static exchange x;

static void set_up(void)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    device_open();
    x = exchange_start(&o, (tiny){ 0 });
}

static void tear_down(void)
{
    exchange_end(&x);
    device_close();
}

/* ---- training ---------------------------------------------------------------------------------------------------------- */

/* What a thread does, and what came of it. */
typedef struct {
    clpeft_context *ctx; /* NULL: one of its own */
    clpeft_method method;
    float *theta;
    size_t n;
    clpeft_status status;
    char message[512];
} job;

static clpeft_status train(job *j, clpeft_context *ctx)
{
    static const int32_t labels[] = { 2, 0, -1, 1, 2 };
    const clpeft_trainer_options o = exchange_options(j->method);
    clpeft_model *model = NULL;
    clpeft_trainer *trainer = NULL;
    clpeft_batch batch = tiny_batch;

    batch.labels = labels;
    clpeft_status status = clpeft_model_load(&model, ctx, x.files.dir, &tiny_options);
    if (status == CLPEFT_OK) status = clpeft_trainer_create(&trainer, model, &o);
    for (int i = 0; i < STEPS && status == CLPEFT_OK; i++) status = clpeft_train_step(trainer, &batch, NULL);
    if (status == CLPEFT_OK) {
        const clpeft_params *params = clpeft_trainer_params(trainer);
        j->n = clpeft_params_size(params);
        j->theta = malloc(j->n * sizeof *j->theta);
        status = clpeft_params_read(params, CLPEFT_THETA, NULL, j->theta, clpeft_trainer_queue(trainer));
    }
    clpeft_trainer_destroy(trainer);
    clpeft_model_destroy(model);
    return status;
}

static void *run_job(void *argument)
{
    job *j = argument;
    clpeft_context *own = NULL;

    j->status = j->ctx ? CLPEFT_OK : clpeft_context_create(&own, NULL);
    if (j->status == CLPEFT_OK) j->status = train(j, j->ctx ? j->ctx : own);
    snprintf(j->message, sizeof j->message, "%s", clpeft_error_message());
    clpeft_context_destroy(own);
    return NULL;
}

/* All methods at once, on one context (0) or each on its own (1), against one after the other. */
START_TEST(training_in_threads)
{
    job jobs[THREADS], plain[THREADS];
    pthread_t thread[THREADS];
    clpeft_context *shared = NULL;

    if (_i == 0) ck_ok(clpeft_context_create(&shared, NULL)); /* without kernels yet: the threads load them */
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (job){ .ctx = shared, .method = (clpeft_method)t };
        ck_assert_int_eq(0, pthread_create(&thread[t], NULL, run_job, &jobs[t]));
    }
    for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
    for (int t = 0; t < THREADS; t++) {
        ck_assert_msg(jobs[t].status == CLPEFT_OK, "thread %d: %s", t, jobs[t].message);
        plain[t] = (job){ .ctx = dev.ctx, .method = (clpeft_method)t };
        run_job(&plain[t]);
        ck_assert_uint_eq(plain[t].n, jobs[t].n);
        ck_assert_mem_eq(plain[t].theta, jobs[t].theta, 4 * plain[t].n);
        free(plain[t].theta), free(jobs[t].theta);
    }
    clpeft_context_destroy(shared);
}
END_TEST

/* ---- operations -------------------------------------------------------------------------------------------------------- */

enum { ROWS = 37, COLS = 65, ROUNDS = 40 };

typedef struct {
    cl_command_queue queue;
    clpeft_view a, b;
    clpeft_workspace *ws;
    matrix y; /* of this thread */
    clpeft_status status;
    char message[512];
} work;

/* y = (a + b) b^T, again and again. */
static void *multiply(void *argument)
{
    work *w = argument;
    const clpeft_view sum = w->y.view, product = { sum.buf, sum.off + ROWS * sum.ld, sum.ld };

    for (int i = 0; i < ROUNDS && w->status == CLPEFT_OK; i++) {
        w->status = clpeft_add(dev.ctx, ROWS, COLS, 1, w->a, 1, w->b, sum, w->queue, 0, NULL, NULL);
        if (w->status == CLPEFT_OK)
            w->status =
                clpeft_gemm(dev.ctx, 0, 1, ROWS, ROWS, COLS, 1, sum, w->b, 0, product, w->ws, w->queue, 0, NULL, NULL);
    }
    if (w->status == CLPEFT_OK) w->status = clFinish(w->queue);
    snprintf(w->message, sizeof w->message, "%s", clpeft_error_message());
    return NULL;
}

static cl_command_queue make_queue(int out_of_order)
{
    cl_command_queue_properties can = 0;
    cl_int code;
    const cl_device_id device = clpeft_context_device(dev.ctx);
    clGetDeviceInfo(device, CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    /* some devices know in-order queues only */
    cl_command_queue queue = clCreateCommandQueue(
        clpeft_context_cl(dev.ctx), device, out_of_order ? can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0, &code);
    ck_assert_int_eq(CL_SUCCESS, code);
    return queue;
}

START_TEST(operations_in_threads)
{
    const size_t bytes = clpeft_gemm_workspace(dev.ctx, ROWS, ROWS, COLS);
    matrix a = matrix_random(ROWS, COLS, 0, 0), b = matrix_random(ROWS, COLS, 0, 0);
    pthread_t thread[THREADS];
    work w[THREADS + 1];

    for (int t = 0; t <= THREADS; t++) {
        w[t] = (work){
            .queue = make_queue(t % 2), .a = a.view, .b = b.view, .y = matrix_make(2 * ROWS, COLS, 0, 0, &(float){ 0 })
        };
        if (bytes > 0) ck_ok(clpeft_workspace_create(&w[t].ws, dev.ctx, bytes));
    }
    for (int t = 0; t < THREADS; t++) ck_assert_int_eq(0, pthread_create(&thread[t], NULL, multiply, &w[t]));
    for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
    multiply(&w[THREADS]);
    for (int t = 0; t <= THREADS; t++) {
        ck_assert_msg(w[t].status == CLPEFT_OK, "thread %d: %s", t, w[t].message);
        matrix_download(&w[t].y);
        ck_assert_mem_eq(w[t].y.host, w[0].y.host, 4 * w[t].y.size);
    }
    for (int t = 0; t <= THREADS; t++)
        clpeft_workspace_destroy(w[t].ws), clReleaseCommandQueue(w[t].queue), matrix_free(&w[t].y);
    matrix_free(&a), matrix_free(&b);
}
END_TEST

/* Two queues take turns at one matrix, each waiting for the other by an event: x = x / 2 + 1, 60 times. */
START_TEST(queues_wait_for_each_other)
{
    const cl_command_queue queue[2] = { make_queue(_i & 1), make_queue(_i & 2) };
    matrix m = matrix_make(ROWS, COLS, 0, 0, &(float){ 0 }), one = matrix_make(ROWS, COLS, 0, 0, &(float){ 1 });
    cl_event before = NULL, after;
    float want = 0;

    for (int i = 0; i < 60; i++) {
        ck_ok(clpeft_add(dev.ctx, ROWS, COLS, 0.5f, m.view, 1, one.view, m.view, queue[i % 2], before != NULL,
                         before ? &before : NULL, &after));
        clFlush(queue[i % 2]);
        if (before) clReleaseEvent(before);
        before = after;
        want = 0.5f * want + 1;
    }
    ck_assert_int_eq(CL_SUCCESS, clWaitForEvents(1, &before));
    matrix_download(&m);
    for (size_t i = 0; i < ROWS * COLS; i++) ck_assert_msg(m.host[i] == want, "%zu: %g", i, (double)m.host[i]);
    clReleaseEvent(before);
    clReleaseCommandQueue(queue[0]), clReleaseCommandQueue(queue[1]);
    matrix_free(&m), matrix_free(&one);
}
END_TEST

/* ---- messages ---------------------------------------------------------------------------------------------------------- */

static void *fail_often(void *argument)
{
    char want[64];
    int *wrong = argument;
    const int mine = *wrong;

    *wrong = 0;
    snprintf(want, sizeof want, "device %d of", mine + 1000);
    for (int i = 0; i < 200; i++) {
        char text[8];
        *wrong += clpeft_device_name((size_t)mine + 1000, text, sizeof text) != CLPEFT_NO_DEVICE;
        *wrong += !strstr(clpeft_error_message(), want);
    }
    return NULL;
}

START_TEST(messages_are_of_the_calling_thread)
{
    pthread_t thread[THREADS];
    int number[THREADS];

    for (int t = 0; t < THREADS; t++) {
        number[t] = t;
        ck_assert_int_eq(0, pthread_create(&thread[t], NULL, fail_often, &number[t]));
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], NULL);
        ck_assert_int_eq(0, number[t]);
    }
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, training_in_threads, 0, 2);
    tcase_add_test(t, operations_in_threads);
    tcase_add_loop_test(t, queues_wait_for_each_other, 0, 4);
    tcase_add_test(t, messages_are_of_the_calling_thread);
}

int main(void)
{
    return run_tests("threads", add, 120, set_up, tear_down);
}
