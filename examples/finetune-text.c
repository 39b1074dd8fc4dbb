/* finetune-text.c - trains a text classifier: a pretrained encoder, an adapter on it, and a linear head.
 *
 *     settings --> rows as tokens --> model, adapter, head --> batch --> step --> log, progress     until the last step;
 *                                                              now and then evaluation and checkpoint
 *
 * Read main, then train: the training is the loop there, and a step of it is take_step. */
#include "clpeft.h"

#include "trainer/batch.h"
#include "trainer/checkpoint.h"
#include "trainer/classify.h"
#include "trainer/dataset.h"
#include "trainer/interrupt.h"
#include "trainer/log.h"
#include "trainer/plot.h"
#include "trainer/program.h"
#include "trainer/progress.h"
#include "trainer/report.h"
#include "trainer/shuffle.h"
#include "trainer/tokenizer.h"
#include "text_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    wordpiece *tokenizer;
    label_list labels;
    dataset train, eval;
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
    shuffle order;
    batch batch;
    log_file log;
    progress progress;
    uint64_t first, step, total; /* steps: before this run, so far, at the end */
    int64_t evaluated;           /* step of the last evaluation; -1: none yet */
    uint64_t in_a_row;           /* skipped steps */
    double accuracy_before, best;
    classification last; /* the last evaluation of this run */
    double *seconds;     /* [total - first], of each step */
} run;

/* ---- what is trained on what ---- */

static void take_labels(label_list *labels, const json_t *state, const char *path)
{
    const json_t *names = checkpoint_member(state, "labels", JSON_ARRAY, path);

    labels->name = allocate(json_array_size(names), sizeof *labels->name);
    for (; labels->n < json_array_size(names); labels->n++) {
        const char *name = json_string_value(json_array_get(names, labels->n));
        if (!name || !(labels->name[labels->n] = strdup(name))) die("%s: its labels are damaged", path);
    }
}

static void read_rows(run *r, dataset *d, const char *path, bool labelled)
{
    dataset_read(d, path, r->tokenizer, training.max_length, labelled ? &r->labels : NULL);
    if (d->cut && labelled)
        note("%zu of %zu texts in %s are longer than %zu tokens and are cut (--max-length)", d->cut, d->n, d->path,
             training.max_length);
}

/* The model and a batch, for the tokens of the largest batch and of the longest row. The model's memory has an end: the
 * library takes larger batches in parts. */
static void open_model(run *r, size_t tokens, size_t longest, bool forward_only)
{
    enum { MODEL_TOKENS = 4096, MIN_SEQUENCES = 32 };
    const size_t max_sequences = training.batch > MIN_SEQUENCES ? training.batch : MIN_SEQUENCES;
    const size_t max_tokens = tokens > longest ? tokens : longest;
    const size_t model_tokens = max_tokens < MODEL_TOKENS ? max_tokens
                                : longest > MODEL_TOKENS  ? longest
                                                          : MODEL_TOKENS;
    clpeft_model_info info;

    r->ctx = training_device();
    r->model = training_model(r->ctx, CLPEFT_BERT, model_tokens, max_sequences, forward_only);
    clpeft_model_get_info(r->model, &info);
    if (longest > info.positions)
        die("--max-length %zu: the model reads %zu tokens at most", training.max_length, info.positions);
    if (wordpiece_size(r->tokenizer) > info.vocab)
        die("%s: vocab.txt has %zu tokens, the model %zu", training.model, wordpiece_size(r->tokenizer), info.vocab);
    batch_init(&r->batch, max_sequences, max_tokens);
}

