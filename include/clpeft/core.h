/* core.h - status, version, context, view, workspace: what every other header stands on.
 *
 * Conventions of the whole library
 *   - Functions that can fail return a clpeft_status. Nothing is printed, and exit or abort is never called.
 *   - After a failure clpeft_error_message() tells what, where and why; the caller's objects are as they were.
 *   - Matrices are row-major. Sizes, offsets and leading dimensions count elements, not bytes.
 *   - An operation takes a queue, a wait list and an event as OpenCL's own enqueue calls do: it starts after every event
 *     in wait (n_wait = 0 and wait = NULL: none), returns without waiting, and its results are ready when *event is
 *     complete (event may be NULL; else the caller releases it). In-order and out-of-order queues both work.
 *   - An object is destroyed by its _destroy (_close) function, which takes NULL. OpenCL objects given to the library are
 *     retained by it while needed: the caller may release them at any time. Before the process ends, wait for what is enqueued
 *     (clFinish): a driver that is still compiling a kernel then may crash, as PoCL does.
 *   - A library built without NDEBUG refuses a destroyed object with CLPEFT_INVALID_ARGUMENT and a message that names the
 *     argument, as it does NULL; destroying it again does nothing. What returns no status answers 0 or NULL, and the message
 *     stays that of the failure before. Only a new object at its old address hides that. In a release build using a destroyed
 *     object is undefined, as in C.
 *   - Threads: calls may run at once when no two of them are given the same object. A context is no such object: any number of
 *     threads use one at once, each with objects and queues of its own; only clpeft_context_destroy comes after all else.
 *     const makes no difference: reading a trainer while another thread steps it is an error. An adapter counts as its params and
 *     as its layers' weights, a trainer as its model; operations count as their buffers and their workspace. Functions without
 *     objects (files, types, schedules, the list of devices) may always run at once. clpeft_error_message is of the calling thread. */
#ifndef CLPEFT_CORE_H
#define CLPEFT_CORE_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CLPEFT_API __attribute__((visibility("default")))
#else
#define CLPEFT_API
#endif

/* Version of this header, MAJOR.MINOR.PATCH; clpeft_version() is that of the library that runs. */
#define CLPEFT_VERSION_MAJOR 0
#define CLPEFT_VERSION_MINOR 1
#define CLPEFT_VERSION_PATCH 0
CLPEFT_API const char *clpeft_version(void);

/* OpenCL's own codes (CL_OUT_OF_RESOURCES, ...) pass unchanged; ours start at -9001. */
typedef cl_int clpeft_status;
enum {
    CLPEFT_OK = 0,
    CLPEFT_INVALID_ARGUMENT = -9001, /* NULL where an object is needed, an unknown value of an enumeration, NaN */
    CLPEFT_INVALID_SIZE = -9002,     /* a size is 0, too large, or does not agree with another */
    CLPEFT_INVALID_VIEW = -9003,     /* a view does not fit its buffer or its leading dimension is too small */
    CLPEFT_OUT_OF_HOST_MEMORY = -9004,
    CLPEFT_NO_DEVICE = -9005,    /* no OpenCL platform or no device that matches */
    CLPEFT_FILE_ERROR = -9006,   /* the operating system refused: not found, no permission, no space, ... */
    CLPEFT_INVALID_FILE = -9007, /* the bytes of a file break its format, or are not what the model needs */
    CLPEFT_UNSUPPORTED = -9008,  /* well formed, but not something that this version can do */
    CLPEFT_NOT_FINITE = -9009,   /* a loss or gradient was NaN or infinite */
    CLPEFT_INTERNAL = -9010      /* a driver or library misbehaved; the message says how */
};

/* A short constant text for a status of ours or of OpenCL's: "CLPEFT_INVALID_SIZE", "CL_OUT_OF_RESOURCES". Never NULL. */
CLPEFT_API const char *clpeft_status_text(clpeft_status status);

/* One line about the last failure in the calling thread, for example "clpeft_row_norm: N is 0". Valid until the next
 * call into the library from the same thread; "" when nothing has failed yet. */
CLPEFT_API const char *clpeft_error_message(void);

/* Element types of weights and tensors. Computation is in f32. */
typedef enum {
    CLPEFT_F32,
    CLPEFT_F16,  /* IEEE binary16 */
    CLPEFT_BF16, /* the upper half of an f32 */
    CLPEFT_F64,  /* files only */
    CLPEFT_Q4_0, /* GGUF blocks of 32: 18 bytes */
    CLPEFT_Q4_1, /* 20 bytes */
    CLPEFT_Q8_0, /* 34 bytes */
    CLPEFT_Q6_K, /* blocks of 256: 210 bytes */
    CLPEFT_I64,  /* the types below: files only, not numbers to compute with */
    CLPEFT_I32,
    CLPEFT_OTHER /* a type of a file that is carried, not read */
} clpeft_dtype;

