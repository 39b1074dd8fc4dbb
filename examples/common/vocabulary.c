#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>

/* Entries [first, end) of a sorted vocabulary: those that agree in their first bytes. */
typedef struct {
    size_t first, end;
} range;

static int compare(const void *left, const void *right)
{
    const vocabulary_entry *a = left, *b = right;
    const size_t shared = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->text, b->text, shared);

    if (order != 0) return order;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

const vocabulary_entry *vocabulary_sort(vocabulary *v)
{
    if (v->n > 0) qsort(v->entries, v->n, sizeof *v->entries, compare);
    for (size_t i = 1; i < v->n; i++) {
        const vocabulary_entry *a = &v->entries[i - 1], *b = &v->entries[i];
        if (a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0) return b;
    }
    return NULL;
}

/* First entry of the range whose byte at `depth` is at least `byte`; an entry that ends there comes before all others. */
static size_t lower_bound(const vocabulary *v, range r, size_t depth, int byte)
{
    while (r.first < r.end) {
        const size_t middle = r.first + (r.end - r.first) / 2;
        const vocabulary_entry *e = &v->entries[middle];
        const int found = depth < e->bytes ? (unsigned char)e->text[depth] : -1;
        if (found < byte)
            r.first = middle + 1;
        else
            r.end = middle;
    }
    return r.first;
}

static range narrow(const vocabulary *v, range r, size_t depth, char byte)
{
    const int wanted = (unsigned char)byte;

    r.first = lower_bound(v, r, depth, wanted);
    r.end = lower_bound(v, r, depth, wanted + 1);
    return r;
}

const vocabulary_entry *vocabulary_longest(const vocabulary *v, const char *prefix, const char *text, size_t bytes,
                                           size_t *length)
{
    const size_t start = strlen(prefix);
    const vocabulary_entry *best = NULL;
    range r = { 0, v->n };

    for (size_t i = 0; i < start; i++) r = narrow(v, r, i, prefix[i]);
    for (size_t i = 0; i < bytes && r.first < r.end; i++) {
        r = narrow(v, r, start + i, text[i]);
        if (r.first == r.end || v->entries[r.first].bytes != start + i + 1) continue;
        best = &v->entries[r.first];
        *length = i + 1;
    }
    return best;
}

const vocabulary_entry *vocabulary_find(const vocabulary *v, const char *text, size_t bytes)
{
    size_t length;
    const vocabulary_entry *e = vocabulary_longest(v, "", text, bytes, &length);

    return e && e->bytes == bytes ? e : NULL;
}
