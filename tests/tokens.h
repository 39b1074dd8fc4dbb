/* tokens.h - what the tests of the tokenizers share: texts by the line, and the hash of their ids (tests/golden). */
#ifndef TOKENS_H
#define TOKENS_H

#include <check.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    char *text;
    size_t bytes;
} blob;

/* A file of tests/golden, or any other by its path, and a zero. */
static inline blob blob_read(const char *path)
{
    blob b = { NULL, 0 };
    FILE *file = fopen(path, "rb");

    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    b.bytes = (size_t)ftell(file);
    b.text = calloc(b.bytes + 1, 1);
    rewind(file);
    ck_assert_uint_eq(b.bytes, fread(b.text, 1, b.bytes, file));
    fclose(file);
    return b;
}

/* The text from *at to the end of its line; *at moves to the next line. False at the end. */
static inline bool blob_line(blob b, size_t *at, blob *line)
{
    if (*at >= b.bytes) return false;
    const char *end = memchr(b.text + *at, '\n', b.bytes - *at);
    line->text = b.text + *at;
    line->bytes = end ? (size_t)(end - line->text) : b.bytes - *at;
    *at += line->bytes + 1;
    return true;
}

/* splitmix64: the numbers of the fuzz tests are the same everywhere. */
static inline uint64_t random_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* FNV-1a over the ids of text after text, each set followed by -1. */
typedef struct {
    uint64_t hash;
    size_t texts, ids;
} digest;

#define DIGEST_START                \
    (digest)                        \
    {                               \
        .hash = 0xCBF29CE484222325u \
    }

static inline void digest_add(digest *d, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i <= n; i++) {
        const uint32_t id = i < n ? (uint32_t)ids[i] : UINT32_MAX;
        for (int shift = 0; shift < 32; shift += 8) d->hash = (d->hash ^ (id >> shift & 255)) * 0x100000001B3u;
    }
    d->texts++;
    d->ids += n;
}

/* Compare with the line of tests/golden/tokenizer.tsv for this tokenizer and set of texts. */
static inline void digest_check(digest d, const char *tokenizer, const char *texts)
{
    const blob golden = blob_read(GOLDEN "/tokenizer.tsv");
    char expected[200];

    snprintf(expected, sizeof expected, "%s\t%s\t%zu\t%zu\t%016" PRIx64 "\n", tokenizer, texts, d.texts, d.ids, d.hash);
    ck_assert_msg(strstr(golden.text, expected) != NULL, "not in tokenizer.tsv: %s", expected);
    free(golden.text);
}

/* One tokenizer under test: the ids of a text; ids has room for bytes + 2. */
typedef size_t (*encode_text)(const void *tokenizer, const char *text, size_t bytes, int32_t *ids);

static inline void digest_text(digest *d, encode_text encode, const void *tokenizer, blob text)
{
    int32_t *ids = malloc((text.bytes + 2) * sizeof *ids);
    digest_add(d, ids, encode(tokenizer, text.text, text.bytes, ids));
    free(ids);
}

/* The ids of each line of tests/golden/hostile.txt against the numbers in the file `expected`. */
static inline void check_hostile_ids(encode_text encode, const void *tokenizer, const char *expected)
{
    const blob texts = blob_read(GOLDEN "/hostile.txt"), numbers = blob_read(expected);
    size_t text_at = 0, number_at = 0, line = 0;
    blob text, row;

    while (blob_line(texts, &text_at, &text)) {
        int32_t *ids = malloc((text.bytes + 2) * sizeof *ids);
        const size_t n = encode(tokenizer, text.text, text.bytes, ids);
        ck_assert(blob_line(numbers, &number_at, &row));
        char *next = row.text;
        line++;
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(strtol(next, &next, 10) == ids[i], "line %zu: id %zu is %d", line, i, (int)ids[i]);
        ck_assert_msg(next == row.text + row.bytes, "line %zu: %zu ids are too few", line, n);
        free(ids);
    }
    ck_assert_uint_ge(line, 250);
    free(texts.text), free(numbers.text);
}

