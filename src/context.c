/* context.c - open or adopt a device, its facts, and the workspace. */
#include "context.h"
#include "profile.h"
#include "program.h"
#include "tune.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- all devices of all platforms ------------------------------------------------------------------------------- */

typedef struct {
    cl_device_id id;
    char text[264];    /* "platform: device" */
    char version[128]; /* the driver's own, which names PoCL */
} device_entry;

static clpeft_status list_devices(device_entry **list, size_t *count)
{
    clpeft_status status = CLPEFT_OK;
    cl_platform_id platforms[32];
    cl_device_id devices[64];
    cl_uint n_platforms = 0, n_devices;
    device_entry *found = NULL;
    size_t n = 0;

    *list = NULL, *count = 0;
    if (clGetPlatformIDs(LENGTH(platforms), platforms, &n_platforms) != CL_SUCCESS) n_platforms = 0;
    if (n_platforms > LENGTH(platforms)) n_platforms = LENGTH(platforms);
    for (cl_uint p = 0; p < n_platforms; p++) {
        char platform[128] = "", name[128];
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, LENGTH(devices), devices, &n_devices) != CL_SUCCESS) continue;
        if (n_devices > LENGTH(devices)) n_devices = LENGTH(devices);
        clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof platform - 1, platform, NULL);
        for (cl_uint d = 0; d < n_devices; d++) {
            device_entry *grown = realloc(found, (n + 1) * sizeof *found);
            REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "list of devices: out of memory");
            found = grown;
            clp_device_text(devices[d], CL_DEVICE_NAME, name, sizeof name);
            found[n].id = devices[d];
            clp_device_text(devices[d], CL_DEVICE_VERSION, found[n].version, sizeof found->version);
            snprintf(found[n++].text, sizeof found->text, "%s: %s", platform, name);
        }
    }
    *list = found, *count = n;
    found = NULL;
out:
    free(found);
    return status;
}

clpeft_status clpeft_device_count(size_t *count)
{
    device_entry *list = NULL;
    if (!count) return clp_fail(CLPEFT_INVALID_ARGUMENT, "clpeft_device_count: count is NULL");
    const clpeft_status status = list_devices(&list, count);
    free(list);
    return status;
}

clpeft_status clpeft_device_name(size_t index, char *text, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    device_entry *list = NULL;
    size_t n = 0;

    REQUIRE(text && size > 0, CLPEFT_INVALID_ARGUMENT, "clpeft_device_name: text is NULL or size is 0");
    TRY(list_devices(&list, &n));
    REQUIRE(index < n, CLPEFT_NO_DEVICE, "clpeft_device_name: device %zu of %zu", index, n);
    snprintf(text, size, "%s", list[index].text);
out:
    free(list);
    return status;
}

static int contains_ignoring_case(const char *text, const char *part)
{
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (!part[i]) return 1;
    }
    return 0;
}

