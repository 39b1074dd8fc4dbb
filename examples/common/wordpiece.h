/* wordpiece.h - the tokenizer of BERT: text -> [CLS] pieces [SEP], the ids of Hugging Face's BertTokenizer.
 *
 *     text -> clean: drop control characters and U+FFFD, white space becomes a space
 *          -> CJK ideographs stand alone
 *          -> if lower: canonical decomposition, drop accents (nonspacing marks), lower case
 *          -> split at white space and around every punctuation character
 *          -> each word greedily into the longest pieces of the vocabulary; all but the first are written ##piece.
 *             A word that does not come out even, or has more than 100 characters, is one [UNK].
 *
 * [PAD] [UNK] [CLS] [SEP] [MASK], written so in a text, become their own ids, as they do in BertTokenizer.
 * A wordpiece does not change after its creation: threads may share it.
 * Source: BERT, arXiv 1810.04805; the ids are those of tokenizers 0.23. */
#ifndef WORDPIECE_H
#define WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wordpiece wordpiece;

/* Read a vocab.txt: one token per line, the id is the line's number from 0. lower is do_lower_case of the model.
 * Refused, with the line: a file above 64 MiB, invalid UTF-8, NUL bytes, an empty line, a token twice, no tokens at all,
 * one of the five special tokens missing. On false *out is NULL and error says what, where and why. */
bool wordpiece_create(wordpiece **out, const char *vocab_path, bool lower, char *error, size_t error_size);
void wordpiece_destroy(wordpiece *w);

/* Tokens of the vocabulary: ids are below it. A model must have as many rows. */
size_t wordpiece_size(const wordpiece *w);

/* Write [CLS], the first max_tokens - 2 pieces of the text, and [SEP] to ids; *n of them, at most max_tokens, for which
 * ids has room. The text may hold zero bytes. Fails if the text, anywhere, is not UTF-8 (error gives the offset of the
 * first bad byte), or max_tokens is below 2. Allocates nothing. */
bool wordpiece_encode(const wordpiece *w, const char *text, size_t text_bytes, size_t max_tokens, int32_t *ids,
                      size_t *n, char *error, size_t error_size);

#endif
