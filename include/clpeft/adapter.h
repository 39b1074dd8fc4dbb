/* adapter.h - LoRA, DoRA, HoRA and DoRAN over the sites of a model.
 *
 * LoRA: arXiv 2106.09685.  DoRA: 2402.09353.  HoRA: 2510.04295.  DoRAN: 2510.04331.  rsLoRA: 2312.03732.
 *
 *     V = W0 + s B A,   c_i = ||V_i||_2,   g_i = m_i / (c_i + tau),   y = g * (x V^T) + bias
 *
 * A and B are parameters of their own (LoRA, DoRA), or made by one small generator per block for all its sites and
 * heads (HoRA, DoRAN):  A = act(A0 W1A) W2A,  rows of head j of B = W2B act(W1B B0_j).  g is 1 without a magnitude. */
#ifndef CLPEFT_ADAPTER_H
#define CLPEFT_ADAPTER_H

#include "clpeft/linear.h"
#include "clpeft/params.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CLPEFT_LORA, CLPEFT_DORA, CLPEFT_HORA, CLPEFT_DORAN } clpeft_method;
typedef enum { CLPEFT_TAU_NONE, CLPEFT_TAU_FIXED, CLPEFT_TAU_LEARNED, CLPEFT_TAU_GAUSSIAN } clpeft_tau;
typedef enum { CLPEFT_SHARE_BLOCK, CLPEFT_SHARE_MODEL } clpeft_share;
typedef enum { CLPEFT_W2B_SHARED, CLPEFT_W2B_PER_HEAD } clpeft_w2b;

typedef struct {
    int generator;  /* A and B from the head-shared generator (HoRA, DoRAN) */
    int magnitude;  /* gain g = m / (c + tau) (DoRA, DoRAN) */
    clpeft_tau tau; /* needs magnitude; gaussian: tau = |sigma xi|, new xi each step, 0 when evaluating */
    size_t rank;    /* r >= 1 */
    float alpha;    /* s = alpha / r, or alpha / sqrt(r) with rslora */
    int rslora;
    size_t seed_width;     /* e: columns of A0 */
    size_t hidden_width;   /* h */
    clpeft_activation act; /* of the generator: silu, gelu, relu, tanh or identity */
    clpeft_share share;    /* whose W1A and W1B: one pair per block, or one for the model */
    clpeft_w2b w2b;        /* one W2B [d,h] for all heads of a site, or [H,d,h] */
    float tau0;            /* first tau (and sigma) over the mean row norm of the site's W0 */
    int norm_gradient;     /* differentiate the norm too; 0: a constant, as DoRA section 4.3 */
    float dropout;         /* on the input of the low-rank path, while training */
    uint64_t seed;         /* of the first values, of dropout and of gaussian tau */
} clpeft_adapter_config;

/* The defaults of a method: the one place where they are written. */
CLPEFT_API clpeft_adapter_config clpeft_adapter_defaults(clpeft_method method);

/* An adapted row range of a linear layer: rows [row, row + heads * head_size). Sites of one layer must not overlap.
 * name: "query", "value", ... unique in its block; block counts from 0, with a generator without gaps. A layer
 * without heads: heads = 1. */
typedef struct {
    const char *name;
    size_t block;
    clpeft_linear *linear; /* borrowed: must outlive the adapter */
    size_t row, heads, head_size;
    size_t rank; /* 0: the config's; else this site's own (PEFT's rank_pattern; not with a generator) */
    float alpha; /* 0: the config's; else this site's own (alpha_pattern) */
} clpeft_site;

/* Make an adapter over n sites and add its parameters to params, not yet allocated (names:
 * blocks.<i>.generator.{A0,B0,W1A, W1B}, generator.{W1A,W1B} when shared by the model,
 * blocks.<i>.<site>.{A,B,W2A,W2B,m,rho}). Training starts exactly at the pretrained layer: B or W2B is 0 and m =
 * ||W0_i|| + tau. Blocks (it reads the norms of W0). params is borrowed and must outlive the adapter. sites and
 * config are copied. Errors:  CLPEFT_INVALID_ARGUMENT  a bad config (the message names the field), a duplicate name
 *          CLPEFT_INVALID_SIZE      rows past the layer's end, overlapping sites, with a generator a block without
 * site
 *          CLPEFT_NOT_FINITE        with magnitude, when the square of a row's norm or tau is past f32's range */
CLPEFT_API clpeft_status clpeft_adapter_create(clpeft_adapter **adapter, clpeft_params *params,
                                               const clpeft_site *sites, size_t n, const clpeft_adapter_config *config);
CLPEFT_API void clpeft_adapter_destroy(clpeft_adapter *adapter);

CLPEFT_API const clpeft_adapter_config *clpeft_adapter_get_config(const clpeft_adapter *adapter); /* borrowed */
CLPEFT_API size_t clpeft_adapter_sites(const clpeft_adapter *adapter, const clpeft_site **sites); /* count; borrowed */

/* theta --> A, B, c, g of every site, in a fixed number of launches; dA, dB, dg = 0. step: the number of this training
 * step, which keys dropout and gaussian tau; training 0 is evaluation: no dropout, gaussian tau 0.
 * Once per step, after params changed and before forward. */
CLPEFT_API clpeft_status clpeft_adapter_materialize(clpeft_adapter *adapter, uint64_t step, int training, CLPEFT_QUEUE);

/* dA, dB, dg of every site --> added to the gradient of params: through norm, gain and generators. Once per
 * materialize. A fixed number of launches (with norm_gradient: two products more per layer). ws:
 * clpeft_adapter_workspace bytes, 0 without norm_gradient. */
CLPEFT_API clpeft_status clpeft_adapter_backward(clpeft_adapter *adapter, clpeft_workspace *ws, CLPEFT_QUEUE);
CLPEFT_API size_t clpeft_adapter_workspace(const clpeft_adapter *adapter);

/* What materialize made of one site, copied to host memory. Blocks. Any pointer may be NULL; queue too, where
 * materialize is complete. a [r,K], b [N,r] (s not included), c [N], g [N] (1 without magnitude; c is then
 * untouched), tau one value. */
CLPEFT_API clpeft_status clpeft_adapter_read_site(const clpeft_adapter *adapter, size_t site, float *a, float *b,
                                                  float *c, float *g, float *tau, cl_command_queue queue);

/* clpeft_adapter_merge - the plain weight that computes the same layer: g_i (W0 + s B A)_i, f32 [rows,K] in host
 * memory, of rows [row, row + rows) of a linear layer; rows without a site are W0's. adapter NULL: W0 itself. As of
 * the last materialize. Blocks. */
CLPEFT_API clpeft_status clpeft_adapter_merge(const clpeft_adapter *adapter, const clpeft_linear *linear, size_t row,
                                              size_t rows, float *weight, cl_command_queue queue);

#ifdef __cplusplus
}
#endif
#endif
