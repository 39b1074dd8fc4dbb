/* launch.c - check views, set arguments, enqueue in order. */
#include "launch.h"
#include "profile.h"
#include "program.h"

#include <sys/mman.h>
#include <unistd.h>

enum { LARGE_BUFFER = 4 << 20 }; /* bytes: some pages of 2 MB */

clpeft_status clp_begin(clp_stream *s, const char *what, clpeft_context *ctx, cl_command_queue queue, cl_uint n_wait,
                        const cl_event *wait)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue_properties properties = 0;
    cl_context context = NULL;

    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, what));
    REQUIRE(queue, CLPEFT_INVALID_ARGUMENT, "%s: queue is NULL", what);
    REQUIRE(!n_wait == !wait, CLPEFT_INVALID_ARGUMENT, "%s: n_wait is %u but wait is %sNULL", what, n_wait,
            wait ? "not " : "");
    TRY_CL(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL), what);
    REQUIRE(context == ctx->cl, CLPEFT_INVALID_ARGUMENT, "%s: queue is of another context", what);
    TRY_CL(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL), what);
    *s = (clp_stream){ .ctx = ctx, .queue = queue, .what = what, .n_wait = n_wait, .wait = wait };
    s->ordered = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
out:
    return status;
}

clpeft_status clp_check_buffer(const clp_stream *s, const char *name, cl_mem buf, size_t *size)
{
    clpeft_status status = CLPEFT_OK;
    cl_context context = NULL;

    REQUIRE(buf, CLPEFT_INVALID_ARGUMENT, "%s: %s has no buffer", s->what, name);
    TRY_CL(clGetMemObjectInfo(buf, CL_MEM_CONTEXT, sizeof context, &context, NULL), name);
    REQUIRE(context == s->ctx->cl, CLPEFT_INVALID_ARGUMENT, "%s: %s is a buffer of another context", s->what, name);
    TRY_CL(clGetMemObjectInfo(buf, CL_MEM_SIZE, sizeof *size, size, NULL), name);
out:
    return status;
}

clpeft_status clp_check(const clp_stream *s, const char *name, clpeft_view view, size_t rows, size_t cols)
{
    clpeft_status status = CLPEFT_OK;
    size_t size, end;

    if (rows == 0 || cols == 0) return CLPEFT_OK;
    TRY(clp_check_buffer(s, name, view.buf, &size));
    REQUIRE(view.ld >= cols, CLPEFT_INVALID_VIEW, "%s: %s has leading dimension %zu, less than its %zu columns",
            s->what, name, view.ld, cols);
    REQUIRE(!clp_mul(rows - 1, view.ld, &end) && !clp_sum(end, cols, &end) && !clp_sum(end, view.off, &end) &&
                end <= size / 4,
            CLPEFT_INVALID_VIEW,
            "%s: %s [%zu,%zu] at offset %zu with leading dimension %zu does not fit its buffer of %zu elements",
            s->what, name, rows, cols, view.off, view.ld, size / 4);
out:
    return status;
}

clpeft_status clp_check_vector(const clp_stream *s, const char *name, clpeft_view view, size_t n)
{
    return clp_check(s, name, view, n, 1);
}

static clpeft_status set_argument(cl_kernel kernel, const clp_arg *arg, cl_uint *at)
{
    const clpeft_view *view = arg->value;
    cl_ulong value;

    if (arg->kind == CLP_SIZE) {
        value = *(const size_t *)arg->value;
        return clSetKernelArg(kernel, (*at)++, sizeof value, &value);
    }
    if (arg->kind != CLP_VIEW) return clSetKernelArg(kernel, (*at)++, arg->size, arg->value);
    cl_int code = clSetKernelArg(kernel, (*at)++, sizeof view->buf, view->buf ? &view->buf : NULL);
    if (code == CL_SUCCESS) value = view->off, code = clSetKernelArg(kernel, (*at)++, sizeof value, &value);
    if (code == CL_SUCCESS) value = view->ld, code = clSetKernelArg(kernel, (*at)++, sizeof value, &value);
    return code;
}

/* On an out-of-order queue a barrier stands between the commands of one operation. */
static clpeft_status put_in_order(clp_stream *s)
{
    clpeft_status status = CLPEFT_OK;
    if (!s->ordered)
        TRY_CL(clEnqueueBarrierWithWaitList(s->queue, s->n_wait, s->wait, NULL), s->what);
    else
        return CLPEFT_OK;
    s->n_wait = 0, s->wait = NULL;
out:
    return status;
}

clpeft_status clp_run(clp_stream *s, const char *file, const char *name, const char *options, size_t n_args,
                      const clp_arg *args, unsigned dims, const size_t *global, const size_t *local)
{
    clpeft_status status = CLPEFT_OK;
    cl_kernel kernel = NULL;
    cl_event event = NULL;
    cl_uint at = 0;

    for (unsigned d = 0; d < dims; d++)
        if (global[d] == 0) return CLPEFT_OK;
    pthread_mutex_lock(&s->ctx->lock);
    TRY(put_in_order(s));
    TRY(clp_kernel(s->ctx, file, name, options, &kernel));
    for (size_t i = 0; i < n_args; i++) TRY_CL(set_argument(kernel, &args[i], &at), name);
    TRY_CL(clEnqueueNDRangeKernel(s->queue, kernel, dims, NULL, global, local, s->n_wait, s->wait,
                                  s->ctx->profile ? &event : NULL),
           name);
    if (event) clp_profile_add(s->ctx, file, name, event, s->flops, s->bytes);
    s->n_wait = 0, s->wait = NULL;
out:
    s->flops = s->bytes = 0;
    pthread_mutex_unlock(&s->ctx->lock);
    return status;
}

