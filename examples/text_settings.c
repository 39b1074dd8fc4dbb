#include "text_settings.h"

#include "trainer/checkpoint.h"
#include "trainer/plot.h"
#include "trainer/program.h"

#include <stdio.h>

struct text_settings text;

static const char usage[] =
    "finetune-text - trains a text classifier on an OpenCL device\n\n"
    "  finetune-text --model DIR --train FILE --eval FILE [OPTION]...    train\n"
    "  finetune-text eval --model DIR --adapter DIR --eval FILE          accuracy of what was trained\n"
    "  finetune-text predict --model DIR --adapter DIR [FILE]            label<TAB>probability for each line of text\n\n"
    "Training and evaluation data are lines of label<TAB>text in UTF-8; predict reads lines of text, from stdin without\n"
    "FILE. Ctrl-C ends the step, saves, and says how to resume; a second one kills. Defaults are in parentheses.";

static const char *const pools[] = { "mean", "first", NULL };

static option head[] = {
    { .name = "pool",
      .argument = "WORD",
      .help = "what the head sees of the last hidden states",
      .type = OPTION_CHOICE,
      .value = &text.pool,
      .choices = pools,
      .saved = true },
    { .name = "feature-scale",
      .argument = "X",
      .help = "what that is multiplied by",
      .type = OPTION_FLOAT,
      .value = &text.feature_scale,
      .low = 1e-6,
      .high = 1e6,
      .saved = true },
    { 0 },
};
static option tables[] = {
    { .name = "per-class", .help = "print the accuracy of every class", .type = OPTION_FLAG, .value = &text.per_class },
    { .name = "confusion",
      .help = "print which class was taken for which",
      .type = OPTION_FLAG,
      .value = &text.confusion },
    { 0 },
};
static option trained[] = {
    { .name = "model", .argument = "DIR", .help = "the pretrained model", .value = &training.model },
    { .name = "adapter",
      .argument = "DIR",
      .help = "what was trained: --out of the training, or a file of it",
      .value = &text.adapter },
    { .name = "eval", .argument = "FILE", .help = "evaluation data", .value = &training.eval },
    { .name = "device",
      .argument = "WORD",
      .help = "OpenCL device: its number, or part of its name",
      .value = &training.device },
    { 0 },
};

static const option_group train_groups[] = {
    { "About", training_about },
    { "Files", training_files },
    { "Adapter", training_adapter },
    { "Head", head },
    { "Training", training_schedule },
    { "Memory", training_memory },
    { "Reports", training_reports },
    { "Tables", tables },
    { 0 },
};
const option_group *const text_training_options = train_groups + 1;

static const option_group trained_groups[] = {
    { "About", training_about },
    { "Files", trained },
    { "Tables", tables },
    { 0 },
};

static void set_defaults(clpeft_method method)
{
    const clpeft_trainer_options d = clpeft_trainer_defaults(method);

    training_defaults(method);
    text = (struct text_settings){ .pool = d.pool, .feature_scale = d.feature_scale };
}

json_t *text_read_training(int argc, char **argv, char path[])
{
    json_t *state = NULL;
    const int rest = options_scan(train_groups, argc, argv);
    const char *resume = options_given(train_groups, "resume");

    set_defaults(CLPEFT_DORAN);
    training_about_done(train_groups, usage);
    if (rest < argc) die("%s: not an option, nor eval or predict; see --help", argv[rest]);
    if (resume) {
        checkpoint_find(path, resume);
        state = checkpoint_state(path);
        options_restore(train_groups, checkpoint_member(state, "settings", JSON_OBJECT, path), path);
    }
    const char *method = options_text(train_groups, "method");
    if (method) set_defaults((clpeft_method)option_choice(options_find(train_groups, "method"), method));
    options_require(train_groups, "model");
    options_require(train_groups, "train");
    options_require(train_groups, "eval");
    options_apply(train_groups);
    if (resume && !options_given(train_groups, "out")) training.out = checkpoint_folder_of(path);
    if (training.plot) plot_check_name(training.plot);
    return state;
}

json_t *text_read_trained(int argc, char **argv, char path[], const char **file)
{
    const int rest = options_scan(trained_groups, argc, argv);

    training_about_done(trained_groups, usage);
    if (rest + 1 < argc) die("%s: only one file at a time; see --help", argv[rest + 1]);
    *file = rest < argc ? argv[rest] : NULL;
    options_require(trained_groups, "model");
    options_require(trained_groups, "adapter");
    checkpoint_find(path, options_given(trained_groups, "adapter"));
    json_t *state = checkpoint_state(path);
    options_restore(text_training_options, checkpoint_member(state, "settings", JSON_OBJECT, path), path);
    options_apply(text_training_options);
    options_apply(trained_groups);
    return state;
}

clpeft_trainer_options text_trainer_options(size_t classes, uint64_t total_steps)
{
    clpeft_trainer_options options = clpeft_trainer_defaults(training.method);

    options.adapter = training.adapter;
    options.adapter.seed = training.seed;
    options.sites = training.sites;
    options.classes = classes;
    options.pool = text.pool;
    options.feature_scale = text.feature_scale;
    options.adamw = training_adamw();
    options.warmup = training.warmup;
    options.decay = training.decay;
    options.total_steps = training.decay == CLPEFT_DECAY_NONE ? 0 : total_steps;
    return options;
}