/* The trainer of a checkpoint, and where it stands. It must have been trained on these rows. */
static void resume_from(run *r, const json_t *state, const char *path)
{
    char hash[17];

    snprintf(hash, sizeof hash, "%016" PRIx64, dataset_hash(&r->train));
    if (strcmp(hash, json_string_value(checkpoint_member(state, "rows_hash", JSON_STRING, path))) != 0)
        die("%s: not the rows that %s was trained on", training.train, path);
    must(clpeft_trainer_load(&r->trainer, r->model, path));
    r->first = r->step = clpeft_trainer_steps(r->trainer);
    if (r->step > r->total) die("%s: it has taken %" PRIu64 " steps already", path, r->step);
    r->evaluated = json_integer_value(checkpoint_member(state, "evaluated", JSON_INTEGER, path));
    r->accuracy_before = json_real_value(checkpoint_member(state, "accuracy_before", JSON_REAL, path));
    r->best = json_real_value(checkpoint_member(state, "best", JSON_REAL, path));
}

/* Everything that a training needs, checked before anything is written. state: of the checkpoint to resume, or NULL. */
static void open_training(run *r, const json_t *state, const char *path)
{
    uint64_t planned = 0;

    if (state) {
        take_labels(&r->labels, state, path);
        planned = (uint64_t)json_integer_value(checkpoint_member(state, "steps", JSON_INTEGER, path));
    }
    r->tokenizer = tokenizer_open(training.model);
    read_rows(r, &r->train, training.train, true);
    read_rows(r, &r->eval, training.eval, true);
    r->total = training.steps = training_steps(r->train.n, planned);
    r->evaluated = -1;
    shuffle_init(&r->order, r->train.n, training.seed);
    const size_t longest = r->eval.longest > r->train.longest ? r->eval.longest : r->train.longest;
    open_model(r, batch_most_tokens(&r->train, &r->order, r->total, training.batch), longest, false);
    const clpeft_trainer_options options = text_trainer_options(r->labels.n, r->total);
    if (state)
        resume_from(r, state, path);
    else
        must(clpeft_trainer_create(&r->trainer, r->model, &options));
    r->seconds = allocate(r->total - r->first, sizeof *r->seconds);
}

static void close_run(run *r)
{
    log_close(&r->log);
    clpeft_trainer_destroy(r->trainer);
    clpeft_model_destroy(r->model);
    clpeft_context_destroy(r->ctx);
    classification_free(&r->last);
    batch_free(&r->batch);
    shuffle_free(&r->order);
    dataset_free(&r->train);
    dataset_free(&r->eval);
    labels_free(&r->labels);
    wordpiece_destroy(r->tokenizer);
    free(r->seconds);
}

/* ---- training ---- */

static void log_start(run *r)
{
    char device[300];

    log_open(&r->log, training.log, r->first > 0, training.plot != NULL);
    log_write(&r->log,
              json_pack("{s:o, s:I, s:s, s:I}", "config", options_json(text_training_options, false), "trainable",
                        (json_int_t)clpeft_params_trainable(clpeft_trainer_params(r->trainer)), "device",
                        training_device_name(r->ctx, device, sizeof device), "first_step", (json_int_t)r->first + 1));
}

/* What a resumed run must know, and nothing that would differ between it and an uninterrupted one. */
static json_t *run_state(const run *r)
{
    char hash[17];
    json_t *labels = json_array();

    for (size_t i = 0; i < r->labels.n; i++) json_array_append_new(labels, json_string(r->labels.name[i]));
    snprintf(hash, sizeof hash, "%016" PRIx64, dataset_hash(&r->train));
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:f, s:f}", "settings", options_json(text_training_options, true),
                     "labels", labels, "rows_hash", hash, "steps", (json_int_t)r->total, "evaluated",
                     (json_int_t)r->evaluated, "accuracy_before", r->accuracy_before, "best", r->best);
}

static void save(const run *r, const char *file)
{
    json_t *state = run_state(r);

    checkpoint_save(r->trainer, state, training.out, file);
    json_decref(state);
}

