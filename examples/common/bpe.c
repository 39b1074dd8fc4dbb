#include "bpe.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "bpe_merge.h"
#include "bpe_split.h"
#include "fail.h"
#include "unicode.h"
#include "vocabulary.h"

enum { CONTROL = 3, USER_DEFINED = 4 }; /* token types of GGUF */

struct bpe {
    size_t n_tokens;
    char *bytes;          /* what the tokens stand for, one after another */
    size_t *start;        /* [n_tokens + 1] where each begins in bytes */
    bool *control;        /* [n_tokens] */
    vocabulary added[2];  /* tokens that are found in text: the user-defined ones; these and the control tokens */
    int32_t byte_id[256]; /* the token of a single byte; -1: none */
    bpe_merges merges;
};

/* ---- creation ---- */

/* The byte that a character of a token stands for, or -1. */
static int byte_of(int32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != 0xAD)) return c;
    if (c >= 0x100 && c <= 0x120) return c - 0x100;        /* 00 to 20 */
    if (c >= 0x121 && c <= 0x142) return c - 0x121 + 0x7F; /* 7F to A0 */
    return c == 0x143 ? 0xAD : -1;
}

/* The bytes that a plain token stands for, to out; a token that has other characters than byte_of knows is literal. */
static size_t plain_bytes(bpe_string token, char *out)
{
    size_t n = 0;

    for (size_t at = 0, length; at < token.bytes; at += length) {
        const int byte = byte_of(unicode_decode(token.text + at, token.bytes - at, &length));
        if (byte < 0) {
            memcpy(out, token.text, token.bytes);
            return token.bytes;
        }
        out[n++] = (char)byte;
    }
    return n;
}

static bool check_source(const bpe_source *s, size_t *total, char *error, size_t error_size)
{
    if (strcmp(s->pre, "smollm") != 0)
        return fail(error, error_size, "pre-tokenizer \"%.40s\": only smollm is known", s->pre);
    if (s->n_tokens == 0 || s->n_tokens > INT32_MAX || s->n_merges > INT32_MAX)
        return fail(error, error_size,
                    "%zu tokens and %zu merges: not between 1 and 2^31 - 1 tokens, at most as many merges", s->n_tokens,
                    s->n_merges);
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i].bytes == 0) return fail(error, error_size, "token %zu is empty", i);
        if (unicode_valid_bytes(s->tokens[i].text, s->tokens[i].bytes) < s->tokens[i].bytes)
            return fail(error, error_size, "token %zu is not UTF-8", i);
        *total += s->tokens[i].bytes;
    }
    return true;
}

static bool read_tokens(bpe *b, const bpe_source *s, size_t total)
{
    b->n_tokens = s->n_tokens;
    b->bytes = malloc(total);
    b->start = malloc((s->n_tokens + 1) * sizeof *b->start);
    b->control = calloc(s->n_tokens, sizeof *b->control);
    for (int k = 0; k < 2; k++) b->added[k].entries = malloc(s->n_tokens * sizeof *b->added[k].entries);
    if (!b->bytes || !b->start || !b->control || !b->added[0].entries || !b->added[1].entries) return false;
    b->start[0] = 0;
    for (size_t i = 0; i < s->n_tokens; i++) {
        const bpe_string token = s->tokens[i];
        const int32_t type = s->types ? s->types[i] : 0;
        const vocabulary_entry entry = { .text = b->bytes + b->start[i], .bytes = token.bytes, .id = (int32_t)i };

        b->start[i + 1] = b->start[i];
        b->control[i] = type == CONTROL;
        if (type != CONTROL && type != USER_DEFINED) {
            b->start[i + 1] += plain_bytes(token, b->bytes + b->start[i]);
            continue;
        }
        memcpy(b->bytes + b->start[i], token.text, token.bytes);
        b->start[i + 1] += token.bytes;
        b->added[1].entries[b->added[1].n++] = entry;
        if (type == USER_DEFINED) b->added[0].entries[b->added[0].n++] = entry;
    }
    return true;
}

/* The tokens by their text, for the merges. */
static bool index_tokens(vocabulary *names, const bpe_source *s, char *error, size_t error_size)
{
    names->n = s->n_tokens;
    if (!(names->entries = malloc(s->n_tokens * sizeof *names->entries)))
        return fail(error, error_size, "out of memory for %zu tokens", s->n_tokens);
    for (size_t i = 0; i < s->n_tokens; i++)
        names->entries[i] =
            (vocabulary_entry){ .text = s->tokens[i].text, .bytes = s->tokens[i].bytes, .id = (int32_t)i };
    const vocabulary_entry *twice = vocabulary_sort(names);
    if (twice) return fail(error, error_size, "tokens %d and %d are the same", (int)twice[-1].id, (int)twice->id);
    return true;
}

