/* staging.c - integers on their way to the device. */
#include "staging.h"

#include <stdlib.h>

clpeft_status clp_staging_create(clp_staging *staging, clpeft_context *ctx, size_t n)
{
    clpeft_status status = CLPEFT_OK;

    staging->host = calloc(n, sizeof *staging->host);
    REQUIRE(staging->host, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: %zu integers", n);
    TRY(clp_buffer(ctx, n * sizeof *staging->host, NULL, &staging->buf));
out:
    if (status != CLPEFT_OK) clp_staging_destroy(staging);
    return status;
}

void clp_staging_destroy(clp_staging *staging)
{
    if (staging->sent) clWaitForEvents(1, &staging->sent), clReleaseEvent(staging->sent);
    if (staging->buf) clReleaseMemObject(staging->buf);
    free(staging->host);
    *staging = (clp_staging){ 0 };
}

clpeft_status clp_staging_open(clp_staging *staging)
{
    clpeft_status status = CLPEFT_OK;

    if (!staging->sent) return CLPEFT_OK;
    TRY_CL(clWaitForEvents(1, &staging->sent), "clWaitForEvents");
    clReleaseEvent(staging->sent);
    staging->sent = NULL;
out:
    return status;
}

clpeft_status clp_staging_send(clp_staging *staging, size_t n, clp_stream *s)
{
    clpeft_status status = CLPEFT_OK;

    if (!s->ordered) TRY_CL(clEnqueueBarrierWithWaitList(s->queue, s->n_wait, s->wait, NULL), s->what);
    TRY_CL(clEnqueueWriteBuffer(s->queue, staging->buf, CL_FALSE, 0, n * sizeof *staging->host, staging->host,
                                s->n_wait, s->wait, &staging->sent),
           s->what);
    s->n_wait = 0, s->wait = NULL;
    if (!s->ordered) TRY_CL(clEnqueueBarrierWithWaitList(s->queue, 0, NULL, NULL), s->what);
out:
    return status;
}
