/* program.c - compile the embedded kernel files; memory and disk cache.
 *
 * A cache file is  "clpeft1\n" | u64 key length | key text | u64 binary length | u64 FNV-1a of the binary | binary,  named by a
 * hash of the key: device, driver, platform, options and a hash of the source. A file that is not ours, has another key, a
 * wrong length or a wrong sum, or that the driver refuses, is ignored and rebuilt. */
#include "program.h"
#include "clpeft/file.h"
#include "kernels.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static const char MAGIC[8] = "clpeft1\n";

static uint64_t fnv(uint64_t hash, const void *bytes, size_t n)
{
    for (const unsigned char *p = bytes, *end = p + n; p < end; p++) hash = (hash ^ *p) * 1099511628211u;
    return hash;
}

#define FNV_START 14695981039346656037u

/* ---- disk cache ------------------------------------------------------------------------------------------------- */

static void make_key(const clpeft_context *ctx, const struct clp_source *source, const char *options, char *key, size_t size)
{
    const clpeft_device_info *i = &ctx->info;
    const uint64_t common = fnv(FNV_START, clp_sources[0].text, strlen(clp_sources[0].text));
    snprintf(key, size, "%s|%s|%s|%s|%s|%s|%016llx", i->platform, i->name, i->driver, i->version, source->name, options,
             (unsigned long long)fnv(common, source->text, strlen(source->text)));
}

static void cache_path(const clpeft_context *ctx, const char *key, char *path, size_t size)
{
    snprintf(path, size, "%s/%016llx.bin", ctx->cache_dir, (unsigned long long)fnv(FNV_START, key, strlen(key)));
}

/* The bytes of a regular file that only its owner, us, can write; NULL for any other. */
static unsigned char *read_own_file(const char *path, size_t *size)
{
    unsigned char *bytes = NULL;
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) && st.st_size > 0 &&
        st.st_size < 1 << 28) {
        size_t have = 0;
        *size = (size_t)st.st_size;
        bytes = malloc(*size);
        while (bytes && have < *size) {
            const ssize_t n = read(fd, bytes + have, *size - have);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                free(bytes);
                bytes = NULL;
            } else {
                have += (size_t)n;
            }
        }
    }
    close(fd);
    return bytes;
}

static uint64_t read_u64(const unsigned char *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* A program from the cache, built; NULL when there is none that can be trusted. */
static cl_program load_cached(clpeft_context *ctx, const char *key, const char *options)
{
    char path[4200];
    size_t size = 0, at = sizeof MAGIC + 8;
    const size_t key_size = strlen(key);
    cl_program program = NULL;

    cache_path(ctx, key, path, sizeof path);
    unsigned char *bytes = read_own_file(path, &size);
    if (bytes && size > at + key_size + 16 && !memcmp(bytes, MAGIC, sizeof MAGIC) && read_u64(bytes + sizeof MAGIC) == key_size &&
        !memcmp(bytes + at, key, key_size)) {
        at += key_size;
        const size_t n = size - at - 16;
        const unsigned char *binary = bytes + at + 16;
        if (read_u64(bytes + at) == n && read_u64(bytes + at + 8) == fnv(FNV_START, binary, n)) {
            cl_int loaded, code;
            program = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &n, &binary, &loaded, &code);
            if (program && (code != CL_SUCCESS || loaded != CL_SUCCESS ||
                            clBuildProgram(program, 1, &ctx->device, options, NULL, NULL) != CL_SUCCESS)) {
                clReleaseProgram(program);
                program = NULL;
            }
        }
    }
    free(bytes);
    return program;
}

/* Make every folder of path, mode 0700; errors show when the file is written. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700);
            *p = '/';
        }
    mkdir(path, 0700);
}

/* Keep the binary of a program; a failure only means that the next start compiles again. */
static void store_cached(clpeft_context *ctx, const char *key, cl_program program)
{
    char path[4200];
    size_t n = 0, key_size = strlen(key);
    cl_uint devices = 0;

    clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof devices, &devices, NULL);
    if (devices != 1 || clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL) != CL_SUCCESS || n == 0) return;
    const size_t head = sizeof MAGIC + 8 + key_size + 16;
    unsigned char *bytes = malloc(head + n), *binary = bytes ? bytes + head : NULL;
    if (bytes && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS) {
        const uint64_t fields[3] = { key_size, n, fnv(FNV_START, binary, n) };
        memcpy(bytes, MAGIC, sizeof MAGIC);
        memcpy(bytes + sizeof MAGIC, &fields[0], 8);
        memcpy(bytes + sizeof MAGIC + 8, key, key_size);
        memcpy(bytes + sizeof MAGIC + 8 + key_size, &fields[1], 16);
        snprintf(path, sizeof path, "%s", ctx->cache_dir);
        make_folders(path);
        cache_path(ctx, key, path, sizeof path);
        clpeft_file_replace(path, bytes, head + n);
    }
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
    clp_fail(code, "cl/%s.cl does not build on %s: %s: %.300s", source->name, ctx->info.name, clpeft_status_text(code), log ? log : "");
    free(log);
    return code;
}

static clpeft_status build(clpeft_context *ctx, const struct clp_source *source, const char *options, cl_program *result)
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

    snprintf(all, sizeof all, "-cl-std=CL1.2 -D VW=%u -D MR=%u -D WG=%u %s", ctx->tuning.vector, ctx->tuning.tile_rows,
             ctx->tuning.group, options);
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

clpeft_status clp_kernel(clpeft_context *ctx, const char *file, const char *name, const char *options, cl_kernel *kernel)
{
    clpeft_status status = CLPEFT_OK;
    char key[512];
    cl_program program = NULL;
    struct clp_kernel_entry entry = { 0, 0, NULL, NULL };
    cl_int code = CL_SUCCESS;

    const int length = snprintf(key, sizeof key, "%s%c%s%c%s", file, 0, name, 0, options);
    REQUIRE(length > 0 && (size_t)length < sizeof key, CLPEFT_INTERNAL, "cl/%s.cl: %s: options too long", file, name);
    const size_t size = entry.size = (size_t)length + 1;
    entry.hash = fnv(FNV_START, key, size);
    for (size_t i = 0; i < ctx->n_kernels; i++)
        if (ctx->kernels[i].hash == entry.hash && ctx->kernels[i].size == size && !memcmp(ctx->kernels[i].key, key, size)) {
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
