/* train.c - one training step: materialize, forward, backward, update. */
#include "adapter.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a step ----------------------------------------------------------------------------------------------------- */

/* Labels are of tokens, not of sequences. */
static int by_token(const clpeft_trainer *t)
{
    return t->options.task == CLPEFT_LANGUAGE_MODEL;
}

/* Everything of a batch but the number of its tokens and sequences. *counted: rows with a label. */
static clpeft_status check_labelled(const clpeft_trainer *t, const clpeft_batch *batch, size_t *counted)
{
    clpeft_status status = CLPEFT_OK;
    const int64_t C = (int64_t)(by_token(t) ? t->model->info.vocab : t->options.classes);
    size_t longest;

    TRY(clp_batch_check(t->model, batch, &longest));
    REQUIRE(batch->labels, CLPEFT_INVALID_ARGUMENT, "labels are NULL");
    const size_t n = by_token(t) ? (size_t)batch->row_start[batch->S] : batch->S;
    *counted = 0;
    for (size_t i = 0; i < n; i++) {
        REQUIRE(batch->labels[i] >= -1 && batch->labels[i] < C, CLPEFT_INVALID_ARGUMENT,
                "label %zu is %d: there are %lld classes", i, batch->labels[i], (long long)C);
        *counted += batch->labels[i] >= 0;
    }
out:
    return status;
}

/* The sequences of a checked batch from `first` on: as many as the model takes at once, and at least one. */
static clpeft_batch part_from(clpeft_trainer *t, const clpeft_batch *batch, size_t first)
{
    const clpeft_model_options *o = &t->model->options;
    const int32_t from = clp_batch_start(t->model, batch, first);
    const size_t pixels = t->model->info.channels * t->model->info.image_size * t->model->info.image_size;
    size_t S = 0;

    t->rows[0] = 0;
    while (first + S < batch->S && S < o->max_sequences) {
        const int32_t end = clp_batch_start(t->model, batch, first + S + 1) - from;
        if (S > 0 && (size_t)end > o->max_tokens) break;
        S++;
        t->rows[S] = end;
    }
    return (clpeft_batch){ .S = S,
                           .row_start = t->rows,
                           .tokens = batch->tokens ? batch->tokens + from : NULL,
                           .pixels = batch->pixels ? batch->pixels + first * pixels : NULL,
                           .labels = !batch->labels ? NULL : batch->labels + (by_token(t) ? (size_t)from : first),
                           .first_token = batch->first_token + (size_t)from };
}

/* The trainer and its model. */
static clpeft_status alive(const clpeft_trainer *t, const char *what)
{
    const clpeft_status status = clp_live(t, CLP_HANDLE_TRAINER, what);
    return status != CLPEFT_OK ? status : clp_live(t->model, CLP_HANDLE_MODEL, what);
}

clpeft_status clpeft_train_begin(clpeft_trainer *t)
{
    clpeft_status status = CLPEFT_OK;

    TRY(alive(t, "clpeft_train_begin"));
    REQUIRE(!t->model->options.forward_only, CLPEFT_INVALID_ARGUMENT,
            "clpeft_train_begin: the model was loaded forward_only");
    t->phase = CLP_IDLE, t->counted = 0;
    TRY(clpeft_adapter_materialize(t->adapter, t->step, 1, t->queue, 0, NULL, NULL));
    TRY(clpeft_params_zero_grad(t->params, t->queue, 0, NULL, NULL));
    TRY(by_token(t) ? clp_lm_head_reset(&t->lm_head, t->queue) : clp_head_reset(&t->head, t->queue));
    t->phase = CLP_OPEN;
out:
    return status;
}

