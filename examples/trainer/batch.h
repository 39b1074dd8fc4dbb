/* batch.h - rows of a dataset packed one after another, without padding, as the library takes them. */
#ifndef BATCH_H
#define BATCH_H

#include "clpeft.h"
#include "dataset.h"
#include "shuffle.h"

#include <stdbool.h>

typedef struct {
    clpeft_batch packed; /* its arrays are the batch's own */
    int32_t *row_start, *tokens, *labels;
    size_t max_sequences, max_tokens;
} batch;

void batch_init(batch *b, size_t max_sequences, size_t max_tokens);
void batch_free(batch *b);
void batch_clear(batch *b);

/* Put a row behind the others; false when it has no room. */
bool batch_add(batch *b, const dataset *d, size_t row);

/* The rows of training step `step` (0, 1, ...): positions step * size and the next ones of the shuffled order. */
void batch_of_step(batch *b, const dataset *d, shuffle *order, uint64_t step, size_t size);

/* Tokens of the largest batch of the steps before `steps`. */
size_t batch_most_tokens(const dataset *d, shuffle *order, uint64_t steps, size_t size);

/* The rows from *row on, as many as fit; moves *row past them. false at the end. A row never has more tokens than there
 * is room for: make the batch for the longest at least. */
bool batch_next(batch *b, const dataset *d, size_t *row);

#endif
