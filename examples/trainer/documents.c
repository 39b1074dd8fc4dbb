#include "documents.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/unicode.h"
#include "program.h"

enum { MAX_LINE = 1 << 24 }; /* bytes */

/* What is read so far: the arrays with room to grow, and the ids of the present document. */
typedef struct {
    documents *d;
    const lm_tokenizer *tokenizer;
    size_t max_length, line;
    char where[512];
    int32_t *ids;
    size_t n, ids_room, starts_room, tokens_room, labels_room;
} reader;

/* ---- a document ---- */

static void add_text(reader *r, const char *text, size_t bytes)
{
    r->ids = grow(r->ids, &r->ids_room, r->n + bytes + 2, sizeof *r->ids);
    r->n += lm_tokenizer_encode(r->tokenizer, text, bytes, r->ids + r->n, r->where);
}

static void begin_document(reader *r)
{
    r->n = 0;
    r->ids = grow(r->ids, &r->ids_room, 2, sizeof *r->ids);
    if (r->tokenizer->begin >= 0) r->ids[r->n++] = r->tokenizer->begin;
}

/* Tokens [from, to) of the document become a row; labels count from token `first` of the document on. */
static void add_row(reader *r, size_t from, size_t to, size_t first)
{
    documents *d = r->d;
    const size_t start = d->start[d->n], n = to - from;

    d->start = grow(d->start, &r->starts_room, d->n + 2, sizeof *d->start);
    d->token = grow(d->token, &r->tokens_room, start + n, sizeof *d->token);
    d->label = grow(d->label, &r->labels_room, start + n, sizeof *d->label);
    memcpy(d->token + start, r->ids + from, n * sizeof *d->token);
    for (size_t i = 0; i < n; i++) {
        d->label[start + i] = from + i + 1 < first ? -1 : r->ids[from + i + 1];
        d->counted += d->label[start + i] >= 0;
    }
    d->start[++d->n] = start + n;
    if (n > d->longest) d->longest = n;
}

/* The document's last label is the end, which is not read itself. */
static void end_completion(reader *r, size_t prompt)
{
    const size_t whole = r->n;

    r->ids[r->n] = r->tokenizer->end;
    if (prompt > r->max_length) {
        r->d->out++;
        return;
    }
    r->d->cut += whole > r->max_length;
    add_row(r, 0, whole > r->max_length ? r->max_length : whole, prompt ? prompt : 1);
}

static void end_text(reader *r)
{
    r->ids[r->n] = r->tokenizer->end;
    r->d->cut += r->n > r->max_length;
    for (size_t from = 0; from < r->n; from += r->max_length)
        add_row(r, from, r->n - from < r->max_length ? r->n : from + r->max_length, 1);
}

/* ---- files ---- */

static const char *member(const reader *r, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text) die("%s: \"%s\" is not a string", r->where, key);
    return text;
}

static void read_json(reader *r, const char *line, size_t bytes)
{
    json_error_t error;
    json_t *object = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);

    if (!json_is_object(object)) die("%s: not a JSON object: %s", r->where, object ? "another value" : error.text);
    const char *prompt = member(r, object, "prompt"), *completion = member(r, object, "completion");
    if (!*completion) die("%s: the completion is empty", r->where);
    begin_document(r);
    add_text(r, prompt, strlen(prompt));
    const size_t n = r->n;
    add_text(r, completion, strlen(completion));
    end_completion(r, n);
    json_decref(object);
}

/* Lines of a document, joined; *room of *text. An empty line, or the end of the file, ends it. */
typedef struct {
    char *text;
    size_t bytes, room;
} paragraph;

static void end_paragraph(reader *r, paragraph *p)
{
    if (p->bytes == 0) return;
    begin_document(r);
    add_text(r, p->text, p->bytes - 1); /* without the last line's end */
    end_text(r);
    p->bytes = 0;
}

static void read_text(reader *r, paragraph *p, const char *line, size_t bytes)
{
    if (bytes == 0) {
        end_paragraph(r, p);
        return;
    }
    p->text = grow(p->text, &p->room, p->bytes + bytes + 1, 1);
    memcpy(p->text + p->bytes, line, bytes);
    p->text[p->bytes + bytes] = '\n';
    p->bytes += bytes + 1;
}

/* What is left of a line: without its end, and at the start of a file without a byte order mark. Dies if it is no text. */
static size_t check_line(const reader *r, char **line, size_t bytes)
{
    if (bytes > MAX_LINE) die("%s: longer than %d bytes", r->where, MAX_LINE);
    if (r->line == 1 && bytes >= 3 && !memcmp(*line, "\xEF\xBB\xBF", 3)) *line += 3, bytes -= 3;
    if (bytes && (*line)[bytes - 1] == '\n') bytes--;
    if (bytes && (*line)[bytes - 1] == '\r') bytes--;
    if (memchr(*line, 0, bytes)) die("%s: a NUL byte: this is not a text file", r->where);
    const size_t valid = unicode_valid_bytes(*line, bytes);
    if (valid < bytes) die("%s: invalid UTF-8 at byte %zu", r->where, valid + 1);
    return bytes;
}

static void read_lines(reader *r, FILE *file, bool json)
{
    paragraph p = { 0 };
    char *line = NULL;
    size_t room = 0;
    ssize_t got;

    errno = 0;
    while ((got = getline(&line, &room, file)) >= 0) {
        char *text = line;
        snprintf(r->where, sizeof r->where, "%s line %zu", r->d->path, ++r->line);
        const size_t bytes = check_line(r, &text, (size_t)got);
        if (!json)
            read_text(r, &p, text, bytes);
        else if (bytes)
            read_json(r, text, bytes);
    }
    if (ferror(file) || !feof(file)) die("%s: %s", r->d->path, strerror(errno));
    end_paragraph(r, &p);
    free(line);
    free(p.text);
}

void documents_read(documents *d, const char *path, const lm_tokenizer *tokenizer, size_t max_length)
{
    const size_t end = strlen(path);
    const bool json = end > 6 && !strcmp(path + end - 6, ".jsonl");
    reader r = { .d = d, .tokenizer = tokenizer, .max_length = max_length };

    *d = (documents){ .path = path };
    d->start = grow(NULL, &r.starts_room, 1, sizeof *d->start);
    d->start[0] = 0;
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    read_lines(&r, file, json);
    fclose(file);
    free(r.ids);
    if (d->counted == 0) die("%s: no documents of which a token counts", path);
}

void documents_free(documents *d)
{
    free(d->start);
    free(d->token);
    free(d->label);
    *d = (documents){ 0 };
}

size_t documents_prompt(const documents *d, size_t row)
{
    size_t n = 0;

    while (d->start[row] + n < d->start[row + 1] && d->label[d->start[row] + n] < 0) n++;
    return n + 1;
}

static uint64_t hash_number(uint64_t hash, uint64_t value)
{
    for (int i = 0; i < 8; i++, value >>= 8) hash = (hash ^ (value & 0xff)) * 0x100000001b3u;
    return hash;
}

uint64_t documents_hash(const documents *d)
{
    uint64_t hash = hash_number(0xcbf29ce484222325u, d->n);

    for (size_t i = 0; i < d->n; i++) hash = hash_number(hash, d->start[i + 1]);
    for (size_t i = 0; i < d->start[d->n]; i++)
        hash = hash_number(hash_number(hash, (uint64_t)d->token[i]), (uint64_t)(uint32_t)d->label[i]);
    return hash;
}
