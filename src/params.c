/* params.c - the arena: add tensors, allocate the four buffers, copy to and from host memory. */
#include "params.h"

#include <stdlib.h>
#include <string.h>

clpeft_status clpeft_params_create(clpeft_params **result, clpeft_context *ctx)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(result, CLPEFT_INVALID_ARGUMENT, "clpeft_params_create: params is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_params_create"));
    clpeft_params *params = clp_handle_create(sizeof *params, CLP_HANDLE_PARAMS);
    REQUIRE(params, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_params_create: out of memory");
    params->ctx = ctx;
    *result = params;
out:
    return status;
}

static void release_buffers(clpeft_params *params)
{
    cl_mem *all[] = { &params->buffer[0], &params->buffer[1], &params->buffer[2], &params->buffer[3],
                      &params->kind,      &params->state,     &params->partial };
    for (size_t i = 0; i < LENGTH(all); i++) {
        if (*all[i]) clReleaseMemObject(*all[i]);
        *all[i] = NULL;
    }
}

void clpeft_params_destroy(clpeft_params *params)
{
    if (!clp_handle_end(params, CLP_HANDLE_PARAMS)) return;
    release_buffers(params);
    free(params->tensors);
    free(params->init);
    free(params);
}

/* Room for one more tensor and for the first values of `size` elements in all. */
static clpeft_status reserve(clpeft_params *params, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    size_t bytes;

    if (params->n == params->capacity) {
        const size_t capacity = params->capacity ? 2 * params->capacity : 64;
        clpeft_tensor *grown = realloc(params->tensors, capacity * sizeof *grown);
        REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_params_add: out of memory");
        params->tensors = grown, params->capacity = capacity;
    }
    if (size > params->init_capacity) {
        const size_t capacity = size > 2 * params->init_capacity ? size : 2 * params->init_capacity;
        REQUIRE(!clp_mul(capacity, sizeof(float), &bytes), CLPEFT_INVALID_SIZE, "clpeft_params_add: %zu elements",
                capacity);
        float *grown = realloc(params->init, bytes);
        REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_params_add: out of memory for %zu elements", capacity);
        memset(grown + params->init_capacity, 0, (capacity - params->init_capacity) * sizeof *grown);
        params->init = grown, params->init_capacity = capacity;
    }
out:
    return status;
}

clpeft_status clpeft_params_add(clpeft_params *params, const char *name, clpeft_kind kind, size_t n_dims,
                                const size_t *dims, const float *init, size_t *off)
{
    clpeft_tensor t = { .kind = kind, .n_dims = n_dims, .size = 1 };
    clpeft_status status = CLPEFT_OK;
    size_t end;

    TRY(clp_live(params, CLP_HANDLE_PARAMS, "clpeft_params_add"));
    REQUIRE(name && dims, CLPEFT_INVALID_ARGUMENT, "clpeft_params_add: name or dims is NULL");
    REQUIRE(!params->buffer[0], CLPEFT_INVALID_ARGUMENT, "clpeft_params_add: %.96s: the arena is already allocated",
            name);
    REQUIRE(*name && strlen(name) < sizeof t.name, CLPEFT_INVALID_ARGUMENT,
            "clpeft_params_add: the name \"%.96s\" is empty or longer than %zu bytes", name, sizeof t.name - 1);
    REQUIRE((unsigned)kind < CLPEFT_KINDS, CLPEFT_INVALID_ARGUMENT, "clpeft_params_add: %s: kind %d", name, (int)kind);
    REQUIRE(!clpeft_params_find(params, name), CLPEFT_INVALID_ARGUMENT, "clpeft_params_add: the name %s is taken",
            name);
    REQUIRE(n_dims >= 1 && n_dims <= CLPEFT_MAX_DIMS, CLPEFT_INVALID_SIZE,
            "clpeft_params_add: %s: %zu dims, 1 to %d are possible", name, n_dims, CLPEFT_MAX_DIMS);
    for (size_t d = 0; d < n_dims; d++) {
        REQUIRE(dims[d] > 0 && !clp_mul(t.size, dims[d], &t.size), CLPEFT_INVALID_SIZE,
                "clpeft_params_add: %s: dim %zu is %zu", name, d, dims[d]);
        t.dims[d] = dims[d];
    }
    REQUIRE(!clp_sum(params->size, t.size, &end) && end <= SIZE_MAX / 16, CLPEFT_INVALID_SIZE,
            "clpeft_params_add: %s: %zu elements after %zu", name, t.size, params->size);
    end = clp_round_up(end, CLP_PARAMS_ALIGN);
    TRY(reserve(params, end + CLP_PARAMS_ALIGN));
    strcpy(t.name, name);
    t.off = params->size;
    if (init) memcpy(params->init + t.off, init, t.size * sizeof *init);
    params->tensors[params->n++] = t;
    params->size = end;
    if (kind != CLPEFT_KIND_FIXED) params->trainable += t.size;
    if (off) *off = t.off;
out:
    return status;
}

