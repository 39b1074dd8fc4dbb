#include "run.h"

#include "checkpoint.h"
#include "init.h"
#include "interrupt.h"
#include "plot.h"
#include "program.h"
#include "ranks.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- open and close ---- */

uint64_t run_take_labels(run *r, const json_t *state, const char *path)
{
    label_list *labels = &r->labels;

    if (!state) return 0;
    const json_t *names = checkpoint_member(state, "labels", JSON_ARRAY, path);
    labels->name = allocate(json_array_size(names), sizeof *labels->name);
    for (; labels->n < json_array_size(names); labels->n++) {
        const char *name = json_string_value(json_array_get(names, labels->n));
        if (!name || !(labels->name[labels->n] = strdup(name))) die("%s: its labels are damaged", path);
    }
    return (uint64_t)json_integer_value(checkpoint_member(state, "steps", JSON_INTEGER, path));
}

/* The trainer of a checkpoint, and where it stands. It must have been trained on these rows. */
static void resume_from(run *r, const json_t *state, const char *path)
{
    char hash[17];

    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    if (strcmp(hash, json_string_value(checkpoint_member(state, "rows_hash", JSON_STRING, path))) != 0)
        die("%s: not the rows that %s was trained on", training.train, path);
    must(clpeft_trainer_load(&r->trainer, r->model, path));
    r->first = r->step = clpeft_trainer_steps(r->trainer);
    if (r->step > r->total) die("%s: it has taken %" PRIu64 " steps already", path, r->step);
    r->evaluated = json_integer_value(checkpoint_member(state, "evaluated", JSON_INTEGER, path));
    r->before = json_real_value(checkpoint_member(state, "before", JSON_REAL, path));
    r->best = json_real_value(checkpoint_member(state, "best", JSON_REAL, path));
}

/* The other devices: the same trainer on each, of the checkpoint at path or as the first one has begun. */
static void open_replicas(run *r, const char *path)
{
    r->devices = training_devices();
    if (r->devices > MAX_DEVICES) die("--device %s: more than %d", training.device, MAX_DEVICES);
    for (size_t i = 1; i < r->devices; i++) {
        replica *other = &r->more[i];
        other->ctx = training_other_device(i);
        other->model = training_same_model(other->ctx);
        if (path)
            must(clpeft_trainer_load(&other->trainer, other->model, path));
        else
            must(clpeft_trainer_create(&other->trainer, other->model, clpeft_trainer_get_options(r->trainer)));
        parallel_copy(r->trainer, other->trainer, CLPEFT_THETA);
    }
}

void run_open_trainer(run *r, const json_t *state, const char *path)
{
    r->evaluated = -1;
    if (state)
        resume_from(r, state, path);
    else if (training.init)
        r->trainer = init_trainer(r->model, &r->labels, r->total);
    else
        r->trainer = training_trainer(r->model, r->labels.n, r->total);
    r->seconds = allocate(r->total - r->first, sizeof *r->seconds);
    open_replicas(r, state ? path : NULL);
}

void run_close(run *r)
{
    log_close(&r->log);
    for (size_t i = 1; i < r->devices; i++) {
        clpeft_trainer_destroy(r->more[i].trainer);
        clpeft_model_destroy(r->more[i].model);
        clpeft_context_destroy(r->more[i].ctx);
    }
    clpeft_trainer_destroy(r->trainer);
    clpeft_model_destroy(r->model);
    clpeft_context_destroy(r->ctx);
    classification_free(&r->last);
    labels_free(&r->labels);
    free(r->seconds);
}

/* ---- training ---- */

static void log_start(run *r)
{
    char device[300];

    if (ranks_first()) log_open(&r->log, training.log, r->first > 0, training.plot != NULL);
    log_write(&r->log, json_pack("{s:o, s:I, s:s, s:I, s:I}", "config", options_json(r->task.options, false),
                                 "trainable", (json_int_t)clpeft_params_trainable(clpeft_trainer_params(r->trainer)),
                                 "device", training_device_name(r->ctx, device, sizeof device), "devices",
                                 (json_int_t)(ranks_count() * r->devices), "first_step", (json_int_t)r->first + 1));
}

