/* lm_head.h - the loss of a language model: cross entropy of x W^T, W the model's output table, in slices of W's rows
 * (cl/lm_head.cl). Tokens that do not count take no part. */
#ifndef CLP_LM_HEAD_H
#define CLP_LM_HEAD_H

#include "backbone.h"

typedef struct {
    clpeft_model *model;       /* borrowed */
    clpeft_view h, dh;         /* [C,D]: of the C tokens that count */
    clpeft_view logits, state; /* [C,CLP_SLICE], [C,4] */
    clpeft_view loss, correct; /* [C] */
    clpeft_view sums;          /* [2]: of the losses and the right answers since clp_lm_head_reset */
    cl_mem memory;
    clp_staging
        picks;   /* the tokens that count [C], their labels [C], then of all tokens their place among these or -1 [T] */
    float *host; /* [T] */
} clp_lm_head;

clpeft_status clp_lm_head_create(clp_lm_head *head, clpeft_model *model);
void clp_lm_head_destroy(clp_lm_head *head);

/* sums = 0. */
clpeft_status clp_lm_head_reset(clp_lm_head *head, cl_command_queue queue);

/* Of the model's present batch with last hidden states x [T,D]; labels [T] in host memory, checked; -1: does not count.
 * The gradient of weight * the summed loss takes the place of x; losses go into the sums. */
clpeft_status clp_lm_head_backward(clp_lm_head *head, const int32_t *labels, float weight, clpeft_view x,
                                   cl_command_queue queue);
/* The losses alone [T], 0 where a token does not count, to host memory. Blocks. */
clpeft_status clp_lm_head_loss(clp_lm_head *head, const int32_t *labels, clpeft_view x, float *losses,
                               cl_command_queue queue);

#endif
