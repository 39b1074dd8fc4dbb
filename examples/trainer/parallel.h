/* parallel.h - a step of a training that several devices do together: those of this process, and of other ranks.
 *
 *     batch --> a share for each device --> gradients --> their sum, in host memory --> the same update everywhere
 *
 * The result is that of the whole batch on one device, but for the order in which its rows are added. */
#ifndef PARALLEL_H
#define PARALLEL_H

#include "clpeft.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct {
    double waiting; /* s, for slower ranks */
    double sending; /* s, gradients: device, network, device */
} parallel_times;

/* A batch's share of rank `own` of `count`: whole sequences, those that begin in its part of the tokens; S may be 0. by_token: labels are
 * of tokens. info: of the model, which says what an image is. row_start [S + 1] receives the share's own. */
clpeft_batch parallel_share(const clpeft_batch *batch, const clpeft_model_info *info, bool by_token, size_t own,
                            size_t count, int32_t *row_start);
/* Tokens of a share for one of so many devices of this process, at most, when sequences have `longest` at most. */
size_t parallel_most_tokens(size_t tokens, size_t longest, size_t devices);

/* clpeft_train_step of a whole batch; of one trainer and one rank, just that. The n trainers are alike, each with a model of its own; their
 * parameters stay those of the first one, which alone has the moments that count. */
void parallel_step(clpeft_trainer *const *trainer, size_t n, const clpeft_batch *batch, clpeft_step_result *result,
                   parallel_times *times);
/* Copy one of the buffers of parameters from a trainer to one that is alike. */
void parallel_copy(const clpeft_trainer *from, clpeft_trainer *to, clpeft_params_buffer which);

/* What all ranks must have in common, or all die: library, model, settings (of options_json), rows, parameters, moments. */
void parallel_agree(const clpeft_trainer *trainer, json_t *settings, uint64_t train_hash, uint64_t eval_hash);
/* And later: parameters and moments are still the same bits everywhere. Returns their hash. */
uint64_t parallel_agree_parameters(const clpeft_trainer *trainer);

#endif
