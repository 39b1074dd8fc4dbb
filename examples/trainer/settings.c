#include "settings.h"

#include "checkpoint.h"
#include "plot.h"
#include "program.h"

const char *settings_adapter;

option settings_trained[] = {
    { .name = "model", .argument = "DIR", .help = "the pretrained model", .value = &training.model },
    { .name = "adapter",
      .argument = "DIR",
      .help = "what was trained: --out of the training, or a file of it",
      .value = &settings_adapter },
    { .name = "eval", .argument = "FILE", .help = "evaluation data", .value = &training.eval },
    { .name = "device",
      .argument = "WORD",
      .help = "OpenCL device: its number, or part of its name",
      .value = &training.device },
    { 0 },
};

static void set_defaults(const settings *s, clpeft_method method)
{
    training_defaults(method);
    if (s->defaults) s->defaults();
}

const json_t *settings_read_training(const settings *s, int argc, char **argv, char path[])
{
    const option_group *groups = s->training;
    const json_t *state = NULL;
    const int rest = options_scan(groups, argc, argv);
    const char *resume = options_given(groups, "resume");

    set_defaults(s, CLPEFT_DORAN);
    training_about_done(groups, s->usage);
    if (rest < argc) die("%s: not an option or a command; see --help", argv[rest]);
    if (resume && options_given(groups, "init")) die("--init and --resume: only one of them");
    if (resume) {
        checkpoint_find(path, resume);
        state = checkpoint_state(path);
        options_restore(groups, checkpoint_member(state, "settings", JSON_OBJECT, path), path);
    }
    const char *method = options_text(groups, "method");
    if (method) set_defaults(s, (clpeft_method)option_choice(options_find(groups, "method"), method));
    options_require(groups, "model");
    options_require(groups, "train");
    options_require(groups, "eval");
    options_apply(groups);
    if (resume && !options_given(groups, "out")) training.out = checkpoint_folder_of(path);
    if (training.plot) plot_check_name(training.plot);
    return state;
}

const json_t *settings_read_trained(const settings *s, int argc, char **argv, char path[], int *rest)
{
    const option_group *groups = s->trained;

    *rest = options_scan(groups, argc, argv);
    if (s->defaults) s->defaults();
    training_about_done(groups, s->usage);
    options_require(groups, "model");
    options_require(groups, "adapter");
    checkpoint_find(path, options_given(groups, "adapter"));
    const json_t *state = checkpoint_state(path);
    options_restore(s->training, checkpoint_member(state, "settings", JSON_OBJECT, path), path);
    options_apply(s->training);
    options_apply(groups);
    return state;
}
