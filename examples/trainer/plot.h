/* plot.h - a chart of a run's log, drawn by gnuplot: loss (mean of the last 20 steps) and what evaluations measure over the steps. */
#ifndef PLOT_H
#define PLOT_H

#include "log.h"

/* Dies unless the name ends in .svg or .png. */
void plot_check_name(const char *path);

/* Draw the log, which is read from its start. measure: eval_MEASURE in the log is drawn times scale, in unit (" %", or ""). Without gnuplot, or when it fails, a note says that the chart was skipped;
 * a chart is complete or not there. */
void plot_draw(const char *path, log_file *log, const char *measure, double scale, const char *unit);

#endif
