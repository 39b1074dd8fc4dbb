/* settings.h - the command lines of a program that trains a classifier: of training, and of what uses the result. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "training.h"

typedef struct {
    const char *usage;
    const option_group *training, *trained; /* options of a training; of eval and predict */
    void (*defaults)(void);                 /* the program's own, set after those of the method; NULL: none */
} settings;

extern option settings_trained[]; /* the files and device of eval and predict */
extern const char *settings_adapter;

/* Read the command line of a training; with --resume, the checkpoint's settings too: the result is then what it holds, and
 * path its file; else NULL. */
const json_t *settings_read_training(const settings *s, int argc, char **argv, char path[]);

/* Read the command line of eval or predict, and the settings of the checkpoint at path. Returns its state; *rest is the index in argv of
 * the first argument that is no option, or argc. */
const json_t *settings_read_trained(const settings *s, int argc, char **argv, char path[], int *rest);

#endif
