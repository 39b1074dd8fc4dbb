/* tune.c - parameters from device facts: native vector width, kind of local memory, device type.
 *
 * For tests the environment may choose what the facts would not: CLPEFT_VECTOR=4, 8 or 16 lanes, CLPEFT_GEMM=panel or clblast. */
#include "tune.h"

#include <stdlib.h>
#include <string.h>

void clp_tune_choose(clpeft_context *ctx)
{
    const clpeft_device_info *i = &ctx->info;
    clp_tuning *t = &ctx->tuning;

    const char *vector = getenv("CLPEFT_VECTOR"), *gemm = getenv("CLPEFT_GEMM");
    const int lanes = vector ? atoi(vector) : 0;

    /* A device whose local memory is plain memory and whose work item is a thread of a CPU: registers and caches decide. */
    t->panel = i->local_is_global || (i->type & CL_DEVICE_TYPE_CPU);
    if (gemm && !strcmp(gemm, "panel")) t->panel = 1;
    if (gemm && !strcmp(gemm, "clblast")) t->panel = 0;
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
}
