/* training.h - the settings that all trainers share: their options and defaults, and what the library wants to know. */
#ifndef TRAINING_H
#define TRAINING_H

#include "clpeft.h"
#include "options.h"

/* One per process: the options set it. */
extern struct training {
    const char *model, *train, *eval, *device;
    const char *out, *init, *resume, *log, *plot;
    clpeft_method method;
    clpeft_adapter_config adapter;
    const char *sites;
    clpeft_adamw adamw; /* lr and multipliers are filled from the two rates by training_adamw */
    float lr, head_lr;
    uint64_t steps, epochs, warmup;
    clpeft_decay decay;
    uint64_t seed;
    size_t batch, max_length;
    clpeft_dtype weights;
    int recompute;
    size_t copies; /* of the weights: 1 or 2 */
    uint64_t stop_at, eval_every, save_every, max_skipped;
    clpeft_pool pool; /* of classifiers, these and the next two lines */
    float feature_scale;
    int per_class, confusion;
} training;

/* Option rows, for a program's groups. */
extern option training_about[], training_files[], training_adapter[], training_schedule[], training_memory[],
    training_reports[], training_head[], training_tables[];

/* If --help or --version is given, print usage, options with their values now, and devices, or the version, and exit. */
void training_about_done(const option_group *groups, const char *usage);

/* The method's defaults, before the options are applied. */
void training_defaults(clpeft_method method);

/* Steps of the whole run on so many rows: --steps, or --epochs times rows over the batch, rounded up. planned: those of a
 * resumed checkpoint, else 0; another number is possible only where no decay depends on it. */
uint64_t training_steps(size_t rows, uint64_t planned);

/* AdamW with the adapter's rate as lr and the head's as a multiplier; with an adapter's rate of 0 the head's is lr. */
clpeft_adamw training_adamw(void);

/* What is to be trained: a classifier, or without classes a language model. */
clpeft_trainer *training_trainer(clpeft_model *model, size_t classes, uint64_t total_steps);

/* Whether something that happens every n steps (0: never) and at the end happens after this step. */
bool training_due(uint64_t step, uint64_t every, uint64_t total);

/* Open the device that --device names, and a model of the family that the program trains, for batches of so many tokens. */
clpeft_context *training_device(void);
size_t training_devices(void);                       /* how many --device names */
clpeft_context *training_other_device(size_t index); /* 1, 2, ... of those */
clpeft_model *training_model(clpeft_context *ctx, clpeft_family family, size_t tokens, size_t sequences,
                             size_t image_size, bool forward_only); /* image_size: of models of images, else 0 */
clpeft_model *training_same_model(clpeft_context *ctx);             /* as the last one, on another device */

/* Pixels along an edge of the patches of a model of images, before it is loaded: decides how many tokens an image has. 0: of another
 * model, or unknown. */
size_t training_patch_size(const char *model);

/* "platform: device" */
const char *training_device_name(clpeft_context *ctx, char *text, size_t size);

#endif