void clp_params_truncate(clpeft_params *params, size_t n)
{
    if (!params || n >= params->n) return;
    const size_t size = params->tensors[n].off;
    memset(params->init + size, 0, (params->size - size) * sizeof *params->init);
    for (; params->n > n; params->n--) {
        const clpeft_tensor *last = &params->tensors[params->n - 1];
        if (last->kind != CLPEFT_KIND_FIXED) params->trainable -= last->size;
    }
    params->size = size;
}

/* The kind of every ALIGN elements. */
static clpeft_status make_kinds(clpeft_params *params)
{
    clpeft_status status = CLPEFT_OK;
    const size_t n = params->size / CLP_PARAMS_ALIGN;
    unsigned char *kinds = malloc(n);

    REQUIRE(kinds, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_params_allocate: out of memory");
    for (size_t i = 0; i < params->n; i++) {
        const clpeft_tensor *t = &params->tensors[i];
        const size_t first = t->off / CLP_PARAMS_ALIGN,
                     end = clp_round_up(t->off + t->size, CLP_PARAMS_ALIGN) / CLP_PARAMS_ALIGN;
        memset(kinds + first, (int)t->kind, end - first);
    }
    status = clp_buffer(params->ctx, n, kinds, &params->kind);
out:
    free(kinds);
    return status;
}

clpeft_status clpeft_params_allocate(clpeft_params *params)
{
    const clp_adamw_state start[2] = { { .scale = 1 }, { .scale = 1 } };
    clpeft_status status = CLPEFT_OK;
    float *zeros = NULL;

    TRY(clp_live(params, CLP_HANDLE_PARAMS, "clpeft_params_allocate"));
    REQUIRE(!params->buffer[0], CLPEFT_INVALID_ARGUMENT, "clpeft_params_allocate: already allocated");
    REQUIRE(params->n > 0, CLPEFT_INVALID_SIZE, "clpeft_params_allocate: no tensor was added");
    const size_t n = params->size + CLP_PARAMS_ALIGN; /* kernels load whole vectors: a spare one at the end */
    zeros = calloc(n, sizeof *zeros);
    REQUIRE(zeros, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_params_allocate: out of memory for %zu elements", n);
    const size_t bytes = n * sizeof *zeros, spans = clp_round_up(params->size, CLP_ADAMW_SPAN) / CLP_ADAMW_SPAN;
    for (int i = 0; i < 4; i++)
        TRY(clp_buffer(params->ctx, bytes, i == CLPEFT_THETA ? params->init : zeros, &params->buffer[i]));
    TRY(make_kinds(params));
    TRY(clp_buffer(params->ctx, sizeof start, start, &params->state));
    TRY(clp_buffer(params->ctx, spans * sizeof(float), NULL, &params->partial));
    free(params->init);
    params->init = NULL;
out:
    if (status != CLPEFT_OK && clp_is_live(params, CLP_HANDLE_PARAMS) && !params->partial) release_buffers(params);
    free(zeros);
    return status;
}

size_t clpeft_params_count(const clpeft_params *params)
{
    return clp_is_live(params, CLP_HANDLE_PARAMS) ? params->n : 0;
}

const clpeft_tensor *clpeft_params_tensor(const clpeft_params *params, size_t index)
{
    return clp_is_live(params, CLP_HANDLE_PARAMS) && index < params->n ? &params->tensors[index] : NULL;
}

const clpeft_tensor *clpeft_params_find(const clpeft_params *params, const char *name)
{
    if (!name || !clp_is_live(params, CLP_HANDLE_PARAMS)) return NULL;
    for (size_t i = 0; i < params->n; i++)
        if (!strcmp(params->tensors[i].name, name)) return &params->tensors[i];
    return NULL;
}

size_t clpeft_params_size(const clpeft_params *params)
{
    return clp_is_live(params, CLP_HANDLE_PARAMS) ? params->size : 0;
}

size_t clpeft_params_trainable(const clpeft_params *params)
{
    return clp_is_live(params, CLP_HANDLE_PARAMS) ? params->trainable : 0;
}

cl_mem clpeft_params_buffer_cl(const clpeft_params *params, clpeft_params_buffer which)
{
    return clp_is_live(params, CLP_HANDLE_PARAMS) && (unsigned)which < LENGTH(params->buffer) ? params->buffer[which]
                                                                                              : NULL;
}

clpeft_status clp_params_ready(const clpeft_params *params, const char *what)
{
    const clpeft_status status = clp_live(params, CLP_HANDLE_PARAMS, what);
    if (status != CLPEFT_OK) return status;
    if (!params->partial) return clp_fail(CLPEFT_INVALID_ARGUMENT, "%s: params is not allocated", what);
    return CLPEFT_OK;
}

/* Bytes [*off, *off + *bytes) of the buffers that a tensor, or with NULL all, takes. */
static clpeft_status locate(const clpeft_params *params, clpeft_params_buffer which, const clpeft_tensor *tensor,
                            const void *host, const char *what, size_t *off, size_t *bytes)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_params_ready(params, what));
    REQUIRE((unsigned)which < LENGTH(params->buffer), CLPEFT_INVALID_ARGUMENT, "%s: buffer %d", what, (int)which);
    REQUIRE(host, CLPEFT_INVALID_ARGUMENT, "%s: host is NULL", what);
    REQUIRE(!tensor || (tensor->off <= params->size && tensor->size <= params->size - tensor->off),
            CLPEFT_INVALID_ARGUMENT, "%s: the tensor is not of this arena", what);
    *off = tensor ? tensor->off * sizeof(float) : 0;
    *bytes = (tensor ? tensor->size : params->size) * sizeof(float);
out:
    return status;
}

