/* weight.c - lay W0 out, widen it, read it back. */
#include "weight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096 /* layers in a shared storage start at multiples of this many bytes */

clpeft_context *clp_linear_context(const clpeft_linear *l)
{
    return l->ctx;
}

size_t clpeft_linear_rows(const clpeft_linear *l)
{
    return clp_is_live(l, CLP_HANDLE_LINEAR) ? l->N : 0;
}

size_t clpeft_linear_columns(const clpeft_linear *l)
{
    return clp_is_live(l, CLP_HANDLE_LINEAR) ? l->K : 0;
}

static int dense(clpeft_dtype dtype)
{
    return dtype == CLPEFT_F32 || dtype == CLPEFT_F16 || dtype == CLPEFT_BF16;
}

static int block_type(clpeft_dtype dtype)
{
    return dtype == CLPEFT_Q4_0 || dtype == CLPEFT_Q4_1 || dtype == CLPEFT_Q8_0 || dtype == CLPEFT_Q6_K;
}

size_t clp_weight_row_bytes(const clpeft_linear *l)
{
    return l->K / clpeft_dtype_block(l->dtype) * clpeft_dtype_bytes(l->dtype);
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

static clpeft_status check_options(const clpeft_linear_options *o)
{
    clpeft_status status = CLPEFT_OK;
    size_t size;

    REQUIRE(dense(o->dtype) || block_type(o->dtype), CLPEFT_UNSUPPORTED, "clpeft_linear_create: no weights of type %s",
            clpeft_dtype_name(o->dtype));
    REQUIRE(o->N > 0 && o->K > 0, CLPEFT_INVALID_SIZE, "clpeft_linear_create: N is %zu, K is %zu", o->N, o->K);
    REQUIRE(o->N < SIZE_MAX / 64 && o->K < SIZE_MAX / 64 && !clp_mul(o->N + 64, o->K + 64, &size) &&
                !clp_mul(size, (size_t)16, &size),
            CLPEFT_INVALID_SIZE, "clpeft_linear_create: N %zu times K %zu overflows", o->N, o->K);
    REQUIRE(o->K % clpeft_dtype_block(o->dtype) == 0, CLPEFT_INVALID_SIZE,
            "clpeft_linear_create: K is %zu, not a multiple of the %zu of a %s block", o->K,
            clpeft_dtype_block(o->dtype), clpeft_dtype_name(o->dtype));
out:
    return status;
}

/* Sizes and offsets of a layer that starts at byte 0. */
static size_t lay_out(clpeft_context *ctx, const clpeft_linear_options *o, clpeft_linear *l)
{
    *l = (clpeft_linear){ .ctx = ctx, .N = o->N, .K = o->K, .dtype = o->dtype, .forward_only = o->forward_only };
    l->panels = ctx->tuning.panel && dense(o->dtype);
    l->one_copy = l->panels && (o->one_copy || o->forward_only);
    if (!l->panels) return clp_round_up(o->N * clp_weight_row_bytes(l), PAGE);
    const size_t element = clpeft_dtype_bytes(o->dtype),
                 forward = clp_round_up(element * clp_panel_columns_size(ctx, o->K, o->N), PAGE);
    if (l->one_copy) return forward;
    l->backward_off = forward;
    return forward + clp_round_up(element * clp_panel_columns_size(ctx, o->N, o->K), PAGE);
}

size_t clpeft_linear_bytes(clpeft_context *ctx, const clpeft_linear_options *options)
{
    clpeft_linear l;
    if (!clp_is_live(ctx, CLP_HANDLE_CONTEXT) || !options || check_options(options) != CLPEFT_OK) return 0;
    return lay_out(ctx, options, &l);
}

/* Zeros everywhere: padding must be 0, and so are rows that are not yet loaded. */
static clpeft_status clear(clpeft_linear *l, size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue queue = NULL;
    const cl_uchar zero[16] = { 0 };

    TRY(clpeft_queue_create(&queue, l->ctx));
    TRY_CL(clEnqueueFillBuffer(queue, l->storage, zero, sizeof zero, l->forward_off, bytes, 0, NULL, NULL),
           "clpeft_linear_create");
    if (l->bias)
        TRY_CL(clEnqueueFillBuffer(queue, l->bias, zero, sizeof zero, 0, 4 * clp_round_up(l->N, 64), 0, NULL, NULL),
               "clpeft_linear_create");
    TRY_CL(clFinish(queue), "clpeft_linear_create");
out:
    clp_queue_end(queue);
    return status;
}

clpeft_status clpeft_linear_create(clpeft_linear **result, clpeft_context *ctx, const clpeft_linear_options *o)
{
    clpeft_status status = CLPEFT_OK;
    const clp_stream s = { .ctx = ctx, .what = "clpeft_linear_create" };
    clpeft_linear *l = NULL;
    size_t have = 0;

    REQUIRE(result && o, CLPEFT_INVALID_ARGUMENT, "clpeft_linear_create: linear or options is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_linear_create"));
    TRY(check_options(o));
    l = clp_handle_create(sizeof *l, CLP_HANDLE_LINEAR);
    REQUIRE(l, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_create: out of memory");
    const size_t bytes = lay_out(ctx, o, l);
    if (o->storage.buf) {
        TRY(clp_check_buffer(&s, "storage", o->storage.buf, &have));
        REQUIRE(o->storage.off % PAGE == 0 && o->storage.off <= have && have - o->storage.off >= bytes,
                CLPEFT_INVALID_VIEW,
                "clpeft_linear_create: storage: %zu bytes at offset %zu do not fit a buffer of %zu", bytes,
                o->storage.off, have);
        TRY_CL(clRetainMemObject(o->storage.buf), "clpeft_linear_create: storage");
        l->storage = o->storage.buf;
        l->forward_off += o->storage.off;
        l->backward_off += o->storage.off;
    } else {
        TRY(clp_buffer(ctx, bytes, NULL, &l->storage));
    }
    if (o->has_bias) TRY(clp_buffer(ctx, 4 * clp_round_up(l->N, 64), NULL, &l->bias));
    TRY(clear(l, bytes));
    *result = l;
    l = NULL;
out:
    clpeft_linear_destroy(l);
    return status;
}

void clpeft_linear_destroy(clpeft_linear *l)
{
    if (!clp_handle_end(l, CLP_HANDLE_LINEAR)) return;
    if (l->storage) clReleaseMemObject(l->storage);
    if (l->bias) clReleaseMemObject(l->bias);
    free(l);
}

/* ---- fill --------------------------------------------------------------------------------------------------------- */

/* Rows in device memory, packed rows of the layer's own type, to their place. */
static clpeft_status place(clp_stream *s, clpeft_linear *l, size_t row, size_t rows, clpeft_view w)
{
    const size_t bytes = clpeft_dtype_bytes(l->dtype);
    clpeft_status status = CLPEFT_OK;

    TRY(clp_pack_columns_transposed(s, row, rows, l->K, bytes, w, l->storage, l->forward_off / bytes));
    if (!l->one_copy) TRY(clp_pack_steps(s, row, rows, l->N, l->K, bytes, w, l->storage, l->backward_off / bytes));
out:
    return status;
}

/* Convert to the layer's own type; *made is freed by the caller, *data is what to upload. */
static clpeft_status own_type(const clpeft_linear *l, size_t n, const void *weight, clpeft_dtype dtype, void **made,
                              const void **data)
{
    clpeft_status status = CLPEFT_OK;
    float *wide = NULL;
    const float *values = weight;

    *data = weight;
    if (dtype == l->dtype) return CLPEFT_OK;
    REQUIRE(dense(l->dtype) && (dense(dtype) || dtype == CLPEFT_F64), CLPEFT_UNSUPPORTED,
            "clpeft_linear_load: %s weights into a layer of type %s", clpeft_dtype_name(dtype),
            clpeft_dtype_name(l->dtype));
    if (dtype != CLPEFT_F32) {
        wide = malloc(n * sizeof *wide);
        REQUIRE(wide, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_load: out of memory");
        TRY(clpeft_dtype_to_f32(dtype, weight, n, wide));
        values = wide;
    }
    if (l->dtype == CLPEFT_F32) {
        *made = wide, *data = wide;
        wide = NULL;
    } else {
        *made = malloc(n * clpeft_dtype_bytes(l->dtype));
        REQUIRE(*made, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_load: out of memory");
        TRY(clpeft_dtype_from_f32(l->dtype, values, n, *made));
        *data = *made;
    }
out:
    free(wide);
    return status;
}

clpeft_status clpeft_linear_load(clpeft_linear *l, size_t row, size_t rows, const void *weight, clpeft_dtype dtype,
                                 const float *bias, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;
    void *made = NULL;
    const void *data;
    cl_mem staging = NULL;

    TRY(clp_live(l, CLP_HANDLE_LINEAR, "clpeft_linear_load"));
    REQUIRE(weight, CLPEFT_INVALID_ARGUMENT, "clpeft_linear_load: weight is NULL");
    REQUIRE(rows > 0 && row < l->N && rows <= l->N - row, CLPEFT_INVALID_SIZE,
            "clpeft_linear_load: rows [%zu, +%zu) of %zu", row, rows, l->N);
    REQUIRE(!bias || l->bias, CLPEFT_INVALID_ARGUMENT, "clpeft_linear_load: bias for a layer made without one");
    TRY(clp_begin(&s, "clpeft_linear_load", l->ctx, queue, 0, NULL));
    TRY(own_type(l, rows * l->K, weight, dtype, &made, &data));
    const size_t bytes = rows * clp_weight_row_bytes(l);
    if (l->panels) {
        TRY(clp_buffer(l->ctx, bytes, data, &staging));
        TRY(place(&s, l, row, rows, (clpeft_view){ staging, 0, l->K }));
    } else {
        TRY(clp_write(l->ctx, queue, l->storage, l->forward_off + row * clp_weight_row_bytes(l), bytes, data));
    }
    if (bias) TRY(clp_write(l->ctx, queue, l->bias, 4 * row, 4 * rows, bias));
    TRY_CL(clFinish(queue), "clpeft_linear_load");
out:
    if (staging) clReleaseMemObject(staging);
    free(made);
    return status;
}

clpeft_status clpeft_linear_load_view(clpeft_linear *l, size_t row, size_t rows, clpeft_view weight, clpeft_dtype dtype,
                                      clpeft_view bias, cl_command_queue queue)
{
    const size_t bytes = clpeft_dtype_bytes(dtype);
    clpeft_status status = CLPEFT_OK;
    char *host = NULL;
    float *host_bias = NULL;
    size_t have = 0, end = 0;
    clp_stream s;

    TRY(clp_live(l, CLP_HANDLE_LINEAR, "clpeft_linear_load_view"));
    TRY(clp_begin(&s, "clpeft_linear_load_view", l->ctx, queue, 0, NULL));
    REQUIRE(dense(dtype), CLPEFT_UNSUPPORTED, "clpeft_linear_load_view: weights of type %s", clpeft_dtype_name(dtype));
    REQUIRE(rows > 0 && row < l->N && rows <= l->N - row, CLPEFT_INVALID_SIZE,
            "clpeft_linear_load_view: rows [%zu, +%zu) of %zu", row, rows, l->N);
    TRY(clp_check_buffer(&s, "weight", weight.buf, &have));
    if (bias.buf) TRY(clp_check_vector(&s, "bias", bias, rows));
    REQUIRE(weight.ld >= l->K && !clp_mul(rows - 1, weight.ld, &end) && !clp_sum(end, l->K, &end) &&
                !clp_sum(end, weight.off, &end) && end <= have / bytes,
            CLPEFT_INVALID_VIEW, "clpeft_linear_load_view: weight does not fit its buffer");
    host = malloc(rows * l->K * bytes);
    REQUIRE(host, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_load_view: out of memory");
    for (size_t i = 0; i < rows; i++)
        TRY(clp_read(l->ctx, queue, weight.buf, bytes * (weight.off + i * weight.ld), bytes * l->K,
                     host + i * l->K * bytes));
    if (bias.buf) {
        host_bias = malloc(4 * rows);
        REQUIRE(host_bias, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_load_view: out of memory");
        for (size_t i = 0; i < rows; i++)
            TRY(clp_read(l->ctx, queue, bias.buf, 4 * (bias.off + i * bias.ld), 4, host_bias + i));
    }
    TRY(clpeft_linear_load(l, row, rows, host, dtype, host_bias, queue));
out:
    free(host);
    free(host_bias);
    return status;
}

/* ---- use ---------------------------------------------------------------------------------------------------------- */

size_t clp_weight_scratch(const clpeft_linear *l, int backward)
{
    if (l->panels) return backward && l->one_copy ? clp_panel_columns_size(l->ctx, l->N, l->K) : 0;
    if (!l->ctx->tuning.panel) return l->dtype == CLPEFT_F32 ? 0 : l->N * l->K;
    return backward ? clp_panel_columns_size(l->ctx, l->N, l->K) : clp_panel_columns_size(l->ctx, l->K, l->N);
}

static clpeft_status turn(clp_stream *s, const clpeft_linear *l, cl_mem scratch, size_t scratch_off,
                          clp_operand *operand)
{
    const size_t bytes = clpeft_dtype_bytes(l->dtype), NR = clp_panel_columns(l->ctx),
                 global[2] = { (l->K + NR - 1) / NR, clp_strips(l->N) }, one[2] = { 1, 1 };
    const size_t from = l->forward_off / bytes, to = scratch_off * 4 / bytes;
    const clp_arg args[] = { SIZE(l->N), SIZE(l->K), BUFFER(l->storage), SIZE(from), BUFFER(scratch), SIZE(to) };
    *operand = (clp_operand){ scratch, to, l->dtype };
    s->bytes = 2.0 * (double)bytes * (double)l->N * (double)l->K;
    return clp_run(s, "turn", "turn", bytes == 4 ? "-D E=uint" : "-D E=ushort", ARGS(args), 2, global, one);
}

clpeft_status clp_weight_operand(clp_stream *s, const clpeft_linear *l, int backward, cl_mem scratch,
                                 size_t scratch_off, clp_operand *operand)
{
    const size_t NR = clp_panel_columns(l->ctx), global[2] = { (l->N + NR - 1) / NR, clp_strips(l->K) },
                 one[2] = { 1, 1 }, row_bytes = clp_weight_row_bytes(l);
    char options[64];

    if (clp_weight_scratch(l, backward) == 0) {
        *operand =
            (clp_operand){ l->storage, (backward ? l->backward_off : l->forward_off) / clpeft_dtype_bytes(l->dtype),
                           l->dtype };
        return CLPEFT_OK;
    }
    if (l->panels) return turn(s, l, scratch, scratch_off, operand);
    const clp_arg args[] = { SIZE(l->N),           SIZE(l->K),      SIZE(row_bytes),  BUFFER(l->storage),
                             SIZE(l->forward_off), BUFFER(scratch), SIZE(scratch_off) };
    *operand = (clp_operand){ scratch, scratch_off, CLPEFT_F32 };
    snprintf(options, sizeof options, "-D SOURCE=%d -D TARGET=%d", (int)l->dtype, !l->ctx->tuning.panel ? 2 : backward);
    s->bytes = (double)l->N * (double)(row_bytes + 4 * l->K);
    return clp_run(s, "widen", "widen", options, ARGS(args), 2, global, one);
}

clpeft_status clp_linear_read(const clpeft_linear *l, size_t row, size_t rows, float *weight, cl_command_queue queue)
{
    const size_t bytes = rows * clp_weight_row_bytes(l), element = clpeft_dtype_bytes(l->dtype),
                 from = l->forward_off / element, zero = 0, global[2] = { rows, clp_strips(l->K) };
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    cl_mem staging = NULL;
    void *narrow = NULL;
    clp_stream s;

    if (!queue) TRY(clpeft_queue_create(&own, l->ctx));
    TRY(clp_begin(&s, "clpeft_linear_read", l->ctx, queue ? queue : own, 0, NULL));
    if (l->panels) TRY(clp_buffer(l->ctx, bytes, NULL, &staging));
    const clp_arg args[] = { SIZE(row), SIZE(l->K), BUFFER(l->storage), SIZE(from), BUFFER(staging), SIZE(zero) };
    if (l->panels)
        TRY(clp_run(&s, "turn", "unpack", element == 4 ? "-D E=uint" : "-D E=ushort", ARGS(args), 2, global, NULL));
    narrow = l->dtype == CLPEFT_F32 ? NULL : malloc(bytes);
    REQUIRE(narrow || l->dtype == CLPEFT_F32, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_linear_read: out of memory");
    TRY(clp_read(l->ctx, s.queue, staging ? staging : l->storage,
                 staging ? 0 : l->forward_off + row * clp_weight_row_bytes(l), bytes, narrow ? narrow : weight));
    if (narrow) TRY(clpeft_dtype_to_f32(l->dtype, narrow, rows * l->K, weight));
out:
    if (staging) clReleaseMemObject(staging);
    clp_queue_end(own);
    free(narrow);
    return status;
}
