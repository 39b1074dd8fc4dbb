/* names.h - a sorted list of names, to find one in O(log n) and to find one that stands twice. */
#ifndef CLP_FILE_NAMES_H
#define CLP_FILE_NAMES_H

#include <stddef.h>

/* Of tensor or value `at`. text may hold zero bytes and need not end in one. */
typedef struct {
    const char *text;
    size_t bytes, at;
} clp_name;

/* Sort by bytes. Returns the first name that stands twice, or NULL. */
const clp_name *clp_names_sort(clp_name *names, size_t n);

/* NULL: not in the list, which is sorted. */
const clp_name *clp_names_find(const clp_name *names, size_t n, const char *text, size_t bytes);

/* A name for a message, in one line: cut to 64 bytes, and every byte but printable ASCII shown as '?'. */
typedef struct {
    char text[68];
} clp_quoted;
clp_quoted clp_quote(const char *text, size_t bytes);

#endif
