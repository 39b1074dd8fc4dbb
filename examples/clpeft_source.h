/* clpeft_source.h - the adapter that a command of clpeft works on: in a folder of a training, or in a PEFT folder. */
#ifndef CLPEFT_SOURCE_H
#define CLPEFT_SOURCE_H

#include "trainer/program.h"

typedef struct {
    clpeft_context *ctx;
    clpeft_model *model;
    char *model_path;
    clpeft_adapter *adapter;
    float head_scale; /* of the head beside it; 0: there is none */
    cl_command_queue queue;
    /* What holds the adapter: a trainer, or parameters filled from a PEFT folder. */
    clpeft_trainer *trainer;
    clpeft_params *params;
} source;

/* A model for an adapter, as its file has it: for reading and exports, not for batches. */
clpeft_model *open_model(clpeft_context *ctx, const char *path);

/* Open the device that a word names (NULL: the default), the model, and the adapter in a folder or checkpoint. model NULL: the
 * one that the checkpoint was trained on. Dies when something is missing or does not fit. */
source source_open(const char *folder, const char *model, const char *device);
void source_close(source *s);

#endif
