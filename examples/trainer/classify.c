#include "classify.h"

#include <math.h>
#include <stdlib.h>

#include "interrupt.h"
#include "program.h"

/* exp(z_k) / sum_c exp(z_c) */
static float softmax_of(const float *z, size_t classes, size_t k)
{
    float sum = 0;

    for (size_t c = 0; c < classes; c++) sum += expf(z[c] - z[k]);
    return 1 / sum;
}

bool classify(classification *result, clpeft_trainer *trainer, const dataset *d, batch *b, size_t classes)
{
    float *logits = allocate(b->max_sequences * classes, sizeof *logits);
    float *losses = allocate(b->max_sequences, sizeof *losses);
    double loss = 0;
    size_t done = 0;

    *result = (classification){ .predicted = allocate(d->n, sizeof *result->predicted),
                                .probability = allocate(d->n, sizeof *result->probability) };
    for (size_t row = 0; !interrupt_seen() && batch_next(b, d, &row); done = row) {
        must(clpeft_trainer_evaluate(trainer, &b->packed, logits, result->predicted + done, d->label ? losses : NULL));
        for (size_t i = done; i < row; i++) {
            const int32_t k = result->predicted[i];
            result->probability[i] = softmax_of(logits + (i - done) * classes, classes, (size_t)k);
            if (!d->label) continue;
            result->right += k == d->label[i];
            loss += losses[i - done];
        }
    }
    result->accuracy = (double)result->right / (double)d->n;
    result->loss = loss / (double)d->n;
    free(logits);
    free(losses);
    return done == d->n;
}

void classification_free(classification *result)
{
    free(result->predicted);
    free(result->probability);
    *result = (classification){ 0 };
}
