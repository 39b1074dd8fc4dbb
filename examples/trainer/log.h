/* log.h - a training as JSON lines, for programs to read:
 *
 *     {"config":{...},"trainable":N,"device":"...","devices":1,"first_step":1}   once per run; again when a run is resumed
 *     {"step":1,"loss":x,"lr":x,"tokens":N,"seconds":x,"grad_norm":x}   per step; and "skipped":true
 *     {"step":50,"eval_accuracy":x,"eval_loss":x}                       per evaluation; step 0 is before training
 *     {"done":true,"trainable":N,"accuracy_before":x,"accuracy_after":x,"seconds_per_step":x,"peak_memory_bytes":N}
 *     {"stopped":"interrupted","step":N}                                instead of done
 *
 * Of several ranks the first one writes. A step of several devices, of one process or of all ranks, has "waiting_seconds", for slower ranks,
 * and "sending_seconds", to sum the gradients.
 * A language model has perplexity in the place of accuracy. A number that is not finite is null. Every line is in the file as soon as it is written. */
#ifndef LOG_H
#define LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct {
    const char *path; /* NULL: a temporary file */
    FILE *file;       /* NULL: no log is kept */
} log_file;

/* path NULL: keep it in a temporary file when it is wanted for a chart, else nowhere. append: a resumed run's. */
void log_open(log_file *log, const char *path, bool append, bool wanted);

/* Write one object and release it. */
void log_write(log_file *log, json_t *object);

/* Close it; dies when not all of it could be written. */
void log_close(log_file *log);

/* A JSON number, or null when it is not finite. */
json_t *log_number(double value);

#endif