static size_t preferred_device(const device_entry *list, size_t n)
{
    static const cl_device_type order[] = { CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ACCELERATOR };
    for (size_t o = 0; o < LENGTH(order); o++)
        for (size_t i = 0; i < n; i++) {
            cl_device_type type = 0;
            clGetDeviceInfo(list[i].id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
            if (type & order[o]) return i;
        }
    return 0;
}

/* select: an index, a part of a name, or NULL. */
static clpeft_status pick_device(const char *select, cl_device_id *device)
{
    clpeft_status status = CLPEFT_OK;
    device_entry *list = NULL;
    char names[400] = "";
    size_t n = 0, i = 0;

    TRY(list_devices(&list, &n));
    REQUIRE(n > 0, CLPEFT_NO_DEVICE,
            "no OpenCL device: install a driver (on Debian pocl-opencl-icd serves any CPU) or check OCL_ICD_VENDORS");
    if (!select || !*select) {
        i = preferred_device(list, n);
    } else if (strspn(select, "0123456789") == strlen(select)) {
        i = strtoull(select, NULL, 10);
    } else {
        while (i < n && !contains_ignoring_case(list[i].text, select) && !contains_ignoring_case(list[i].version, select)) i++;
    }
    for (size_t d = 0, used = 0; d < n && used < sizeof names; d++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%zu %s", d ? ", " : "", d, list[d].text);
    REQUIRE(i < n, CLPEFT_NO_DEVICE, "no OpenCL device matches \"%.60s\"; there are: %s", select, names);
    *device = list[i].id;
out:
    free(list);
    return status;
}

/* ---- facts ------------------------------------------------------------------------------------------------------ */

void clp_device_text(cl_device_id device, cl_device_info what, char *text, size_t size)
{
    char buffer[1024] = "";
    if (clGetDeviceInfo(device, what, sizeof buffer - 1, buffer, NULL) != CL_SUCCESS) buffer[0] = 0;
    snprintf(text, size, "%s", buffer);
}

static void read_facts(clpeft_context *ctx)
{
    clpeft_device_info *info = &ctx->info;
    cl_platform_id platform = NULL;
    cl_device_local_mem_type local = CL_LOCAL;
    cl_ulong value = 0;

    clGetDeviceInfo(ctx->device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof info->platform - 1, info->platform, NULL);
    clp_device_text(ctx->device, CL_DEVICE_NAME, info->name, sizeof info->name);
    clp_device_text(ctx->device, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    clp_device_text(ctx->device, CL_DEVICE_VERSION, info->version, sizeof info->version);
    clGetDeviceInfo(ctx->device, CL_DEVICE_TYPE, sizeof info->type, &info->type, NULL);
    clGetDeviceInfo(ctx->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint), &info->compute_units, NULL);
    clGetDeviceInfo(ctx->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(cl_uint), &info->float_width, NULL);
    clGetDeviceInfo(ctx->device, CL_DEVICE_LOCAL_MEM_TYPE, sizeof local, &local, NULL);
    clGetDeviceInfo(ctx->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof value, &value, NULL), info->global_bytes = value;
    clGetDeviceInfo(ctx->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof value, &value, NULL), info->max_alloc_bytes = value;
    clGetDeviceInfo(ctx->device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof value, &value, NULL), info->local_bytes = value;
    info->local_is_global = local == CL_GLOBAL;
    if (info->float_width == 0) info->float_width = 1;
    if (info->compute_units == 0) info->compute_units = 1;
}

static clpeft_status copy_cache_dir(clpeft_context *ctx, const char *wanted)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[4096];

    if (wanted ? !*wanted : !((xdg && *xdg) || (home && *home))) return CLPEFT_OK;
    if (wanted) snprintf(path, sizeof path, "%s", wanted);
    else if (xdg && *xdg) snprintf(path, sizeof path, "%s/clpeft", xdg);
    else snprintf(path, sizeof path, "%s/.cache/clpeft", home);
    ctx->cache_dir = strdup(path);
    return ctx->cache_dir ? CLPEFT_OK : clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_context_create: out of memory");
}

/* ---- context ---------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_context_create(clpeft_context **result, const clpeft_context_options *options)
{
    const clpeft_context_options none = { 0 }, *o = options ? options : &none;
    const char *select = o->select ? o->select : getenv("CLPEFT_DEVICE");
    clpeft_status status = CLPEFT_OK;
    clpeft_context *ctx = NULL;
    cl_int code = CL_SUCCESS;

    REQUIRE(result, CLPEFT_INVALID_ARGUMENT, "clpeft_context_create: ctx is NULL");
    REQUIRE(!o->context == !o->device, CLPEFT_INVALID_ARGUMENT,
            "clpeft_context_create: context and device go together: give both or neither");
    ctx = calloc(1, sizeof *ctx);
    REQUIRE(ctx, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_context_create: out of memory");
    pthread_mutex_init(&ctx->lock, NULL);
    if (o->context) {
        TRY_CL(clRetainContext(o->context), "clRetainContext");
        ctx->cl = o->context;
        ctx->device = o->device;
    } else {
        TRY(pick_device(select, &ctx->device));
        ctx->cl = clCreateContext(NULL, 1, &ctx->device, NULL, NULL, &code);
        TRY_CL(code, "clCreateContext");
    }
    TRY_CL(clRetainDevice(ctx->device), "clRetainDevice");
    read_facts(ctx);
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
    if (!ctx) return;
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
    return ctx ? ctx->cl : NULL;
}

cl_device_id clpeft_context_device(const clpeft_context *ctx)
{
    return ctx ? ctx->device : NULL;
}

void clpeft_context_info(const clpeft_context *ctx, clpeft_device_info *info)
{
    if (!ctx || !info) return;
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

    REQUIRE(queue && ctx, CLPEFT_INVALID_ARGUMENT, "clpeft_queue_create: queue or ctx is NULL");
    cl_command_queue made = clCreateCommandQueue(ctx->cl, ctx->device, ctx->profile ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    TRY_CL(code, "clCreateCommandQueue");
    *queue = made;
out:
    return status;
}

/* ---- workspace -------------------------------------------------------------------------------------------------- */

static clpeft_status workspace_make(clpeft_workspace **result, clpeft_context *ctx, cl_mem buf, size_t offset, size_t bytes)
{
    clpeft_workspace *ws = malloc(sizeof *ws);
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

    REQUIRE(ws && ctx, CLPEFT_INVALID_ARGUMENT, "clpeft_workspace_create: ws or ctx is NULL");
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

clpeft_status clpeft_workspace_adopt(clpeft_workspace **ws, clpeft_context *ctx, cl_mem buf, size_t offset, size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
    size_t size = 0, end;
    cl_uint align = 8;

    REQUIRE(ws && ctx && buf, CLPEFT_INVALID_ARGUMENT, "clpeft_workspace_adopt: ws, ctx or buf is NULL");
    TRY_CL(clGetMemObjectInfo(buf, CL_MEM_SIZE, sizeof size, &size, NULL), "clpeft_workspace_adopt: buf");
    clGetDeviceInfo(ctx->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align, &align, NULL);
    REQUIRE(bytes > 0 && !clp_sum(offset, bytes, &end) && end <= size && offset % (align / 8) == 0, CLPEFT_INVALID_SIZE,
            "clpeft_workspace_adopt: bytes [%zu, +%zu) of a buffer of %zu, offset a multiple of %u", offset, bytes, size, align / 8);
    TRY_CL(clRetainMemObject(buf), "clRetainMemObject");
    status = workspace_make(ws, ctx, buf, offset, bytes);
    if (status != CLPEFT_OK) clReleaseMemObject(buf);
out:
    return status;
}

void clpeft_workspace_destroy(clpeft_workspace *ws)
{
    if (!ws) return;
    clReleaseMemObject(ws->buf);
    free(ws);
}

clpeft_status clp_workspace_check(const clpeft_workspace *ws, size_t bytes, const char *what)
{
    if (bytes == 0) return CLPEFT_OK;
    if (!ws) return clp_fail(CLPEFT_INVALID_ARGUMENT, "%s: ws is NULL, %zu bytes are needed", what, bytes);
    if (ws->bytes < bytes) return clp_fail(CLPEFT_INVALID_SIZE, "%s: the workspace has %zu bytes, %zu are needed", what, ws->bytes, bytes);
    return CLPEFT_OK;
}
