#include "perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "interrupt.h"
#include "program.h"

bool predict(prediction *result, clpeft_trainer *trainer, const documents *d, pack *p)
{
    float *losses = allocate(p->max_tokens, sizeof *losses);
    double sum = 0;
    size_t row = 0, counted = 0;

    while (!interrupt_seen() && pack_next(p, d, &row)) {
        must(clpeft_trainer_evaluate(trainer, &p->packed, NULL, NULL, losses));
        for (size_t t = 0; t < (size_t)p->row_start[p->packed.S]; t++) {
            sum += (double)losses[t];
            counted += p->labels[t] >= 0;
        }
    }
    free(losses);
    *result =
        (prediction){ .counted = counted, .loss = sum / (double)counted, .perplexity = exp(sum / (double)counted) };
    return row == d->n;
}