/* What decides the parameters, and when ranks evaluate, save and stop. */
static void agree(const run *r)
{
    if (ranks_count() == 1) return;
    json_t *settings = options_json(r->task.options, true);
    const struct {
        const char *name;
        uint64_t value;
    } more[] = { { "steps", r->total },
                 { "eval-every", training.eval_every },
                 { "save-every", training.save_every },
                 { "stop-at", training.stop_at },
                 { "max-skipped", training.max_skipped } };

    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        json_object_set_new(settings, more[i].name, json_integer((json_int_t)more[i].value));
    parallel_agree(r->trainer, settings, r->hash, r->eval_hash);
    json_decref(settings);
}

/* What a resumed run must know, and nothing that would differ between it and an uninterrupted one. */
static json_t *run_state(const run *r)
{
    char hash[17];
    json_t *labels = json_array();

    for (size_t i = 0; i < r->labels.n; i++) json_array_append_new(labels, json_string(r->labels.name[i]));
    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:f, s:f}", "settings", options_json(r->task.options, true), "labels",
                     labels, "rows_hash", hash, "steps", (json_int_t)r->total, "evaluated", (json_int_t)r->evaluated,
                     "before", r->before, "best", r->best);
}

static void save(const run *r, const char *file)
{
    if (!ranks_first()) return;
    json_t *state = run_state(r);

    checkpoint_save(r->trainer, state, training.out, file);
    json_decref(state);
}

static void take_step(run *r)
{
    clpeft_step_result result;
    parallel_times times;
    clpeft_trainer *trainer[MAX_DEVICES] = { r->trainer };
    for (size_t i = 1; i < r->devices; i++) trainer[i] = r->more[i].trainer;
    const double start = program_clock();
    size_t units;

    const clpeft_batch batch = r->task.batch(r->task.data, r->step, &units);
    parallel_step(trainer, r->devices, &batch, &result, &times);
    const double seconds = program_clock() - start;
    r->seconds[r->step++ - r->first] = seconds;
    r->in_a_row = result.applied ? 0 : r->in_a_row + 1;
    if (ranks_count() > 1 && r->step == r->first + 1) parallel_agree_parameters(r->trainer); /* devices round alike */
    json_t *line = json_pack("{s:I, s:o, s:o, s:I, s:o, s:o}", "step", (json_int_t)r->step, "loss",
                             log_number(result.loss), "lr", log_number(result.lr), r->task.unit, (json_int_t)units,
                             "seconds", log_number(seconds), "grad_norm", log_number((double)result.grad_norm));
    if (!result.applied) json_object_set_new(line, "skipped", json_true());
    if (ranks_count() * r->devices > 1) {
        json_object_set_new(line, "waiting_seconds", log_number(times.waiting));
        json_object_set_new(line, "sending_seconds", log_number(times.sending));
        r->times.waiting += times.waiting, r->times.sending += times.sending;
    }
    log_write(&r->log, line);
    progress_step(&r->progress, r->step, result.loss, units, seconds);
    if (!result.applied)
        note("step %" PRIu64 " skipped: loss or gradient is not finite (%" PRIu64 " in a row)", r->step, r->in_a_row);
}

