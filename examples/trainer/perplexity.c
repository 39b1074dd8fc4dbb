#include "perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "interrupt.h"
#include "program.h"
#include "ranks.h"

bool predict(prediction *result, clpeft_trainer *trainer, const documents *d, pack *p)
{
    float *losses = allocate(p->max_tokens, sizeof *losses);
    double sums[3] = { 0 }; /* loss, tokens that count, interrupted */
    size_t row, end;

    ranks_part(d->n, &row, &end);
    while (row < end && !interrupt_seen()) {
        pack_next(p, d, &row);
        if (row > end) p->packed.S -= row - end;
        must(clpeft_trainer_evaluate(trainer, &p->packed, NULL, NULL, losses));
        for (size_t t = 0; t < (size_t)p->row_start[p->packed.S]; t++) {
            sums[0] += (double)losses[t];
            sums[1] += p->labels[t] >= 0;
        }
    }
    sums[2] = row < end;
    free(losses);
    ranks_sum(sums, 3);
    const double loss = sums[0] / sums[1];
    *result = (prediction){ .counted = (size_t)sums[1], .loss = loss, .perplexity = exp(loss) };
    return sums[2] == 0;
}
