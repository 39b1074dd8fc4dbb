/* progress.h - how far a training is: a bar at the bottom of a terminal; elsewhere a plain line at every tenth. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t first, total;       /* steps done before this run, and at its end */
    double loss, seconds, units; /* running means per step */
    const char *unit;            /* "tokens", "images" */
} progress;

void progress_start(progress *p, uint64_t first, uint64_t total, const char *unit);

/* After step number `step` (1 .. total). A loss that is not finite is shown and not counted. */
void progress_step(progress *p, uint64_t step, double loss, size_t units, double seconds);

#endif