/* Of as many sequences as the model takes at once. */
static clpeft_status part_gradient(clpeft_trainer *t, const clpeft_batch *part, float weight)
{
    clpeft_model *m = t->model;
    clpeft_status status = CLPEFT_OK;
    clpeft_view y;

    t->adapter->set.first_token = part->first_token;
    TRY(clpeft_model_forward(m, t->adapter, part, 1, &y, t->queue, 0, NULL, NULL));
    if (by_token(t)) {
        TRY(clp_lm_head_backward(&t->lm_head, part->labels, weight, y, t->queue));
    } else {
        TRY(clp_head_forward(&t->head, m->T, m->S, m->row_start, y, t->queue));
        TRY(clp_head_backward(&t->head, m->T, m->S, m->row_start, part->labels, weight, y, t->queue));
    }
    TRY(clpeft_model_backward(m, t->adapter, y, t->queue, 0, NULL, NULL));
out:
    return status;
}

clpeft_status clpeft_train_gradient(clpeft_trainer *t, const clpeft_batch *batch, float weight)
{
    clpeft_status status = CLPEFT_OK;
    size_t counted = 0;
    clpeft_batch part;

    TRY(alive(t, "clpeft_train_gradient"));
    REQUIRE(t->phase == CLP_OPEN, CLPEFT_INVALID_ARGUMENT, "clpeft_train_gradient: no clpeft_train_begin before it");
    REQUIRE(isfinite(weight), CLPEFT_INVALID_ARGUMENT, "clpeft_train_gradient: weight is %g", (double)weight);
    TRY(check_labelled(t, batch, &counted));
    for (size_t first = 0; first < batch->S; first += part.S) {
        part = part_from(t, batch, first);
        TRY(part_gradient(t, &part, weight));
    }
    t->counted += counted;
out:
    return status;
}

clpeft_status clpeft_train_collect(clpeft_trainer *t)
{
    clpeft_status status = CLPEFT_OK;

    TRY(alive(t, "clpeft_train_collect"));
    REQUIRE(t->phase == CLP_OPEN, CLPEFT_INVALID_ARGUMENT, "clpeft_train_collect: no clpeft_train_begin before it");
    TRY(clpeft_adapter_backward(t->adapter, t->ws, t->queue, 0, NULL, NULL));
    t->phase = CLP_COLLECTED;
out:
    return status;
}

/* Wait for the step and tell what came of it. */
static clpeft_status read_result(const clpeft_trainer *t, double lr, clpeft_step_result *result)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_adamw_state state;
    float sums[2];

    const clpeft_view view = by_token(t) ? t->lm_head.sums : t->head.sums;
    TRY(clp_read(t->model->ctx, t->queue, view.buf, view.off * sizeof *sums, sizeof sums, sums));
    TRY(clpeft_adamw_read_state(t->params, &state, t->queue));
    *result = (clpeft_step_result){ .step = t->step,
                                    .loss = t->counted ? (double)sums[0] / (double)t->counted : 0,
                                    .lr = lr,
                                    .grad_norm = state.grad_norm,
                                    .applied = state.finite,
                                    .skipped = state.skipped,
                                    .correct = (size_t)sums[1],
                                    .counted = t->counted };
out:
    return status;
}

clpeft_status clpeft_train_update(clpeft_trainer *t, clpeft_step_result *result)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_adamw adamw;

    TRY(alive(t, "clpeft_train_update"));
    REQUIRE(t->phase == CLP_COLLECTED, CLPEFT_INVALID_ARGUMENT,
            "clpeft_train_update: no clpeft_train_collect before it");
    adamw = t->options.adamw;
    adamw.lr *= (float)clpeft_schedule(t->step, t->options.warmup, t->options.total_steps, t->options.decay);
    TRY(clpeft_adamw_step(t->params, &adamw, t->queue, 0, NULL, NULL));
    t->phase = CLP_IDLE;
    t->step++;
    if (result)
        TRY(read_result(t, (double)adamw.lr, result));
    else
        TRY_CL(clFlush(t->queue), "clFlush");
out:
    return status;
}

