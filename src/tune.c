/* tune.c - parameters from device facts: native vector width, kind of local memory, device type; or from the cache.
 *
 * For tests the environment may choose what the facts would not: CLPEFT_VECTOR=4, 8 or 16 lanes, CLPEFT_GEMM=panel or clblast. */
#include "tune.h"
#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void from_facts(const clpeft_device_info *i, clp_tuning *t)
{
    const char *vector = getenv("CLPEFT_VECTOR"), *gemm = getenv("CLPEFT_GEMM");
    const int lanes = vector ? atoi(vector) : 0;

    /* A device whose local memory is plain memory and whose work item is a thread of a CPU: registers and caches decide. */
    t->panel = i->local_is_global || (i->type & CL_DEVICE_TYPE_CPU);
    if (gemm) t->panel = strcmp(gemm, "clblast") != 0;
    if (t->panel) {
        t->vector = i->float_width >= 16 ? 16 : i->float_width >= 8 ? 8 : 4;
        if (lanes == 4 || lanes == 8 || lanes == 16) t->vector = (unsigned)lanes;
        t->tile_rows = t->vector == 16 ? 12 : 6;
        t->group = 1;
    } else {
        t->vector = 1;
        t->tile_rows = 4;
        t->group = 64;
    }
    /* A panel of 2048 steps and four row panels of as many fit a 1 MB cache; more steps go through memory in slices. */
    t->depth = 2048;
    t->block = 4;
    t->panels_kb = 512;
    t->l1_ways = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE /* of the host's cores; 0 or -1 where that is not known */
    if (i->type & CL_DEVICE_TYPE_CPU) {
        const long ways = sysconf(_SC_LEVEL1_DCACHE_ASSOC);
        if (sysconf(_SC_LEVEL2_CACHE_SIZE) >= 2 << 20) t->panels_kb = 1024;
        t->l1_ways = ways > 0 ? (unsigned)ways : 0;
    }
#endif
    t->blas = 0;
}

static void make_key(const clpeft_context *ctx, char *key, size_t size)
{
    char device[700];
    clp_cache_device(ctx, device, sizeof device);
    snprintf(key, size, "tuning %zu|%s", sizeof(clp_tuning), device);
}

/* What the kernels can be built with. */
static int possible(const clp_tuning *t)
{
    const int group = t->group >= 1 && t->group <= 1024 && (t->group & (t->group - 1)) == 0;
    const int lanes = t->panel ? t->vector == 4 || t->vector == 8 || t->vector == 16 : t->vector == 1;
    return group && lanes && t->tile_rows >= 2 && t->tile_rows <= 16 && t->tile_rows % 2 == 0 && t->depth >= 64 &&
           t->depth <= 65536 && t->depth % 64 == 0 && t->block >= 1 && t->block <= 64 && t->panels_kb >= 64 &&
           t->panels_kb <= 65536 && t->panel <= 1;
}

void clp_tune_choose(clpeft_context *ctx)
{
    char key[800];
    size_t size = 0;
    clp_tuning kept;

    from_facts(&ctx->info, &ctx->tuning);
    if (getenv("CLPEFT_VECTOR") || getenv("CLPEFT_GEMM")) return;
    make_key(ctx, key, sizeof key);
    unsigned char *bytes = clp_cache_load(ctx, key, &size);
    if (bytes && size == sizeof kept) {
        memcpy(&kept, bytes, sizeof kept);
        if (possible(&kept)) ctx->tuning = kept;
    }
    free(bytes);
}

void clp_tune_keep(const clpeft_context *ctx, const clp_tuning *tuning)
{
    char key[800];
    make_key(ctx, key, sizeof key);
    clp_cache_store(ctx, key, tuning, sizeof *tuning);
}
