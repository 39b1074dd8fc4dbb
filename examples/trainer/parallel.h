/* parallel.h - a step of a training that several ranks do together.
 *
 *     batch --> own share --> gradient --> sum over the ranks, in host memory --> update, the same on every rank
 *
 * The result is that of the whole batch in one process, but for the order in which its rows are added. */
#ifndef PARALLEL_H
#define PARALLEL_H

#include "clpeft.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct {
    double waiting; /* s, for slower ranks */
    double sending; /* s, gradients: device, network, device */
} parallel_times;

/* clpeft_train_step of a whole batch of texts; of one rank, just that. */
void parallel_step(clpeft_trainer *trainer, const clpeft_batch *batch, clpeft_step_result *result,
                   parallel_times *times);

/* What all ranks must have in common, or all die: library, model, settings (of options_json), rows, parameters, moments. */
void parallel_agree(const clpeft_trainer *trainer, json_t *settings, uint64_t train_hash, uint64_t eval_hash);
/* And later: parameters and moments are still the same bits everywhere. Returns their hash. */
uint64_t parallel_agree_parameters(const clpeft_trainer *trainer);

#endif
