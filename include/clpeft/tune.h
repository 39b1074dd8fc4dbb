/* tune.h - measure which kernel parameters suit a device, once, and keep them for every later context. */
#ifndef CLPEFT_TUNE_H
#define CLPEFT_TUNE_H

#include "clpeft/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One candidate that was measured. */
typedef struct {
    const char *what;     /* "tile 12 x 32"; valid during the call */
    unsigned done, total; /* candidates measured so far, and in all */
    double gflops;        /* of this candidate at the work of its stage; 0: it does not run on this device */
    int best;             /* the best so far */
} clpeft_tune_step;
typedef void (*clpeft_tune_report)(void *user, const clpeft_tune_step *step);

/* Products [M,K] x [K,N], with the parameters of before and of after. */
#define CLPEFT_TUNE_SHAPES 4
typedef struct {
    clpeft_device_info before, after;
    struct {
        size_t M, N, K;
        double before, after; /* GFLOPS, packing of the left operand included */
    } shape[CLPEFT_TUNE_SHAPES];
} clpeft_tune_result;

/* Measure the candidates on ctx's device (a minute or so; nothing else should run there) and keep the winner in ctx's cache
 * folder, from where later contexts on this device, driver and version of the library take it; ctx itself stays as it is. A
 * candidate must win by more than 3 % over what came before it, so that noise changes nothing. report may be NULL. Blocks.
 * Errors:  CLPEFT_INVALID_ARGUMENT (ctx or result NULL), OpenCL's own codes from the parameters in use */
CLPEFT_API clpeft_status clpeft_tune(clpeft_context *ctx, clpeft_tune_report report, void *user,
                                     clpeft_tune_result *result);

#ifdef __cplusplus
}
#endif
#endif
