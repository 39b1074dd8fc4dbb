/* model.h - a batch, checked. */
#ifndef CLP_MODEL_H
#define CLP_MODEL_H

#include "backbone.h"

/* The first token of sequence q <= S: all images have the same number. */
int32_t clp_batch_start(const clpeft_model *model, const clpeft_batch *batch, size_t q);

/* Sequences and tokens of a batch are ones that the model knows, however many. *longest: tokens of the longest sequence. */
clpeft_status clp_batch_check(const clpeft_model *model, const clpeft_batch *batch, size_t *longest);

#endif
