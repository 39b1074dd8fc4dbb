#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

static int name_width(size_t classes, char *const *names)
{
    size_t width = 5;

    for (size_t c = 0; c < classes; c++)
        if (strlen(names[c]) > width) width = strlen(names[c]);
    return width > 40 ? 40 : (int)width;
}

void report_classes(size_t n, const int32_t *label, const int32_t *predicted, size_t classes, char *const *names)
{
    const int width = name_width(classes, names);
    size_t *rows = allocate(classes, sizeof *rows), *right = allocate(classes, sizeof *right);

    for (size_t i = 0; i < n; i++) {
        rows[label[i]]++;
        right[label[i]] += label[i] == predicted[i];
    }
    printf("%-*s %8s %8s %9s\n", width, "class", "rows", "right", "accuracy");
    for (size_t c = 0; c < classes; c++)
        if (rows[c])
            printf("%-*s %8zu %8zu %7.1f %%\n", width, names[c], rows[c], right[c],
                   100.0 * (double)right[c] / (double)rows[c]);
    free(rows);
    free(right);
}

void report_confusion(size_t n, const int32_t *label, const int32_t *predicted, size_t classes, char *const *names)
{
    const int width = name_width(classes, names);
    size_t *count = allocate(classes * classes, sizeof *count);

    for (size_t i = 0; i < n; i++) count[(size_t)label[i] * classes + (size_t)predicted[i]]++;
    printf("%4s %-*s", "", width, "class");
    for (size_t c = 0; c < classes; c++) printf(" %5zu", c + 1);
    putchar('\n');
    for (size_t c = 0; c < classes; c++) {
        printf("%4zu %-*s", c + 1, width, names[c]);
        for (size_t p = 0; p < classes; p++) printf(" %5zu", count[c * classes + p]);
        putchar('\n');
    }
    free(count);
}
