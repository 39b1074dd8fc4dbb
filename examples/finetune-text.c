/* finetune-text.c - trains a text classifier: a pretrained encoder, an adapter on it, and a linear head.
 *
 *     settings --> rows as tokens --> model, adapter, head --> trainer/run.c: batch --> step --> log, evaluation, checkpoint
 *
 * Read main, then run_training; the training is the loop in trainer/run.c. */
#include "clpeft.h"

#include "trainer/batch.h"
#include "trainer/dataset.h"
#include "trainer/interrupt.h"
#include "trainer/program.h"
#include "trainer/ranks.h"
#include "trainer/run.h"
#include "trainer/settings.h"
#include "trainer/shuffle.h"
#include "trainer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---- */

static const char usage[] =
    "finetune-text - trains a text classifier on an OpenCL device\n\n"
    "  finetune-text --model DIR --train FILE --eval FILE [OPTION]...    train\n"
    "  finetune-text eval --model DIR --adapter DIR --eval FILE          accuracy of what was trained\n"
    "  finetune-text predict --model DIR --adapter DIR [FILE]            label<TAB>probability for each line of text\n\n"
    "Training and evaluation data are lines of label<TAB>text in UTF-8; predict reads lines of text, from stdin without\n"
    "FILE. Ctrl-C ends the step, saves, and says how to resume; a second one kills. Defaults are in parentheses.";

static const option_group train_groups[] = {
    { "About", training_about },     { "Files", training_files },       { "Adapter", training_adapter },
    { "Head", training_head },       { "Training", training_schedule }, { "Memory", training_memory },
    { "Reports", training_reports }, { "Tables", training_tables },     { 0 },
};
static const option_group trained_groups[] = {
    { "About", training_about },
    { "Files", settings_trained },
    { "Tables", training_tables },
    { 0 },
};
static const settings text = { usage, train_groups, trained_groups, NULL };

/* ---- rows and model ---- */

typedef struct {
    wordpiece *tokenizer;
    dataset train, eval;
    shuffle order;
    batch batch;
} rows;

static void read_rows(rows *t, dataset *d, const char *path, label_list *labels)
{
    dataset_read(d, path, t->tokenizer, training.max_length, labels);
    if (d->cut && labels)
        note("%zu of %zu texts in %s are longer than %zu tokens and are cut (--max-length)", d->cut, d->n, d->path,
             training.max_length);
}

/* The model and a batch, for the tokens of the largest batch and of the longest row. The model's memory has an end: the
 * library takes larger batches in parts. */
static void open_model(run *r, rows *t, size_t tokens, size_t longest, bool forward_only)
{
    enum { MODEL_TOKENS = 4096, MIN_SEQUENCES = 32 };
    const size_t max_sequences = training.batch > MIN_SEQUENCES ? training.batch : MIN_SEQUENCES;
    const size_t max_tokens = tokens > longest ? tokens : longest;
    const size_t share = parallel_most_tokens(max_tokens, longest, training_devices());
    const size_t model_tokens = share < MODEL_TOKENS ? share : longest > MODEL_TOKENS ? longest : MODEL_TOKENS;
    clpeft_model_info info;

    r->ctx = training_device();
    r->model = training_model(r->ctx, CLPEFT_BERT, model_tokens, max_sequences, 0, forward_only);
    clpeft_model_get_info(r->model, &info);
    if (longest > info.positions)
        die("--max-length %zu: the model reads %zu tokens at most", training.max_length, info.positions);
    if (wordpiece_size(t->tokenizer) > info.vocab)
        die("%s: vocab.txt has %zu tokens, the model %zu", training.model, wordpiece_size(t->tokenizer), info.vocab);
    batch_init(&t->batch, max_sequences, max_tokens);
}

static clpeft_batch batch_for(void *data, uint64_t step, size_t *units)
{
    rows *t = data;

    batch_of_step(&t->batch, &t->train, &t->order, step, training.batch);
    *units = (size_t)t->batch.row_start[t->batch.packed.S];
    return t->batch.packed;
}

static clpeft_batch next_rows(void *data, size_t row)
{
    rows *t = data;

    batch_next(&t->batch, &t->eval, &row);
    return t->batch.packed;
}

