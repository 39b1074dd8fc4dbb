/* init.h - a training that starts from an adapter that is there: of a checkpoint, or of a PEFT folder. */
#ifndef INIT_H
#define INIT_H

#include "clpeft.h"
#include "dataset.h"

#include <stdbool.h>

/* Whether a folder is one of PEFT's. */
bool init_is_peft(const char *folder);

/* A trainer at step 0 with the adapter in training.init. Method, rank, sites and what else makes the adapter come from there into the
 * settings; dies where the command line says otherwise. The head comes too when it has the classes of labels (empty: a language
 * model): by their names, which a checkpoint knows, or by their number. */
clpeft_trainer *init_trainer(clpeft_model *model, const label_list *labels, uint64_t total_steps);

#endif
