/* packing.h - rows of documents, one after another without padding, up to a number of tokens: full batches of whole rows. */
#ifndef PACKING_H
#define PACKING_H

#include "clpeft.h"
#include "documents.h"
#include "shuffle.h"

#include <stdbool.h>

typedef struct {
    clpeft_batch packed; /* its arrays are the pack's own */
    int32_t *row_start, *tokens, *labels;
    size_t max_sequences, max_tokens;
} pack;

void pack_init(pack *p, size_t max_sequences, size_t max_tokens);
void pack_free(pack *p);

/* The rows at `position` of the shuffled order and behind, until one has no room. Returns the position of that one. A row never
 * has more tokens than there is room for: make the pack for the longest at least. */
uint64_t pack_fill(pack *p, const documents *d, shuffle *order, uint64_t position);

/* The same of the rows in their own order, from *row on, which moves past them. false at the end. */
bool pack_next(pack *p, const documents *d, size_t *row);

/* Positions at which the first `steps` packs begin, and that of the next; the caller frees them. */
uint64_t *pack_plan(const pack *p, const documents *d, shuffle *order, uint64_t steps);

/* Packs that it takes to reach a position. */
uint64_t pack_count(const pack *p, const documents *d, shuffle *order, uint64_t position);

#endif
