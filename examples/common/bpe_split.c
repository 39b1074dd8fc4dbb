#include "bpe_split.h"

#include <string.h>

#include "unicode.h"

typedef enum { END, NUMBER, LETTER, SPACE, OTHER } kind;

/* The kind of the character at offset `at`, and its length; END at the end of the text. */
static kind kind_at(const char *text, size_t bytes, size_t at, size_t *length)
{
    *length = 0;
    if (at == bytes) return END;
    const int32_t c = unicode_decode(text + at, bytes - at, length);
    if (unicode_is_letter(c)) return LETTER;
    if (unicode_is_space(c)) return SPACE;
    return unicode_is_number(c) ? NUMBER : OTHER;
}

static size_t contraction(const char *text, size_t bytes)
{
    static const char *const ends[] = { "s", "t", "re", "ve", "m", "ll", "d" };

    if (text[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const size_t length = strlen(ends[i]);
        if (length < bytes && memcmp(text + 1, ends[i], length) == 0) return 1 + length;
    }
    return 0;
}

/* The end of the run of one kind that begins at `at`. *last is where its last character begins, *next what follows. */
static size_t run_end(const char *text, size_t bytes, size_t at, kind wanted, size_t *last, kind *next)
{
    size_t length;

    *last = at;
    while ((*next = kind_at(text, bytes, at, &length)) == wanted) {
        *last = at;
        at += length;
    }
    return at;
}

size_t bpe_split(const char *text, size_t bytes)
{
    size_t first_length, second_length, last;
    const size_t short_word = contraction(text, bytes);
    const kind first = kind_at(text, bytes, 0, &first_length);
    kind next;

    if (short_word > 0) return short_word;
    if (first == NUMBER) return first_length;
    if (first != SPACE) return run_end(text, bytes, 0, first, &last, &next);
    const kind second = kind_at(text, bytes, first_length, &second_length);
    if (text[0] == ' ' && (second == LETTER || second == OTHER))
        return run_end(text, bytes, first_length, second, &last, &next);
    const size_t end = run_end(text, bytes, 0, SPACE, &last, &next);
    return next == END || next == NUMBER || last == 0 ? end : last;
}
