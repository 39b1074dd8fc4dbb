/* bpe_split.h - where SmolLM2 cuts text before byte pairs are merged. */
#ifndef BPE_SPLIT_H
#define BPE_SPLIT_H

#include <stddef.h>

/* Bytes of the first piece of a text that is UTF-8 and not empty. Every digit (\p{N}) is a piece; what is between two
 * digits is cut as GPT-2 does, by the first of these that matches:
 *
 *     's|'t|'re|'ve|'m|'ll|'d   |   ?\p{L}+   |   ?[^\s\p{L}\p{N}]+   |   \s+(?!\S)   |   \s+
 *
 * The fourth leaves the last white space of a run to the word behind it, except before a digit or at the end.
 * Source: the pre-tokenizers Digits(individual_digits=True) and ByteLevel of Hugging Face's tokenizers. */
size_t bpe_split(const char *text, size_t bytes);

#endif
