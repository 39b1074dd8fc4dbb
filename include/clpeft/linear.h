/* linear.h - a frozen linear layer that carries adapted sites on row ranges. */
#ifndef CLPEFT_LINEAR_H
#define CLPEFT_LINEAR_H

#include "clpeft/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* W0 [N,K] and bias [N], laid out once for the device's product kernel and kept in their narrow type. */
typedef struct clpeft_linear clpeft_linear;
typedef struct clpeft_adapter clpeft_adapter;

typedef struct {
    size_t N, K;
    clpeft_dtype dtype; /* how the weight is kept: F32, F16, BF16, or a GGUF block type (K a multiple of its block) */
    int has_bias;
    int forward_only; /* no backward product will be asked for: saves its copy of the weight */
    int one_copy;     /* keep one laid-out copy and rebuild the other for each backward: half the memory, some time */
    /* Where the weight lives: clpeft_linear_bytes bytes of storage.buf from byte offset storage.off (a multiple of 4096);
     * layers of one buffer share launches. buf NULL: a buffer of its own. */
    clpeft_view storage;
} clpeft_linear_options;

/* Bytes that the layer takes in a shared storage buffer, a multiple of 4096; 0 for options that are refused. */
CLPEFT_API size_t clpeft_linear_bytes(clpeft_context *ctx, const clpeft_linear_options *options);

/* Make an empty layer (weights and bias 0). Errors:  CLPEFT_INVALID_SIZE, CLPEFT_UNSUPPORTED (dtype), OpenCL's codes. */
CLPEFT_API clpeft_status clpeft_linear_create(clpeft_linear **linear, clpeft_context *ctx,
                                              const clpeft_linear_options *options);
CLPEFT_API void clpeft_linear_destroy(clpeft_linear *linear);

/* Fill rows [row, row + rows) from host memory: weight row-major [rows,K] of type dtype (any float type becomes the layer's
 * own; a block type must be the layer's own), bias f32 [rows] or NULL (left as it is). Blocks; the memory may be reused. */
CLPEFT_API clpeft_status clpeft_linear_load(clpeft_linear *linear, size_t row, size_t rows, const void *weight,
                                            clpeft_dtype dtype, const float *bias, cl_command_queue queue);
/* The same from device buffers (blocks): weight view of dtype F32, F16 or BF16 (off and ld count elements), bias f32 view (buf NULL: none). */
CLPEFT_API clpeft_status clpeft_linear_load_view(clpeft_linear *linear, size_t row, size_t rows, clpeft_view weight,
                                                 clpeft_dtype dtype, clpeft_view bias, cl_command_queue queue);

CLPEFT_API size_t clpeft_linear_rows(const clpeft_linear *linear);    /* N */
CLPEFT_API size_t clpeft_linear_columns(const clpeft_linear *linear); /* K */

/* Bytes of workspace for forward and backward of up to T tokens. adapter may be NULL. */
CLPEFT_API size_t clpeft_linear_workspace(const clpeft_linear *linear, const clpeft_adapter *adapter, size_t T);
/* Elements of the tape: what a forward keeps for its backward (U, and Z of sites with a gain). 0 without sites. */
CLPEFT_API size_t clpeft_linear_tape(const clpeft_linear *linear, const clpeft_adapter *adapter, size_t T);

/* clpeft_linear_forward - with U = drop(f(x)) A^T and the sites' rows of A, B, g (g = 1 elsewhere):
 *     y = g * (f(x) W0^T + s U B^T) + bias (+ residual)
 *   x [T,K], y [T,N], f an activation of the input; residual [T,N] (buf NULL: none; may be y)
 *   tape [clpeft_linear_tape]  a vector view with ld 1; buf NULL: no backward will follow
 * adapter NULL, or without a site on this layer: the plain layer. T = 0 does nothing. */
CLPEFT_API clpeft_status clpeft_linear_forward(const clpeft_linear *linear, const clpeft_adapter *adapter, size_t T,
                                               clpeft_activation f, clpeft_view x, clpeft_view residual, clpeft_view y,
                                               clpeft_view tape, clpeft_workspace *ws, CLPEFT_QUEUE);

/* clpeft_linear_backward - with dZ = g * dy:
 *     dx = accumulate dx + f'(x) (dZ W0 + s (dZ B) A)        buf NULL: not asked for
 *     the adapter's own buffers gain  dA += s (dZ B)^T f(x),  dB += s dZ^T U,  dg += sum_t dy Z
 * x, f and tape as in the forward. dx may be x itself; otherwise it overlaps neither x nor dy. */
CLPEFT_API clpeft_status clpeft_linear_backward(const clpeft_linear *linear, clpeft_adapter *adapter, size_t T,
                                                clpeft_activation f, clpeft_view x, clpeft_view tape, clpeft_view dy,
                                                float accumulate, clpeft_view dx, clpeft_workspace *ws, CLPEFT_QUEUE);

#ifdef __cplusplus
}
#endif
#endif
