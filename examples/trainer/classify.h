/* classify.h - a trained classifier over a whole dataset. */
#ifndef CLASSIFY_H
#define CLASSIFY_H

#include "clpeft.h"

#include <stdbool.h>

typedef struct {
    int32_t *predicted; /* [n] class */
    float *probability; /* [n] of that class, by softmax */
    size_t right;
    double accuracy, loss; /* right / n, mean cross-entropy; of datasets with labels */
} classification;

/* Rows, batch by batch. */
typedef struct {
    size_t n, most;                               /* of all; of a batch, at most */
    const int32_t *label;                         /* [n] class; NULL: none */
    clpeft_batch (*next)(void *data, size_t row); /* the rows from `row` on, one at least; asked for in turn */
    void *data;
} row_source;

/* Evaluate all rows, each rank a part of them. false: it was interrupted, and the result is not complete. predicted is complete
 * everywhere, probability of the rank's own rows. */
bool classify(classification *result, clpeft_trainer *trainer, const row_source *rows, size_t classes);
void classification_free(classification *result);

#endif
