/* perplexity.h - how well a trained language model predicts documents. */
#ifndef PERPLEXITY_H
#define PERPLEXITY_H

#include "packing.h"

typedef struct {
    size_t counted;          /* tokens */
    double loss, perplexity; /* mean cross-entropy in nats, and exp of it */
} prediction;

/* Evaluate all rows of d, packed into p. false: it was interrupted, and the result is not complete. */
bool predict(prediction *result, clpeft_trainer *trainer, const documents *d, pack *p);

#endif