static void find_byte_ids(bpe *b, const vocabulary *names)
{
    for (int k = 0; k < 256; k++) b->byte_id[k] = -1;
    for (int32_t c = 0; c <= 0x143; c++) {
        utf8proc_uint8_t text[4];
        const int byte = byte_of(c);
        const utf8proc_ssize_t length = utf8proc_encode_char(c, text);
        const vocabulary_entry *e = vocabulary_find(names, (const char *)text, (size_t)length);
        if (byte >= 0 && e) b->byte_id[byte] = e->id;
    }
}

static bool build(bpe *b, const bpe_source *source, vocabulary *names, char *error, size_t error_size)
{
    size_t total = 0;

    if (!check_source(source, &total, error, error_size)) return false;
    if (!index_tokens(names, source, error, error_size)) return false;
    if (!read_tokens(b, source, total))
        return fail(error, error_size, "out of memory for %zu tokens", source->n_tokens);
    for (int k = 0; k < 2; k++) vocabulary_sort(&b->added[k]);
    find_byte_ids(b, names);
    return bpe_merges_read(&b->merges, source, names, error, error_size);
}

bool bpe_create(bpe **out, const bpe_source *source, char *error, size_t error_size)
{
    bpe *b = calloc(1, sizeof *b);
    vocabulary names = { NULL, 0 };

    *out = NULL;
    if (!b) return fail(error, error_size, "out of memory");
    if (build(b, source, &names, error, error_size))
        *out = b;
    else
        bpe_destroy(b);
    free(names.entries);
    return *out != NULL;
}

void bpe_destroy(bpe *b)
{
    if (!b) return;
    bpe_merges_free(&b->merges);
    for (int k = 0; k < 2; k++) free(b->added[k].entries);
    free(b->control);
    free(b->start);
    free(b->bytes);
    free(b);
}

/* ---- use ---- */

size_t bpe_size(const bpe *b)
{
    return b->n_tokens;
}

const char *bpe_decode(const bpe *b, int32_t id, size_t *bytes)
{
    *bytes = 0;
    if (id < 0 || (size_t)id >= b->n_tokens) return NULL;
    *bytes = b->start[id + 1] - b->start[id];
    return b->bytes + b->start[id];
}

bool bpe_is_control(const bpe *b, int32_t id)
{
    return id >= 0 && (size_t)id < b->n_tokens && b->control[id];
}

/* Append the ids of text that holds no added token. */
static bool encode_words(const bpe *b, bpe_scratch *scratch, const char *text, size_t bytes, int32_t *ids, size_t *n)
{
    for (size_t at = 0; at < bytes;) {
        const size_t end = at + bpe_split(text + at, bytes - at);
        size_t word = 0;
        for (; at < end; at++) {
            ids[*n + word] = b->byte_id[(unsigned char)text[at]];
            word += ids[*n + word] >= 0;
        }
        if (!bpe_merges_apply(&b->merges, scratch, ids + *n, &word)) return false;
        *n += word;
    }
    return true;
}

bool bpe_encode(const bpe *b, const char *text, size_t text_bytes, bool control, int32_t *ids, size_t *n, char *error,
                size_t error_size)
{
    const size_t valid = unicode_valid_bytes(text, text_bytes);
    bpe_scratch scratch = { 0 };
    size_t done = 0; /* bytes of the text that are in ids */
    bool ok = true;

    *n = 0;
    if (valid < text_bytes) return fail(error, error_size, "invalid UTF-8 at byte %zu", valid);
    if (text_bytes > INT32_MAX) return fail(error, error_size, "a text of %zu bytes: more than 2^31 - 1", text_bytes);
    for (size_t at = 0, length; at < text_bytes && ok; at++) {
        const vocabulary_entry *e = vocabulary_longest(&b->added[control], "", text + at, text_bytes - at, &length);
        if (!e) continue;
        ok = encode_words(b, &scratch, text + done, at - done, ids, n);
        ids[(*n)++] = e->id;
        done = at + length;
        at = done - 1;
    }
    ok = ok && encode_words(b, &scratch, text + done, text_bytes - done, ids, n);
    bpe_scratch_free(&scratch);
    return ok || fail(error, error_size, "out of memory for a text of %zu bytes", text_bytes);
}
