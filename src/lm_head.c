/* lm_head.c - the loss of a language model, a slice of the vocabulary at a time. */
#include "lm_head.h"
#include "linear.h"

#include <stdlib.h>

static const clpeft_view none = { NULL, 0, 0 };

static size_t lay_out(clp_lm_head *head, cl_mem buf)
{
    const size_t T = head->model->options.max_tokens, D = head->model->info.width, V = head->model->info.vocab;
    clpeft_view at = { buf, 0, 1 };

    head->h = clp_carve(&at, T, D);
    head->dh = clp_carve(&at, T, D);
    head->logits = clp_carve(&at, T, V < CLP_SLICE ? V : CLP_SLICE);
    head->state = clp_carve(&at, T, 4);
    head->loss = clp_carve(&at, T, 1);
    head->correct = clp_carve(&at, T, 1);
    head->sums = clp_carve(&at, 2, 1);
    return at.off;
}

clpeft_status clp_lm_head_create(clp_lm_head *head, clpeft_model *model)
{
    const size_t T = model->options.max_tokens;
    clpeft_status status = CLPEFT_OK;

    *head = (clp_lm_head){ .model = model };
    head->host = malloc(T * sizeof *head->host);
    REQUIRE(head->host, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: losses of %zu tokens", T);
    TRY(clp_buffer(model->ctx, lay_out(head, NULL) * sizeof(float), NULL, &head->memory));
    lay_out(head, head->memory);
    TRY(clp_staging_create(&head->picks, model->ctx, 3 * T));
out:
    return status;
}

void clp_lm_head_destroy(clp_lm_head *head)
{
    if (head->memory) clReleaseMemObject(head->memory);
    clp_staging_destroy(&head->picks);
    free(head->host);
}

clpeft_status clp_lm_head_reset(clp_lm_head *head, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clp_lm_head_reset", head->model->ctx, queue, 0, NULL));
    TRY(clp_fill_zero(&s, head->sums.buf, head->sums.off, 2));
    status = clp_end(&s, NULL);
out:
    return status;
}

/* ---- slices ----------------------------------------------------------------------------------------------------- */

/* Views of the device's integers, C of T tokens count. */
static clpeft_view counted_tokens(const clp_lm_head *head)
{
    return (clpeft_view){ head->picks.buf, 0, 1 };
}
static clpeft_view their_labels(const clp_lm_head *head, size_t C)
{
    return (clpeft_view){ head->picks.buf, C, 1 };
}
static clpeft_view places(const clp_lm_head *head, size_t C)
{
    return (clpeft_view){ head->picks.buf, 2 * C, 1 };
}

/* Put the hidden states of the tokens that count into h, *C of them. */
static clpeft_status pick(clp_lm_head *head, const int32_t *labels, clpeft_view x, size_t *C, clp_stream *s)
{
    const size_t T = head->model->T;
    clpeft_status status = CLPEFT_OK;
    size_t n = 0, at = 0;

    for (size_t t = 0; t < T; t++) n += labels[t] >= 0;
    TRY(clp_staging_open(&head->picks));
    int32_t *host = head->picks.host;
    for (size_t t = 0; t < T; t++) {
        host[2 * n + t] = labels[t] >= 0 ? (int32_t)at : -1;
        if (labels[t] < 0) continue;
        host[at] = (int32_t)t;
        host[n + at++] = labels[t];
    }
    TRY(clp_staging_send(&head->picks, 2 * n + T, s));
    const clp_table rows = clp_table_of(head->model->ctx, T, head->model->info.width, x);
    TRY(clp_table_look_up(s, &rows, n, counted_tokens(head), head->h));
    *C = n;
out:
    return status;
}

/* One slice of the softmax over logits [C,n], whose columns begin with `first`. */
static clpeft_status run_slice(const clp_lm_head *head, size_t C, size_t first, size_t n, int gradient, clp_stream *s)
{
    const size_t local = s->ctx->tuning.group, global = C * local, D = head->model->info.width;
    const clpeft_view labels = their_labels(head, C);
    const cl_int begin = first == 0;
    const clp_arg args[] = { SIZE(n),      SIZE(D),           SIZE(first),   VALUE(begin), VIEW(head->logits),
                             VIEW(labels), VIEW(head->state), VIEW(head->dh) };

    s->flops = 15.0 * (double)C * (double)n, s->bytes = (gradient ? 12.0 : 8.0) * (double)C * (double)n;
    return clp_run(s, "lm_head", "lm_slice", gradient ? "-D GRADIENT" : "", ARGS(args), 1, &global, &local);
}

static clpeft_status run_finish(const clp_lm_head *head, size_t C, float weight, int gradient, clp_stream *s)
{
    const size_t local = s->ctx->tuning.group, global = C * local, D = head->model->info.width;
    const clp_arg args[] = { SIZE(D),        VALUE(weight),    VIEW(head->state),  VIEW(head->h),
                             VIEW(head->dh), VIEW(head->loss), VIEW(head->correct) };

    s->bytes = (gradient ? 12.0 : 0.0) * (double)C * (double)D;
    return clp_run(s, "lm_head", "lm_finish", gradient ? "-D GRADIENT" : "", ARGS(args), 1, &global, &local);
}

/* h --> loss, correct, and with gradient dh: of weight * the summed loss. h is used up. */
static clpeft_status run_slices(const clp_lm_head *head, size_t C, float weight, int gradient, clp_stream *s)
{
    const clp_table *table = head->model->output;
    clpeft_workspace *ws = head->model->ws;
    clpeft_status status = CLPEFT_OK;

    for (size_t first = 0, n; first < table->V; first += n) {
        n = table->V - first < CLP_SLICE ? table->V - first : CLP_SLICE;
        const clpeft_linear slice = clp_table_slice(table, first, n);
        clp_layer_call call = { .linear = &slice, .T = C, .x = head->h, .y = head->logits };
        TRY(clp_linear_forward(&call, NULL, none, ws, s->queue, 0, NULL, NULL));
        TRY(run_slice(head, C, first, n, gradient, s));
        call.dx = head->dh, call.accumulate = first > 0 ? 1.0f : 0.0f;
        if (gradient) TRY(clp_linear_backward(&call, NULL, none, ws, s->queue, 0, NULL, NULL));
    }
    if (gradient) TRY(clp_table_look_up(s, table, C, their_labels(head, C), head->h));
    TRY(run_finish(head, C, weight, gradient, s));
out:
    return status;
}

/* ---- loss and gradient ------------------------------------------------------------------------------------------ */

clpeft_status clp_lm_head_backward(clp_lm_head *head, const int32_t *labels, float weight, clpeft_view x,
                                   cl_command_queue queue)
{
    clpeft_model *model = head->model;
    clpeft_status status = CLPEFT_OK;
    size_t C = 0;
    clp_stream s;

    TRY(clp_begin(&s, "clp_lm_head_backward", model->ctx, queue, 0, NULL));
    TRY(pick(head, labels, x, &C, &s));
    TRY(run_slices(head, C, weight, 1, &s));
    const clp_table rows = clp_table_of(model->ctx, C, model->info.width, head->dh);
    TRY(clp_table_look_up(&s, &rows, model->T, places(head, C), x));
    /* A loss that is not finite makes the gradient NaN too, so that the optimizer refuses the step. */
    const clp_arg args[] = { SIZE(C), VIEW(head->loss), VIEW(head->correct), VIEW(head->sums), VIEW(x) };
    const size_t group = model->ctx->tuning.group;
    TRY(clp_run(&s, "head", "tally", "", ARGS(args), 1, &group, &group));
    status = clp_end(&s, NULL);
out:
    return status;
}

clpeft_status clp_lm_head_loss(clp_lm_head *head, const int32_t *labels, clpeft_view x, float *losses,
                               cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    size_t C = 0, at = 0;
    clp_stream s;

    TRY(clp_begin(&s, "clp_lm_head_loss", head->model->ctx, queue, 0, NULL));
    TRY(pick(head, labels, x, &C, &s));
    TRY(run_slices(head, C, 1, 0, &s));
    TRY(clp_read(s.ctx, queue, head->loss.buf, head->loss.off * sizeof *losses, C * sizeof *losses, head->host));
    for (size_t t = 0; t < head->model->T; t++) losses[t] = labels[t] >= 0 ? head->host[at++] : 0.0f;
out:
    return status;
}
