/* finetune-images.c - trains an image classifier: a pretrained vision transformer, an adapter on it, and a linear head.
 *
 *     settings --> images, decoded by threads ahead of the step --> model, adapter, head --> trainer/run.c: batch --> step
 *                                                                        --> log, evaluation, checkpoint
 *
 * Read main, then run_training; the training is the loop in trainer/run.c. */
#include "clpeft.h"

#include "trainer/grid.h"
#include "trainer/interrupt.h"
#include "trainer/loader.h"
#include "trainer/program.h"
#include "trainer/run.h"
#include "trainer/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---- */

static const char usage[] =
    "finetune-images - trains an image classifier on an OpenCL device\n\n"
    "  finetune-images --model DIR --train DATA --eval DATA [OPTION]...         train\n"
    "  finetune-images eval --model DIR --adapter DIR --eval DATA               accuracy of what was trained\n"
    "  finetune-images predict --model DIR --adapter DIR FILE...                file<TAB>label<TAB>probability\n\n"
    "DATA is a folder with one sub-folder of PNG or JPEG files per class; or a file of lines class<TAB>file; or an IDX file\n"
    "...images-idx3-ubyte[.gz] with its ...labels-idx1-ubyte[.gz] beside it. Ctrl-C ends the step, saves, and says how to\n"
    "resume; a second one kills. Defaults are in parentheses.";

static const char *const filters[] = { "bilinear", "bicubic", NULL }, *const on_bad[] = { "refuse", "skip", NULL };
enum { REFUSE, SKIP };

static struct {
    picture_options options;
    size_t threads, train_rows, eval_rows;
    int bad; /* REFUSE or SKIP */
    const char *grid;
} pictured;

static option images[] = {
    { .name = "image-size",
      .argument = "N",
      .help = "pixels along an edge, a multiple of the model's patch size",
      .type = OPTION_SIZE,
      .value = &pictured.options.size,
      .low = 1,
      .high = 1 << 12,
      .saved = true },
    { .name = "filter",
      .argument = "WORD",
      .help = "how images are resized",
      .type = OPTION_CHOICE,
      .value = &pictured.options.filter,
      .choices = filters,
      .saved = true },
    { .name = "least-area",
      .argument = "X",
      .help = "train on random crops of at least this part of an image; 1: whole",
      .type = OPTION_FLOAT,
      .value = &pictured.options.least_area,
      .low = 0.01,
      .high = 1,
      .saved = true },
    { .name = "flip",
      .help = "mirror half of the training images",
      .type = OPTION_FLAG,
      .value = &pictured.options.flip,
      .saved = true },
    { .name = "train-rows",
      .argument = "N",
      .help = "only the first N training images; 0: all",
      .type = OPTION_SIZE,
      .value = &pictured.train_rows,
      .high = 1e9,
      .saved = true },
    { 0 },
};
static option loading[] = {
    { .name = "eval-rows",
      .argument = "N",
      .help = "only the first N evaluation images; 0: all",
      .type = OPTION_SIZE,
      .value = &pictured.eval_rows,
      .high = 1e9 },
    { .name = "bad-images",
      .argument = "WORD",
      .help = "what happens with images that cannot be decoded",
      .type = OPTION_CHOICE,
      .value = &pictured.bad,
      .choices = on_bad },
    { .name = "threads",
      .argument = "N",
      .help = "that decode ahead of the step",
      .type = OPTION_SIZE,
      .value = &pictured.threads,
      .low = 1,
      .high = 64 },
    { .name = "grid",
      .argument = "FILE",
      .help = "contact sheet of predictions, .png: a green frame is right, red wrong",
      .type = OPTION_TEXT,
      .value = &pictured.grid },
    { 0 },
};

static option schedule[24]; /* all but what belongs to text */

static const option_group train_groups[] = {
    { "About", training_about },
    { "Files", training_files },
    { "Images", images },
    { "Loading", loading },
    { "Adapter", training_adapter },
    { "Head", training_head },
    { "Training", schedule },
    { "Memory", training_memory },
    { "Reports", training_reports },
    { "Tables", training_tables },
    { 0 },
};
static const option_group trained_groups[] = {
    { "About", training_about },
    { "Files", settings_trained },
    { "Loading", loading },
    { "Tables", training_tables },
    { 0 },
};

static void set_defaults(void)
{
    pictured.options = (picture_options){ .size = 224, .filter = IMAGE_BICUBIC, .least_area = 1 };
    pictured.threads = 2;
    training.pool = CLPEFT_POOL_FIRST;
    training.feature_scale = 1;
    training.copies = 1;
}

static const settings vision = { usage, train_groups, trained_groups, set_defaults };

/* ---- images and model ---- */

typedef struct {
    pictures train, eval;
    shuffle order;
    loader *ahead; /* of the training */
    size_t most;   /* images of a batch of an evaluation */
} collection;

/* For batches of so many images; the library takes larger ones in parts. */
static void open_model(run *r, size_t count, bool forward_only)
{
    enum { MODEL_TOKENS = 4096 };
    const size_t patch = training_patch_size(training.model); /* 0: the library says what is wrong with the file */
    const size_t side = pictured.options.size / (patch > 0 ? patch : 16), one = 1 + side * side;
    const size_t tokens = count * one < MODEL_TOKENS ? count * one : one > MODEL_TOKENS ? one : MODEL_TOKENS;
    clpeft_model_info info;

    pictured.options.seed = training.seed;
    pictures_normalisation(&pictured.options, training.model);
    r->ctx = training_device();
    r->model = training_model(r->ctx, CLPEFT_VIT, tokens, count, pictured.options.size, forward_only);
    clpeft_model_get_info(r->model, &info);
    if (info.channels != 3) die("%s: a model of images with %zu channels, not 3", training.model, info.channels);
}

