#include "bpe_merge.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"

#define NONE UINT32_MAX

/* A token of the word that is being merged, in a list. id is -1 when it has become part of the one before it. */
struct bpe_symbol {
    int32_t id;
    uint32_t previous, next;
};

/* A pair that stood side by side when it was queued; `at` is its left symbol. */
struct bpe_candidate {
    const bpe_merge *merge;
    uint32_t at;
};

/* ---- the list ---- */

static int compare(const void *left, const void *right)
{
    const bpe_merge *a = left, *b = right;

    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

/* The two tokens are what is left and right of the space, the third is both without it, written to `joined`. */
static bool read_merge(bpe_merge *merge, bpe_string text, const vocabulary *names, char *joined)
{
    const char *space = text.bytes > 0 ? memchr(text.text, ' ', text.bytes) : NULL;

    if (!space) return false;
    const size_t left = (size_t)(space - text.text), right = text.bytes - left - 1;
    memcpy(joined, text.text, left);
    memcpy(joined + left, space + 1, right);
    const vocabulary_entry *a = vocabulary_find(names, joined, left), *b = vocabulary_find(names, joined + left, right);
    const vocabulary_entry *both = vocabulary_find(names, joined, left + right);
    if (!a || !b || !both) return false;
    *merge = (bpe_merge){ .left = a->id, .right = b->id, .result = both->id };
    return true;
}

static bool read_list(bpe_merges *m, const bpe_source *source, const vocabulary *names, char *joined, char *error,
                      size_t error_size)
{
    for (m->n = 0; m->n < source->n_merges; m->n++) {
        if (!read_merge(&m->pairs[m->n], source->merges[m->n], names, joined))
            return fail(error, error_size, "merge %zu is not two tokens that make a third", m->n);
        m->pairs[m->n].rank = (uint32_t)m->n;
    }
    if (m->n > 0) qsort(m->pairs, m->n, sizeof *m->pairs, compare);
    for (size_t i = 1; i < m->n; i++)
        if (compare(&m->pairs[i - 1], &m->pairs[i]) == 0)
            return fail(error, error_size, "merges %u and %u are the same", m->pairs[i - 1].rank, m->pairs[i].rank);
    return true;
}

bool bpe_merges_read(bpe_merges *m, const bpe_source *source, const vocabulary *names, char *error, size_t error_size)
{
    size_t longest = 1;
    bool ok = false;

    for (size_t i = 0; i < source->n_merges; i++)
        if (source->merges[i].bytes > longest) longest = source->merges[i].bytes;
    char *joined = malloc(longest);
    m->pairs = malloc((source->n_merges + 1) * sizeof *m->pairs);
    if (joined && m->pairs)
        ok = read_list(m, source, names, joined, error, error_size);
    else
        fail(error, error_size, "out of memory for %zu merges", source->n_merges);
    free(joined);
    return ok;
}

void bpe_merges_free(bpe_merges *m)
{
    free(m->pairs);
}

static const bpe_merge *find(const bpe_merges *m, int32_t left, int32_t right)
{
    const bpe_merge key = { .left = left, .right = right };

    return m->n > 0 ? bsearch(&key, m->pairs, m->n, sizeof key, compare) : NULL;
}

/* ---- the queue: a binary heap, lowest rank first, then leftmost ---- */

static bool before(struct bpe_candidate a, struct bpe_candidate b)
{
    return a.merge->rank != b.merge->rank ? a.merge->rank < b.merge->rank : a.at < b.at;
}

static void push(bpe_scratch *s, struct bpe_candidate c)
{
    size_t i = s->n_heap++;

    for (; i > 0 && before(c, s->heap[(i - 1) / 2]); i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = c;
}

static struct bpe_candidate pop(bpe_scratch *s)
{
    const struct bpe_candidate top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < s->n_heap; i = child) {
        if (child + 1 < s->n_heap && before(s->heap[child + 1], s->heap[child])) child++;
        if (!before(s->heap[child], last)) break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

/* ---- a word ---- */

/* A word of n ids has n - 1 pairs, and each of at most n - 1 merges brings two more. */
static bool reserve(bpe_scratch *s, size_t n)
{
    if (n <= s->room) return true;
    const size_t room = n < 64 ? 64 : 2 * n;
    bpe_scratch_free(s);
    s->symbols = malloc(room * sizeof *s->symbols);
    s->heap = malloc(3 * room * sizeof *s->heap);
    if (s->symbols && s->heap) s->room = room;
    return s->room > 0;
}

void bpe_scratch_free(bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    *s = (bpe_scratch){ 0 };
}

static void push_pair(const bpe_merges *m, bpe_scratch *s, uint32_t at)
{
    if (at == NONE || s->symbols[at].next == NONE) return;
    const bpe_merge *merge = find(m, s->symbols[at].id, s->symbols[s->symbols[at].next].id);
    if (merge) push(s, (struct bpe_candidate){ .merge = merge, .at = at });
}

static void join(bpe_scratch *s, uint32_t at, int32_t id)
{
    struct bpe_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];

    if (right->next != NONE) s->symbols[right->next].previous = at;
    right->id = -1;
    left->next = right->next;
    left->id = id;
}

bool bpe_merges_apply(const bpe_merges *m, bpe_scratch *s, int32_t *ids, size_t *n)
{
    if (*n < 2) return true;
    if (!reserve(s, *n)) return false;
    s->n_heap = 0;
    for (size_t i = 0; i < *n; i++)
        s->symbols[i] = (struct bpe_symbol){ .id = ids[i],
                                             .previous = i == 0 ? NONE : (uint32_t)i - 1,
                                             .next = i + 1 == *n ? NONE : (uint32_t)i + 1 };
    for (size_t i = 0; i + 1 < *n; i++) push_pair(m, s, (uint32_t)i);
    while (s->n_heap > 0) {
        const struct bpe_candidate c = pop(s);
        const struct bpe_symbol *left = &s->symbols[c.at];
        if (left->id != c.merge->left || left->next == NONE || s->symbols[left->next].id != c.merge->right) continue;
        join(s, c.at, c.merge->result);
        push_pair(m, s, left->previous);
        push_pair(m, s, c.at);
    }
    *n = 0;
    for (uint32_t at = 0; at != NONE; at = s->symbols[at].next) ids[(*n)++] = s->symbols[at].id;
    return true;
}
