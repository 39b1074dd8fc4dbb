/* context.c - open or adopt a device; the workspace. */
#include "context.h"
#include "profile.h"
#include "program.h"
#include "tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clpeft_status copy_cache_dir(clpeft_context *ctx, const char *wanted)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[4096];

    if (wanted ? !*wanted : !((xdg && *xdg) || (home && *home))) return CLPEFT_OK;
    if (wanted)
        snprintf(path, sizeof path, "%s", wanted);
    else if (xdg && *xdg)
        snprintf(path, sizeof path, "%s/clpeft", xdg);
    else
        snprintf(path, sizeof path, "%s/.cache/clpeft", home);
    ctx->cache_dir = strdup(path);
    return ctx->cache_dir ? CLPEFT_OK : clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_context_create: out of memory");
}

/* The device is one of a context to adopt. PoCL lists a sub-device as the device that it is a part of. */
static clpeft_status check_adopted(cl_context context, cl_device_id device)
{
    clpeft_status status = CLPEFT_OK;
    cl_device_id list[64], parent = NULL;
    size_t size = 0, i = 0;

    TRY_CL(clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof list, list, &size), "clpeft_context_create: context");
    TRY_CL(clGetDeviceInfo(device, CL_DEVICE_PARENT_DEVICE, sizeof parent, &parent, NULL),
           "clpeft_context_create: device");
    while (i < size / sizeof *list && list[i] != device && (!parent || list[i] != parent)) i++;
    REQUIRE(i < size / sizeof *list, CLPEFT_INVALID_ARGUMENT, "clpeft_context_create: device is not of this context");
out:
    return status;
}

/* ---- context ---------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_context_create(clpeft_context **result, const clpeft_context_options *options)
{
    const clpeft_context_options none = { 0 }, *o = options ? options : &none;
    const char *select = o->select ? o->select : getenv("CLPEFT_DEVICE");
    clpeft_status status = CLPEFT_OK;
    clpeft_context *ctx = NULL;
    cl_device_id device = NULL;
    cl_int code = CL_SUCCESS;

    REQUIRE(result, CLPEFT_INVALID_ARGUMENT, "clpeft_context_create: ctx is NULL");
    REQUIRE(!o->context == !o->device, CLPEFT_INVALID_ARGUMENT,
            "clpeft_context_create: context and device go together: give both or neither");
    ctx = clp_handle_create(sizeof *ctx, CLP_HANDLE_CONTEXT);
    REQUIRE(ctx, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_context_create: out of memory");
    pthread_mutex_init(&ctx->lock, NULL);
    device = o->device;
    if (!device)
        TRY(clp_device_pick(select, &device));
    else
        TRY(check_adopted(o->context, device));
    TRY_CL(clRetainDevice(device), "clRetainDevice");
    ctx->device = device;
    if (o->context) {
        TRY_CL(clRetainContext(o->context), "clRetainContext");
        ctx->cl = o->context;
    } else {
        ctx->cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
        TRY_CL(code, "clCreateContext");
    }
    TRY(clp_device_facts(ctx));
    TRY(copy_cache_dir(ctx, o->cache_dir));
    TRY(clp_profile_create(ctx));
    clp_tune_choose(ctx);
    *result = ctx;
    ctx = NULL;
out:
    clpeft_context_destroy(ctx);
    return status;
}

void clpeft_context_destroy(clpeft_context *ctx)
{
    if (!clp_handle_end(ctx, CLP_HANDLE_CONTEXT)) return;
    clp_profile_destroy(ctx);
    clp_programs_release(ctx);
    if (ctx->device) clReleaseDevice(ctx->device);
    if (ctx->cl) clReleaseContext(ctx->cl);
    pthread_mutex_destroy(&ctx->lock);
    free(ctx->cache_dir);
    free(ctx);
}

cl_context clpeft_context_cl(const clpeft_context *ctx)
{
    return clp_is_live(ctx, CLP_HANDLE_CONTEXT) ? ctx->cl : NULL;
}

cl_device_id clpeft_context_device(const clpeft_context *ctx)
{
    return clp_is_live(ctx, CLP_HANDLE_CONTEXT) ? ctx->device : NULL;
}

void clpeft_context_info(const clpeft_context *ctx, clpeft_device_info *info)
{
    if (!clp_is_live(ctx, CLP_HANDLE_CONTEXT) || !info) return;
    *info = ctx->info;
    info->panel_gemm = (int)ctx->tuning.panel;
    info->vector = ctx->tuning.vector;
    info->tile_rows = ctx->tuning.tile_rows;
    info->group = ctx->tuning.group;
}

clpeft_status clpeft_queue_create(cl_command_queue *queue, clpeft_context *ctx)
{
    clpeft_status status = CLPEFT_OK;
    cl_int code = CL_SUCCESS;

    REQUIRE(queue, CLPEFT_INVALID_ARGUMENT, "clpeft_queue_create: queue is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_queue_create"));
    cl_command_queue made =
        clCreateCommandQueue(ctx->cl, ctx->device, ctx->profile ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    TRY_CL(code, "clCreateCommandQueue");
    *queue = made;
out:
    return status;
}

void clp_queue_end(cl_command_queue queue)
{
    if (!queue) return;
    clFinish(queue);
    clReleaseCommandQueue(queue);
}

/* ---- workspace -------------------------------------------------------------------------------------------------- */

