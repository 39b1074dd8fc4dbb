#include "wordpiece.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

#include "fail.h"
#include "unicode.h"
#include "vocabulary.h"

enum { MAX_WORD = 100, MAX_FILE = 64 << 20 }; /* characters, bytes */
enum { PAD, UNK, CLS, SEP, MASK, N_SPECIAL };
static const char *const special_text[N_SPECIAL] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };

struct wordpiece {
    char *file; /* vocab.txt; the entries point into it */
    vocabulary vocab;
    int32_t special[N_SPECIAL];
    bool lower;
};

/* ---- kinds of characters ---- */

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    int32_t first, last;
} range;

/* The reference classifies by tables of Unicode 8: what is newer, is a letter to it, neither mark nor punctuation, and
 * does not decompose. These ranges hold every mark, punctuation, format and composed character of Unicode 9 to 17 and
 * none of Unicode 8. tests/golden/make_tokenizer_golden.py --ranges prints them. */
static const range newer[] = {
    { 0x05C8, 0x05C9 },   { 0x061D, 0x061D },   { 0x07FD, 0x07FD },   { 0x0890, 0x08E2 },   { 0x09FD, 0x09FE },
    { 0x0A76, 0x0A76 },   { 0x0AFA, 0x0AFF },   { 0x0B53, 0x0B55 },   { 0x0C04, 0x0C3C },   { 0x0C77, 0x0C77 },
    { 0x0C84, 0x0C84 },   { 0x0D00, 0x0D00 },   { 0x0D3B, 0x0D3C },   { 0x0D81, 0x0D81 },   { 0x0EBA, 0x0EBA },
    { 0x0ECE, 0x0ECE },   { 0x180F, 0x1886 },   { 0x1ABF, 0x1AF0 },   { 0x1B4E, 0x1B4F },   { 0x1B7D, 0x1B7F },
    { 0x1DF6, 0x1DFB },   { 0x2E43, 0x2E63 },   { 0xA82C, 0xA82C },   { 0xA8C5, 0xA8C5 },   { 0xA8FF, 0xA8FF },
    { 0xA9BD, 0xA9BD },   { 0x10D24, 0x10F89 }, { 0x11070, 0x11074 }, { 0x110C2, 0x110CD }, { 0x111CF, 0x111CF },
    { 0x1123E, 0x11241 }, { 0x1133B, 0x1133B }, { 0x113BB, 0x1145E }, { 0x11660, 0x1166C }, { 0x116B9, 0x116B9 },
    { 0x1182F, 0x11FFF }, { 0x12FF1, 0x1612F }, { 0x16D6D, 0x16F4F }, { 0x16FE2, 0x16FE4 }, { 0x1CF00, 0x1D128 },
    { 0x1D25B, 0x1D25C }, { 0x1E000, 0x1E6F5 }, { 0x1E944, 0x1E95F },
};

/* Ideographs as the reference lists them; 2B820 to 2B91F are missing there. */
static const range ideographs[] = {
    { 0x3400, 0x4DBF },   { 0x4E00, 0x9FFF },   { 0xF900, 0xFAFF },   { 0x20000, 0x2A6DF },
    { 0x2A700, 0x2B81F }, { 0x2B920, 0x2CEAF }, { 0x2F800, 0x2FA1F },
};

static bool in_ranges(const range *ranges, size_t n, int32_t c)
{
    size_t low = 0, high = n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ranges[low].first <= c;
}

static bool is_newer(int32_t c)
{
    return in_ranges(newer, LENGTH(newer), c);
}

static bool is_dropped(int32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r') return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CO: return true;
    case UTF8PROC_CATEGORY_CF: return !is_newer(c);
    default: return c == 0xFFFD;
    }
}

/* Of a character that is not newer. In Unicode 8, U+1734 was a nonspacing mark, and U+111C9 was punctuation. */
static bool is_accent(int32_t c)
{
    return (utf8proc_category(c) == UTF8PROC_CATEGORY_MN && c != 0x111C9) || c == 0x1734;
}

