/* device.c - list and pick devices; read their facts. */
#include "device.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A device string (CL_DEVICE_NAME, ...) into text; cut to size, empty after an error. */
static cl_int device_text(cl_device_id device, cl_device_info what, char *text, size_t size)
{
    char buffer[1024] = "";
    const cl_int code = clGetDeviceInfo(device, what, sizeof buffer - 1, buffer, NULL);
    snprintf(text, size, "%s", code == CL_SUCCESS ? buffer : "");
    return code;
}

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
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, LENGTH(devices), devices, &n_devices) != CL_SUCCESS)
            continue;
        if (n_devices > LENGTH(devices)) n_devices = LENGTH(devices);
        clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof platform - 1, platform, NULL);
        for (cl_uint d = 0; d < n_devices; d++) {
            device_entry *grown = realloc(found, (n + 1) * sizeof *found);
            REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "list of devices: out of memory");
            found = grown;
            device_text(devices[d], CL_DEVICE_NAME, name, sizeof name);
            found[n].id = devices[d];
            device_text(devices[d], CL_DEVICE_VERSION, found[n].version, sizeof found->version);
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

clpeft_status clp_device_pick(const char *select, cl_device_id *device)
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
        while (i < n && !contains_ignoring_case(list[i].text, select) &&
               !contains_ignoring_case(list[i].version, select))
            i++;
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

static clpeft_status read_texts(clpeft_device_info *info, cl_device_id device)
{
    clpeft_status status = CLPEFT_OK;
    cl_platform_id platform = NULL;
    char name[1024] = "";

    TRY_CL(clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL), "clGetDeviceInfo");
    TRY_CL(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL), "clGetPlatformInfo");
    snprintf(info->platform, sizeof info->platform, "%s", name);
    TRY_CL(device_text(device, CL_DEVICE_NAME, info->name, sizeof info->name), "clGetDeviceInfo");
    TRY_CL(device_text(device, CL_DRIVER_VERSION, info->driver, sizeof info->driver), "clGetDeviceInfo");
    TRY_CL(device_text(device, CL_DEVICE_VERSION, info->version, sizeof info->version), "clGetDeviceInfo");
out:
    return status;
}

clpeft_status clp_device_facts(clpeft_context *ctx)
{
    clpeft_device_info *info = &ctx->info;
    cl_device_local_mem_type local = CL_LOCAL;
    const struct {
        cl_device_info what;
        size_t size;
        void *value;
    } numbers[] = {
        { CL_DEVICE_TYPE, sizeof info->type, &info->type },
        { CL_DEVICE_MAX_COMPUTE_UNITS, sizeof info->compute_units, &info->compute_units },
        { CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof info->float_width, &info->float_width },
        { CL_DEVICE_LOCAL_MEM_TYPE, sizeof local, &local },
        { CL_DEVICE_GLOBAL_MEM_SIZE, sizeof info->global_bytes, &info->global_bytes },
        { CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof info->max_alloc_bytes, &info->max_alloc_bytes },
        { CL_DEVICE_LOCAL_MEM_SIZE, sizeof info->local_bytes, &info->local_bytes },
    };
    clpeft_status status = CLPEFT_OK;

    TRY(read_texts(info, ctx->device));
    for (size_t i = 0; i < LENGTH(numbers); i++)
        TRY_CL(clGetDeviceInfo(ctx->device, numbers[i].what, numbers[i].size, numbers[i].value, NULL),
               "clGetDeviceInfo");
    info->local_is_global = local == CL_GLOBAL;
    if (info->float_width == 0) info->float_width = 1;
    if (info->compute_units == 0) info->compute_units = 1;
out:
    return status;
}
