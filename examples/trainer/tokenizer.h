/* tokenizer.h - the tokenizer of a model's folder. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "common/wordpiece.h"

/* The WordPiece tokenizer of DIR/vocab.txt, in lower case unless DIR/tokenizer_config.json has "do_lower_case": false.
 * Dies when there is none. */
wordpiece *tokenizer_open(const char *folder);

#endif
