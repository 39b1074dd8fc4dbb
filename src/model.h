/* model.h - a batch, checked. */
#ifndef CLP_MODEL_H
#define CLP_MODEL_H

#include "backbone.h"

/* Sequences and tokens of a batch are ones that the model knows, however many. *longest: tokens of the longest sequence. */
clpeft_status clp_batch_check(const clpeft_model *model, const clpeft_batch *batch, size_t *longest);

#endif
