/* layout.h - the linear layers of a model in a GGUF file: their names, and the order of their rows. */
#ifndef CLP_PEFT_LAYOUT_H
#define CLP_PEFT_LAYOUT_H

#include "model.h"

enum { CLP_GGUF_NAME_SIZE = 80 };

/* "blk.2.attn_v.weight" of site `index` of clp_paths. Errors:  CLPEFT_UNSUPPORTED  GGUF has no name for it. */
clpeft_status clp_layout_name(const clpeft_model *model, size_t index, char name[CLP_GGUF_NAME_SIZE]);

/* "llama", "bert". NULL: none. */
const char *clp_layout_architecture(const clpeft_model *model);

/* The row of a layer, as the library and Hugging Face have it, that is row `row` of the tensor in a GGUF file:
 * another one for query and key of LLaMA alone. Their heads of size D rotate rows j and j + D/2 by one angle; in GGUF
 * these are 2 j and 2 j + 1. */
size_t clp_layout_row(const clpeft_model *model, size_t index, size_t row);

/* values [rows,cols] into the order of GGUF. */
clpeft_status clp_layout_rows(const clpeft_model *model, size_t index, size_t rows, size_t cols, float *values);

#endif
