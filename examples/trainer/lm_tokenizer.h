/* lm_tokenizer.h - a language model's tokenizer, with the marks of begin and end, from a GGUF file. */
#ifndef LM_TOKENIZER_H
#define LM_TOKENIZER_H

#include "common/bpe.h"

typedef struct {
    bpe *bpe;
    int32_t begin; /* put before every document; -1: none */
    int32_t end;   /* follows its last token */
    bool control;  /* control tokens in texts, such as <|im_start|>, are these tokens and not their characters */
} lm_tokenizer;

/* Read a GGUF file's tokenizer. Dies where there is none that is known. */
void lm_tokenizer_open(lm_tokenizer *t, const char *path, bool control);
void lm_tokenizer_close(lm_tokenizer *t);

/* The ids of a text, which has room for as many as the text has bytes. Dies with `where`. */
size_t lm_tokenizer_encode(const lm_tokenizer *t, const char *text, size_t bytes, int32_t *ids, const char *where);

#endif