static clpeft_status workspace_make(clpeft_workspace **result, clpeft_context *ctx, cl_mem buf, size_t offset,
                                    size_t bytes)
{
    clpeft_workspace *ws = clp_handle_create(sizeof *ws, CLP_HANDLE_WORKSPACE);
    if (!ws) return clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_workspace_create: out of memory");
    *ws = (clpeft_workspace){ ctx, buf, offset, bytes };
    *result = ws;
    return CLPEFT_OK;
}

clpeft_status clpeft_workspace_create(clpeft_workspace **ws, clpeft_context *ctx, size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
    cl_mem buf = NULL;
    cl_int code = CL_SUCCESS;

    REQUIRE(ws, CLPEFT_INVALID_ARGUMENT, "clpeft_workspace_create: ws is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_workspace_create"));
    REQUIRE(bytes > 0 && bytes <= ctx->info.max_alloc_bytes, CLPEFT_INVALID_SIZE,
            "clpeft_workspace_create: %zu bytes; the device allocates 1 to %llu", bytes,
            (unsigned long long)ctx->info.max_alloc_bytes);
    buf = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TRY_CL(code, "clpeft_workspace_create: clCreateBuffer");
    TRY(workspace_make(ws, ctx, buf, 0, bytes));
    buf = NULL;
out:
    if (buf) clReleaseMemObject(buf);
    return status;
}

clpeft_status clpeft_workspace_adopt(clpeft_workspace **ws, clpeft_context *ctx, cl_mem buf, size_t offset,
                                     size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
    cl_context context = NULL;
    size_t size = 0, end;
    cl_uint align = 8;

    REQUIRE(ws && buf, CLPEFT_INVALID_ARGUMENT, "clpeft_workspace_adopt: ws or buf is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_workspace_adopt"));
    TRY_CL(clGetMemObjectInfo(buf, CL_MEM_SIZE, sizeof size, &size, NULL), "clpeft_workspace_adopt: buf");
    TRY_CL(clGetMemObjectInfo(buf, CL_MEM_CONTEXT, sizeof context, &context, NULL), "clpeft_workspace_adopt: buf");
    REQUIRE(context == ctx->cl, CLPEFT_INVALID_ARGUMENT, "clpeft_workspace_adopt: buf is of another context");
    TRY_CL(clGetDeviceInfo(ctx->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align, &align, NULL), "clGetDeviceInfo");
    REQUIRE(bytes > 0 && !clp_sum(offset, bytes, &end) && end <= size && offset % (align / 8) == 0, CLPEFT_INVALID_SIZE,
            "clpeft_workspace_adopt: bytes [%zu, +%zu) of a buffer of %zu, offset a multiple of %u", offset, bytes,
            size, align / 8);
    TRY_CL(clRetainMemObject(buf), "clRetainMemObject");
    status = workspace_make(ws, ctx, buf, offset, bytes);
    if (status != CLPEFT_OK) clReleaseMemObject(buf);
out:
    return status;
}

void clpeft_workspace_destroy(clpeft_workspace *ws)
{
    if (!clp_handle_end(ws, CLP_HANDLE_WORKSPACE)) return;
    clReleaseMemObject(ws->buf);
    free(ws);
}

clpeft_status clp_workspace_check(const clpeft_workspace *ws, size_t bytes, const char *what)
{
    if (!ws && bytes == 0) return CLPEFT_OK;
    const clpeft_status status = clp_live(ws, CLP_HANDLE_WORKSPACE, what);
    if (status != CLPEFT_OK) return status;
    if (ws->bytes < bytes)
        return clp_fail(CLPEFT_INVALID_SIZE, "%s: the workspace has %zu bytes, %zu are needed", what, ws->bytes, bytes);
    return CLPEFT_OK;
}
