/* op.h - one enqueue call per operation of a transformer, forward and backward, for any model's own code.
 *
 * Tokens are packed: T rows of all sequences one after another, no padding. Sequence q owns rows row_start[q] up to, not
 * including, row_start[q+1]; row_start is i32 [S+1] on the device, starts at 0 and does not decrease (a sequence may be
 * empty). All matrices are f32 views. Sizes of 0 are errors unless said otherwise.
 *
 * Every operation may return: CLPEFT_INVALID_ARGUMENT (ctx, queue or a buffer is NULL, unknown enumeration value, a queue
 * or buffer of another context), CLPEFT_INVALID_SIZE (a size is 0 or a product overflows), CLPEFT_INVALID_VIEW (a view
 * does not fit its buffer), and OpenCL's own codes from building the kernel and enqueueing it. In and out may be the same
 * view only where said ("in place"). Nothing is read from device memory by the host: ids and row_start must be valid;
 * the kernels clamp what would index outside a table. Numbers below FLT_MIN, 1.2e-38, may count as 0. */
#ifndef CLPEFT_OP_H
#define CLPEFT_OP_H

#include "clpeft/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The tail of every operation's arguments, as in OpenCL. */
#define CLPEFT_QUEUE cl_command_queue queue, cl_uint n_wait, const cl_event *wait, cl_event *event

/* ---- products ------------------------------------------------------------------------------------------------- */

/* clpeft_gemm - C = alpha op(A) op(B) + beta C,  op(A) [M,K], op(B) [K,N], C [M,N]; op transposes where asked.
 * beta = 0 does not read C. ws needs clpeft_gemm_workspace bytes (0: ws may be NULL). C overlaps neither A nor B.
 * Served by CLBlast or by the panel kernel (clpeft_device_info.panel_gemm). */
CLPEFT_API clpeft_status clpeft_gemm(clpeft_context *ctx, int transpose_a, int transpose_b, size_t M, size_t N,
                                     size_t K, float alpha, clpeft_view a, clpeft_view b, float beta, clpeft_view c,
                                     clpeft_workspace *ws, CLPEFT_QUEUE);
CLPEFT_API size_t clpeft_gemm_workspace(clpeft_context *ctx, size_t M, size_t N, size_t K);

/* clpeft_column_sum - s_n = beta s_n + sum_t x_tn,  x [T,N], s [N]; the gradient of a bias. */
CLPEFT_API clpeft_status clpeft_column_sum(clpeft_context *ctx, size_t T, size_t N, clpeft_view x, float beta,
                                           clpeft_view s, CLPEFT_QUEUE);

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* clpeft_row_norm - c_i = sqrt(sum_k w_ik^2),  w [N,K], c [N]; 0 for a zero row. The papers' ||.||_c. */
CLPEFT_API clpeft_status clpeft_row_norm(clpeft_context *ctx, size_t N, size_t K, clpeft_view w, clpeft_view c,
                                         CLPEFT_QUEUE);

/* clpeft_layer_norm - y = (x - mean) rstd gamma + beta per row of x [T,D], rstd = 1 / sqrt(var + eps), var over D.
 * gamma, beta [D]. stat [T,2] keeps mean and rstd for the backward. In place (y = x) allowed. T = 0 does nothing. */
CLPEFT_API clpeft_status clpeft_layer_norm(clpeft_context *ctx, size_t T, size_t D, float eps, clpeft_view x,
                                           clpeft_view gamma, clpeft_view beta, clpeft_view y, clpeft_view stat,
                                           CLPEFT_QUEUE);
/* h = (x - mean) rstd, dh = dy gamma:  dx = accumulate dx + rstd (dh - mean(dh) - h mean(dh h)).  x as in the forward.
 * dx may be dy. dgamma = sum_t dy h and dbeta = sum_t dy [D] are added to when their buf is not NULL. */
CLPEFT_API clpeft_status clpeft_layer_norm_backward(clpeft_context *ctx, size_t T, size_t D, clpeft_view x,
                                                    clpeft_view gamma, clpeft_view stat, clpeft_view dy,
                                                    float accumulate, clpeft_view dx, clpeft_view dgamma,
                                                    clpeft_view dbeta, CLPEFT_QUEUE);

/* clpeft_rms_norm - y = x rstd gamma, rstd = 1 / sqrt(mean(x^2) + eps) per row (arXiv 1910.07467). stat [T,1]: rstd. */
CLPEFT_API clpeft_status clpeft_rms_norm(clpeft_context *ctx, size_t T, size_t D, float eps, clpeft_view x,
                                         clpeft_view gamma, clpeft_view y, clpeft_view stat, CLPEFT_QUEUE);
