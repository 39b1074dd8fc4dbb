/* bpe.h - the byte-level BPE tokenizer of GPT-2's kind, with SmolLM2's rule of where words end.
 *
 *     text -> cut at special tokens -> cut into words (bpe_split.h) -> bytes -> as long as two neighbours are in the
 *     list of merges, join the pair that is first in the list, the leftmost of equal ones -> ids
 *
 * In tokens and merges every byte is one visible character: the printable ones of Latin-1 stand for themselves, the
 * other 68 bytes in their order for U+0100 to U+0143 (a space is U+0120). A byte that has no token is left out, as
 * in the reference. A bpe does not change after its creation: threads may share it.
 * Source: Neural Machine Translation of Rare Words with Subword Units, arXiv 1508.07909; GPT-2; the ids are those of
 * tokenizers 0.23. */
#ifndef BPE_H
#define BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bpe bpe;

typedef struct {
    const char *text; /* need not end with a zero */
    size_t bytes;
} bpe_string;

/* What a GGUF file says of its tokenizer; all borrowed until bpe_create returns. */
typedef struct {
    const char *pre;          /* tokenizer.ggml.pre: the rule of words. Only "smollm" */
    const bpe_string *tokens; /* tokenizer.ggml.tokens; the id is the index */
    const int32_t *types;     /* tokenizer.ggml.token_type: 3 control, 4 user defined, others plain; NULL: all plain */
    size_t n_tokens;
    const bpe_string *merges; /* tokenizer.ggml.merges, first to last: "left right" */
    size_t n_merges;
} bpe_source;

/* Refused: another rule of words, no tokens, more than 2^31 - 1 tokens or merges, a token that is empty, not UTF-8 or
 * there twice, a merge that is there twice or is not two tokens that make a third. On false *out is NULL and error says
 * what and why. */
bool bpe_create(bpe **out, const bpe_source *source, char *error, size_t error_size);
void bpe_destroy(bpe *b);

size_t bpe_size(const bpe *b); /* tokens: ids are below it */

/* Write the ids of a text to ids, *n of them. ids has room for text_bytes: no id stands for less than a byte. User
 * defined tokens in the text become their ids always, control tokens such as <|im_start|> only if control is true;
 * without it their characters are text like any other. Takes O(b log b) steps for a word of b bytes.
 * Fails if the text is not UTF-8 (error gives the offset of the first bad byte), has more than 2^31 - 1 bytes, or
 * memory runs out. */
bool bpe_encode(const bpe *b, const char *text, size_t text_bytes, bool control, int32_t *ids, size_t *n, char *error,
                size_t error_size);

/* The bytes that an id stands for, valid as long as b; NULL if there is no such id. The text of ids is their bytes one
 * after another: a character may be spread over several ids. */
const char *bpe_decode(const bpe *b, int32_t id, size_t *bytes);

bool bpe_is_control(const bpe *b, int32_t id);

#endif
