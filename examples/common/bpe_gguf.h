/* bpe_gguf.h - the tokenizer that a GGUF file describes in its metadata. */
#ifndef BPE_GGUF_H
#define BPE_GGUF_H

#include <clpeft/file.h>

#include "bpe.h"

/* Reads tokenizer.ggml.model ("gpt2"), .pre ("smollm"), .tokens, .merges and, where present, .token_type. Everything is
 * copied: the file may be closed. On false *out is NULL and error says what is missing or wrong. */
bool bpe_from_gguf(bpe **out, const clpeft_file *file, char *error, size_t error_size);

#endif
