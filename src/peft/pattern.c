/* pattern.c - the regular expressions of rank_pattern and alpha_pattern.
 *
 * They are Python's. What is regular in them means the same in POSIX, where only yes or no is asked of a whole path:
 * which of several ways leads to a match does not count, so lazy and greedy are one. They come from a file: the
 * limits keep regcomp, which copies what stands before a +, from growing without bound. */
#include "peft/pattern.h"

#include "file/names.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATTERN = 256, MAX_DEPTH = 4, MAX_PATTERNS = 4096 };

/* One pass over a pattern. out has room for the longest translation: an escape of 2 bytes becomes 12. */
typedef struct {
    const char *at;
    char out[8 * MAX_PATTERN];
    size_t n;
    int depth;
    int atom; /* something stands before that * can repeat */
} translation;

static void put(translation *t, const char *text, size_t bytes)
{
    memcpy(t->out + t->n, text, bytes);
    t->n += bytes;
}

/* Returns 0 for an escape that is not known. */
static int escape(translation *t)
{
    const char c = t->at[1];

    if (c == 'd')
        put(t, "[0-9]", 5);
    else if (c == 'w')
        put(t, "[A-Za-z0-9_]", 12);
    else if (strchr(".^$*+?()[]{}|\\", c) && c)
        put(t, t->at, 2);
    else if (ispunct((unsigned char)c))
        put(t, &c, 1);
    else
        return 0;
    t->at += 2;
    t->atom = 1;
    return 1;
}

/* [...]: a first ] is one of its characters. Returns 0 where it does not end, or holds a \ or a [. */
static int set(translation *t)
{
    const char *c = t->at + 1;

    if (*c == '^') c++;
    if (*c == ']') c++;
    while (*c && *c != ']' && *c != '\\' && *c != '[') c++;
    if (*c != ']') return 0;
    put(t, t->at, (size_t)(c + 1 - t->at));
    t->at = c + 1;
    t->atom = 1;
    return 1;
}

static int group(translation *t)
{
    if (*t->at == ')') {
        t->at++;
        t->atom = 1;
        put(t, ")", 1);
        return t->depth-- > 0;
    }
    if (t->at[1] == '?' && t->at[2] != ':') return 0;
    t->at += t->at[1] == '?' ? 3 : 1;
    t->atom = 0;
    put(t, "(", 1);
    return ++t->depth <= MAX_DEPTH;
}

/* *, + or ?, or a lazy one of them. Returns 0 where nothing can be repeated, or it is repeated twice. */
static int repeat(translation *t)
{
    if (!t->atom) return 0;
    put(t, t->at, 1);
    t->at += t->at[1] == '?' ? 2 : 1;
    t->atom = 0;
    return 1;
}

static int step(translation *t)
{
    const char c = *t->at;

    switch (c) {
    case '\\': return escape(t);
    case '[': return set(t);
    case '(':
    case ')': return group(t);
    case '*':
    case '+':
    case '?': return repeat(t);
    case '{':
    case '}': return 0;
    default: break;
    }
    if (!isprint((unsigned char)c)) return 0;
    put(t, t->at++, 1);
    t->atom = c != '|' && c != '^' && c != '$';
    return 1;
}

static clpeft_status compile(regex_t *regex, const char *pattern)
{
    const size_t bytes = strlen(pattern);
    clpeft_status status = CLPEFT_OK;
    char whole[sizeof((translation *)0)->out + 16];
    translation t = { .at = pattern };

    REQUIRE(bytes <= MAX_PATTERN, CLPEFT_UNSUPPORTED, "\"%s\" has %zu bytes: at most %d are read",
            clp_quote(pattern, bytes).text, bytes, MAX_PATTERN);
    while (*t.at)
        REQUIRE(step(&t), CLPEFT_UNSUPPORTED,
                "\"%s\": byte %zu is not known; known are literals, ., \\d, \\w, [...], (...), |, *, +, ?, ^ and $",
                clp_quote(pattern, bytes).text, (size_t)(t.at - pattern));
    REQUIRE(t.depth == 0, CLPEFT_INVALID_FILE, "\"%s\": a group does not end", clp_quote(pattern, bytes).text);
    snprintf(whole, sizeof whole, "^(.*\\.)?(%.*s)$", (int)t.n, t.out);
    REQUIRE(regcomp(regex, whole, REG_EXTENDED | REG_NOSUB) == 0, CLPEFT_UNSUPPORTED, "\"%s\" is no regular expression",
            clp_quote(pattern, bytes).text);
out:
    return status;
}

clpeft_status clp_pattern_values(const json_t *patterns, size_t n, char *const *paths, double *values)
{
    clpeft_status status = CLPEFT_OK;
    const char *pattern;
    json_t *value;
    char *done = calloc(n + 1, 1);

    REQUIRE(done, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    REQUIRE(json_object_size(patterns) <= MAX_PATTERNS, CLPEFT_UNSUPPORTED, "%zu patterns: at most %d are read",
            json_object_size(patterns), MAX_PATTERNS);
    json_object_foreach((json_t *)(uintptr_t)patterns, pattern, value)
    {
        regex_t regex;
        TRY(compile(&regex, pattern));
        for (size_t i = 0; i < n; i++) {
            if (done[i] || regexec(&regex, paths[i], 0, NULL, 0) != 0) continue;
            values[i] = json_number_value(value);
            done[i] = 1;
        }
        regfree(&regex);
    }
out:
    free(done);
    return status;
}