static void take_step(run *r)
{
    clpeft_step_result result;
    const double start = program_clock();

    batch_of_step(&r->batch, &r->train, &r->order, r->step, training.batch);
    must(clpeft_train_step(r->trainer, &r->batch.packed, &result));
    const double seconds = program_clock() - start;
    const size_t tokens = (size_t)r->batch.row_start[r->batch.packed.S];
    r->seconds[r->step++ - r->first] = seconds;
    r->in_a_row = result.applied ? 0 : r->in_a_row + 1;
    json_t *line = json_pack("{s:I, s:o, s:o, s:I, s:o, s:o}", "step", (json_int_t)r->step, "loss",
                             log_number(result.loss), "lr", log_number(result.lr), "tokens", (json_int_t)tokens,
                             "seconds", log_number(seconds), "grad_norm", log_number((double)result.grad_norm));
    if (!result.applied) json_object_set_new(line, "skipped", json_true());
    log_write(&r->log, line);
    progress_step(&r->progress, r->step, result.loss, tokens, seconds);
    if (!result.applied)
        note("step %" PRIu64 " skipped: loss or gradient is not finite (%" PRIu64 " in a row)", r->step, r->in_a_row);
}

/* Evaluate; when that is interrupted, nothing changes. */
static void evaluate(run *r)
{
    classification result;

    if (!classify(&result, r->trainer, &r->eval, &r->batch, r->labels.n)) {
        classification_free(&result);
        return;
    }
    classification_free(&r->last);
    r->last = result;
    r->evaluated = (int64_t)r->step;
    note("step %" PRIu64 ": accuracy %.2f %%, loss %.4f", r->step, 100 * result.accuracy, result.loss);
    log_write(&r->log, json_pack("{s:I, s:o, s:o}", "step", (json_int_t)r->step, "eval_accuracy",
                                 log_number(result.accuracy), "eval_loss", log_number(result.loss)));
    if (r->step == 0) r->accuracy_before = result.accuracy;
    if (r->step > 0 && result.accuracy > r->best) {
        r->best = result.accuracy;
        save(r, CHECKPOINT_BEST);
    }
}

typedef enum { FINISHED, INTERRUPTED, DIVERGED } outcome;

static outcome train(run *r)
{
    for (;;) {
        const bool end = r->step == r->total, first = r->step == 0;
        if ((first || training_due(r->step, training.eval_every, r->total)) && r->evaluated != (int64_t)r->step)
            evaluate(r);
        const bool stop = interrupt_seen() || (r->step == training.stop_at && r->step > r->first && !end);
        if (stop || end || first || (!r->in_a_row && training_due(r->step, training.save_every, r->total)))
            save(r, CHECKPOINT_LAST);
        if (stop) return INTERRUPTED;
        if (end) return FINISHED;
        take_step(r);
        if (r->in_a_row >= training.max_skipped) return DIVERGED;
    }
}

/* ---- what it came to ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median: the first step, which compiles kernels, does not count. */
static double seconds_per_step(run *r)
{
    const size_t n = r->step - r->first;

    qsort(r->seconds, n, sizeof *r->seconds, by_value);
    return n ? r->seconds[n / 2] : 0;
}

static void print_tables(const run *r, const dataset *d, const classification *result)
{
    if (text.per_class) report_classes(d->n, d->label, result->predicted, r->labels.n, r->labels.name);
    if (text.confusion) report_confusion(d->n, d->label, result->predicted, r->labels.n, r->labels.name);
}

