#include "classify.h"

#include <math.h>
#include <stdlib.h>

#include "interrupt.h"
#include "program.h"
#include "ranks.h"

/* exp(z_k) / sum_c exp(z_c) */
static float softmax_of(const float *z, size_t classes, size_t k)
{
    float sum = 0;

    for (size_t c = 0; c < classes; c++) sum += expf(z[c] - z[k]);
    return 1 / sum;
}

bool classify(classification *result, clpeft_trainer *trainer, const row_source *rows, size_t classes)
{
    float *logits = allocate(rows->most * classes, sizeof *logits);
    float *losses = allocate(rows->most, sizeof *losses);
    size_t done, end;

    ranks_part(rows->n, &done, &end);
    *result = (classification){ .predicted = allocate(rows->n, sizeof *result->predicted),
                                .probability = allocate(rows->n, sizeof *result->probability) };
    while (done < end && !interrupt_seen()) {
        clpeft_batch batch = rows->next(rows->data, done);
        if (batch.S > end - done) batch.S = end - done;
        must(clpeft_trainer_evaluate(trainer, &batch, logits, result->predicted + done, rows->label ? losses : NULL));
        for (size_t i = 0; i < batch.S; i++) {
            const int32_t k = result->predicted[done + i];
            result->probability[done + i] = softmax_of(logits + i * classes, classes, (size_t)k);
            if (!rows->label) continue;
            result->right += k == rows->label[done + i];
            result->loss += (double)losses[i];
        }
        done += batch.S;
    }
    double sums[] = { (double)result->right, result->loss, done < end };
    ranks_sum(sums, 3);
    ranks_join(result->predicted, rows->n);
    result->right = (size_t)sums[0];
    result->accuracy = sums[0] / (double)rows->n;
    result->loss = sums[1] / (double)rows->n;
    free(logits);
    free(losses);
    return sums[2] == 0;
}

void classification_free(classification *result)
{
    free(result->predicted);
    free(result->probability);
    *result = (classification){ 0 };
}
