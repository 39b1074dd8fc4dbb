/* head.h - a linear classifier on pooled features:  logits = W (scale pool(x)) + b,  W [C,D], b [C] in the arena. */
#ifndef CLP_HEAD_H
#define CLP_HEAD_H

#include "clpeft/params.h"
#include "clpeft/train.h"
#include "staging.h"

typedef struct {
    clpeft_context *ctx;
    clpeft_params *params; /* borrowed, allocated */
    size_t D, C, width;    /* width: of the model; D: of what is pooled, width or with both parts twice that */
    clpeft_pool pool;
    float scale;
    clpeft_view w, b, dw, db;    /* in the arena and its gradient */
    clpeft_view pooled, dpooled; /* [S,D] */
    clpeft_view logits;          /* [S,C]; their gradient takes their place */
    clpeft_view loss, correct;   /* [S] */
    clpeft_view sums;            /* [2]: of the losses and the right answers since clp_head_reset */
    cl_mem memory;
    clp_staging labels;
    clpeft_workspace *ws;
} clp_head;

/* Add head.weight and head.bias, zeros, to an arena. */
clpeft_status clp_head_add(clpeft_params *params, size_t C, size_t D);
/* With params allocated. S: sequences of the largest batch. */
clpeft_status clp_head_create(clp_head *head, clpeft_context *ctx, clpeft_params *params,
                              const clpeft_trainer_options *options, size_t S);
void clp_head_destroy(clp_head *head);

/* sums = 0. */
clpeft_status clp_head_reset(clp_head *head, cl_command_queue queue);

/* x [T,D] of S sequences --> logits. */
clpeft_status clp_head_forward(clp_head *head, size_t T, size_t S, clpeft_view row_start, clpeft_view x,
                               cl_command_queue queue);
/* logits, labels --> loss. labels: host memory. */
clpeft_status clp_head_loss(clp_head *head, size_t S, const int32_t *labels, cl_command_queue queue);
/* The gradient of weight * the summed loss after clp_head_forward: added to dW and db, and written to dx [T,D], which may be
 * x; losses go into the sums. */
clpeft_status clp_head_backward(clp_head *head, size_t T, size_t S, clpeft_view row_start, const int32_t *labels,
                                float weight, clpeft_view dx, cl_command_queue queue);

#endif
