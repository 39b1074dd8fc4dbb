/* program.h - kernel file + options -> cl_kernel, kept in memory and on disk. */
#ifndef CLP_PROGRAM_H
#define CLP_PROGRAM_H

#include "device.h"

/* A kernel of cl/<file>.cl built with options (besides the context's own -D VW, MR, WG), made once and kept. The caller holds
 * ctx->lock until it has enqueued the kernel: its arguments are shared. Borrowed. */
clpeft_status clp_kernel(clpeft_context *ctx, const char *file, const char *name, const char *options,
                         cl_kernel *kernel);

void clp_programs_release(clpeft_context *ctx);

#endif
