#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "program.h"

void progress_start(progress *p, uint64_t first, uint64_t total, const char *unit)
{
    *p = (progress){ .first = first, .total = total, .unit = unit };
}

/* Mean of the first steps, then one that forgets: the newest of about 20. */
static double running_mean(double mean, double value, uint64_t n)
{
    const double weight = n < 20 ? 1.0 / (double)n : 0.05;
    return mean + weight * (value - mean);
}

static void time_text(char *text, size_t size, double seconds)
{
    const unsigned long s = (unsigned long)(seconds + 0.5);

    if (s < 3600)
        snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
    else
        snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
}

static void bar_text(char bar[21], double part)
{
    const size_t full = (size_t)(20 * part);

    memset(bar, '#', full);
    memset(bar + full, '-', 20 - full);
    bar[20] = '\0';
}

void progress_step(progress *p, uint64_t step, double loss, size_t units, double seconds)
{
    const uint64_t n = step - p->first;
    char line[160], left[32], bar[21];

    if (isfinite(loss)) p->loss = running_mean(p->loss, loss, n);
    p->seconds = running_mean(p->seconds, seconds, n);
    p->units = running_mean(p->units, (double)units, n);
    time_text(left, sizeof left, p->seconds * (double)(p->total - step));
    snprintf(line, sizeof line, "%llu/%llu  loss %.4f  %.0f %s/s  %s left", (unsigned long long)step,
             (unsigned long long)p->total, isfinite(loss) ? p->loss : loss, p->units / fmax(p->seconds, 1e-9), p->unit,
             left);
    if (program_on_terminal()) {
        bar_text(bar, (double)step / (double)p->total);
        char whole[200];
        snprintf(whole, sizeof whole, "[%s] %s", bar, line);
        status_line(whole);
    } else if (step * 10 / p->total != (step - 1) * 10 / p->total) {
        note("step %s", line);
    }
}