clpeft_status clpeft_train_step(clpeft_trainer *t, const clpeft_batch *batch, clpeft_step_result *result)
{
    clpeft_status status = CLPEFT_OK;
    size_t counted = 0;

    TRY(alive(t, "clpeft_train_step"));
    TRY(check_labelled(t, batch, &counted));
    REQUIRE(counted > 0, CLPEFT_INVALID_ARGUMENT, "clpeft_train_step: no row of the batch has a label");
    TRY(clpeft_train_begin(t));
    TRY(clpeft_train_gradient(t, batch, 1.0f / (float)counted));
    TRY(clpeft_train_collect(t));
    TRY(clpeft_train_update(t, result));
out:
    return status;
}

/* ---- evaluation ------------------------------------------------------------------------------------------------- */

static int32_t first_largest(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

/* Of the sequences of one part, as clpeft_trainer_evaluate. */
static clpeft_status evaluate_part(clpeft_trainer *t, const clpeft_batch *part, float *logits, int32_t *predicted,
                                   float *losses)
{
    clp_head *h = &t->head;
    clpeft_model *m = t->model;
    const size_t S = part->S;
    clpeft_status status = CLPEFT_OK;
    clpeft_view y;

    TRY(clpeft_model_forward(m, t->adapter, part, 0, &y, t->queue, 0, NULL, NULL));
    TRY(clp_head_forward(h, m->T, S, m->row_start, y, t->queue));
    if (losses) {
        TRY(clp_head_loss(h, S, part->labels, t->queue));
        TRY(clp_read(h->ctx, t->queue, h->loss.buf, h->loss.off * sizeof *losses, S * sizeof *losses, losses));
    }
    TRY(clp_read(h->ctx, t->queue, h->logits.buf, h->logits.off * sizeof *logits, S * h->C * sizeof *logits, logits));
    for (size_t q = 0; predicted && q < S; q++) predicted[q] = first_largest(logits + q * h->C, h->C);
out:
    return status;
}

/* Of a language model. */
static clpeft_status evaluate_tokens(clpeft_trainer *t, const clpeft_batch *batch, float *losses)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_batch part;
    clpeft_view y;

    for (size_t first = 0; first < batch->S; first += part.S) {
        part = part_from(t, batch, first);
        TRY(clpeft_model_forward(t->model, t->adapter, &part, 0, &y, t->queue, 0, NULL, NULL));
        TRY(clp_lm_head_loss(&t->lm_head, part.labels, y, losses + batch->row_start[first], t->queue));
    }
out:
    return status;
}

clpeft_status clpeft_trainer_evaluate(clpeft_trainer *t, const clpeft_batch *batch, float *logits, int32_t *predicted,
                                      float *losses)
{
    clpeft_status status = CLPEFT_OK;
    float *room = NULL;
    size_t longest;
    clpeft_batch part;

    TRY(alive(t, "clpeft_trainer_evaluate"));
    REQUIRE(t->phase == CLP_IDLE, CLPEFT_INVALID_ARGUMENT,
            "clpeft_trainer_evaluate: between clpeft_train_begin and clpeft_train_update");
    REQUIRE(!by_token(t) || (losses && !logits && !predicted), CLPEFT_INVALID_ARGUMENT,
            "clpeft_trainer_evaluate: of a language model there are losses only");
    TRY(losses ? check_labelled(t, batch, &longest) : clp_batch_check(t->model, batch, &longest));
    TRY(clpeft_adapter_materialize(t->adapter, t->step, 0, t->queue, 0, NULL, NULL));
    if (by_token(t)) return evaluate_tokens(t, batch, losses);
    const size_t C = t->options.classes;
    if (!logits) room = malloc(t->model->options.max_sequences * C * sizeof *room);
    REQUIRE(logits || room, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_trainer_evaluate: out of memory");
    for (size_t first = 0; first < batch->S; first += part.S) {
        part = part_from(t, batch, first);
        TRY(evaluate_part(t, &part, logits ? logits + first * C : room, predicted ? predicted + first : NULL,
                          losses ? losses + first : NULL));
    }
out:
    free(room);
    return status;
}
