/* staging.h - integers (ids, labels, positions) on their way to the device, with no wait and no allocation of our own. */
#ifndef CLP_STAGING_H
#define CLP_STAGING_H

#include "launch.h"

typedef struct {
    cl_mem buf;    /* i32 [n] on the device */
    int32_t *host; /* [n], filled between clp_staging_open and clp_staging_send */
    cl_event sent; /* of the last send */
} clp_staging;

clpeft_status clp_staging_create(clp_staging *staging, clpeft_context *ctx, size_t n);
void clp_staging_destroy(clp_staging *staging);

/* host may be filled: the last send has left it. With one batch a step this waits for the start of the last step, not its end. */
clpeft_status clp_staging_open(clp_staging *staging);
/* Enqueue the copy of the first n integers. */
clpeft_status clp_staging_send(clp_staging *staging, size_t n, clp_stream *s);

#endif
