/* context.h - the workspace. */
#ifndef CLP_CONTEXT_H
#define CLP_CONTEXT_H

#include "device.h"

struct clpeft_workspace {
    clpeft_context *ctx;
    cl_mem buf;
    size_t off, bytes;
};

/* Check that a workspace holds bytes; what names the operation. bytes 0 needs none. */
clpeft_status clp_workspace_check(const clpeft_workspace *ws, size_t bytes, const char *what);

#endif