clpeft_status clpeft_params_read(const clpeft_params *params, clpeft_params_buffer which, const clpeft_tensor *tensor,
                                 float *host, cl_command_queue queue)
{
    size_t off = 0, bytes = 0;
    const clpeft_status status = locate(params, which, tensor, host, "clpeft_params_read", &off, &bytes);
    return status != CLPEFT_OK ? status : clp_read(params->ctx, queue, params->buffer[which], off, bytes, host);
}

clpeft_status clpeft_params_write(clpeft_params *params, clpeft_params_buffer which, const clpeft_tensor *tensor,
                                  const float *host, cl_command_queue queue)
{
    size_t off = 0, bytes = 0;
    const clpeft_status status = locate(params, which, tensor, host, "clpeft_params_write", &off, &bytes);
    return status != CLPEFT_OK ? status : clp_write(params->ctx, queue, params->buffer[which], off, bytes, host);
}

clpeft_status clpeft_params_zero_grad(clpeft_params *params, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_params_ready(params, "clpeft_params_zero_grad"));
    TRY(clp_begin(&s, "clpeft_params_zero_grad", params->ctx, queue, n_wait, wait));
    TRY(clp_fill_zero(&s, params->buffer[CLPEFT_GRAD], 0, params->size));
    status = clp_end(&s, event);
out:
    return status;
}
