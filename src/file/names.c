/* names.c - a sorted list of names. */
#include "file/names.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const clp_name *x = a, *y = b;
    const size_t shorter = x->bytes < y->bytes ? x->bytes : y->bytes;
    const int order = shorter ? memcmp(x->text, y->text, shorter) : 0;
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

const clp_name *clp_names_sort(clp_name *names, size_t n)
{
    if (n > 1) qsort(names, n, sizeof *names, compare);
    for (size_t i = 1; i < n; i++)
        if (compare(&names[i - 1], &names[i]) == 0) return &names[i];
    return NULL;
}

const clp_name *clp_names_find(const clp_name *names, size_t n, const char *text, size_t bytes)
{
    const clp_name key = { text, bytes, 0 };
    return n ? bsearch(&key, names, n, sizeof *names, compare) : NULL;
}

clp_quoted clp_quote(const char *text, size_t bytes)
{
    clp_quoted quoted;
    size_t n = 0;
    for (; n < bytes && n < 64; n++) quoted.text[n] = text[n] < ' ' || text[n] > '~' ? '?' : text[n];
    memcpy(quoted.text + n, bytes > n ? "..." : "", bytes > n ? 4 : 1);
    return quoted;
}
