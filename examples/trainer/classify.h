/* classify.h - a trained classifier over a whole dataset. */
#ifndef CLASSIFY_H
#define CLASSIFY_H

#include "batch.h"
#include "clpeft.h"

#include <stdbool.h>

typedef struct {
    int32_t *predicted; /* [n] class */
    float *probability; /* [n] of that class, by softmax */
    size_t right;
    double accuracy, loss; /* right / n, mean cross-entropy; of datasets with labels */
} classification;

/* Evaluate all rows of d, packed into batches of b. false: it was interrupted, and the result is not complete. */
bool classify(classification *result, clpeft_trainer *trainer, const dataset *d, batch *b, size_t classes);
void classification_free(classification *result);

#endif
