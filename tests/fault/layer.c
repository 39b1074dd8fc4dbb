/* layer.c - the OpenCL layer (CL/cl_layer.h) behind layer.h. OPENCL_LAYERS names it to the loader. */
#define CL_TARGET_OPENCL_VERSION 120
#include "layer.h"

#include <CL/cl_layer.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static cl_icd_dispatch next, mine;
static fault_control control;

EXPORT fault_control *fault_layer(void)
{
    return &control;
}

/* ---- which call fails --------------------------------------------------------------------------------------------- */

/* The code that a call returns instead of being made; CL_SUCCESS: it is made. */
static cl_int refuse(const char *name, int release, cl_int fitting)
{
    const long at = atomic_load(&control.at);
    const char *only = atomic_load(&control.entry);

    if (at == 0 || (only ? strcmp(only, name) != 0 : release)) return CL_SUCCESS;
    const long seen = atomic_fetch_add(&control.seen, 1) + 1;
    if (atomic_load(&control.sticky) ? seen < at : seen != at) return CL_SUCCESS;
    const cl_int chosen = atomic_load(&control.code), code = chosen != CL_SUCCESS ? chosen : fitting;
    if (atomic_fetch_add(&control.fired, 1) == 0) atomic_store(&control.first, code);
    atomic_store(&control.last, name);
    return code;
}

/* ---- what is alive ------------------------------------------------------------------------------------------------ */

static void count(fault_kind kind, int by)
{
    if (atomic_fetch_add(&control.live[kind], by) + by < 0) atomic_fetch_add(&control.out_of_range, 1);
}

/* A command on bytes [offset, offset + size) of a buffer. */
static void check_range(cl_mem buffer, size_t offset, size_t size)
{
    size_t bytes = 0;
    if (next.clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) != CL_SUCCESS || size > bytes ||
        offset > bytes - size)
        atomic_fetch_add(&control.out_of_range, 1);
}

/* ---- the entry points --------------------------------------------------------------------------------------------- */

#define BEFORE(name, release, fitting)                      \
    const cl_int refused = refuse(#name, release, fitting); \
    if (refused != CL_SUCCESS) return refused

#define PLAIN(name, fitting, params, args)     \
    static cl_int CL_API_CALL my_##name params \
    {                                          \
        BEFORE(name, 0, fitting);              \
        return next.name args;                 \
    }

#define REFERENCES(object, type, kind)                          \
    static cl_int CL_API_CALL my_clRetain##object(type handle)  \
    {                                                           \
        BEFORE(clRetain##object, 0, CL_OUT_OF_RESOURCES);       \
        const cl_int code = next.clRetain##object(handle);      \
        if (code == CL_SUCCESS) count(kind, 1);                 \
        return code;                                            \
    }                                                           \
    static cl_int CL_API_CALL my_clRelease##object(type handle) \
    {                                                           \
        BEFORE(clRelease##object, 1, CL_OUT_OF_RESOURCES);      \
        const cl_int code = next.clRelease##object(handle);     \
        if (code == CL_SUCCESS) count(kind, -1);                \
        return code;                                            \
    }

#define MAKE(type, name, kind, fitting, params, args)     \
    static type CL_API_CALL my_##name params              \
    {                                                     \
        const cl_int refused = refuse(#name, 0, fitting); \
        if (refused != CL_SUCCESS) {                      \
            if (errcode) *errcode = refused;              \
            return NULL;                                  \
        }                                                 \
        type made = next.name args;                       \
        if (made) count(kind, 1);                         \
        return made;                                      \
    }

/* A command; `check` looks at its arguments first. */
#define ENQUEUE(name, check, params, args)                      \
    static cl_int CL_API_CALL my_##name params                  \
    {                                                           \
        BEFORE(name, 0, CL_OUT_OF_RESOURCES);                   \
        check;                                                  \
        const cl_int code = next.name args;                     \
        if (code == CL_SUCCESS && event) count(FAULT_EVENT, 1); \
        return code;                                            \
    }
#define WAIT cl_uint n_wait, const cl_event *wait, cl_event *event

REFERENCES(Context, cl_context, FAULT_CONTEXT)
REFERENCES(CommandQueue, cl_command_queue, FAULT_QUEUE)
REFERENCES(MemObject, cl_mem, FAULT_BUFFER)
REFERENCES(Program, cl_program, FAULT_PROGRAM)
REFERENCES(Kernel, cl_kernel, FAULT_KERNEL)
REFERENCES(Event, cl_event, FAULT_EVENT)
REFERENCES(Device, cl_device_id, FAULT_DEVICE)

PLAIN(clGetPlatformIDs, CL_OUT_OF_HOST_MEMORY, (cl_uint n, cl_platform_id *list, cl_uint *count_), (n, list, count_))
PLAIN(clGetPlatformInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_platform_id platform, cl_platform_info what, size_t size, void *value, size_t *real),
      (platform, what, size, value, real))
PLAIN(clGetDeviceIDs, CL_DEVICE_NOT_AVAILABLE,
      (cl_platform_id platform, cl_device_type type, cl_uint n, cl_device_id *list, cl_uint *count_),
      (platform, type, n, list, count_))
PLAIN(clGetContextInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_context context, cl_context_info what, size_t size, void *value, size_t *real),
      (context, what, size, value, real))
PLAIN(clGetCommandQueueInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_command_queue queue, cl_command_queue_info what, size_t size, void *value, size_t *real),
      (queue, what, size, value, real))
PLAIN(clGetMemObjectInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_mem buffer, cl_mem_info what, size_t size, void *value, size_t *real), (buffer, what, size, value, real))
PLAIN(clGetProgramInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_program program, cl_program_info what, size_t size, void *value, size_t *real),
      (program, what, size, value, real))
