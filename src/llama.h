/* llama.h - what a decoder of LLaMA's kind holds: tables, norms, and memory for its activations.
 *
 * Letters as in design.md: T tokens, D width, F inner width of the feed-forward layer, H heads and Hk key heads of size d. */
#ifndef CLP_LLAMA_H
#define CLP_LLAMA_H

#include "backbone.h"

/* The linear layers of a block, bottom-up. Query, key and value are one: rows [0,Hd), [Hd,(H+Hk)d), [(H+Hk)d,(H+2Hk)d). Gate and up
 * are one: rows [0,F), [F,2F). */
enum { LLAMA_QKV, LLAMA_OUTPUT, LLAMA_GATE_UP, LLAMA_DOWN, LLAMA_LAYERS };

/* What a block's forward leaves for its backward, besides x. */
typedef struct {
    clpeft_view stat1, stat2; /* [T,1]: 1 / root mean square of the inputs of both norms */
    clpeft_view qkv;          /* [T,(H+2Hk)d]: query and key rotated */
    clpeft_view o, lse;       /* [T,Hd], [T,H]: attention */
    clpeft_view x1;           /* [T,D]: input of the second norm */
    clpeft_view gate_up;      /* [T,2F]; their gradient takes their place */
} clp_llama_acts;

typedef struct {
    float base;              /* of the rotary positions */
    int tied;                /* the output table is the embedding's */
    clp_table embed, output; /* output: when not tied */
    cl_mem norms;
    clpeft_view *norm; /* [2 blocks + 1] of D: both of every block, then the last one */

    size_t n_acts; /* blocks, or 1 with recompute or forward_only */
    clp_llama_acts *acts;
    clpeft_view *x;         /* [T,D]: input of block b; x[blocks] is the output of the last one */
    cl_mem *memory;         /* of acts */
    cl_mem stream, scratch; /* of x; of what follows */
    clpeft_view y, stat;    /* [T,D], [T,1]: of the last norm */
    clpeft_view n;          /* [T,D]: a norm's output */
    clpeft_view s, ds;      /* [T,F]: silu(gate) up */
    clpeft_view dn;         /* [T,D] */
    clpeft_view dqkv, d_o;  /* as qkv and o; ds and s are used up when these are written, so they lie on them */
    clpeft_view dsum;       /* [T,H] */
} clp_llama_net;

static inline clp_llama_net *clp_llama_of(const clpeft_model *model)
{
    return model->net;
}

/* Sizes and options from config.json, or from the metadata of a GGUF file. */
clpeft_status clp_llama_configure(clpeft_model *model, clp_pretrained *w);
clpeft_status clp_llama_load(clpeft_model *model, clp_pretrained *w);
void clp_llama_destroy(clpeft_model *model);

extern const clp_family clp_llama;

#endif
