/* profile.h - CLPEFT_PROFILE=1: time per kernel, printed when the context is destroyed. */
#ifndef CLP_PROFILE_H
#define CLP_PROFILE_H

#include "device.h"

/* Set ctx->profile if the environment asks for it. */
clpeft_status clp_profile_create(clpeft_context *ctx);
/* Print the table and free; nothing without a profile. */
void clp_profile_destroy(clpeft_context *ctx);

/* Take over the event of an enqueued kernel. file and name are constants. flops and bytes: its cost, 0 unknown. */
void clp_profile_add(clpeft_context *ctx, const char *file, const char *name, cl_event event, double flops,
                     double bytes);

#endif
