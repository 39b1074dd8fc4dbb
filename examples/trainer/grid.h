/* grid.h - a contact sheet: images in a grid, in frames that say whether they were taken for what they are. */
#ifndef GRID_H
#define GRID_H

#include "pictures.h"

/* Dies unless the name ends in .png. */
void grid_check_name(const char *file);

/* Draw as many wrong ones as there are, up to half of the sheet, in red frames; then right ones, in green frames. Without labels
 * the first images, in gray frames. predicted [d->n]. */
void grid_draw(const char *file, const pictures *d, const int32_t *predicted);

#endif