PLAIN(clGetProgramBuildInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_program program, cl_device_id device, cl_program_build_info what, size_t size, void *value, size_t *real),
      (program, device, what, size, value, real))
PLAIN(clGetKernelWorkGroupInfo, CL_OUT_OF_HOST_MEMORY,
      (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info what, size_t size, void *value, size_t *real),
      (kernel, device, what, size, value, real))
PLAIN(clGetEventProfilingInfo, CL_PROFILING_INFO_NOT_AVAILABLE,
      (cl_event event, cl_profiling_info what, size_t size, void *value, size_t *real),
      (event, what, size, value, real))
PLAIN(clBuildProgram, CL_BUILD_PROGRAM_FAILURE,
      (cl_program program, cl_uint n, const cl_device_id *list, const char *options,
       void(CL_CALLBACK *notify)(cl_program, void *), void *user),
      (program, n, list, options, notify, user))
PLAIN(clSetKernelArg, CL_OUT_OF_HOST_MEMORY, (cl_kernel kernel, cl_uint at, size_t size, const void *value),
      (kernel, at, size, value))
PLAIN(clWaitForEvents, CL_OUT_OF_RESOURCES, (cl_uint n, const cl_event *list), (n, list))
PLAIN(clFlush, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))
PLAIN(clFinish, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))

MAKE(cl_context, clCreateContext, FAULT_CONTEXT, CL_DEVICE_NOT_AVAILABLE,
     (const cl_context_properties *properties, cl_uint n, const cl_device_id *list,
      void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *errcode),
     (properties, n, list, notify, user, errcode))
MAKE(cl_command_queue, clCreateCommandQueue, FAULT_QUEUE, CL_OUT_OF_HOST_MEMORY,
     (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *errcode),
     (context, device, properties, errcode))
MAKE(cl_mem, clCreateSubBuffer, FAULT_BUFFER, CL_MEM_OBJECT_ALLOCATION_FAILURE,
     (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *errcode),
     (buffer, flags, type, info, errcode))
MAKE(cl_program, clCreateProgramWithSource, FAULT_PROGRAM, CL_OUT_OF_HOST_MEMORY,
     (cl_context context, cl_uint n, const char **text, const size_t *size, cl_int *errcode),
     (context, n, text, size, errcode))
MAKE(cl_program, clCreateProgramWithBinary, FAULT_PROGRAM, CL_INVALID_BINARY,
     (cl_context context, cl_uint n, const cl_device_id *list, const size_t *size, const unsigned char **bytes,
      cl_int *loaded, cl_int *errcode),
     (context, n, list, size, bytes, loaded, errcode))
MAKE(cl_kernel, clCreateKernel, FAULT_KERNEL, CL_OUT_OF_HOST_MEMORY,
     (cl_program program, const char *name, cl_int *errcode), (program, name, errcode))
MAKE(cl_event, clCreateUserEvent, FAULT_EVENT, CL_OUT_OF_HOST_MEMORY, (cl_context context, cl_int *errcode),
     (context, errcode))

ENQUEUE(clEnqueueReadBuffer, check_range(buffer, offset, size),
        (cl_command_queue queue, cl_mem buffer, cl_bool block, size_t offset, size_t size, void *host, WAIT),
        (queue, buffer, block, offset, size, host, n_wait, wait, event))
ENQUEUE(clEnqueueWriteBuffer, check_range(buffer, offset, size),
        (cl_command_queue queue, cl_mem buffer, cl_bool block, size_t offset, size_t size, const void *host, WAIT),
        (queue, buffer, block, offset, size, host, n_wait, wait, event))
ENQUEUE(clEnqueueFillBuffer, check_range(buffer, offset, size),
        (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t bytes, size_t offset, size_t size, WAIT),
        (queue, buffer, pattern, bytes, offset, size, n_wait, wait, event))
ENQUEUE(clEnqueueCopyBuffer, (check_range(from, at, size), check_range(to, to_at, size)),
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t at, size_t to_at, size_t size, WAIT),
        (queue, from, to, at, to_at, size, n_wait, wait, event))
