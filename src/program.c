/* program.c - compile the embedded kernel files; kept in memory and, through cache.c, on disk. */
#include "program.h"
#include "cache.h"
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct clp_program_entry {
    const struct clp_source *source;
    char *options;
    cl_program program;
};

struct clp_kernel_entry {
    uint64_t hash;
    size_t size;
    char *key; /* file, name and options, zero-separated */
    cl_kernel kernel;
};

/* ---- disk cache ------------------------------------------------------------------------------------------------- */

static void make_key(const clpeft_context *ctx, const struct clp_source *source, const char *options, char *key,
                     size_t size)
{
    const uint64_t common = clp_fnv(CLP_FNV_START, clp_sources[0].text, strlen(clp_sources[0].text));
    char device[700];

    clp_cache_device(ctx, device, sizeof device);
    snprintf(key, size, "%s|%s|%s|%016llx", device, source->name, options,
             (unsigned long long)clp_fnv(common, source->text, strlen(source->text)));
}

/* A program from the cache, built; NULL when there is none that can be trusted or that the driver takes. */
static cl_program load_cached(clpeft_context *ctx, const char *key, const char *options)
{
    size_t n = 0;
    cl_int loaded, code;
    unsigned char *bytes = clp_cache_load(ctx, key, &n);
    const unsigned char *binary = bytes;
    cl_program program = NULL;

    if (bytes) program = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &n, &binary, &loaded, &code);
    if (program && (code != CL_SUCCESS || loaded != CL_SUCCESS ||
                    clBuildProgram(program, 1, &ctx->device, options, NULL, NULL) != CL_SUCCESS)) {
        clReleaseProgram(program);
        program = NULL;
    }
    free(bytes);
    return program;
}

/* Keep the binary of a program. */
static void store_cached(clpeft_context *ctx, const char *key, cl_program program)
{
    size_t n = 0;
    cl_uint devices = 0;
    unsigned char *bytes = NULL;

    clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof devices, &devices, NULL);
    if (devices != 1 || clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL) != CL_SUCCESS || n == 0)
        return;
    bytes = malloc(n);
    if (bytes && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        clp_cache_store(ctx, key, bytes, n);
    free(bytes);
}

/* ---- programs and kernels ---------------------------------------------------------------------------------------- */

static clpeft_status build_error(clpeft_context *ctx, cl_program program, const struct clp_source *source, cl_int code)
{
    size_t size = 0;
    char *log = NULL;

    clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    if (size > 1 && (log = malloc(size + 1))) {
        clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
        log[size] = 0;
    }
    clp_fail(code, "cl/%s.cl does not build on %s: %s: %.300s", source->name, ctx->info.name, clpeft_status_text(code),
             log ? log : "");
    free(log);
    return code;
}

static clpeft_status build(clpeft_context *ctx, const struct clp_source *source, const char *options,
                           cl_program *result)
{
    const char *text[2] = { clp_sources[0].text, source->text };
    clpeft_status status = CLPEFT_OK;
    char key[2048];
    cl_int code = CL_SUCCESS;

    make_key(ctx, source, options, key, sizeof key);
    cl_program program = ctx->cache_dir ? load_cached(ctx, key, options) : NULL;
    if (!program) {
        program = clCreateProgramWithSource(ctx->cl, 2, text, NULL, &code);
        TRY_CL(code, "clCreateProgramWithSource");
        code = clBuildProgram(program, 1, &ctx->device, options, NULL, NULL);
        if (code != CL_SUCCESS) {
            status = build_error(ctx, program, source, code);
            goto out;
        }
        if (ctx->cache_dir) store_cached(ctx, key, program);
    }
    *result = program;
    program = NULL;
out:
    if (program) clReleaseProgram(program);
    return status;
}

