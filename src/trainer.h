/* trainer.h - a trainer, as train.c and checkpoint.c see it. */
#ifndef CLP_TRAINER_H
#define CLP_TRAINER_H

#include "head.h"
#include "lm_head.h"
#include "model.h"

struct clpeft_trainer {
    clpeft_model *model; /* borrowed */
    clpeft_trainer_options options;
    char *sites; /* options.sites */
    cl_command_queue queue;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_workspace *ws; /* of the adapter's backward; NULL if it needs none */
    clp_head head;        /* of a classifier */
    clp_lm_head lm_head;  /* of a language model */
    uint64_t step;        /* steps taken, skipped ones too */
    enum { CLP_IDLE, CLP_OPEN, CLP_COLLECTED } phase;
    int32_t *rows;  /* [max_sequences + 1]: row_start of a part of a batch */
    size_t counted; /* rows with a label since clpeft_train_begin */
};

/* JSON of options, and back. free() the text. In *options, sites points into *config, which the caller json_decref's. */
clpeft_status clp_options_write(const clpeft_trainer_options *options, char **text);
clpeft_status clp_options_read(clpeft_trainer_options *options, json_t **config, const char *text, size_t size);
/* A whole number from 0 in decimal digits, and nothing else. Returns 0 for another text. */
int clp_parse_u64(const char *text, uint64_t *value);

#endif
