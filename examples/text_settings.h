/* text_settings.h - the options of finetune-text: those of all trainers, and its own. */
#ifndef TEXT_SETTINGS_H
#define TEXT_SETTINGS_H

#include "trainer/training.h"

extern struct text_settings {
    clpeft_pool pool;
    float feature_scale;
    const char *adapter;
    int per_class, confusion;
} text;

/* The options of a training, for the log's "config" and the checkpoint's "settings". */
extern const option_group *const text_training_options;

/* Read the command line of a training; with --resume, the checkpoint's settings too: *state is then what it holds (the
 * caller releases it) and path its file; else NULL. */
json_t *text_read_training(int argc, char **argv, char path[]);

/* Read the command line of eval or predict, and the settings of the checkpoint at path. Returns its state; *file is the
 * first argument that is no option, or NULL. */
json_t *text_read_trained(int argc, char **argv, char path[], const char **file);

/* What the library is to train. */
clpeft_trainer_options text_trainer_options(size_t classes, uint64_t total_steps);

#endif
