/* params.h - all trainable numbers of a run in one flat buffer (the arena), their gradient and AdamW over it.
 *
 * Tensors are added by name, then the arena is allocated: theta, gradient and both moments are four flat f32 buffers of
 * one layout. Optimizer, clipping, all-reduce, checkpoint and hash are each one pass. */
#ifndef CLPEFT_PARAMS_H
#define CLPEFT_PARAMS_H

#include "clpeft/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clpeft_params clpeft_params;

/* What a tensor is: decides its weight decay (never on magnitude and rho) and its learning-rate multiplier. */
typedef enum {
    CLPEFT_KIND_A,         /* A, W1A, W2A */
    CLPEFT_KIND_B,         /* B, W1B, W2B; a multiplier above 1 is LoRA+ (arXiv 2402.12354) */
    CLPEFT_KIND_SEED,      /* A0, B0 */
    CLPEFT_KIND_MAGNITUDE, /* m */
    CLPEFT_KIND_RHO,       /* log tau */
    CLPEFT_KIND_HEAD,      /* a task head's matrices */
    CLPEFT_KIND_HEAD_BIAS, /* a task head's biases: no decay */
    CLPEFT_KIND_FIXED,     /* stored with the rest, never changed: tau of mode fixed */
    CLPEFT_KINDS
} clpeft_kind;

#define CLPEFT_MAX_DIMS 4
typedef struct {
    char name[96];
    clpeft_kind kind;
    size_t n_dims, dims[CLPEFT_MAX_DIMS];
    size_t off, size; /* elements, in the arena */
} clpeft_tensor;

CLPEFT_API clpeft_status clpeft_params_create(clpeft_params **params, clpeft_context *ctx);
CLPEFT_API void clpeft_params_destroy(clpeft_params *params);

/* Add a tensor before clpeft_params_allocate. init: its first values, row-major, copied; NULL: zeros. *off, which may
 * be NULL, is its offset in the arena. Errors:  CLPEFT_INVALID_ARGUMENT  name taken, too long, or already allocated;
 * CLPEFT_INVALID_SIZE  no or too many dims, or an empty one. */
CLPEFT_API clpeft_status clpeft_params_add(clpeft_params *params, const char *name, clpeft_kind kind, size_t n_dims,
                                           const size_t *dims, const float *init, size_t *off);

/* Allocate the four buffers and upload the first values. Blocks. Once. */
CLPEFT_API clpeft_status clpeft_params_allocate(clpeft_params *params);

/* Borrowed tensors are valid until the next clpeft_params_add. */
CLPEFT_API size_t clpeft_params_count(const clpeft_params *params);                              /* tensors */
CLPEFT_API const clpeft_tensor *clpeft_params_tensor(const clpeft_params *params, size_t index); /* NULL past the end */
CLPEFT_API const clpeft_tensor *clpeft_params_find(const clpeft_params *params, const char *name); /* NULL: none */
CLPEFT_API size_t clpeft_params_size(const clpeft_params *params);      /* elements of a buffer, padding too */
CLPEFT_API size_t clpeft_params_trainable(const clpeft_params *params); /* elements that learn */

/* The flat buffers, borrowed: f32, clpeft_params_size elements. NULL before allocate. */
typedef enum { CLPEFT_THETA, CLPEFT_GRAD, CLPEFT_MOMENT1, CLPEFT_MOMENT2 } clpeft_params_buffer;
CLPEFT_API cl_mem clpeft_params_buffer_cl(const clpeft_params *params, clpeft_params_buffer which);

/* Copy one tensor (or with tensor = NULL the whole buffer) to or from host memory. Blocks. queue may be
 * NULL where all that was enqueued before is complete. */
CLPEFT_API clpeft_status clpeft_params_read(const clpeft_params *params, clpeft_params_buffer which,
                                            const clpeft_tensor *tensor, float *host, cl_command_queue queue);
CLPEFT_API clpeft_status clpeft_params_write(clpeft_params *params, clpeft_params_buffer which,
                                             const clpeft_tensor *tensor, const float *host, cl_command_queue queue);

/* grad = 0. */
CLPEFT_API clpeft_status clpeft_params_zero_grad(clpeft_params *params, CLPEFT_QUEUE);

typedef struct {
    float lr, beta1, beta2, eps, weight_decay;
    float max_norm;                 /* clip the whole gradient to this norm; 0: do not clip */
    float multiplier[CLPEFT_KINDS]; /* of lr, per kind */
} clpeft_adamw;
/* lr 1e-3, betas 0.9 and 0.999, eps 1e-8, no decay, max_norm 1, all multipliers 1. */
CLPEFT_API clpeft_adamw clpeft_adamw_defaults(void);

/* clpeft_adamw_step - one update of the whole arena (arXiv 1711.05101), with t the number of updates applied so far +
 * 1:
 *     scale = min(1, max_norm / (norm + 1e-6));  g = scale grad
 *     m1 = b1 m1 + (1-b1) g;  m2 = b2 m2 + (1-b2) g^2
 *     theta -= lr_kind (m1 / (1-b1^t) / (sqrt(m2 / (1-b2^t)) + eps) + weight_decay theta)
 * A gradient with a NaN, an infinity or a squared norm past f32's range changes nothing but the count of skipped steps.
 * A theta past f32's range becomes the largest number of its sign: no NaN and no infinity is ever stored. eps is at least
 * FLT_MIN, for devices without denormals.
 * Errors:  CLPEFT_INVALID_ARGUMENT  not allocated, or an option out of range (the message names it) */
CLPEFT_API clpeft_status clpeft_adamw_step(clpeft_params *params, const clpeft_adamw *adamw, CLPEFT_QUEUE);

typedef struct {
    uint64_t applied, skipped; /* updates made; steps refused because the gradient was not finite */
    float grad_norm;           /* of the last step, before clipping */
    int finite;                /* whether the last step was applied */
} clpeft_adamw_state;
/* Blocks until the queue has done all before it. */
CLPEFT_API clpeft_status clpeft_adamw_read_state(const clpeft_params *params, clpeft_adamw_state *state,
                                                 cl_command_queue queue);
/* Set the counters, to resume. */
CLPEFT_API clpeft_status clpeft_adamw_write_state(clpeft_params *params, const clpeft_adamw_state *state,
                                                  cl_command_queue queue);

/* Learning-rate factor of step (0, 1, ... total - 1): linear warm-up (step + 1) / warmup, then linear or cosine decay
 * to 0 at total. Pure arithmetic. */
typedef enum { CLPEFT_DECAY_NONE, CLPEFT_DECAY_LINEAR, CLPEFT_DECAY_COSINE } clpeft_decay;
CLPEFT_API double clpeft_schedule(uint64_t step, uint64_t warmup, uint64_t total, clpeft_decay decay);

#ifdef __cplusplus
}
#endif
#endif
