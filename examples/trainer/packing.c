#include "packing.h"

#include <stdlib.h>
#include <string.h>

#include "program.h"

void pack_init(pack *p, size_t max_sequences, size_t max_tokens)
{
    *p = (pack){
        .row_start = allocate(max_sequences + 1, sizeof *p->row_start),
        .tokens = allocate(max_tokens, sizeof *p->tokens),
        .labels = allocate(max_tokens, sizeof *p->labels),
        .max_sequences = max_sequences,
        .max_tokens = max_tokens,
    };
    p->packed = (clpeft_batch){ .row_start = p->row_start, .tokens = p->tokens, .labels = p->labels };
}

void pack_free(pack *p)
{
    free(p->row_start);
    free(p->tokens);
    free(p->labels);
    *p = (pack){ 0 };
}

/* Whether a row of n tokens has room behind S others of T tokens. */
static bool has_room(const pack *p, size_t S, size_t T, size_t n)
{
    return S < p->max_sequences && n <= p->max_tokens - T;
}

static bool add(pack *p, const documents *d, size_t row)
{
    const size_t S = p->packed.S, T = (size_t)p->row_start[S], from = d->start[row], n = d->start[row + 1] - from;

    if (!has_room(p, S, T, n)) return false;
    memcpy(p->tokens + T, d->token + from, n * sizeof *p->tokens);
    memcpy(p->labels + T, d->label + from, n * sizeof *p->labels);
    p->row_start[S + 1] = (int32_t)(T + n);
    p->packed.S = S + 1;
    return true;
}

uint64_t pack_fill(pack *p, const documents *d, shuffle *order, uint64_t position)
{
    p->packed.S = 0;
    while (add(p, d, shuffle_row(order, position))) position++;
    return position;
}

bool pack_next(pack *p, const documents *d, size_t *row)
{
    p->packed.S = 0;
    while (*row < d->n && add(p, d, *row)) ++*row;
    return p->packed.S > 0;
}

/* Where a pack that begins at position ends. */
static uint64_t skip(const pack *p, const documents *d, shuffle *order, uint64_t position)
{
    for (size_t S = 0, T = 0;; S++, position++) {
        const size_t row = shuffle_row(order, position), n = d->start[row + 1] - d->start[row];
        if (!has_room(p, S, T, n)) return position;
        T += n;
    }
}

uint64_t *pack_plan(const pack *p, const documents *d, shuffle *order, uint64_t steps)
{
    uint64_t *begin = allocate(steps + 1, sizeof *begin);

    for (uint64_t step = 0; step < steps; step++) begin[step + 1] = skip(p, d, order, begin[step]);
    return begin;
}

uint64_t pack_count(const pack *p, const documents *d, shuffle *order, uint64_t position)
{
    uint64_t steps = 0;

    for (uint64_t at = 0; at < position; steps++) at = skip(p, d, order, at);
    return steps;
}
