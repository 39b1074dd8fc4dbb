/* bpe_merge.h - the ranked list of pairs of a BPE tokenizer, and its use on the ids of one word. */
#ifndef BPE_MERGE_H
#define BPE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpe.h"
#include "vocabulary.h"

typedef struct {
    int32_t left, right, result;
    uint32_t rank; /* place in the list: the smaller goes first */
} bpe_merge;

typedef struct {
    bpe_merge *pairs; /* sorted by left, then right */
    size_t n;
} bpe_merges;

/* names are the tokens by their text. Free with bpe_merges_free, also after a failure. */
bool bpe_merges_read(bpe_merges *m, const bpe_source *source, const vocabulary *names, char *error, size_t error_size);
void bpe_merges_free(bpe_merges *m);

/* Working memory for words, starts as { 0 } and grows with the longest. */
typedef struct {
    struct bpe_symbol *symbols;
    struct bpe_candidate *heap;
    size_t room, n_heap;
} bpe_scratch;

void bpe_scratch_free(bpe_scratch *s);

/* Merge the *n ids of a word in place. Takes O(n log n) steps: a queue holds the pairs that stand side by side. False:
 * out of memory. */
bool bpe_merges_apply(const bpe_merges *m, bpe_scratch *s, int32_t *ids, size_t *n);

#endif
