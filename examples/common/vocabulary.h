/* vocabulary.h - strings with ids, sorted by bytes, and the longest of them that a text begins with.
 *
 * Sorted strings need no hash: one search narrows the range of strings that agree with the text byte by byte, so its
 * cost is (bytes of the match) x log2(n) whatever the strings are. */
#ifndef VOCABULARY_H
#define VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *text; /* borrowed */
    size_t bytes;
    int32_t id;
} vocabulary_entry;

typedef struct {
    vocabulary_entry *entries;
    size_t n;
} vocabulary;

/* Sort the entries by bytes, equal ones by id. The first that equals the one before it, or NULL. */
const vocabulary_entry *vocabulary_sort(vocabulary *v);

/* The longest entry that is `prefix` followed by the first *length >= 1 bytes of the text; NULL if there is none. */
const vocabulary_entry *vocabulary_longest(const vocabulary *v, const char *prefix, const char *text, size_t bytes,
                                           size_t *length);

/* The entry that equals the text, or NULL. */
const vocabulary_entry *vocabulary_find(const vocabulary *v, const char *text, size_t bytes);

#endif
