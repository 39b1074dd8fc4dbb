/* run.h - a training, whatever its rows are: steps, evaluations, checkpoints, log and result.
 *
 *     batch --> step --> log, progress    until the last step;  now and then evaluation and checkpoint
 *
 * A program opens data, model and trainer, and says with a task how it makes a batch and evaluates. */
#ifndef RUN_H
#define RUN_H

#include "classify.h"
#include "dataset.h"
#include "log.h"
#include "parallel.h"
#include "progress.h"
#include "training.h"

#include <jansson.h>

typedef struct run run;

/* A device's own copy of what is trained. */
enum { MAX_DEVICES = 16 };
typedef struct {
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
} replica;

/* What evaluations measure, and what one has found. */
typedef struct {
    const char *name; /* "accuracy": eval_accuracy, accuracy_before and accuracy_after in the log */
    double scale;     /* of the number that people read: 100 */
    const char *unit; /* of it: " %" */
    bool falls;       /* less is better */
} run_measure;
typedef struct {
    double value, loss; /* in the measure; mean cross-entropy */
} run_score;

typedef struct {
    const run_measure *measure;
    const option_group *options; /* of a training, for the log's "config" and the checkpoint's "settings" */
    const char *unit;            /* what batches are counted in, in log and progress: "tokens" */
    void *data;                  /* the program's */
    /* The batch of a step, and how many units it has. */
    clpeft_batch (*batch)(void *data, uint64_t step, size_t *units);
    /* Over the evaluation data. false: it was interrupted. */
    bool (*evaluate)(run *r, run_score *score);
} run_task;

struct run {
    run_task task;
    label_list labels;
    uint64_t hash, eval_hash; /* of the rows; the second one for ranks only */
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
    replica more[MAX_DEVICES]; /* of the other devices, which share each step; from index 1 on */
    size_t devices;
    log_file log;
    progress progress;
    uint64_t first, step, total; /* steps: before this run, so far, at the end */
    int64_t evaluated;           /* step of the last evaluation; -1: none yet */
    uint64_t in_a_row;           /* skipped steps */
    double before, best;
    bool scored; /* there was an evaluation in this run; its score is the last one's */
    run_score score;
    double *seconds;      /* [total - first], of each step */
    parallel_times times; /* of all steps together */
    classification last;  /* of a classifier: the last evaluation */
};

/* The labels in a checkpoint's state, and its number of steps; 0 and no labels without a state. */
uint64_t run_take_labels(run *r, const json_t *state, const char *path);

/* Make the trainer, or load that of a checkpoint (state not NULL), which must have been trained on rows of r->hash. With labels, hash,
 * model and total set. */
void run_open_trainer(run *r, const json_t *state, const char *path);

/* Train and report. Returns the program's status. */
int run_train(run *r);

/* Of a classifier: evaluate rows, which becomes r->last unless it is interrupted; and the tables that options ask for, if there
 * was an evaluation. n and label: of its rows. */
extern const run_measure run_accuracy;
bool run_classify(run *r, const row_source *rows, run_score *score);
void run_print_tables(const run *r, size_t n, const int32_t *label);

void run_close(run *r);

#endif
