/* vit.h - what a vision transformer holds: patch embedding, positions, norms, and memory for its activations.
 *
 * Letters as in design.md: T tokens, D width, F inner width of the feed-forward layer, H heads of size d. An image of
 * C channels is cut into patches of p x p pixels; a patch is a row of K = C p p numbers. Its tokens are a class token,
 * then the patches in rows from the top left. */
#ifndef CLP_VIT_H
#define CLP_VIT_H

#include "backbone.h"

/* The linear layers of a block, bottom-up. Query, key and value are one: rows [0,D), [D,2D), [2D,3D). */
enum { VIT_QKV, VIT_OUTPUT, VIT_UP, VIT_DOWN, VIT_LAYERS };

typedef struct {
    clpeft_view gamma, beta; /* [D] */
} clp_vit_norm;

/* What a block's forward leaves for its backward, besides x. */
typedef struct {
    clpeft_view stat1, stat2; /* [T,2]: mean and rstd of the inputs of both norms */
    clpeft_view qkv;          /* [T,3D] */
    clpeft_view o, lse;       /* [T,D], [T,H]: attention */
    clpeft_view x1;           /* [T,D]: input of the second norm */
    clpeft_view p;            /* [T,F]: what clp_project_activated keeps; in the backward its gradient */
    clpeft_view dqkv, d_o;    /* [T,3D], [T,D]: p is used up when these are written, so they lie on it */
} clp_vit_acts;

typedef struct {
    clpeft_activation act;
    size_t K, pretrained_side; /* numbers of a patch; patches along an edge of the images of the pretraining */
    clpeft_linear *embed;      /* [D,K], without bias */
    clpeft_workspace *embed_ws;
    clp_staging patches; /* [T,K]; of class tokens 0 */
    clpeft_view
        start;      /* [T,D]: class token or the embedding's bias, and position, for as many images as a batch takes */
    cl_mem vectors; /* of what follows */
    clp_vit_norm *norm; /* [2 blocks + 1]: both of every block, then the last one */
    clpeft_view *scale; /* [2 blocks] of D: LayerScale behind attention and feed-forward; buf NULL: none */

    size_t n_acts; /* blocks, or 1 with recompute or forward_only */
    clp_vit_acts *acts;
    clpeft_view *x;         /* [T,D]: input of block b; x[blocks] is the output of the last one */
    cl_mem *memory;         /* of acts */
    cl_mem stream, scratch; /* of x; of what follows */
    clpeft_view y, stat;    /* [T,D], [T,2]: of the last norm */
    clpeft_view n;          /* [T,D]: a norm's output, or dx times LayerScale */
    clpeft_view fp;         /* [T,F]: p after the activation */
    clpeft_view dn;         /* [T,D] */
    clpeft_view dsum;       /* [T,H] */
} clp_vit_net;

extern const clp_family clp_vit;

clpeft_status clp_vit_load(clpeft_model *model, clp_pretrained *w);
clpeft_status clp_vit_make_memory(clpeft_model *model);
void clp_vit_destroy(clpeft_model *model);

/* [from,from,D] --> [to,to,D] by bicubic interpolation (a = -0.75) without antialiasing, edges repeated; point i lies at
 * (i + 1/2) from / to - 1/2, as in PyTorch's interpolate with align_corners = False. */
void clp_vit_resize(size_t D, size_t from, const float *x, size_t to, float *y);

#endif
