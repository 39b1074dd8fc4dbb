/* backbone.h - what all families of models have: frozen linear layers in shared storage, the modules that can be sites, the
 * batch on the device. A family (bert.c) knows its configuration, the names of its tensors and the order of its layers. */
#ifndef CLP_BACKBONE_H
#define CLP_BACKBONE_H

#include "clpeft/model.h"
#include "lowrank.h"
#include "staging.h"
#include "pretrained.h"
#include "table.h"

/* A module that can be a site: rows [row, row + heads * head_size) of linear layer `layer` of its block. */
typedef struct {
    const char *name, *alias; /* in lists of sites; alias may be NULL */
    const char *path;         /* in its block, in Hugging Face's naming */
    const char *object_path;  /* the same in the object that transformers makes of the file; NULL: path */
    size_t layer, row, heads, head_size;
} clp_module;
enum { CLP_MAX_MODULES = 8 };

typedef struct {
    const char *const *types; /* the model_type's of its configurations, up to NULL */
    const char *block_path;   /* "encoder.layer.": before a block's number */
    /* Read configuration and weights into a model whose ctx and options are set. */
    clpeft_status (*load)(clpeft_model *model, clp_pretrained *w);
    void (*destroy)(clpeft_model *model);
    /* Send a batch's pixels; NULL for a model of text. */
    clpeft_status (*send)(clpeft_model *model, const clpeft_batch *batch, clp_stream *s);
    /* Of the model's present batch. backward: dx [T,width] is used up. */
    clpeft_status (*forward)(clpeft_model *model, const clpeft_adapter *adapter, int keep, clpeft_view *y,
                             cl_command_queue queue);
    clpeft_status (*backward)(clpeft_model *model, clpeft_adapter *adapter, clpeft_view dx, cl_command_queue queue);
} clp_family;

typedef struct {
    clpeft_linear *linear;
    cl_mem tape; /* what a forward keeps for the backward; NULL without sites */
    size_t tape_size;
} clp_layer;

/* What a language model has read of one sequence. */
struct clpeft_model_cache {
    clpeft_model *model;      /* borrowed */
    size_t positions, length; /* room, and tokens read */
    size_t n_blocks;
    cl_mem *blocks; /* of every block f32 [positions, 2 Hk d]: keys, then values */
    cl_mem logits;  /* [vocab] */
};

struct clpeft_model {
    clpeft_context *ctx;
    const clp_family *family;
    clpeft_model_options options; /* no zeros left */
    clpeft_model_info info;
    char *path; /* absolute; "" if it is not UTF-8. Owned */
    void *net;  /* the family's own */

    /* Set by the family's load, before the layers are made. */
    size_t n_modules, per_block; /* per_block: linear layers of a block */
    clp_module modules[CLP_MAX_MODULES];
    const char *object_block_path; /* before a block's number, as object_path; NULL: the family's block_path */
    const char *fused_path; /* of a block's layer 0, where all its modules are one tensor of the file; else NULL */

    size_t n_layers; /* all linear layers, bottom-up: layer i of block b is layers[b * per_block + i] */
    clp_layer *layers;
    size_t n_storage;
    cl_mem *storage; /* of the layers' weights */
    clpeft_workspace *ws;
    size_t ws_bytes;

    cl_command_queue queue; /* of the last forward, retained: another one has to wait for it */

    /* The present batch: T tokens of S sequences, the longest of `longest` tokens. */
    size_t T, S, longest;
    clp_staging staging; /* row_start [S + 1], then ids [T] */
    clpeft_view row_start, ids;
    const clpeft_adapter *kept; /* its activations are there for a backward of this adapter */
    size_t lowest;              /* the lowest layer with a site; n_layers without one */

    const clp_table *output;   /* of a language model: logits = last hidden states times its rows; NULL: none */
    clpeft_model_cache *cache; /* during clpeft_model_next_logits; NULL otherwise */
};

/* Make the linear layers of all blocks, empty, in shared storage. block: the per_block layers of a block, alike in all. */
clpeft_status clp_model_make_layers(clpeft_model *model, const clpeft_linear_options *block);

/* Make tapes and workspace for an adapter (NULL: none), unless those there are large enough; set `lowest`. */
clpeft_status clp_model_prepare(clpeft_model *model, const clpeft_adapter *adapter);

/* clpeft_linear_forward and _backward of a layer of the present batch, with its tape. In the backward of the lowest layer
 * with a site, dx is not computed. */
clpeft_status clp_project(clpeft_model *model, const clpeft_adapter *adapter, size_t layer, int keep, clpeft_view x,
                          clpeft_view residual, clpeft_view y, cl_command_queue queue);
/* y = f(the layer's output). What the backward of the next layer takes as x (keep) goes to `before`: the argument of f, or
 * its slopes where these will do. */
clpeft_status clp_project_activated(clpeft_model *model, const clpeft_adapter *adapter, size_t layer, int keep,
                                    clpeft_view x, clpeft_activation f, clpeft_view before, clpeft_view y,
                                    cl_command_queue queue);
/* spent: dy is not read after it, and may be overwritten. */
clpeft_status clp_project_back(clpeft_model *model, clpeft_adapter *adapter, size_t layer, clpeft_activation f,
                               clpeft_view x, clpeft_view dy, int spent, float accumulate, clpeft_view dx,
                               cl_command_queue queue);

/* The next rows x cols elements of a buffer; from.off moves on. With from.buf NULL it only counts. */
clpeft_view clp_carve(clpeft_view *from, size_t rows, size_t cols);
/* The same for a left operand of products, whose rows are not a multiple of 4 KB apart: clp_prepare may copy those. */
clpeft_view clp_carve_operand(clpeft_view *from, size_t rows, size_t cols);

#endif
