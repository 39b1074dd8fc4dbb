/* head.c - a linear classifier on pooled features, forward above backward. */
#include "head.h"

#include "backbone.h"

#include <string.h>

static const clpeft_view none = { NULL, 0, 0 };

/* By clpeft_pool. */
typedef clpeft_status pooling(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                              clpeft_view from, clpeft_view to, CLPEFT_QUEUE);
static pooling *const forward[] = { clpeft_pool_mean, clpeft_pool_first, clpeft_pool_rest, clpeft_pool_both },
                      *const backward[] = { clpeft_pool_mean_backward, clpeft_pool_first_backward,
                                            clpeft_pool_rest_backward, clpeft_pool_both_backward };

clpeft_status clp_head_add(clpeft_params *params, size_t C, size_t D)
{
    const size_t dims[] = { C, D };
    clpeft_status status = CLPEFT_OK;

    TRY(clpeft_params_add(params, "head.weight", CLPEFT_KIND_HEAD, 2, dims, NULL, NULL));
    TRY(clpeft_params_add(params, "head.bias", CLPEFT_KIND_HEAD_BIAS, 1, dims, NULL, NULL));
out:
    return status;
}

static size_t lay_out(clp_head *head, size_t S, cl_mem buf)
{
    clpeft_view at = { buf, 0, 1 };

    head->pooled = clp_carve(&at, S, head->D);
    head->dpooled = clp_carve(&at, S, head->D);
    head->logits = clp_carve(&at, S, head->C);
    head->loss = clp_carve(&at, S, 1);
    head->correct = clp_carve(&at, S, 1);
    head->sums = clp_carve(&at, 2, 1);
    return at.off;
}

clpeft_status clp_head_create(clp_head *head, clpeft_context *ctx, clpeft_params *params,
                              const clpeft_trainer_options *options, size_t S)
{
    const clpeft_tensor *w = clpeft_params_find(params, "head.weight"), *b = clpeft_params_find(params, "head.bias");
    cl_mem theta = clpeft_params_buffer_cl(params, CLPEFT_THETA), grad = clpeft_params_buffer_cl(params, CLPEFT_GRAD);
    const size_t C = w->dims[0], D = w->dims[1];
    clpeft_status status = CLPEFT_OK;
    size_t bytes = 0;

    *head = (clp_head){ .ctx = ctx,
                        .params = params,
                        .D = D,
                        .width = options->pool == CLPEFT_POOL_BOTH ? D / 2 : D,
                        .C = C,
                        .pool = options->pool,
                        .scale = options->feature_scale,
                        .w = { theta, w->off, D },
                        .b = { theta, b->off, 1 },
                        .dw = { grad, w->off, D },
                        .db = { grad, b->off, 1 } };
    TRY(clp_buffer(ctx, lay_out(head, S, NULL) * sizeof(float), NULL, &head->memory));
    lay_out(head, S, head->memory);
    TRY(clp_staging_create(&head->labels, ctx, S));
    const size_t need[] = { clpeft_gemm_workspace(ctx, S, C, D), clpeft_gemm_workspace(ctx, S, D, C),
                            clpeft_gemm_workspace(ctx, C, D, S) };
    for (size_t i = 0; i < LENGTH(need); i++) bytes = need[i] > bytes ? need[i] : bytes;
    if (bytes > 0) TRY(clpeft_workspace_create(&head->ws, ctx, bytes));
out:
    return status;
}

void clp_head_destroy(clp_head *head)
{
    if (head->memory) clReleaseMemObject(head->memory);
    clp_staging_destroy(&head->labels);
    clpeft_workspace_destroy(head->ws);
}

clpeft_status clp_head_reset(clp_head *head, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clp_head_reset", head->ctx, queue, 0, NULL));
    TRY(clp_fill_zero(&s, head->sums.buf, head->sums.off, 2));
    status = clp_end(&s, NULL);
out:
    return status;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

clpeft_status clp_head_forward(clp_head *head, size_t T, size_t S, clpeft_view row_start, clpeft_view x,
                               cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clp_head_forward", head->ctx, queue, 0, NULL));
    TRY(forward[head->pool](head->ctx, T, head->width, S, row_start, x, head->pooled, queue, 0, NULL, NULL));
    const clp_arg args[] = { VIEW(head->b), VIEW(head->logits) };
    const size_t global[] = { head->C, S };
    TRY(clp_run(&s, "head", "spread", "", ARGS(args), 2, global, NULL));
    TRY(clp_end(&s, NULL));
    TRY(clpeft_gemm(head->ctx, 0, 1, S, head->C, head->D, head->scale, head->pooled, head->w, 1.0f, head->logits,
                    head->ws, queue, 0, NULL, NULL));
out:
    return status;
}

/* The device's copy of the labels. */
static clpeft_status send_labels(clp_head *head, size_t S, const int32_t *labels, clpeft_view *view, clp_stream *s)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_staging_open(&head->labels));
    memcpy(head->labels.host, labels, S * sizeof *labels);
    TRY(clp_staging_send(&head->labels, S, s));
    *view = (clpeft_view){ head->labels.buf, 0, 1 };
out:
    return status;
}

clpeft_status clp_head_loss(clp_head *head, size_t S, const int32_t *labels, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_view view;
    clp_stream s;

    TRY(clp_begin(&s, "clp_head_loss", head->ctx, queue, 0, NULL));
    TRY(send_labels(head, S, labels, &view, &s));
    status = clpeft_cross_entropy(head->ctx, S, head->C, head->logits, view, 1.0f, head->loss, none, none, queue, 0,
                                  NULL, NULL);
out:
    return status;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

static clpeft_status tally(clp_head *head, size_t S, clp_stream *s)
{
    const clp_arg args[] = { SIZE(S), VIEW(head->loss), VIEW(head->correct), VIEW(head->sums), VIEW(head->db) };
    const size_t group = head->ctx->tuning.group;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_run(s, "head", "tally", "", ARGS(args), 1, &group, &group));
    status = clp_end(s, NULL);
out:
    return status;
}

/* With dlogits [S,C]:  dW += scale dlogits^T pooled,  db += sum_s dlogits_s,  dpooled = scale dlogits W. */
clpeft_status clp_head_backward(clp_head *head, size_t T, size_t S, clpeft_view row_start, const int32_t *labels,
                                float weight, clpeft_view dx, cl_command_queue queue)
{
    clpeft_context *ctx = head->ctx;
    const clpeft_view dlogits = head->logits;
    const size_t C = head->C, D = head->D;
    clpeft_status status = CLPEFT_OK;
    clpeft_view view;
    clp_stream s;

    TRY(clp_begin(&s, "clp_head_backward", ctx, queue, 0, NULL));
    TRY(send_labels(head, S, labels, &view, &s));
    TRY(clpeft_cross_entropy(ctx, S, C, head->logits, view, weight, head->loss, head->correct, dlogits, queue, 0, NULL,
                             NULL));
    TRY(tally(head, S, &s));
    TRY(clpeft_gemm(ctx, 1, 0, C, D, S, head->scale, dlogits, head->pooled, 1.0f, head->dw, head->ws, queue, 0, NULL,
                    NULL));
    TRY(clpeft_column_sum(ctx, S, C, dlogits, 1.0f, head->db, queue, 0, NULL, NULL));
    TRY(clpeft_gemm(ctx, 0, 0, S, D, C, head->scale, dlogits, head->w, 0.0f, head->dpooled, head->ws, queue, 0, NULL,
                    NULL));
    TRY(backward[head->pool](ctx, T, head->width, S, row_start, head->dpooled, dx, queue, 0, NULL, NULL));
out:
    return status;
}
