/* json.c - strict JSON with unsigned 64-bit integers.
 *
 * jansson reads the text through a filter that replaces every integer by its position in the text (the sign stays), and
 * clp_json_u64 reads the digits there. Position 0 is the opening brace, so what is above 0 is an integer without a sign.
 * All else passes the filter unchanged: it is jansson that judges it. */
#include "file/json.h"

#include "file/names.h"
#include "status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 127

typedef struct {
    const char *text;
    size_t size, at;
    size_t number_end; /* of a number that is not replaced */
    int depth;
    bool in_string, escaped;
} filter;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the number that starts at `at` with a digit; *plain: digits only, and no leading zero. */
static size_t number_length(const filter *f, bool *plain)
{
    const char *first = f->text + f->at, *end = f->text + f->size, *c = first;
    bool digits = true;
    for (; c < end && (is_digit(*c) || *c == '.' || *c == 'e' || *c == 'E' || *c == '+' || *c == '-'); c++)
        digits = digits && is_digit(*c);
    *plain = digits && (*first != '0' || c - first == 1);
    return (size_t)(c - first);
}

/* Follow strings and nesting over one byte. */
static void follow(filter *f, char c)
{
    if (f->in_string) {
        if (c == '"' && !f->escaped) f->in_string = false;
        f->escaped = c == '\\' && !f->escaped;
    } else if (c == '"') {
        f->in_string = true;
    } else if (c == '{' || c == '[') {
        f->depth++;
    } else if (c == '}' || c == ']') {
        f->depth--;
    }
}

/* jansson's source of bytes: as many as are there without a replaced number, or the replacement alone. 0 ends it. */
static size_t feed(void *buffer, size_t room, void *data)
{
    filter *f = data;
    char *out = buffer;
    size_t n = 0;

    for (; n < room && f->at < f->size && f->depth <= MAX_DEPTH; f->at++) {
        const char c = f->text[f->at];
        if (!f->in_string && is_digit(c) && f->at >= f->number_end) {
            bool plain;
            const size_t length = number_length(f, &plain);
            if (plain) {
                if (n > 0) break;
                n = (size_t)snprintf(out, room, "%zu", f->at);
                f->at += length;
                break;
            }
            f->number_end = f->at + length;
        }
        follow(f, c);
        out[n++] = c;
    }
    return n;
}

/* Where byte `position` of the filtered text comes from. */
static size_t unfiltered(const char *text, size_t size, size_t position)
{
    filter f = { .text = text, .size = size };
    char buffer[256];
    size_t before = 0, start = 0, n;
    while (start = f.at, (n = feed(buffer, sizeof buffer, &f)) > 0) {
        if (position < before + n) return start + (position - before < f.at - start ? position - before : 0);
        before += n;
    }
    return f.at;
}

clpeft_status clp_json_parse(json_t **root, const char *text, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    filter f = { .text = text, .size = size };
    const char *zero = memchr(text, 0, size);
    json_error_t error;

    REQUIRE(!zero, CLPEFT_INVALID_FILE, "a zero byte at byte %zu", (size_t)(zero - text)); /* jansson may skip it */
    REQUIRE(size > 0 && text[0] == '{', CLPEFT_INVALID_FILE, "the JSON text does not start with '{'");
    *root = json_load_callback(feed, &f, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    REQUIRE(*root || f.depth <= MAX_DEPTH, CLPEFT_INVALID_FILE, "more than %d levels of nesting at byte %zu", MAX_DEPTH,
            f.at);
    if (!*root && json_error_code(&error) == json_error_out_of_memory)
        return clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "out of memory while parsing JSON");
    REQUIRE(*root, CLPEFT_INVALID_FILE, "not JSON at byte %zu: %s", unfiltered(text, size, (size_t)error.position),
            clp_quote(error.text, strlen(error.text)).text);
out:
    return status;
}

int clp_json_u64(const json_t *value, const char *text, uint64_t *out)
{
    const json_int_t position = json_is_integer(value) ? json_integer_value(value) : 0;
    uint64_t n = 0;

    if (position <= 0) return 0;
    for (const char *c = text + position; is_digit(*c); c++)
        if (clp_mul(n, 10u, &n) || clp_sum(n, (uint64_t)(*c - '0'), &n)) return 0;
    *out = n;
    return 1;
}
