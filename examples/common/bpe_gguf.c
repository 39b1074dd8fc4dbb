#include "bpe_gguf.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"

typedef struct {
    bpe_string *tokens, *merges;
    int32_t *types;
    size_t n_tokens, n_merges, n_types;
} lists;

static const char *read_name(const clpeft_file *file, const char *key)
{
    const clpeft_meta *meta = clpeft_file_meta_find(file, key);

    return meta && meta->type == CLPEFT_META_STRING ? meta->string : "";
}

static const clpeft_meta *find_array(const clpeft_file *file, const char *key, clpeft_meta_type element)
{
    const clpeft_meta *meta = clpeft_file_meta_find(file, key);

    return meta && meta->type == CLPEFT_META_ARRAY && meta->element == element ? meta : NULL;
}

/* NULL: no such array of strings, or out of memory. */
static bpe_string *read_strings(const clpeft_file *file, const char *key, size_t *n)
{
    const clpeft_meta *array = find_array(file, key, CLPEFT_META_STRING);
    clpeft_meta item;

    if (!array) return NULL;
    bpe_string *strings = calloc((size_t)array->count + 1, sizeof *strings);
    for (*n = 0; strings && clpeft_file_meta_item(file, array, *n, &item); (*n)++)
        strings[*n] = (bpe_string){ .text = item.string, .bytes = item.string_bytes };
    return strings;
}

static int32_t *read_types(const clpeft_file *file, size_t *n)
{
    const clpeft_meta *array = find_array(file, "tokenizer.ggml.token_type", CLPEFT_META_INT);
    clpeft_meta item;

    if (!array) return NULL;
    int32_t *types = calloc((size_t)array->count + 1, sizeof *types);
    for (*n = 0; types && clpeft_file_meta_item(file, array, *n, &item); (*n)++) types[*n] = (int32_t)item.integer;
    return types;
}

static bool read_lists(lists *l, const clpeft_file *file, char *error, size_t error_size)
{
    l->tokens = read_strings(file, "tokenizer.ggml.tokens", &l->n_tokens);
    if (!l->tokens) return fail(error, error_size, "tokenizer.ggml.tokens: not a list of strings that fits in memory");
    l->merges = read_strings(file, "tokenizer.ggml.merges", &l->n_merges);
    if (!l->merges) return fail(error, error_size, "tokenizer.ggml.merges: not a list of strings that fits in memory");
    if (!clpeft_file_meta_find(file, "tokenizer.ggml.token_type")) return true;
    l->types = read_types(file, &l->n_types);
    if (!l->types)
        return fail(error, error_size, "tokenizer.ggml.token_type: not a list of integers that fits in memory");
    if (l->n_types == l->n_tokens) return true;
    return fail(error, error_size, "tokenizer.ggml.token_type has %zu values for %zu tokens", l->n_types, l->n_tokens);
}

bool bpe_from_gguf(bpe **out, const clpeft_file *file, char *error, size_t error_size)
{
    const char *model = read_name(file, "tokenizer.ggml.model");
    lists l = { 0 };

    *out = NULL;
    if (strcmp(model, "gpt2") != 0)
        return fail(error, error_size, "tokenizer.ggml.model is \"%.40s\": only gpt2, byte-level BPE, is known", model);
    if (read_lists(&l, file, error, error_size)) {
        const bpe_source source = { .pre = read_name(file, "tokenizer.ggml.pre"),
                                    .tokens = l.tokens,
                                    .types = l.types,
                                    .n_tokens = l.n_tokens,
                                    .merges = l.merges,
                                    .n_merges = l.n_merges };
        bpe_create(out, &source, error, error_size);
    }
    free(l.tokens), free(l.merges), free(l.types);
    return *out != NULL;
}
