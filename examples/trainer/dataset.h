/* dataset.h - rows of text with labels, as tokens: a TSV file, one `label<TAB>text` per line.
 *
 * The file is UTF-8, with or without a byte order mark, lines end in LF or CRLF, empty lines are skipped. Dies with file and
 * line at: invalid UTF-8, a NUL byte, no tab, an empty label or text, a line above 1 MiB; and at a file without rows. */
#ifndef DATASET_H
#define DATASET_H

#include "common/wordpiece.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t n;
    char **name; /* sorted by bytes: a label's index is its class */
} label_list;

typedef struct {
    const char *path;
    size_t n;
    int32_t *label; /* [n] class; NULL for texts without labels */
    size_t *start;  /* [n + 1] of a row's tokens */
    int32_t *token;
    size_t *line;   /* [n] in the file */
    size_t longest; /* tokens of the longest row */
    size_t cut;     /* rows that had more than max_length tokens */
} dataset;

/* Read a file; path "-" is stdin. Labels: an empty list becomes that of the file, which must hold two classes at least;
 * otherwise a label that is not in it is refused. labels NULL: each line is a text without label (tabs belong to it), and
 * empty lines are texts too. */
void dataset_read(dataset *d, const char *path, const wordpiece *tokenizer, size_t max_length, label_list *labels);
void dataset_free(dataset *d);
void labels_free(label_list *labels);

/* The classes of n rows by the text of their labels. An empty list becomes that of the texts, as above. line: of each row in the file at
 * path, for messages; NULL: they have none. The caller frees it. */
int32_t *labels_assign(label_list *labels, char *const *text, size_t n, const char *path, const size_t *line);

/* A hash (FNV-1a, 64 bits) of all rows: whether a resumed run has the data that it was begun with. */
uint64_t dataset_hash(const dataset *d);

#endif