ENQUEUE(clEnqueueMarkerWithWaitList, (void)0, (cl_command_queue queue, WAIT), (queue, n_wait, wait, event))
ENQUEUE(clEnqueueBarrierWithWaitList, (void)0, (cl_command_queue queue, WAIT), (queue, n_wait, wait, event))

static cl_int CL_API_CALL my_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                                    const size_t *offset, const size_t *global, const size_t *local,
                                                    WAIT)
{
    BEFORE(clEnqueueNDRangeKernel, 0, CL_OUT_OF_RESOURCES);
    const cl_int code =
        atomic_load(&control.skip_kernels)
            ? next.clEnqueueMarkerWithWaitList(queue, n_wait, wait, event)
            : next.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, n_wait, wait, event);
    if (code == CL_SUCCESS && event) count(FAULT_EVENT, 1);
    return code;
}

static cl_int CL_API_CALL my_clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size, void *value,
                                             size_t *real)
{
    BEFORE(clGetDeviceInfo, 0, CL_OUT_OF_HOST_MEMORY);
    const cl_int code = next.clGetDeviceInfo(device, what, size, value, real);
    const cl_ulong most = atomic_load(&control.max_alloc);
    if (code == CL_SUCCESS && what == CL_DEVICE_MAX_MEM_ALLOC_SIZE && value && most > 0)
        memcpy(value, &most, sizeof most);
    return code;
}

static cl_mem CL_API_CALL my_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                                            cl_int *errcode)
{
    const size_t most = atomic_load(&control.max_alloc);
    cl_int refused = refuse("clCreateBuffer", 0, CL_MEM_OBJECT_ALLOCATION_FAILURE);

    if (refused == CL_SUCCESS && most > 0 && size > most) refused = CL_INVALID_BUFFER_SIZE;
    if (refused != CL_SUCCESS) {
        if (errcode) *errcode = refused;
        return NULL;
    }
    cl_mem made = next.clCreateBuffer(context, flags, size, host, errcode);
    if (made) count(FAULT_BUFFER, 1);
    return made;
}

/* ---- the loader's side -------------------------------------------------------------------------------------------- */

EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value, size_t *real)
{
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    static const char name[] = "clpeft fault";
    const void *from = what == CL_LAYER_API_VERSION ? (const void *)&version : name;
    const size_t need = what == CL_LAYER_API_VERSION ? sizeof version : sizeof name;

    if ((what != CL_LAYER_API_VERSION && what != CL_LAYER_NAME) || (value && size < need)) return CL_INVALID_VALUE;
    if (value) memcpy(value, from, need);
    if (real) *real = need;
    return CL_SUCCESS;
}

#define PUT(name)              mine.name = my_##name
#define PUT_REFERENCES(object) PUT(clRetain##object), PUT(clRelease##object)

EXPORT cl_int CL_API_CALL clInitLayer(cl_uint n, const cl_icd_dispatch *target, cl_uint *n_result,
                                      const cl_icd_dispatch **result)
{
    if (!target || !n_result || !result || n < sizeof mine / sizeof mine.clGetPlatformIDs) return CL_INVALID_VALUE;
    mine = next = *target;
    PUT_REFERENCES(Context), PUT_REFERENCES(CommandQueue), PUT_REFERENCES(MemObject), PUT_REFERENCES(Program);
    PUT_REFERENCES(Kernel), PUT_REFERENCES(Event), PUT_REFERENCES(Device);
    PUT(clGetPlatformIDs), PUT(clGetPlatformInfo), PUT(clGetDeviceIDs), PUT(clGetDeviceInfo);
    PUT(clGetContextInfo), PUT(clGetCommandQueueInfo), PUT(clGetMemObjectInfo), PUT(clGetProgramInfo),
        PUT(clGetProgramBuildInfo);
    PUT(clGetKernelWorkGroupInfo), PUT(clGetEventProfilingInfo), PUT(clBuildProgram), PUT(clSetKernelArg);
    PUT(clWaitForEvents), PUT(clFlush), PUT(clFinish), PUT(clCreateContext), PUT(clCreateCommandQueue);
    PUT(clCreateBuffer), PUT(clCreateSubBuffer), PUT(clCreateProgramWithSource), PUT(clCreateProgramWithBinary);
    PUT(clCreateKernel), PUT(clCreateUserEvent), PUT(clEnqueueReadBuffer), PUT(clEnqueueWriteBuffer);
    PUT(clEnqueueFillBuffer), PUT(clEnqueueCopyBuffer), PUT(clEnqueueNDRangeKernel);
    PUT(clEnqueueMarkerWithWaitList), PUT(clEnqueueBarrierWithWaitList);
    *n_result = sizeof mine / sizeof mine.clGetPlatformIDs;
    *result = &mine;
    return CL_SUCCESS;
}
