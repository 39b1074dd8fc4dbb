/* tune.c - parameters from device facts: native vector width, kind of local memory, device type. */
#include "tune.h"

void clp_tune_choose(clpeft_context *ctx)
{
    const clpeft_device_info *i = &ctx->info;
    clp_tuning *t = &ctx->tuning;

    /* A device whose local memory is plain memory and whose work item is a thread of a CPU: registers and caches decide. */
    t->panel = i->local_is_global || (i->type & CL_DEVICE_TYPE_CPU);
    if (t->panel) {
        t->vector = i->float_width >= 16 ? 16 : i->float_width >= 8 ? 8 : 4;
        t->tile_rows = t->vector == 16 ? 12 : 6;
        t->group = 1;
    } else {
        t->vector = 1;
        t->tile_rows = 4;
        t->group = 64;
    }
    t->depth = 256;
    t->block = 8;
}
