/* device.h - what the operations' tests share: an open device, matrices with gaps, bounds. */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include "expect.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The device of CLPEFT_DEVICE. Opened by the checked fixture device_open, in the child: OpenCL does not survive fork. */
static struct {
    clpeft_context *ctx;
    cl_command_queue queue;
} dev;

static void device_open(void)
{
    ck_assert_msg(clpeft_context_create(&dev.ctx, NULL) == CLPEFT_OK, "%s", clpeft_error_message());
    ck_assert_msg(clpeft_queue_create(&dev.queue, dev.ctx) == CLPEFT_OK, "%s", clpeft_error_message());
}

/* Nothing is pending when the child exits: PoCL compiles a kernel when it first runs, in a thread of its own, and LLVM crashes there
 * once the process's exit has destroyed what it uses. */
static void device_close(void)
{
    clFinish(dev.queue);
    clReleaseCommandQueue(dev.queue);
    clpeft_context_destroy(dev.ctx);
}

/* A matrix on the device and its copy on the host: rows x cols at an offset, with gap elements between rows. Everything
 * outside of the matrix holds GUARD and must still do after an operation. */
#define GUARD 12345.25f
typedef struct {
    clpeft_view view;
    size_t rows, cols, size;
    float *host; /* the whole buffer */
} matrix;
#define AT(m, i, j) ((m).host[(m).view.off + (i) * (m).view.ld + (j)])

static uint64_t random_state = 1;
/* Uniform in [-1, 1), repeatable. */
static inline float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 11) / 4503599627370496.0 - 1.0);
}

static inline void matrix_upload(const matrix *m)
{
    ck_assert_int_eq(CL_SUCCESS,
                     clEnqueueWriteBuffer(dev.queue, m->view.buf, CL_TRUE, 0, 4 * m->size, m->host, 0, NULL, NULL));
}

/* rows and cols may be 0. fill: NULL random, else this value everywhere. */
static inline matrix matrix_make(size_t rows, size_t cols, size_t off, size_t gap, const float *fill)
{
    matrix m = { .rows = rows, .cols = cols, .size = off + rows * (cols + gap) + 3 };
    cl_int code;
    m.host = malloc(4 * m.size);
    for (size_t i = 0; i < m.size; i++) m.host[i] = GUARD;
    m.view = (clpeft_view){ NULL, off, cols + gap };
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) AT(m, i, j) = fill ? *fill : random_float();
    m.view.buf = clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_READ_WRITE, 4 * m.size, NULL, &code);
    ck_assert_int_eq(CL_SUCCESS, code);
    matrix_upload(&m);
    return m;
}

static inline matrix matrix_random(size_t rows, size_t cols, size_t off, size_t gap)
{
    return matrix_make(rows, cols, off, gap, NULL);
}

/* Integers (ids, labels, row_start) as a vector: values adjacent, at an offset. */
static inline matrix matrix_ints(const int32_t *values, size_t n, size_t off)
{
    const float zero = 0;
    matrix m = matrix_make(n, 1, off, 0, &zero);
    memcpy(m.host + off, values, 4 * n);
    matrix_upload(&m);
    return m;
}

/* Fetch the device's values, and check that nothing outside of the matrix changed. */
static inline void matrix_download(matrix *m)
{
    ck_assert_int_eq(CL_SUCCESS,
                     clEnqueueReadBuffer(dev.queue, m->view.buf, CL_TRUE, 0, 4 * m->size, m->host, 0, NULL, NULL));
    for (size_t p = 0; p < m->size; p++) {
        const size_t i = p < m->view.off ? m->rows : (p - m->view.off) / m->view.ld, j = (p - m->view.off) % m->view.ld;
        if (p < m->view.off || i >= m->rows || j >= m->cols)
            ck_assert_msg(m->host[p] == GUARD, "element %zu outside of the matrix was overwritten", p);
    }
}

static inline void matrix_free(matrix *m)
{
    clReleaseMemObject(m->view.buf);
    free(m->host);
}

#define expect_near(have, want, bound, ...)                                                    \
    do {                                                                                       \
        const double have_ = (have), want_ = (want), bound_ = (bound);                         \
        if (!(fabs(have_ - want_) <= bound_)) {                                                \
            char where_[200];                                                                  \
            snprintf(where_, sizeof where_, __VA_ARGS__);                                      \
            ck_abort_msg("%s: %.9g, expected %.9g within %.3g", where_, have_, want_, bound_); \
        }                                                                                      \
    } while (0)

/* Run a suite's tests; main returns this. CK_FORK=no for debuggers. */
static inline int run_suite(const char *name, void (*add)(TCase *), double seconds)
{
    return run_tests(name, add, seconds, device_open, device_close);
}

#endif
