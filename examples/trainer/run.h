/* run.h - the training of a classifier, whatever its rows are: steps, evaluations, checkpoints, log and result.
 *
 *     batch --> step --> log, progress    until the last step;  now and then evaluation and checkpoint
 *
 * A program opens data, model and trainer, and says with a task how it makes a batch and evaluates. */
#ifndef RUN_H
#define RUN_H

#include "classify.h"
#include "dataset.h"
#include "log.h"
#include "progress.h"
#include "training.h"

#include <jansson.h>

typedef struct run run;

typedef struct {
    const option_group *options; /* of a training, for the log's "config" and the checkpoint's "settings" */
    const char *unit;            /* what batches are counted in, in log and progress: "tokens" */
    void *data;                  /* the program's */
    /* The batch of a step, and how many units it has. */
    clpeft_batch (*batch)(void *data, uint64_t step, size_t *units);
    /* classify over the evaluation data. */
    bool (*evaluate)(void *data, classification *result, clpeft_trainer *trainer, size_t classes);
} run_task;

struct run {
    run_task task;
    label_list labels;
    uint64_t hash; /* of the training's rows */
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
    log_file log;
    progress progress;
    uint64_t first, step, total; /* steps: before this run, so far, at the end */
    int64_t evaluated;           /* step of the last evaluation; -1: none yet */
    uint64_t in_a_row;           /* skipped steps */
    double accuracy_before, best;
    classification last; /* the last evaluation of this run */
    double *seconds;     /* [total - first], of each step */
};

/* The labels in a checkpoint's state, and its number of steps; 0 and no labels without a state. */
uint64_t run_take_labels(run *r, const json_t *state, const char *path);

/* Make the trainer, or load that of a checkpoint (state not NULL), which must have been trained on rows of r->hash. With labels, hash,
 * model and total set. */
void run_open_trainer(run *r, const json_t *state, const char *path);

/* Train and report. n and label: of the evaluation data. Returns the program's status. */
int run_train(run *r, size_t n, const int32_t *label);

/* The tables that options ask for. */
void run_print_tables(const run *r, size_t n, const int32_t *label);

void run_close(run *r);

#endif
