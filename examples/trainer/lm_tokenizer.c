#include "lm_tokenizer.h"

#include "common/bpe_gguf.h"
#include "program.h"

/* A token's id in the metadata, or -1. */
static int32_t read_id(const clpeft_file *file, const char *key, size_t tokens, const char *path)
{
    const clpeft_meta *meta = clpeft_file_meta_find(file, key);

    if (!meta) return -1;
    if (meta->type != CLPEFT_META_INT || meta->integer < 0 || (uint64_t)meta->integer >= tokens)
        die("%s: %s is not the number of a token", path, key);
    return (int32_t)meta->integer;
}

void lm_tokenizer_open(lm_tokenizer *t, const char *path, bool control)
{
    char error[512];
    clpeft_file *file;

    must(clpeft_file_open(&file, path));
    if (clpeft_file_format(file) != CLPEFT_GGUF) die("%s: not a GGUF file, which has a tokenizer", path);
    *t = (lm_tokenizer){ .control = control };
    if (!bpe_from_gguf(&t->bpe, file, error, sizeof error)) die("%s: %s", path, error);
    const clpeft_meta *add_begin = clpeft_file_meta_find(file, "tokenizer.ggml.add_bos_token");
    t->begin = -1;
    if (add_begin && add_begin->type == CLPEFT_META_BOOL && add_begin->integer)
        t->begin = read_id(file, "tokenizer.ggml.bos_token_id", bpe_size(t->bpe), path);
    t->end = read_id(file, "tokenizer.ggml.eos_token_id", bpe_size(t->bpe), path);
    if (t->end < 0) die("%s: tokenizer.ggml.eos_token_id is missing", path);
    clpeft_file_close(file);
}

void lm_tokenizer_close(lm_tokenizer *t)
{
    bpe_destroy(t->bpe);
    *t = (lm_tokenizer){ 0 };
}

size_t lm_tokenizer_encode(const lm_tokenizer *t, const char *text, size_t bytes, int32_t *ids, const char *where)
{
    char error[512];
    size_t n;

    if (!bpe_encode(t->bpe, text, bytes, t->control, ids, &n, error, sizeof error)) die("%s: %s", where, error);
    return n;
}
