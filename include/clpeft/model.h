/* model.h - a pretrained transformer: frozen weights and the order of its layers. */
#ifndef CLPEFT_MODEL_H
#define CLPEFT_MODEL_H

#include "clpeft/adapter.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clpeft_model clpeft_model;

typedef struct {
    size_t max_tokens;    /* tokens of a batch, at most; sizes every buffer. 0: 4096 */
    size_t max_sequences; /* 0: max_tokens / 2 */
    size_t max_length;    /* of one sequence. 0: the model's own limit, at most max_tokens */
    size_t
        image_size; /* pixels along an edge of a ViT's images, a multiple of its patch size. 0: that of its pretraining */
    clpeft_dtype
        weights; /* F32, F16 or BF16: how linear layers are kept. Weights stored narrower or in blocks stay as they are */
    int forward_only; /* evaluation only: no second copy of the weights, no activations kept */
    int one_copy;     /* see clpeft_linear_options */
    int recompute;    /* keep each block's input only and run its forward again in the backward: less memory, a third
                             more time */
} clpeft_model_options;

typedef enum { CLPEFT_BERT, CLPEFT_LLAMA, CLPEFT_VIT } clpeft_family;
typedef struct {
    clpeft_family family;
    char name[64];
    size_t width, layers, heads, kv_heads, head_size, ffn, vocab, positions;
    size_t image_size, patch_size, channels; /* 0 for a model of text; with images, positions is the tokens of one */
    float eps;
    uint64_t hash; /* of the weights' names, shapes and a sample of their bytes; a checkpoint tells whether it fits */
} clpeft_model_info;

/* Load a model from a Hugging Face folder (config.json, model.safetensors) or a GGUF file. options may be NULL. Blocks.
 * Errors:  CLPEFT_FILE_ERROR, CLPEFT_INVALID_FILE (a tensor missing or of a wrong shape: the message names it),
 *          CLPEFT_UNSUPPORTED (an architecture or option of it that is not known), OpenCL's own codes. */
CLPEFT_API clpeft_status clpeft_model_load(clpeft_model **model, clpeft_context *ctx, const char *path,
                                           const clpeft_model_options *options);
CLPEFT_API void clpeft_model_destroy(clpeft_model *model);
CLPEFT_API void clpeft_model_get_info(const clpeft_model *model, clpeft_model_info *info);

/* The sites that a comma-separated list selects: entries of the form [BLOCK.]NAME[:RANK[:ALPHA]]. "query,value" are those two
 * modules in every block, "3.query" one of them in block 3, "all" every linear layer; "query:4:8" has rank 4 and alpha 8
 * instead of the adapter's own. BERT and ViT: query, key, value, output, up, down; LLaMA: q_proj, k_proj, v_proj, o_proj, gate_proj,
 * up_proj, down_proj (query, key, value, output, gate, up, down mean the same). *sites is one allocation, freed by free(); names are
 * borrowed from the model.
 * Errors:  CLPEFT_INVALID_ARGUMENT  an unknown name (the message lists those there are), a site named twice, a block that the
 *          model lacks, a rank or alpha that is none */
CLPEFT_API clpeft_status clpeft_model_sites(const clpeft_model *model, const char *list, clpeft_site **sites,
                                            size_t *n);
/* The path of a site in the names of Hugging Face's files, "encoder.layer.0.attention.self.query". */
CLPEFT_API clpeft_status clpeft_model_site_path(const clpeft_model *model, const clpeft_site *site, char *path,
                                                size_t size);

/* S sequences, packed; host memory, copied before a call returns. */
typedef struct {
    size_t S;
    const int32_t *row_start; /* [S + 1]; T = row_start[S] */
    const int32_t *tokens;    /* [T] */
    const int32_t
        *labels; /* [S] for a classifier, [T] for a language model (the next token, -1: not counted); NULL: none */
    const float *
        pixels; /* [S,channels,image_size,image_size], normalised, for a model of images; row_start and tokens are then not read */
    size_t
        first_token; /* of a training: tokens of the step's whole batch that stand before these, which key the dropout masks */
} clpeft_batch;

/* Last hidden states of a batch: *y is a view [T,width] into the model's own memory, valid until the next call. keep: hold
 * the activations for a backward. adapter may be NULL; it must be materialized.
 * Errors:  CLPEFT_INVALID_SIZE  more tokens or sequences than the model was made for, a sequence too long
 *          CLPEFT_INVALID_ARGUMENT  row_start decreases, a token outside the vocabulary */
CLPEFT_API clpeft_status clpeft_model_forward(clpeft_model *model, const clpeft_adapter *adapter,
                                              const clpeft_batch *batch, int keep, clpeft_view *y, CLPEFT_QUEUE);
/* The way back of the last forward with keep: dy [T,width] is used up; it may be the forward's y. Gradients go to the adapter. */
CLPEFT_API clpeft_status clpeft_model_backward(clpeft_model *model, clpeft_adapter *adapter, clpeft_view dy,
                                               CLPEFT_QUEUE);

/* Token positions of the last forward's batch on the device: i32 [S + 1]; for pooling. Borrowed. */
CLPEFT_API clpeft_view clpeft_model_row_start(const clpeft_model *model);

/* ---- one token after another ---- */

/* Keys and values of the tokens that a language model has read of one sequence. */
typedef struct clpeft_model_cache clpeft_model_cache;

/* Room for a sequence of `positions` tokens; 0: as many as the model has. model is borrowed: must outlive the cache.
 * Errors:  CLPEFT_UNSUPPORTED  not a language model; CLPEFT_INVALID_SIZE  more positions than the model has */
CLPEFT_API clpeft_status clpeft_model_cache_create(clpeft_model_cache **cache, clpeft_model *model, size_t positions);
CLPEFT_API void clpeft_model_cache_destroy(clpeft_model_cache *cache);
CLPEFT_API size_t clpeft_model_cache_length(const clpeft_model_cache *cache); /* tokens read */
CLPEFT_API void clpeft_model_cache_cut(clpeft_model_cache *cache,
                                       size_t length); /* forget those after the first `length` */

/* Read n more tokens of the sequence, and compute the logits f32 [vocab] of the one that follows, in host memory (NULL: only
 * read). adapter may be NULL; it must be materialized, with training 0. Blocks.
 * Errors:  CLPEFT_INVALID_SIZE      more tokens than the cache has room for
 *          CLPEFT_INVALID_ARGUMENT  a token outside the vocabulary */
CLPEFT_API clpeft_status clpeft_model_next_logits(clpeft_model_cache *cache, const clpeft_adapter *adapter, size_t n,
                                                  const int32_t *tokens, float *logits, cl_command_queue queue);

#ifdef __cplusplus
}
#endif
#endif