/* The hash of the lines of tests/golden/hostile.txt, and of the file as one text. */
static inline void check_hostile(encode_text encode, const void *tokenizer, const char *name)
{
    const blob texts = blob_read(GOLDEN "/hostile.txt");
    digest lines = DIGEST_START, whole = DIGEST_START;
    size_t at = 0;
    blob text;

    while (blob_line(texts, &at, &text)) digest_text(&lines, encode, tokenizer, text);
    digest_text(&whole, encode, tokenizer, texts);
    digest_check(lines, name, "hostile");
    digest_check(whole, name, "whole");
    free(texts.text);
}

/* Every code point with neighbours that tell what kind of character it is taken for. */
static inline void check_sweep(encode_text encode, const void *tokenizer, const char *name)
{
    static const struct {
        int32_t first, end;
    } part[] = { { 1, 0xD800 }, { 0xE000, 0x40000 }, { 0xE0000, 0xE1000 }, { 0x10FF00, 0x110000 } };
    digest d = DIGEST_START;

    for (size_t i = 0; i < LENGTH(part); i++)
        for (int32_t c = part[i].first; c < part[i].end; c++) {
            char x[5] = { 0 }, text[40];
            utf8proc_encode_char(c, (utf8proc_uint8_t *)x);
            snprintf(text, sizeof text, "a %sb!%s n%s1 %s%s", x, x, x, x, x);
            digest_text(&d, encode, tokenizer, (blob){ text, strlen(text) });
        }
    digest_check(d, name, "sweep");
}

/* The hash of the second column of a file of rows "label<TAB>text". */
static inline void check_rows(encode_text encode, const void *tokenizer, const char *name, const char *texts,
                              const char *path)
{
    const blob rows = blob_read(path);
    digest d = DIGEST_START;
    size_t at = 0;
    blob row;

    while (blob_line(rows, &at, &row)) {
        char *tab = memchr(row.text, '\t', row.bytes);
        ck_assert_ptr_nonnull(tab);
        digest_text(&d, encode, tokenizer, (blob){ tab + 1, row.bytes - (size_t)(tab + 1 - row.text) });
    }
    digest_check(d, name, texts);
    free(rows.text);
}

/* A variable of tests/run.sh that names a model or data set; NULL, and a line that says so, where it is not set. */
static inline const char *data_path(const char *variable, const char *what)
{
    const char *path = getenv(variable);

    if (!path || !*path) {
        printf("skipped: %s (%s is not set)\n", what, variable);
        return NULL;
    }
    return path;
}

/* Invalid UTF-8 and the offset of its first bad byte. */
static const struct {
    const char *text;
    size_t bad;
} not_utf8[] = {
    { "\x80", 0 },   /* a continuation byte alone */
    { "ab\xC3", 2 }, /* cut short */
    { "ab\xE4\xB8", 2 },
    { "\xF0\x9F\x98", 0 },
    { "a\xC3(b", 1 },  /* followed by ASCII */
    { "\xC0\x80", 0 }, /* overlong forms */
    { "x\xC1\xBF", 1 },
    { "xy\xE0\x9F\xBF", 2 },
    { "\xF0\x8F\xBF\xBF", 0 },
    { "a\xED\xA0\x80", 1 },
    { "a\xED\xBF\xBF", 1 }, /* surrogates */
    { "\xF4\x90\x80\x80", 0 },
    { "\xF5\x80\x80\x80", 0 }, /* above U+10FFFF */
    { "\xF8\x88\x80\x80\x80", 0 },
    { "\xFE", 0 },
    { "\xC3\xA9\xC3\xA9\xFF", 4 },
};

/* A random text of the fuzz tests: bytes, or lines of the hostile file with some of their bytes changed. */
static inline size_t random_text(uint64_t *state, blob hostile, char *out, size_t room)
{
    const size_t n = (size_t)(random_bits(state) % room);
    const uint64_t kind = random_bits(state) % 4;
    const size_t from = (size_t)(random_bits(state) % (hostile.bytes - n));

    for (size_t i = 0; i < n; i++) out[i] = kind == 0 ? (char)random_bits(state) : hostile.text[from + i];
    for (uint64_t k = 0; n > 0 && kind > 1 && k < kind * 2; k++) out[random_bits(state) % n] = (char)random_bits(state);
    return n;
}

#endif