/* All visible ASCII but letters and digits, and the categories P*. In Unicode 8, U+166D and U+111C9 were punctuation. */
static bool is_punctuation(int32_t c)
{
    if (c < 0x80)
        return c > ' ' && c < 0x7F && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return !is_newer(c);
    default: return c == 0x166D || c == 0x111C9;
    }
}

/* ---- text to pieces ---- */

typedef struct {
    const wordpiece *w;
    int32_t *ids;
    size_t n, limit; /* ids written; ids before [SEP] */
    char word[4 * MAX_WORD];
    size_t bytes, chars; /* of the word; chars counts on above MAX_WORD */
} encoder;

static void put_id(encoder *e, int32_t id)
{
    if (e->n < e->limit) e->ids[e->n++] = id;
}

static void end_word(encoder *e)
{
    int32_t pieces[MAX_WORD];
    size_t n = 0, at = 0, length = 0;

    if (e->chars == 0) return;
    while (e->chars <= MAX_WORD && at < e->bytes) {
        const vocabulary_entry *piece =
            vocabulary_longest(&e->w->vocab, at == 0 ? "" : "##", e->word + at, e->bytes - at, &length);
        if (!piece) break;
        pieces[n++] = piece->id;
        at += length;
    }
    if (e->chars > MAX_WORD || at < e->bytes)
        put_id(e, e->w->special[UNK]);
    else
        for (size_t i = 0; i < n; i++) put_id(e, pieces[i]);
    e->bytes = e->chars = 0;
}

static void put_char(encoder *e, int32_t c)
{
    const bool alone = is_punctuation(c);

    if (alone) end_word(e);
    if (e->chars++ < MAX_WORD) e->bytes += (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)e->word + e->bytes);
    if (alone) end_word(e);
}

/* Decompose, drop accents, lower case. Canonical reordering is left out: it moves only marks, of which none but some
 * twenty rare ones of category Mc are kept, and changes ids only if two of these follow each other. */
static void put_lower(encoder *e, int32_t c)
{
    utf8proc_int32_t parts[8]; /* no canonical decomposition is longer than 4 */

    if (c < 0x80 || is_newer(c)) {
        put_char(e, unicode_lower(c));
        return;
    }
    const utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, 8, UTF8PROC_DECOMPOSE, NULL);
    for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
        if (!is_accent(parts[i])) put_char(e, unicode_lower(parts[i]));
}

static void put_text_char(encoder *e, int32_t c)
{
    const bool ideograph = in_ranges(ideographs, LENGTH(ideographs), c);

    if (is_dropped(c)) return;
    if (ideograph || unicode_is_space(c)) end_word(e);
    if (unicode_is_space(c)) return;
    if (e->w->lower)
        put_lower(e, c);
    else
        put_char(e, c);
    if (ideograph) end_word(e);
}

/* The special token that the text begins with, or N_SPECIAL. */
static int special_at(const char *text, size_t bytes)
{
    int k = 0;

    if (text[0] != '[') return N_SPECIAL;
    while (k < N_SPECIAL &&
           (bytes < strlen(special_text[k]) || memcmp(text, special_text[k], strlen(special_text[k])) != 0))
        k++;
    return k;
}

bool wordpiece_encode(const wordpiece *w, const char *text, size_t text_bytes, size_t max_tokens, int32_t *ids,
                      size_t *n, char *error, size_t error_size)
{
    encoder e = { .w = w, .ids = ids, .limit = max_tokens - 1 };
    const size_t valid = unicode_valid_bytes(text, text_bytes);

    *n = 0;
    if (max_tokens < 2) return fail(error, error_size, "room for %zu tokens: [CLS] and [SEP] are two", max_tokens);
    if (valid < text_bytes) return fail(error, error_size, "invalid UTF-8 at byte %zu", valid);
    put_id(&e, w->special[CLS]);
    for (size_t at = 0, length = 0; at < text_bytes && e.n < e.limit; at += length) {
        const int k = special_at(text + at, text_bytes - at);
        if (k < N_SPECIAL) {
            end_word(&e);
            put_id(&e, w->special[k]);
            length = strlen(special_text[k]);
        } else {
            put_text_char(&e, unicode_decode(text + at, text_bytes - at, &length));
        }
    }
    end_word(&e);
    ids[e.n] = w->special[SEP];
    *n = e.n + 1;
    return true;
}

