#include "dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "common/unicode.h"

enum { MAX_LINE = 1 << 20 }; /* bytes */

/* What is read so far: the dataset's arrays with room to grow, and each row's label as text. */
typedef struct {
    dataset *d;
    const wordpiece *tokenizer;
    size_t max_length;
    char **label;
    size_t starts_room, lines_room, labels_room, tokens_room;
} reader;

/* The tokens of a text, cut to max_length: one more is asked for, to see whether there are more. */
static void add_tokens(reader *r, const char *text, size_t bytes, size_t line)
{
    dataset *d = r->d;
    const size_t start = d->start[d->n];
    char error[256];
    size_t n;

    d->token = grow(d->token, &r->tokens_room, start + r->max_length + 1, sizeof *d->token);
    int32_t *ids = d->token + start;
    if (!wordpiece_encode(r->tokenizer, text, bytes, r->max_length + 1, ids, &n, error, sizeof error))
        die("%s line %zu: %s", d->path, line, error);
    if (n > r->max_length) {
        ids[r->max_length - 1] = ids[n - 1]; /* the end mark */
        n = r->max_length;
        d->cut++;
    }
    if (n > d->longest) d->longest = n;
    d->start[d->n + 1] = start + n;
}

static void add_row(reader *r, char *line, size_t bytes, size_t number, bool labelled)
{
    dataset *d = r->d;
    char *tab = labelled ? memchr(line, '\t', bytes) : NULL;
    const char *text = tab ? tab + 1 : line;

    if (labelled && !tab) die("%s line %zu: no tab between label and text", d->path, number);
    if (labelled && tab == line) die("%s line %zu: the label is empty", d->path, number);
    if (labelled && tab + 1 == line + bytes) die("%s line %zu: the text is empty", d->path, number);
    d->start = grow(d->start, &r->starts_room, d->n + 2, sizeof *d->start);
    d->line = grow(d->line, &r->lines_room, d->n + 1, sizeof *d->line);
    d->line[d->n] = number;
    add_tokens(r, text, bytes - (size_t)(text - line), number);
    if (labelled) {
        r->label = grow(r->label, &r->labels_room, d->n + 1, sizeof *r->label);
        if (!(r->label[d->n] = strndup(line, (size_t)(tab - line)))) die("no memory for labels");
    }
    d->n++;
}

static void read_lines(reader *r, FILE *file, bool labelled)
{
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t got;

    errno = 0;
    while ((got = getline(&line, &room, file)) >= 0) {
        size_t bytes = (size_t)got;
        char *text = line;
        number++;
        if (bytes > MAX_LINE) die("%s line %zu: longer than %d bytes", r->d->path, number, MAX_LINE);
        if (number == 1 && bytes >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) text += 3, bytes -= 3;
        if (bytes && text[bytes - 1] == '\n') bytes--;
        if (bytes && text[bytes - 1] == '\r') bytes--;
        if (memchr(text, 0, bytes)) die("%s line %zu: a NUL byte: this is not a text file", r->d->path, number);
        const size_t valid = unicode_valid_bytes(text, bytes);
        if (valid < bytes) die("%s line %zu: invalid UTF-8 at byte %zu", r->d->path, number, valid + 1);
        if (bytes || !labelled) add_row(r, text, bytes, number, labelled);
    }
    if (ferror(file) || !feof(file)) die("%s: %s", r->d->path, strerror(errno));
    free(line);
}

/* ---- labels ---- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The different ones of n texts, sorted. */
static void collect_labels(label_list *labels, char *const *text, size_t n, const char *path)
{
    char **sorted = allocate(n, sizeof *sorted);

    memcpy(sorted, text, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_bytes);
    labels->name = allocate(n, sizeof *labels->name);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0) {
            if (!(labels->name[labels->n++] = strdup(sorted[i]))) die("no memory for labels");
        }
    free(sorted);
    if (labels->n < 2) die("%s: all rows have the label %s; a classifier needs two", path, labels->name[0]);
}

int32_t *labels_assign(label_list *labels, char *const *text, size_t n, const char *path, const size_t *line)
{
    int32_t *label = allocate(n, sizeof *label);

    if (labels->n == 0) collect_labels(labels, text, n, path);
    for (size_t i = 0; i < n; i++) {
        char **found = bsearch(&text[i], labels->name, labels->n, sizeof *labels->name, by_bytes);
        if (!found && line)
            die("%s line %zu: the label %s is none of the %zu that are trained", path, line[i], text[i], labels->n);
        if (!found) die("%s: the label %s is none of the %zu that are trained", path, text[i], labels->n);
        label[i] = (int32_t)(found - labels->name);
    }
    return label;
}

void dataset_read(dataset *d, const char *path, const wordpiece *tokenizer, size_t max_length, label_list *labels)
{
    const bool from_stdin = !strcmp(path, "-");
    reader r = { .d = d, .tokenizer = tokenizer, .max_length = max_length };

    *d = (dataset){ .path = from_stdin ? "stdin" : path };
    d->start = grow(NULL, &r.starts_room, 1, sizeof *d->start);
    d->start[0] = 0;
    FILE *file = from_stdin ? stdin : fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    read_lines(&r, file, labels != NULL);
    if (!from_stdin) fclose(file);
    if (d->n == 0) die("%s: no rows", d->path);
    if (!labels) return;
    d->label = labels_assign(labels, r.label, d->n, d->path, d->line);
    for (size_t i = 0; i < d->n; i++) free(r.label[i]);
    free(r.label);
}

void dataset_free(dataset *d)
{
    free(d->label);
    free(d->start);
    free(d->token);
    free(d->line);
    *d = (dataset){ 0 };
}

void labels_free(label_list *labels)
{
    for (size_t i = 0; i < labels->n; i++) free(labels->name[i]);
    free(labels->name);
    *labels = (label_list){ 0 };
}

static uint64_t hash_number(uint64_t hash, uint64_t value)
{
    for (int i = 0; i < 8; i++, value >>= 8) hash = (hash ^ (value & 0xff)) * 0x100000001b3u;
    return hash;
}

uint64_t dataset_hash(const dataset *d)
{
    uint64_t hash = hash_number(0xcbf29ce484222325u, d->n);

    for (size_t i = 0; i < d->n; i++) {
        hash = hash_number(hash, d->label ? (uint64_t)d->label[i] : 0);
        hash = hash_number(hash, d->start[i + 1]);
    }
    for (size_t i = 0; i < d->start[d->n]; i++) hash = hash_number(hash, (uint64_t)d->token[i]);
    return hash;
}
