/* tokenizer.c - libFuzzer: the first byte picks a tokenizer; a form feed parts its vocabulary, its merges (BPE) and a text.
 * Ids are below the size of the vocabulary, and as many as the header promises. */
#include "common/bpe.h"
#include "common/wordpiece.h"
#include "scratch.h"

#include <assert.h>

static const char SPECIAL[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

static void check(const int32_t *ids, size_t n, size_t most, size_t size)
{
    assert(n <= most);
    for (size_t i = 0; i < n; i++) assert(ids[i] >= 0 && (size_t)ids[i] < size);
}

static void try_wordpiece(const char *vocabulary, size_t v, const char *text, size_t t)
{
    enum { MOST = 64 };
    int32_t ids[MOST];
    char error[256];
    wordpiece *w = NULL;
    size_t n = 0;
    char *bytes = malloc(sizeof SPECIAL + v);

    memcpy(bytes, SPECIAL, sizeof SPECIAL - 1);
    memcpy(bytes + sizeof SPECIAL - 1, vocabulary, v);
    scratch_write("vocab.txt", bytes, sizeof SPECIAL - 1 + v);
    free(bytes);
    for (int lower = 0; lower < 2; lower++) {
        if (wordpiece_create(&w, scratch_path("vocab.txt"), lower, error, sizeof error)) {
            if (wordpiece_encode(w, text, t, MOST, ids, &n, error, sizeof error))
                check(ids, n, MOST, wordpiece_size(w));
        } else {
            assert(!w && *error);
        }
        wordpiece_destroy(w);
        w = NULL;
    }
}

/* Lines of a text, at most `most`. */
static size_t split(const char *text, size_t n, bpe_string *lines, size_t most)
{
    size_t count = 0;
    for (const char *p = text, *end = text + n; p < end && count < most;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        lines[count++] = (bpe_string){ p, (size_t)(stop - p) };
        p = stop + 1;
    }
    return count;
}

static void try_bpe(const char *vocabulary, size_t v, const char *merges, size_t m, const char *text, size_t t)
{
    enum { MOST = 400 };
    bpe_string token[MOST], merge[MOST];
    int32_t types[MOST], *ids = malloc((t + 1) * sizeof *ids);
    char error[256];
    bpe *b = NULL;
    bpe_source source = { .pre = "smollm", .tokens = token, .merges = merge };
    size_t n = 0, bytes;

    source.n_tokens = split(vocabulary, v, token, MOST), source.n_merges = split(merges, m, merge, MOST);
    for (size_t i = 0; i < source.n_tokens; i++)
        types[i] = token[i].bytes > 1 && token[i].text[0] == '<' ? 3 + (int)(i & 1) : 1;
    source.types = types;
    if (bpe_create(&b, &source, error, sizeof error)) {
        for (int control = 0; control < 2; control++)
            if (bpe_encode(b, text, t, control, ids, &n, error, sizeof error)) {
                check(ids, n, t, bpe_size(b));
                for (size_t i = 0; i < n; i++) assert(bpe_decode(b, ids[i], &bytes));
            }
    } else {
        assert(!b && *error);
    }
    bpe_destroy(b);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *part[3] = { "", "", "" }, *p = (const char *)bytes + 1;
    size_t length[3] = { 0 };

    if (size < 2) return 0;
    for (int i = 0; i < 3 && p <= (const char *)bytes + size; i++) {
        const size_t rest = (size_t)((const char *)bytes + size - p);
        const char *stop = rest ? memchr(p, '\f', rest) : NULL;
        part[i] = p, length[i] = stop ? (size_t)(stop - p) : rest;
        p += length[i] + 1;
    }
    if (bytes[0] & 1)
        try_bpe(part[0], length[0], part[1], length[1], part[2], length[2]);
    else
        try_wordpiece(part[0], length[0], part[1], length[1]);
    return 0;
}