static int finish(run *r)
{
    const size_t trainable = clpeft_params_trainable(clpeft_trainer_params(r->trainer));
    const double seconds = seconds_per_step(r);
    const uint64_t peak = program_peak_memory();

    if (!r->last.predicted) evaluate(r); /* resumed at the end */
    note("accuracy %.2f %% before, %.2f %% after %" PRIu64 " steps (at best %.2f %%)", 100 * r->accuracy_before,
         100 * r->last.accuracy, r->step, 100 * r->best);
    note("%zu trainable parameters, %.1f ms per step, %.0f MB of memory at most", trainable, 1000 * seconds,
         1e-6 * (double)peak);
    log_write(&r->log, json_pack("{s:b, s:I, s:o, s:o, s:o, s:I}", "done", 1, "trainable", (json_int_t)trainable,
                                 "accuracy_before", log_number(r->accuracy_before), "accuracy_after",
                                 log_number(r->last.accuracy), "seconds_per_step", log_number(seconds),
                                 "peak_memory_bytes", (json_int_t)peak));
    note("saved in %s", training.out);
    print_tables(r, &r->eval, &r->last);
    return EXIT_SUCCESS;
}

/* Leave before the end: say why, and what leads on. */
static int stopped(run *r, outcome why)
{
    log_write(&r->log, json_pack("{s:s, s:I}", "stopped", why == DIVERGED ? "not finite" : "interrupted", "step",
                                 (json_int_t)r->step));
    if (why == DIVERGED) {
        note("%s keeps the last good state; a lower --lr may help", training.out);
        complain("stopped: %" PRIu64 " steps in a row were not finite", r->in_a_row);
        return EXIT_NOT_FINITE;
    }
    note("stopped and saved after step %" PRIu64 " of %" PRIu64 "; to go on:", r->step, r->total);
    putchar(' ');
    options_print_word(program_called());
    options_print(text_training_options, (const char *[]){ "resume", "out", "stop-at", NULL });
    options_print_word("--resume");
    options_print_word(training.out);
    putchar('\n');
    return EXIT_INTERRUPTED;
}

/* ---- the commands ---- */

static int run_training(int argc, char **argv)
{
    char path[PATH_SIZE];
    run r = { 0 };
    json_t *state = text_read_training(argc, argv, path);

    interrupt_catch();
    open_training(&r, state, path);
    json_decref(state);
    checkpoint_folder(training.out);
    log_start(&r);
    progress_start(&r.progress, r.first, r.total);
    const outcome end = train(&r);
    const int status = end == FINISHED ? finish(&r) : stopped(&r, end);
    if (training.plot) plot_draw(training.plot, &r.log);
    close_run(&r);
    return status;
}

/* The rows of a file and what a trained adapter makes of them. */
static void classify_file(run *r, const char *file, bool labelled, const json_t *state, const char *path)
{
    take_labels(&r->labels, state, path);
    r->tokenizer = tokenizer_open(training.model);
    read_rows(r, &r->eval, file, labelled);
    open_model(r, training.batch * r->eval.longest, r->eval.longest, true);
    must(clpeft_trainer_load(&r->trainer, r->model, path));
    classify(&r->last, r->trainer, &r->eval, &r->batch, r->labels.n);
}

static int run_eval(int argc, char **argv)
{
    char path[PATH_SIZE];
    const char *file;
    run r = { 0 };
    json_t *state = text_read_trained(argc, argv, path, &file);

    if (file || !training.eval) die("eval takes its rows from --eval FILE");
    classify_file(&r, training.eval, true, state, path);
    json_decref(state);
    note("accuracy %.2f %% (%zu of %zu), loss %.4f", 100 * r.last.accuracy, r.last.right, r.eval.n, r.last.loss);
    print_tables(&r, &r.eval, &r.last);
    close_run(&r);
    return EXIT_SUCCESS;
}

static int run_predict(int argc, char **argv)
{
    char path[PATH_SIZE];
    const char *file;
    run r = { 0 };
    json_t *state = text_read_trained(argc, argv, path, &file);

    if (training.eval) die("predict reads FILE or stdin; --eval belongs to eval");
    classify_file(&r, file ? file : "-", false, state, path);
    json_decref(state);
    for (size_t i = 0; i < r.eval.n; i++)
        printf("%s\t%.4f\n", r.labels.name[r.last.predicted[i]], (double)r.last.probability[i]);
    close_run(&r);
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