static clpeft_status find_program(clpeft_context *ctx, const char *file, const char *options, cl_program *program)
{
    clpeft_status status = CLPEFT_OK;
    struct clp_program_entry entry = { NULL, NULL, NULL };
    char all[512];

    /* Softmax's tails times small gradients are denormal: attention's backward was up to 40 times slower on a CPU. */
    snprintf(all, sizeof all, "-cl-std=CL1.2 -cl-denorms-are-zero -D VW=%u -D MR=%u -D WG=%u %s", ctx->tuning.vector,
             ctx->tuning.tile_rows, ctx->tuning.group, options);
    for (size_t i = 0; i < ctx->n_programs; i++)
        if (!strcmp(ctx->programs[i].source->name, file) && !strcmp(ctx->programs[i].options, all)) {
            *program = ctx->programs[i].program;
            return CLPEFT_OK;
        }
    for (const struct clp_source *s = clp_sources; s->name; s++)
        if (!strcmp(s->name, file)) entry.source = s;
    REQUIRE(entry.source, CLPEFT_INTERNAL, "no kernel file cl/%s.cl", file);
    struct clp_program_entry *grown = realloc(ctx->programs, (ctx->n_programs + 1) * sizeof *grown);
    REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "cl/%s.cl: out of memory", file);
    ctx->programs = grown;
    entry.options = strdup(all);
    REQUIRE(entry.options, CLPEFT_OUT_OF_HOST_MEMORY, "cl/%s.cl: out of memory", file);
    TRY(build(ctx, entry.source, all, &entry.program));
    ctx->programs[ctx->n_programs++] = entry;
    *program = entry.program;
    entry.options = NULL;
out:
    free(entry.options);
    return status;
}

clpeft_status clp_kernel(clpeft_context *ctx, const char *file, const char *name, const char *options,
                         cl_kernel *kernel)
{
    clpeft_status status = CLPEFT_OK;
    char key[512];
    cl_program program = NULL;
    struct clp_kernel_entry entry = { 0, 0, NULL, NULL };
    cl_int code = CL_SUCCESS;

    const int length = snprintf(key, sizeof key, "%s%c%s%c%s", file, 0, name, 0, options);
    REQUIRE(length > 0 && (size_t)length < sizeof key, CLPEFT_INTERNAL, "cl/%s.cl: %s: options too long", file, name);
    const size_t size = entry.size = (size_t)length + 1;
    entry.hash = clp_fnv(CLP_FNV_START, key, size);
    for (size_t i = 0; i < ctx->n_kernels; i++)
        if (ctx->kernels[i].hash == entry.hash && ctx->kernels[i].size == size &&
            !memcmp(ctx->kernels[i].key, key, size)) {
            *kernel = ctx->kernels[i].kernel;
            return CLPEFT_OK;
        }
    struct clp_kernel_entry *grown = realloc(ctx->kernels, (ctx->n_kernels + 1) * sizeof *grown);
    REQUIRE(grown, CLPEFT_OUT_OF_HOST_MEMORY, "cl/%s.cl: out of memory", file);
    ctx->kernels = grown;
    entry.key = malloc(size);
    REQUIRE(entry.key, CLPEFT_OUT_OF_HOST_MEMORY, "cl/%s.cl: out of memory", file);
    memcpy(entry.key, key, size);
    TRY(find_program(ctx, file, options, &program));
    entry.kernel = clCreateKernel(program, name, &code);
    TRY_CL(code, name);
    ctx->kernels[ctx->n_kernels++] = entry;
    *kernel = entry.kernel;
    entry.key = NULL;
out:
    free(entry.key);
    return status;
}

void clp_programs_release(clpeft_context *ctx)
{
    for (size_t i = 0; i < ctx->n_kernels; i++) {
        clReleaseKernel(ctx->kernels[i].kernel);
        free(ctx->kernels[i].key);
    }
    for (size_t i = 0; i < ctx->n_programs; i++) {
        clReleaseProgram(ctx->programs[i].program);
        free(ctx->programs[i].options);
    }
    free(ctx->kernels);
    free(ctx->programs);
}