static clpeft_batch batch_for(void *data, uint64_t step, size_t *units)
{
    collection *c = data;
    (void)step; /* the loader began with the first one */
    const clpeft_batch batch = loader_next(c->ahead);
    *units = batch.S;
    return batch;
}

static clpeft_batch next_images(void *data, size_t row)
{
    (void)row;
    return loader_next(data);
}

static bool evaluate(run *r, run_score *score)
{
    collection *c = r->task.data;
    loader *l = loader_open(&c->eval, NULL, &pictured.options, c->most, 0, c->eval.n, pictured.threads);
    const row_source source = { c->eval.n, c->most, c->eval.label, next_images, l };
    const bool done = run_classify(r, &source, score);

    loader_close(l);
    return done;
}

/* Everything that a training needs, checked before anything is written. state: of the checkpoint to resume, or NULL. */
static void open_training(run *r, collection *c, const json_t *state, const char *path)
{
    const uint64_t planned = run_take_labels(r, state, path);

    pictures_read(&c->train, training.train, pictured.train_rows, &r->labels, pictured.bad == SKIP);
    pictures_read(&c->eval, training.eval, pictured.eval_rows, &r->labels, pictured.bad == SKIP);
    r->hash = pictures_hash(&c->train);
    r->total = training.steps = training_steps(c->train.n, planned);
    shuffle_init(&c->order, c->train.n, training.seed);
    c->most = training.batch;
    open_model(r, training.batch, false);
    run_open_trainer(r, state, path);
    c->ahead = loader_open(&c->train, &c->order, &pictured.options, training.batch, r->first, r->total * training.batch,
                           pictured.threads);
}

static void close_all(run *r, collection *c)
{
    loader_close(c->ahead);
    run_close(r);
    shuffle_free(&c->order);
    pictures_free(&c->train);
    pictures_free(&c->eval);
}

static void draw_grid(const run *r, const collection *c)
{
    if (pictured.grid && r->last.predicted) grid_draw(pictured.grid, &c->eval, r->last.predicted);
}

/* ---- the commands ---- */

static int run_training(int argc, char **argv)
{
    char path[PATH_SIZE];
    collection c = { 0 };
    run r = { .task = { &run_accuracy, train_groups + 1, "images", &c, batch_for, evaluate } };
    const json_t *state = settings_read_training(&vision, argc, argv, path);

    if (pictured.grid) grid_check_name(pictured.grid);
    interrupt_catch();
    open_training(&r, &c, state, path);
    const int status = run_train(&r);
    if (status == EXIT_SUCCESS) run_print_tables(&r, c.eval.n, c.eval.label);
    draw_grid(&r, &c);
    close_all(&r, &c);
    return status;
}

/* What a trained adapter makes of c->eval. */
static void classify_images(run *r, collection *c, const char *path)
{
    c->most = training.batch < c->eval.n ? training.batch : c->eval.n;
    open_model(r, c->most, true);
    must(clpeft_trainer_load(&r->trainer, r->model, path));
    evaluate(r, &r->score);
    draw_grid(r, c);
}

static int run_eval(int argc, char **argv)
{
    char path[PATH_SIZE];
    collection c = { 0 };
    run r = { .task.data = &c };
    int rest;
    const json_t *state = settings_read_trained(&vision, argc, argv, path, &rest);

    if (rest < argc || !training.eval) die("eval takes its images from --eval DATA");
    if (pictured.grid) grid_check_name(pictured.grid);
    run_take_labels(&r, state, path);
    pictures_read(&c.eval, training.eval, pictured.eval_rows, &r.labels, pictured.bad == SKIP);
    classify_images(&r, &c, path);
    note("accuracy %.2f %% (%zu of %zu), loss %.4f", 100 * r.last.accuracy, r.last.right, c.eval.n, r.last.loss);
    run_print_tables(&r, c.eval.n, c.eval.label);
    close_all(&r, &c);
    return EXIT_SUCCESS;
}

static int run_predict(int argc, char **argv)
{
    char path[PATH_SIZE];
    collection c = { 0 };
    run r = { .task.data = &c };
    int rest;
    const json_t *state = settings_read_trained(&vision, argc, argv, path, &rest);

    if (rest == argc) die("predict needs image files");
    if (training.eval) die("predict reads image files; --eval belongs to eval");
    if (pictured.grid) grid_check_name(pictured.grid);
    run_take_labels(&r, state, path);
    pictures_name(&c.eval, (size_t)(argc - rest), argv + rest, pictured.bad == SKIP);
    classify_images(&r, &c, path);
    for (size_t i = 0; i < c.eval.n; i++)
        printf("%s\t%s\t%.4f\n", c.eval.file[i], r.labels.name[r.last.predicted[i]], (double)r.last.probability[i]);
    close_all(&r, &c);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const bool eval = !strcmp(command, "eval"), predict = !strcmp(command, "predict");
    int status;

    program_start("finetune-images", argv);
    options_without(schedule, training_schedule, (const char *const[]){ "max-length", NULL });
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