static bool evaluate(run *r, run_score *score)
{
    rows *t = r->task.data;
    const row_source source = { t->eval.n, t->batch.max_sequences, t->eval.label, next_rows, t };

    return run_classify(r, &source, score);
}

/* Everything that a training needs, checked before anything is written. state: of the checkpoint to resume, or NULL. */
static void open_training(run *r, rows *t, const json_t *state, const char *path)
{
    const uint64_t planned = run_take_labels(r, state, path);

    t->tokenizer = tokenizer_open(training.model);
    read_rows(t, &t->train, training.train, &r->labels);
    read_rows(t, &t->eval, training.eval, &r->labels);
    r->hash = dataset_hash(&t->train), r->eval_hash = dataset_hash(&t->eval);
    r->total = training.steps = training_steps(t->train.n, planned);
    shuffle_init(&t->order, t->train.n, training.seed);
    const size_t longest = t->eval.longest > t->train.longest ? t->eval.longest : t->train.longest;
    open_model(r, t, batch_most_tokens(&t->train, &t->order, r->total, training.batch), longest, false);
    run_open_trainer(r, state, path);
}

static void close_all(run *r, rows *t)
{
    run_close(r);
    batch_free(&t->batch);
    shuffle_free(&t->order);
    dataset_free(&t->train);
    dataset_free(&t->eval);
    wordpiece_destroy(t->tokenizer);
}

/* ---- the commands ---- */

static int run_training(int argc, char **argv)
{
    char path[PATH_SIZE];
    rows t = { 0 };
    run r = { .task = { &run_accuracy, train_groups + 1, "tokens", &t, batch_for, evaluate } };
    const json_t *state = settings_read_training(&text, argc, argv, path);

    ranks_start();
    interrupt_catch();
    open_training(&r, &t, state, path);
    const int status = run_train(&r);
    if (status == EXIT_SUCCESS) run_print_tables(&r, t.eval.n, t.eval.label);
    close_all(&r, &t);
    ranks_end();
    return status;
}

/* The rows of a file and what a trained adapter makes of them. */
static void classify_file(run *r, rows *t, const char *file, bool labelled, const json_t *state, const char *path)
{
    run_take_labels(r, state, path);
    t->tokenizer = tokenizer_open(training.model);
    read_rows(t, &t->eval, file, labelled ? &r->labels : NULL);
    open_model(r, t, training.batch * t->eval.longest, t->eval.longest, true);
    must(clpeft_trainer_load(&r->trainer, r->model, path));
    evaluate(r, &r->score);
}

static int run_eval(int argc, char **argv)
{
    char path[PATH_SIZE];
    rows t = { 0 };
    run r = { .task.data = &t };
    int rest;
    const json_t *state = settings_read_trained(&text, argc, argv, path, &rest);

    if (rest < argc || !training.eval) die("eval takes its rows from --eval FILE");
    classify_file(&r, &t, training.eval, true, state, path);
    note("accuracy %.2f %% (%zu of %zu), loss %.4f", 100 * r.last.accuracy, r.last.right, t.eval.n, r.last.loss);
    run_print_tables(&r, t.eval.n, t.eval.label);
    close_all(&r, &t);
    return EXIT_SUCCESS;
}

static int run_predict(int argc, char **argv)
{
    char path[PATH_SIZE];
    rows t = { 0 };
    run r = { .task.data = &t };
    int rest;
    const json_t *state = settings_read_trained(&text, argc, argv, path, &rest);

    if (rest + 1 < argc) die("%s: only one file at a time; see --help", argv[rest + 1]);
    if (training.eval) die("predict reads FILE or stdin; --eval belongs to eval");
    classify_file(&r, &t, rest < argc ? argv[rest] : "-", false, state, path);
    for (size_t i = 0; i < t.eval.n; i++)
        printf("%s\t%.4f\n", r.labels.name[r.last.predicted[i]], (double)r.last.probability[i]);
    close_all(&r, &t);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const bool eval = !strcmp(command, "eval"), predict = !strcmp(command, "predict");
    int status;

    program_start("finetune-text", argv);
    if (eval || predict) {
        argv[1] = argv[0]; /* the options follow the command */
        argv++, argc--;
    }
    if (eval)
        status = run_eval(argc, argv);
    else if (predict)
        status = run_predict(argc, argv);
    else
        status = run_training(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) die("stdout: cannot be written");
    return status;
}