/* Evaluate; when that is interrupted, nothing changes. */
static void evaluate(run *r)
{
    const run_measure *m = r->task.measure;
    char key[64];

    if (!r->task.evaluate(r, &r->score)) return;
    r->scored = true;
    r->evaluated = (int64_t)r->step;
    const double value = r->score.value;
    note("step %" PRIu64 ": %s %.2f%s, loss %.4f", r->step, m->name, m->scale * value, m->unit, r->score.loss);
    snprintf(key, sizeof key, "eval_%s", m->name);
    log_write(&r->log, json_pack("{s:I, s:o, s:o}", "step", (json_int_t)r->step, key, log_number(value), "eval_loss",
                                 log_number(r->score.loss)));
    if (r->step == 0) {
        r->before = value;
    } else if (r->best == 0 || (m->falls ? value < r->best : value > r->best)) {
        r->best = value;
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
        const bool stop = ranks_any(interrupt_seen()) || (r->step == training.stop_at && r->step > r->first && !end);
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
    if (!ranks_first()) return EXIT_INTERRUPTED;
    putchar(' ');
    options_print_word(program_called());
    options_print(r->task.options, (const char *[]){ "init", "resume", "out", "stop-at", NULL });
    options_print_word("--resume");
    options_print_word(training.out);
    putchar('\n');
    return EXIT_INTERRUPTED;
}

/* How well the ranks worked together, and that they hold the same bits. */
static void note_ranks(const run *r)
{
    const uint64_t hash = parallel_agree_parameters(r->trainer);
    const double steps = r->step > r->first ? (double)(r->step - r->first) : 1;

    note("%zu ranks: a step waits %.2f ms for others and takes %.2f ms to sum the gradients; parameters %016" PRIx64
         " on all",
         ranks_count(), 1000 * r->times.waiting / steps, 1000 * r->times.sending / steps, hash);
}

static int finish(run *r)
{
    const run_measure *m = r->task.measure;
    const size_t trainable = clpeft_params_trainable(clpeft_trainer_params(r->trainer));
    const double seconds = seconds_per_step(r);
    const uint64_t peak = program_peak_memory();
    char before[64], after[64];

    if (!r->scored) evaluate(r); /* resumed at the end */
    if (!r->scored) return stopped(r, INTERRUPTED);
    note("%s %.2f%s before, %.2f%s after %" PRIu64 " steps (at best %.2f%s)", m->name, m->scale * r->before, m->unit,
         m->scale * r->score.value, m->unit, r->step, m->scale * r->best, m->unit);
    note("%zu trainable parameters, %.1f ms per step, %.0f MB of memory at most", trainable, 1000 * seconds,
         1e-6 * (double)peak);
    if (ranks_count() > 1) note_ranks(r);
    snprintf(before, sizeof before, "%s_before", m->name);
    snprintf(after, sizeof after, "%s_after", m->name);
    log_write(&r->log, json_pack("{s:b, s:I, s:o, s:o, s:o, s:I}", "done", 1, "trainable", (json_int_t)trainable,
                                 before, log_number(r->before), after, log_number(r->score.value), "seconds_per_step",
                                 log_number(seconds), "peak_memory_bytes", (json_int_t)peak));
    note("saved in %s", training.out);
    return EXIT_SUCCESS;
}

int run_train(run *r)
{
    const run_measure *m = r->task.measure;

    ranks_check();
    agree(r);
    if (ranks_first()) checkpoint_folder(training.out);
    log_start(r);
    progress_start(&r->progress, r->first, r->total, r->task.unit);
    const outcome end = train(r);
    const int status = end == FINISHED ? finish(r) : stopped(r, end);
    if (training.plot && ranks_first()) plot_draw(training.plot, &r->log, m->name, m->scale, m->unit);
    return status;
}

/* ---- classifiers ---- */

const run_measure run_accuracy = { .name = "accuracy", .scale = 100, .unit = " %" };

bool run_classify(run *r, const row_source *rows, run_score *score)
{
    classification result;
    const bool done = classify(&result, r->trainer, rows, r->labels.n);

    classification_free(done ? &r->last : &result);
    if (!done) return false;
    r->last = result;
    *score = (run_score){ result.accuracy, result.loss };
    return true;
}

void run_print_tables(const run *r, size_t n, const int32_t *label)
{
    if (!r->last.predicted || !ranks_first()) return;
    if (training.per_class) report_classes(n, label, r->last.predicted, r->labels.n, r->labels.name);
    if (training.confusion) report_confusion(n, label, r->last.predicted, r->labels.n, r->labels.name);
}