clpeft_status clp_order(clp_stream *s)
{
    clpeft_status status = CLPEFT_OK;

    if (!s->ordered || s->n_wait > 0) TRY_CL(clEnqueueBarrierWithWaitList(s->queue, s->n_wait, s->wait, NULL), s->what);
    s->n_wait = 0, s->wait = NULL;
out:
    return status;
}

clpeft_status clp_fill_zero(clp_stream *s, cl_mem buf, size_t off, size_t n)
{
    const cl_float zero = 0;
    clpeft_status status = CLPEFT_OK;

    if (n == 0) return CLPEFT_OK;
    TRY(put_in_order(s));
    TRY_CL(clEnqueueFillBuffer(s->queue, buf, &zero, sizeof zero, 4 * off, 4 * n, s->n_wait, s->wait, NULL), s->what);
    s->n_wait = 0, s->wait = NULL;
out:
    return status;
}

clpeft_status clp_end(clp_stream *s, cl_event *event)
{
    clpeft_status status = CLPEFT_OK;

    if (event) {
        TRY_CL(clEnqueueMarkerWithWaitList(s->queue, s->n_wait, s->wait, event), s->what);
    } else if (s->n_wait > 0) {
        TRY_CL(clEnqueueBarrierWithWaitList(s->queue, s->n_wait, s->wait, NULL), s->what);
    }
    if (!s->ordered) TRY_CL(clEnqueueBarrierWithWaitList(s->queue, 0, NULL, NULL), s->what);
out:
    return status;
}

/* The caller's queue, of this context, or one of our own. */
static clpeft_status choose_queue(clpeft_context *ctx, const char *what, cl_command_queue *queue, cl_command_queue *own)
{
    clp_stream s;
    if (*queue) return clp_begin(&s, what, ctx, *queue, 0, NULL);
    const clpeft_status status = clpeft_queue_create(own, ctx);
    *queue = *own;
    return status;
}

clpeft_status clp_read(clpeft_context *ctx, cl_command_queue queue, cl_mem buf, size_t off, size_t bytes, void *host)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;

    if (bytes == 0) return CLPEFT_OK;
    TRY(choose_queue(ctx, "read a buffer", &queue, &own));
    TRY_CL(clEnqueueReadBuffer(queue, buf, CL_TRUE, off, bytes, host, 0, NULL, NULL), "clEnqueueReadBuffer");
out:
    clp_queue_end(own);
    return status;
}

clpeft_status clp_write(clpeft_context *ctx, cl_command_queue queue, cl_mem buf, size_t off, size_t bytes,
                        const void *host)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;

    if (bytes == 0) return CLPEFT_OK;
    TRY(choose_queue(ctx, "write a buffer", &queue, &own));
    TRY_CL(clEnqueueWriteBuffer(queue, buf, CL_TRUE, off, bytes, host, 0, NULL, NULL), "clEnqueueWriteBuffer");
out:
    clp_queue_end(own);
    return status;
}

/* Products stream through weights and activations: with large pages they wait less for addresses to be translated. The
 * system is asked before anything touches the buffer, and may refuse. */
static clpeft_status ask_for_large_pages(clpeft_context *ctx, cl_mem buf, size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
#ifdef MADV_HUGEPAGE
    cl_command_queue queue = NULL;
    cl_int code = CL_SUCCESS;

    TRY(clpeft_queue_create(&queue, ctx));
    void *at = clEnqueueMapBuffer(queue, buf, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0, bytes, 0, NULL, NULL, &code);
    TRY_CL(code, "clEnqueueMapBuffer");
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = ((uintptr_t)at + page - 1) / page * page,
                    last = ((uintptr_t)at + bytes) / page * page;
    madvise((void *)first, last - first, MADV_HUGEPAGE);
    TRY_CL(clEnqueueUnmapMemObject(queue, buf, at, 0, NULL, NULL), "clEnqueueUnmapMemObject");
out:
    clp_queue_end(queue);
#endif
    return status;
}

clpeft_status clp_buffer(clpeft_context *ctx, size_t bytes, const void *host, cl_mem *buf)
{
    clpeft_status status = CLPEFT_OK;
    cl_int code = CL_SUCCESS;
    cl_mem made = NULL;

    REQUIRE(bytes > 0 && bytes <= ctx->info.max_alloc_bytes, CLPEFT_INVALID_SIZE,
            "a buffer of %zu bytes: the device allocates 1 to %llu", bytes,
            (unsigned long long)ctx->info.max_alloc_bytes);
    /* The host's bytes are only read: OpenCL's interface lacks the const. */
    made = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | (host ? CL_MEM_COPY_HOST_PTR : 0), bytes,
                          (void *)(uintptr_t)host, &code);
    TRY_CL(code, "clCreateBuffer");
    if (!host && bytes >= LARGE_BUFFER && ctx->info.type & CL_DEVICE_TYPE_CPU)
        TRY(ask_for_large_pages(ctx, made, bytes));
    *buf = made, made = NULL;
out:
    if (made) clReleaseMemObject(made);
    return status;
}
