#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "program.h"

void batch_init(batch *b, size_t max_sequences, size_t max_tokens)
{
    *b = (batch){
        .row_start = allocate(max_sequences + 1, sizeof *b->row_start),
        .tokens = allocate(max_tokens, sizeof *b->tokens),
        .labels = allocate(max_sequences, sizeof *b->labels),
        .max_sequences = max_sequences,
        .max_tokens = max_tokens,
    };
    b->packed.row_start = b->row_start;
    b->packed.tokens = b->tokens;
}

void batch_free(batch *b)
{
    free(b->row_start);
    free(b->tokens);
    free(b->labels);
    *b = (batch){ 0 };
}

void batch_clear(batch *b)
{
    b->packed.S = 0;
}

bool batch_add(batch *b, const dataset *d, size_t row)
{
    const size_t S = b->packed.S, T = (size_t)b->row_start[S], n = d->start[row + 1] - d->start[row];

    if (S == b->max_sequences || n > b->max_tokens - T) return false;
    memcpy(b->tokens + T, d->token + d->start[row], n * sizeof *b->tokens);
    b->row_start[S + 1] = (int32_t)(T + n);
    if (d->label) b->labels[S] = d->label[row];
    b->packed.labels = d->label ? b->labels : NULL;
    b->packed.S = S + 1;
    return true;
}

void batch_of_step(batch *b, const dataset *d, shuffle *order, uint64_t step, size_t size)
{
    batch_clear(b);
    for (size_t i = 0; i < size; i++)
        if (!batch_add(b, d, shuffle_row(order, step * size + i))) die("a batch of %zu rows has no room", size);
}

size_t batch_most_tokens(const dataset *d, shuffle *order, uint64_t steps, size_t size)
{
    size_t most = 0;

    for (uint64_t step = 0; step < steps; step++) {
        size_t tokens = 0;
        for (size_t i = 0; i < size; i++) {
            const size_t row = shuffle_row(order, step * size + i);
            tokens += d->start[row + 1] - d->start[row];
        }
        if (tokens > most) most = tokens;
    }
    return most;
}

bool batch_next(batch *b, const dataset *d, size_t *row)
{
    batch_clear(b);
    while (*row < d->n && batch_add(b, d, *row)) ++*row;
    return b->packed.S > 0;
}
