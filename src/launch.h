/* launch.h - what every operation does: check its views, enqueue its kernels in order, hand out one event.
 *
 *     clp_stream s;
 *     TRY(clp_begin(&s, "clpeft_add", ctx, queue, n_wait, wait));
 *     TRY(clp_check(&s, "a", a, T, D));
 *     const clp_arg args[] = { SIZE(T), SIZE(D), VIEW(a), VIEW(y) };
 *     TRY(clp_run(&s, "element", "add", "", ARGS(args), 2, global, NULL));
 *     status = clp_end(&s, event);
 */
#ifndef CLP_LAUNCH_H
#define CLP_LAUNCH_H

#include "context.h"

/* One operation on a queue. */
typedef struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    const char *what; /* the operation's name, for messages */
    int ordered;      /* the queue runs in order */
    cl_uint n_wait;   /* events that the first command waits for */
    const cl_event *wait;
    double flops, bytes; /* cost of the next kernel, for the profile; back to 0 after it */
} clp_stream;

/* A kernel argument. A view becomes three: buffer (NULL without one: -D tells the kernel not to touch it), ulong offset,
 * ulong leading dimension. */
typedef struct {
    enum { CLP_VALUE, CLP_SIZE, CLP_VIEW, CLP_BUFFER } kind;
    size_t size;
    const void *value;
} clp_arg;
/* clang-format off */
#define VALUE(x)  { CLP_VALUE, sizeof(x), &(x) }      /* cl_int, cl_float, ... */
#define SIZE(x)   { CLP_SIZE, sizeof(size_t), &(x) }  /* size_t, handed over as ulong */
#define VIEW(x)   { CLP_VIEW, sizeof(x), &(x) }
#define BUFFER(x) { CLP_BUFFER, sizeof(cl_mem), &(x) }
/* clang-format on */
#define ARGS(args) LENGTH(args), args

/* Start: checks ctx and queue (of this context's cl_context) and the wait list. */
clpeft_status clp_begin(clp_stream *s, const char *what, clpeft_context *ctx, cl_command_queue queue, cl_uint n_wait,
                        const cl_event *wait);

/* buf is a buffer of this context, of *size bytes. name: the argument's. */
clpeft_status clp_check_buffer(const clp_stream *s, const char *name, cl_mem buf, size_t *size);
/* view holds rows x cols f32 elements (or 4-byte integers) in a buffer of this context. */
clpeft_status clp_check(const clp_stream *s, const char *name, clpeft_view view, size_t rows, size_t cols);
/* The same for a vector of n values, view.ld apart. */
clpeft_status clp_check_vector(const clp_stream *s, const char *name, clpeft_view view, size_t n);

/* Enqueue a kernel after all before it in this operation. local NULL: the driver chooses. A global size of 0 does nothing. */
clpeft_status clp_run(clp_stream *s, const char *file, const char *kernel, const char *options, size_t n_args,
                      const clp_arg *args, unsigned dims, const size_t *global, const size_t *local);

/* What clp_run does before a kernel, for commands that are enqueued elsewhere: the wait list is over, and on an
 * out-of-order queue all before is done. */
clpeft_status clp_order(clp_stream *s);

/* Fill n elements of a float buffer with 0. */
clpeft_status clp_fill_zero(clp_stream *s, cl_mem buf, size_t off, size_t n);

/* Copy between a buffer and host memory, waiting for it. queue NULL: a queue of its own for this call. bytes. */
clpeft_status clp_read(clpeft_context *ctx, cl_command_queue queue, cl_mem buf, size_t off, size_t bytes, void *host);
clpeft_status clp_write(clpeft_context *ctx, cl_command_queue queue, cl_mem buf, size_t off, size_t bytes,
                        const void *host);

/* A new buffer of this context's. bytes > 0; host may be NULL, else its first contents. */
clpeft_status clp_buffer(clpeft_context *ctx, size_t bytes, const void *host, cl_mem *buf);

/* End: *event, if asked for, completes when all commands of this operation have. */
clpeft_status clp_end(clp_stream *s, cl_event *event);

#endif