/* A matrix in an OpenCL buffer: element [i,j] is at buf[off + i * ld + j]. f32 unless said otherwise.
 * For a vector [N], ld is the step from one value to the next (1 when they are adjacent). */
typedef struct {
    cl_mem buf;
    size_t off, ld;
} clpeft_view;

/* A context: one device, its facts, tuning parameters and compiled kernels. */
typedef struct clpeft_context clpeft_context;

typedef struct {
    /* Adopt the application's context and device; both or neither. The library retains both. */
    cl_context context;
    cl_device_id device;
    /* Otherwise pick a device: an index into all devices of all platforms ("0", "1", ...), or a part of a device's or
     * platform's name, case ignored ("pocl", "GeForce"). NULL: the environment's CLPEFT_DEVICE; without it the first
     * GPU, else the first accelerator, else the first device. */
    const char *select;
    /* Folder of the caches of compiled kernels and of tuning results. NULL: $XDG_CACHE_HOME/clpeft or
     * ~/.cache/clpeft. "": no cache. A damaged or foreign cache file is ignored and rebuilt. */
    const char *cache_dir;
} clpeft_context_options;

/* Open a device. options may be NULL. Blocks for the device queries. *ctx is set on success only.
 * Errors:  CLPEFT_NO_DEVICE (the message lists the devices there are), OpenCL's own codes. */
CLPEFT_API clpeft_status clpeft_context_create(clpeft_context **ctx, const clpeft_context_options *options);

/* Release the context's kernels. Objects made from it must be destroyed first. NULL does nothing. With CLPEFT_PROFILE=1
 * in the environment at creation, a table of kernel times goes to the stream of the C library's stderr: a diagnosis
 * switch, and the only thing that the library ever prints. */
CLPEFT_API void clpeft_context_destroy(clpeft_context *ctx);

/* The OpenCL objects behind a context, borrowed: valid while it lives, for clRetain... to keep. */
CLPEFT_API cl_context clpeft_context_cl(const clpeft_context *ctx);
CLPEFT_API cl_device_id clpeft_context_device(const clpeft_context *ctx);

/* A new in-order queue of the context's device (with profiling if CLPEFT_PROFILE is set); clReleaseCommandQueue frees. */
CLPEFT_API clpeft_status clpeft_queue_create(cl_command_queue *queue, clpeft_context *ctx);

/* Facts of the device and the parameters in use, chosen from the facts or by clpeft-tune; for display and tests. */
typedef struct {
    char platform[128], name[128], driver[128], version[128]; /* as the platform reports them; may be cut */
    cl_device_type type;
    cl_uint compute_units, float_width; /* float_width: native vector width for float, at least 1 */
    cl_ulong global_bytes, max_alloc_bytes, local_bytes;
    int local_is_global;        /* local memory is ordinary memory, as on CPUs */
    int panel_gemm;             /* the panel kernel serves products; otherwise CLBlast */
    unsigned vector, tile_rows; /* lanes of a vector V, and MR: a register tile is MR x 2V */
    unsigned group;             /* work-group size of the row and element kernels */
} clpeft_device_info;
CLPEFT_API void clpeft_context_info(const clpeft_context *ctx, clpeft_device_info *info);

/* Number of devices of all platforms, and a line about one of them, "platform: device"; for a list on --help. */
CLPEFT_API clpeft_status clpeft_device_count(size_t *count);
CLPEFT_API clpeft_status clpeft_device_name(size_t index, char *text, size_t size);

/* Scratch memory that operations borrow while they run: one buffer, made once, so that a step allocates nothing.
 * Operations enqueued on one in-order queue, or ordered by events, may share one workspace. */
typedef struct clpeft_workspace clpeft_workspace;

/* bytes: the largest need among the operations that will use it (each operation that takes a workspace has a _workspace
 * function that tells). Errors:  CLPEFT_INVALID_SIZE  0 or more than the device can allocate; OpenCL's own codes. */
CLPEFT_API clpeft_status clpeft_workspace_create(clpeft_workspace **ws, clpeft_context *ctx, size_t bytes);
/* The same on memory that the caller owns: bytes of buf starting at byte offset, a multiple of the device's
 * CL_DEVICE_MEM_BASE_ADDR_ALIGN / 8. buf is retained. */
CLPEFT_API clpeft_status clpeft_workspace_adopt(clpeft_workspace **ws, clpeft_context *ctx, cl_mem buf, size_t offset,
                                                size_t bytes);
CLPEFT_API void clpeft_workspace_destroy(clpeft_workspace *ws);

#ifdef __cplusplus
}
#endif
#endif
