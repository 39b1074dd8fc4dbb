/* documents.h - texts of a language model as tokens, each with the one that follows it as its label.
 *
 *   FILE.jsonl  a document per line, {"prompt":"...","completion":"..."}: only the tokens of the completion, and the end after
 *               it, count. Documents longer than max_length are cut; one whose prompt fills it is left out
 *   other       text in UTF-8: documents are separated by empty lines, and all tokens but the first count. A longer document
 *               becomes several rows
 *
 * Dies with file and line at: what is not UTF-8 or has a NUL byte, a line of a .jsonl that is not such an object, an empty
 * completion; and at a file without documents. */
#ifndef DOCUMENTS_H
#define DOCUMENTS_H

#include "lm_tokenizer.h"

typedef struct {
    const char *path;
    size_t n;      /* rows: what attention sees as one sequence */
    size_t *start; /* [n + 1] of a row's tokens */
    int32_t *token;
    int32_t *label;  /* the token that follows, -1: does not count */
    size_t counted;  /* labels that count */
    size_t longest;  /* tokens of the longest row */
    size_t cut, out; /* documents that were cut, or left out */
} documents;

void documents_read(documents *d, const char *path, const lm_tokenizer *tokenizer, size_t max_length);
void documents_free(documents *d);

/* The prompt of a row: its tokens up to the first label that counts. */
size_t documents_prompt(const documents *d, size_t row);

/* A hash (FNV-1a, 64 bits) of all rows: whether a resumed run has the data that it was begun with. */
uint64_t documents_hash(const documents *d);

#endif
