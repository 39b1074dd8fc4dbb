/* bert.h - what a BERT or RoBERTa encoder holds: tables, norms, and memory for its activations.
 *
 * Letters as in design.md: T tokens, D width, F inner width of the feed-forward layer, H heads of size d. */
#ifndef CLP_BERT_H
#define CLP_BERT_H

#include "backbone.h"

/* The linear layers of a block, bottom-up. Query, key and value are one: rows [0,D), [D,2D), [2D,3D). */
enum { QKV, OUTPUT, UP, DOWN, PER_BLOCK };

typedef struct {
    clpeft_view gamma, beta; /* [D] */
} clp_bert_norm;

/* What a block's forward leaves for its backward, besides x. */
typedef struct {
    clpeft_view qkv;         /* [T,3D] */
    clpeft_view o, lse;      /* [T,D], [T,H]: attention */
    clpeft_view sum1, stat1; /* [T,D], [T,2]: input of the first norm, its mean and rstd */
    clpeft_view p;           /* [T,F]: what clp_project_activated keeps; in the backward its gradient */
    clpeft_view dqkv, d_o;   /* [T,3D], [T,D]: p is used up when these are written, so they lie on it */
    clpeft_view sum2, stat2; /* [T,D], [T,2]: of the second norm */
} clp_bert_acts;

typedef struct {
    size_t V, P, first; /* rows of the word and position tables; the position of a sequence's first token */
    clpeft_activation act;
    clpeft_view word, position, type;
    cl_mem norms; /* gamma and beta of embedding, then of both norms of every block */
    clp_bert_norm embed, *norm;

    size_t n_acts; /* blocks, or 1 with recompute or forward_only */
    clp_bert_acts *acts;
    clpeft_view *x; /* [T,D]: input of block b; x[blocks] is the output of the last one. Above x[0] all lie on one
                                 another, but with recompute */
    cl_mem *memory; /* of acts */
    cl_mem stream, scratch; /* of x; of what follows */
    clpeft_view x1;         /* [T,D]: output of the first norm; in the backward a norm's output once more */
    clpeft_view fp;         /* [T,F]: p after the activation */
    clpeft_view dsum;       /* [T,H] */
} clp_bert_net;

extern const clp_family clp_bert;

clpeft_status clp_bert_load(clpeft_model *model, clp_pretrained *w);
void clp_bert_destroy(clpeft_model *model);

#endif