/* ---- the vocabulary ---- */

static bool read_file(const char *path, char **data, size_t *size, char *error, size_t error_size)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    bool ok = false;

    *data = NULL;
    if (!file || fstat(fileno(file), &status) != 0)
        fail(error, error_size, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        fail(error, error_size, "%s: not a regular file", path);
    else if (status.st_size > MAX_FILE)
        fail(error, error_size, "%s: %lld bytes, more than a vocabulary has (%d)", path, (long long)status.st_size,
             MAX_FILE);
    else if (!(*data = malloc((size_t)status.st_size + 1)))
        fail(error, error_size, "%s: out of memory", path);
    else if (fread(*data, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        fail(error, error_size, "%s: cannot be read: %s", path, ferror(file) ? strerror(errno) : "it became shorter");
    else
        ok = true;
    *size = ok ? (size_t)status.st_size : 0;
    if (file) fclose(file);
    return ok;
}

static bool add_line(wordpiece *w, char *line, size_t bytes, const char *path, char *error, size_t error_size)
{
    const size_t number = w->vocab.n + 1;

    if (bytes > 0 && line[bytes - 1] == '\r') bytes--;
    if (bytes == 0) return fail(error, error_size, "%s line %zu: empty", path, number);
    if (memchr(line, 0, bytes)) return fail(error, error_size, "%s line %zu: holds a NUL byte", path, number);
    const size_t valid = unicode_valid_bytes(line, bytes);
    if (valid < bytes) return fail(error, error_size, "%s line %zu: invalid UTF-8 at byte %zu", path, number, valid);
    w->vocab.entries[w->vocab.n++] = (vocabulary_entry){ .text = line, .bytes = bytes, .id = (int32_t)(number - 1) };
    return true;
}

static bool read_lines(wordpiece *w, size_t size, const char *path, char *error, size_t error_size)
{
    size_t lines = 1;

    for (size_t i = 0; i < size; i++) lines += w->file[i] == '\n';
    if (!(w->vocab.entries = malloc(lines * sizeof *w->vocab.entries)))
        return fail(error, error_size, "%s: out of memory for %zu lines", path, lines);
    for (size_t at = 0, length; at < size; at += length + 1) {
        const char *end = memchr(w->file + at, '\n', size - at);
        length = end ? (size_t)(end - w->file) - at : size - at;
        if (!add_line(w, w->file + at, length, path, error, error_size)) return false;
    }
    return true;
}

static bool index_lines(wordpiece *w, const char *path, char *error, size_t error_size)
{
    const vocabulary_entry *twice = vocabulary_sort(&w->vocab);

    if (w->vocab.n == 0) return fail(error, error_size, "%s: no tokens", path);
    if (twice)
        return fail(error, error_size, "%s line %d: the same token as in line %d", path, (int)twice[0].id + 1,
                    (int)twice[-1].id + 1);
    for (int k = 0; k < N_SPECIAL; k++) {
        const vocabulary_entry *e = vocabulary_find(&w->vocab, special_text[k], strlen(special_text[k]));
        if (!e) return fail(error, error_size, "%s: the token %s is missing", path, special_text[k]);
        w->special[k] = e->id;
    }
    return true;
}

bool wordpiece_create(wordpiece **out, const char *vocab_path, bool lower, char *error, size_t error_size)
{
    wordpiece *w = calloc(1, sizeof *w);
    size_t size;

    *out = NULL;
    if (!w) return fail(error, error_size, "%s: out of memory", vocab_path);
    w->lower = lower;
    if (!read_file(vocab_path, &w->file, &size, error, error_size) ||
        !read_lines(w, size, vocab_path, error, error_size) || !index_lines(w, vocab_path, error, error_size)) {
        wordpiece_destroy(w);
        return false;
    }
    *out = w;
    return true;
}

void wordpiece_destroy(wordpiece *w)
{
    if (!w) return;
    free(w->vocab.entries);
    free(w->file);
    free(w);
}

size_t wordpiece_size(const wordpiece *w)
{
    return w->vocab.n;
}
