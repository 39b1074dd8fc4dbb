/* train.h - a model, an adapter and a head: one call per training step; checkpoints. */
#ifndef CLPEFT_TRAIN_H
#define CLPEFT_TRAIN_H

#include "clpeft/file.h"
#include "clpeft/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the head sees of a sequence: the mean of its tokens, the first one, the mean of the others (a ViT's patches), or both of
 * these, one behind the other. */
typedef enum { CLPEFT_POOL_MEAN, CLPEFT_POOL_FIRST, CLPEFT_POOL_REST, CLPEFT_POOL_BOTH } clpeft_pool;

typedef struct clpeft_trainer clpeft_trainer;

/* What is trained, by cross-entropy:
 *   classify        a label per sequence:  logits = head.weight (scale pool(x)) + head.bias
 *   language model  a label per token, the one that follows it:  logits = x times the rows of the model's own output table */
typedef enum { CLPEFT_CLASSIFY, CLPEFT_LANGUAGE_MODEL } clpeft_task;

typedef struct {
    clpeft_task task;
    clpeft_adapter_config adapter;
    const char *sites; /* NULL: "query,value" */
    size_t classes;    /* at least 2; 0 for a language model, which has no head of its own */
    clpeft_pool pool;
    float feature_scale; /* 0: 1. MiniLM's pooled features are small: 4 trains a zero-started head well */
    clpeft_adamw adamw;  /* lr is that of the adapter; adamw.multiplier[CLPEFT_KIND_HEAD...] gives the head's */
    uint64_t warmup, total_steps; /* of the schedule; total_steps 0 with CLPEFT_DECAY_NONE only */
    clpeft_decay decay;
} clpeft_trainer_options;

/* r 8, alpha 16, query + value, mean pooling, feature scale 4, lr 1e-3, head 1e-2, clip 1.0, 20 steps warm-up, linear decay.
 * The caller sets classes and total_steps. */
CLPEFT_API clpeft_trainer_options clpeft_trainer_defaults(clpeft_method method);

/* Make adapter and head on a loaded model (borrowed: must outlive the trainer). The head starts at zero. A
 * model that was loaded forward_only serves clpeft_trainer_evaluate only. Blocks. */
CLPEFT_API clpeft_status clpeft_trainer_create(clpeft_trainer **trainer, clpeft_model *model,
                                               const clpeft_trainer_options *options);
CLPEFT_API void clpeft_trainer_destroy(clpeft_trainer *trainer);

typedef struct {
    uint64_t step; /* steps taken so far, this one too; skipped ones count */
    double loss;   /* mean over the rows that count: sequences, or tokens */
    double lr;
    float grad_norm;  /* before clipping */
    int applied;      /* 0: loss or gradient was not finite and nothing changed */
    uint64_t skipped; /* such steps so far */
    size_t correct, counted;
} clpeft_step_result;

/* One training step: materialize, forward, backward, generator backward, clip, AdamW. A batch of more tokens or sequences
 * than the model is made for is taken in parts, so that its size is not limited by memory. result NULL: enqueue and return; else
 * wait for the step and fill it. A skipped step is reported in result, not by the status. */
CLPEFT_API clpeft_status clpeft_train_step(clpeft_trainer *trainer, const clpeft_batch *batch,
                                           clpeft_step_result *result);

/* The parts of a step, for gradient accumulation and data parallel training: several calls of clpeft_train_gradient (each adds its
 * batch's gradient of weight * summed loss; a large batch is taken in parts), then clpeft_train_update. batch->first_token counts
 * the tokens of the step's other batches before this one, so that dropout is that of one batch of all of them. */
CLPEFT_API clpeft_status clpeft_train_begin(clpeft_trainer *trainer);
CLPEFT_API clpeft_status clpeft_train_gradient(clpeft_trainer *trainer, const clpeft_batch *batch, float weight);
CLPEFT_API clpeft_status
clpeft_train_collect(clpeft_trainer *trainer); /* adapter's gradients into the arena: all-reduce after it */
CLPEFT_API clpeft_status clpeft_train_update(clpeft_trainer *trainer, clpeft_step_result *result);

/* Forward only, without dropout; not between begin and update. logits f32 [S,classes], predicted i32 [S], losses f32 [S]
 * in host memory; any may be NULL (losses needs labels). Of a language model losses f32 [T] only, 0 where the label is -1: the
 * perplexity is exp of their sum over the number of labels. A large batch is taken in parts. Blocks. */
CLPEFT_API clpeft_status clpeft_trainer_evaluate(clpeft_trainer *trainer, const clpeft_batch *batch, float *logits,
                                                 int32_t *predicted, float *losses);

/* Borrowed parts. */
CLPEFT_API clpeft_model *clpeft_trainer_model(const clpeft_trainer *trainer);
CLPEFT_API clpeft_adapter *clpeft_trainer_adapter(const clpeft_trainer *trainer);
CLPEFT_API clpeft_params *clpeft_trainer_params(const clpeft_trainer *trainer);
CLPEFT_API cl_command_queue clpeft_trainer_queue(const clpeft_trainer *trainer);
CLPEFT_API const clpeft_trainer_options *clpeft_trainer_get_options(const clpeft_trainer *trainer);
CLPEFT_API uint64_t clpeft_trainer_steps(const clpeft_trainer *trainer); /* taken so far, skipped ones too */

/* Save all that training needs to go on to the same bits: parameters, both moments, step, counters, config and seeds, in one
 * safetensors file (theta.<name>, moment1.<name>, moment2.<name>; config as JSON in the metadata). extra: pairs of the
 * caller's own for the metadata (label names, ...). Atomic, as clpeft_safetensors_write. Blocks. */
CLPEFT_API clpeft_status clpeft_trainer_save(const clpeft_trainer *trainer, const char *path,
                                             const clpeft_write_meta *extra, size_t n_extra);
/* Make a trainer from a checkpoint.
 * Errors: CLPEFT_INVALID_FILE, CLPEFT_UNSUPPORTED (made for a model of other shape or other weights: the message says which). */
CLPEFT_API clpeft_status clpeft_trainer_load(clpeft_trainer **trainer, clpeft_model *model, const char *path);
/* The options a checkpoint was trained with, without loading a model: options->sites points to sites, of size bytes, which holds
 * the list. Other pairs of the metadata are read through clpeft_file. */
CLPEFT_API clpeft_status clpeft_trainer_peek(const char *path, clpeft_trainer_options *options, char *sites,
                                             size_t size);

#ifdef __cplusplus
}
#endif
#endif
