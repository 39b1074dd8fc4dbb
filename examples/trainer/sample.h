/* sample.h - text that a language model writes on from a prompt. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "clpeft.h"
#include "lm_tokenizer.h"

#include <stdint.h>

typedef struct {
    float temperature; /* of the softmax; 0: always the most likely token */
    float top_p;       /* from the fewest tokens that have this probability together */
    size_t tokens;     /* at most */
    uint64_t seed;
} sample_options;

/* The continuation of a prompt of n tokens, up to the end mark, as text that ends with a zero; the caller frees it. adapter NULL:
 * the pretrained model. After Ctrl-C it is what there is so far. */
char *sample_text(clpeft_model *model, const clpeft_adapter *adapter, const lm_tokenizer *tokenizer,
                  const int32_t *prompt, size_t n, const sample_options *options, cl_command_queue queue);

#endif
