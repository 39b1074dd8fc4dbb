/* report.h - what a classifier got right: accuracy per class and the confusion matrix, as tables on stdout. */
#ifndef REPORT_H
#define REPORT_H

#include <stddef.h>
#include <stdint.h>

/* Rows, right ones and their share for each class that occurs. label and predicted [n] are below `classes`. */
void report_classes(size_t n, const int32_t *label, const int32_t *predicted, size_t classes, char *const *names);

/* Row i, column j: how many rows of class i were taken for class j. Columns are numbered like the rows. */
void report_confusion(size_t n, const int32_t *label, const int32_t *predicted, size_t classes, char *const *names);

#endif