/* dh = dy gamma, h = x rstd:  dx = accumulate dx + rstd (dh - h mean(dh h)).  dx may be dy. */
CLPEFT_API clpeft_status clpeft_rms_norm_backward(clpeft_context *ctx, size_t T, size_t D, clpeft_view x,
                                                  clpeft_view gamma, clpeft_view stat, clpeft_view dy, float accumulate,
                                                  clpeft_view dx, CLPEFT_QUEUE);

/* ---- elements -------------------------------------------------------------------------------------------------- */

typedef enum {
    CLPEFT_IDENTITY,
    CLPEFT_GELU,      /* x Phi(x), exact (erf) */
    CLPEFT_GELU_TANH, /* the tanh approximation */
    CLPEFT_SILU,      /* x / (1 + exp(-x)) */
    CLPEFT_RELU,
    CLPEFT_TANH
} clpeft_activation;

/* clpeft_activate - y = f(x), [T,D]; in place allowed. backward: dx = f'(x) dy; dx may be dy. */
CLPEFT_API clpeft_status clpeft_activate(clpeft_context *ctx, clpeft_activation f, size_t T, size_t D, clpeft_view x,
                                         clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_activate_backward(clpeft_context *ctx, clpeft_activation f, size_t T, size_t D,
                                                  clpeft_view x, clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE);

/* clpeft_swiglu - y = silu(gate) * up,  gate, up, y [T,F] (arXiv 2002.05202).
 * backward: dup = dy silu(gate), dgate = dy up silu'(gate); dgate may be gate and dup may be up (in place). */
CLPEFT_API clpeft_status clpeft_swiglu(clpeft_context *ctx, size_t T, size_t F, clpeft_view gate, clpeft_view up,
                                       clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_swiglu_backward(clpeft_context *ctx, size_t T, size_t F, clpeft_view gate,
                                                clpeft_view up, clpeft_view dy, clpeft_view dgate, clpeft_view dup,
                                                CLPEFT_QUEUE);

/* clpeft_add - y = alpha a + beta b, [T,D]; y may be a or b: residuals and their gradients. */
CLPEFT_API clpeft_status clpeft_add(clpeft_context *ctx, size_t T, size_t D, float alpha, clpeft_view a, float beta,
                                    clpeft_view b, clpeft_view y, CLPEFT_QUEUE);

/* clpeft_scale_columns - y_td = x_td g_d (LayerScale; its own backward with dy for x); in place allowed. */
CLPEFT_API clpeft_status clpeft_scale_columns(clpeft_context *ctx, size_t T, size_t D, clpeft_view x, clpeft_view g,
                                              clpeft_view y, CLPEFT_QUEUE);

/* clpeft_dropout - y = x mask / (1 - p), [T,D]: element [t,d] survives when the random number of counter
 * (t0 + t) D + d under key seed (Philox4x32-10, Salmon et al. 2011) is at least p. 0 <= p < 1. The same call on dy is the backward. */
CLPEFT_API clpeft_status clpeft_dropout(clpeft_context *ctx, size_t T, size_t D, float p, uint64_t seed, size_t t0,
                                        clpeft_view x, clpeft_view y, CLPEFT_QUEUE);

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* clpeft_embedding - y_t = word[id_t] + position[t - start of its sequence + first] + type[0], [T,D].
 * ids i32 [T]; word [V,D]; position [P,D] (buf NULL: none); type [.,D] (buf NULL: none). Ids and positions are clamped
 * into their tables. */
CLPEFT_API clpeft_status clpeft_embedding(clpeft_context *ctx, size_t T, size_t D, size_t V, size_t P, size_t S,
                                          clpeft_view ids, clpeft_view row_start, clpeft_view word,
                                          clpeft_view position, size_t first, clpeft_view type, clpeft_view y,
                                          CLPEFT_QUEUE);
/* dtable[id_t] += dy_t in the order of t (repeatable);  dtable [V,D]. */
CLPEFT_API clpeft_status clpeft_embedding_backward(clpeft_context *ctx, size_t T, size_t D, size_t V, clpeft_view ids,
                                                   clpeft_view dy, clpeft_view dtable, CLPEFT_QUEUE);

/* clpeft_pool_mean - y_q = mean of the rows of sequence q (0 when empty);  clpeft_pool_first - its first row (CLS).
 * x [T,D], y [S,D]. The backwards write every row of dx: dy_q / length, or dy_q in the first row and 0 elsewhere. */
CLPEFT_API clpeft_status clpeft_pool_mean(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                          clpeft_view x, clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_mean_backward(clpeft_context *ctx, size_t T, size_t D, size_t S,
                                                   clpeft_view row_start, clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_first(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                           clpeft_view x, clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_first_backward(clpeft_context *ctx, size_t T, size_t D, size_t S,
                                                    clpeft_view row_start, clpeft_view dy, clpeft_view dx,
                                                    CLPEFT_QUEUE);

/* clpeft_pool_rest - y_q = mean of all rows of sequence q but the first (0 when there are none);
 * clpeft_pool_both - y [S,2D]: the first row, then that mean. The backwards write every row of dx. */
CLPEFT_API clpeft_status clpeft_pool_rest(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                          clpeft_view x, clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_rest_backward(clpeft_context *ctx, size_t T, size_t D, size_t S,
                                                   clpeft_view row_start, clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_both(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                          clpeft_view x, clpeft_view y, CLPEFT_QUEUE);
CLPEFT_API clpeft_status clpeft_pool_both_backward(clpeft_context *ctx, size_t T, size_t D, size_t S,
                                                   clpeft_view row_start, clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE);

/* clpeft_rope - rotate pairs (x_j, x_{j+d/2}) of every head by position * base^(-2j/d), j < d/2 (arXiv 2104.09864, the
 * Hugging Face pairing), in place on x [T, H d]. position = t - start of its sequence + first. inverse != 0 rotates
 * back: the backward. */
CLPEFT_API clpeft_status clpeft_rope(clpeft_context *ctx, size_t T, size_t H, size_t d, float base, int inverse,
                                     size_t S, clpeft_view row_start, size_t first, clpeft_view x, CLPEFT_QUEUE);

/* clpeft_attention - per sequence and head h:  P = softmax(scale Q K^T),  O = P V.
 *   q, o [T, H d]   k, v [T, Hk d]   head h reads key head h Hk / H (grouped queries; Hk divides H)
 *   lse [T,H]       log of the softmax's denominator, kept for the backward
 * causal: token t sees tokens of its sequence up to itself. T = 0 does nothing. max_length >= the longest sequence (it sizes the launch).
 * Scores are never stored: memory does not grow with length squared. Source: arXiv 2205.14135. d at most 256. */
typedef struct {
    size_t T, S, H, Hk, d, max_length;
    float scale;
    int causal;
} clpeft_attention_shape;
CLPEFT_API clpeft_status clpeft_attention(clpeft_context *ctx, const clpeft_attention_shape *shape,
                                          clpeft_view row_start, clpeft_view q, clpeft_view k, clpeft_view v,
                                          clpeft_view o, clpeft_view lse, CLPEFT_QUEUE);
/* With D_t = dO_t . O_t:  dV = P^T dO,  dS = P (dO V^T - D),  dQ = scale dS K,  dK = scale dS^T Q.
 * dsum [T,H] is scratch for D. dq, dk, dv are written (not added to) and overlap nothing else. A dk or dv with buf NULL
 * is not computed. */
CLPEFT_API clpeft_status clpeft_attention_backward(clpeft_context *ctx, const clpeft_attention_shape *shape,
                                                   clpeft_view row_start, clpeft_view q, clpeft_view k, clpeft_view v,
                                                   clpeft_view o, clpeft_view lse, clpeft_view d_o, clpeft_view dsum,
                                                   clpeft_view dq, clpeft_view dk, clpeft_view dv, CLPEFT_QUEUE);

/* clpeft_attention_cached - one sequence, new rows [T, H d] at positions first .. first + T - 1, causal, against k, v of
 * rows 0 .. first + T - 1 of a cache [., Hk d]. No lse. */
CLPEFT_API clpeft_status clpeft_attention_cached(clpeft_context *ctx, const clpeft_attention_shape *shape, size_t first,
                                                 clpeft_view q, clpeft_view k, clpeft_view v, clpeft_view o,
                                                 CLPEFT_QUEUE);

/* ---- loss ------------------------------------------------------------------------------------------------------ */

/* clpeft_cross_entropy - per row of x [B,C] with label l_b (i32 [B], -1: the row does not count):
 *     loss_b = log(sum_c exp(x_bc)) - x_bl          dx_bc = weight (exp(x_bc) / sum - [c = l_b])
 * loss [B], 0 for rows that do not count; correct i32 [B] (buf NULL: not asked) is 1 where the first largest x_bc is l_b.
 * dx may be x; its buf NULL: no gradient. Labels outside -1..C-1 count as -1. */
CLPEFT_API clpeft_status clpeft_cross_entropy(clpeft_context *ctx, size_t B, size_t C, clpeft_view x,
                                              clpeft_view labels, float weight, clpeft_view loss, clpeft_view correct,
                                              clpeft_view dx, CLPEFT_QUEUE);

#ifdef __cplusplus
}
#endif
#endif
