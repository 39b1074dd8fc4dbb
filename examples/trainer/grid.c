#include "grid.h"

#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { COLUMNS = 10, ROWS = 8, CELL = 72, FRAME = 4, SIDE = CELL - 2 * FRAME };

void grid_check_name(const char *file)
{
    const size_t n = strlen(file);
    if (n < 5 || strcmp(file + n - 4, ".png") != 0) die("--grid %s: not the name of a .png file", file);
}

/* The image in cell `at`, in a frame of a colour. */
static void draw_cell(image *sheet, size_t at, const pictures *d, size_t row, const unsigned char *colour)
{
    const size_t left = at % COLUMNS * CELL, top = at / COLUMNS * CELL;
    float *pixels = allocate(3 * SIDE * SIDE, sizeof *pixels);
    char error[500];
    image im;

    if (!pictures_decode(d, row, &im, error, sizeof error)) die("%s", error);
    const size_t edge = im.width < im.height ? im.width : im.height;
    const image_box box = { (im.width - edge) / 2, (im.height - edge) / 2, edge, edge };
    if (!image_resize(&im, box, SIDE, IMAGE_BICUBIC, pixels)) die("no memory for an image");
    for (size_t y = 0; y < CELL; y++)
        for (size_t x = 0; x < CELL; x++) {
            unsigned char *to = sheet->rgb + 3 * ((top + y) * sheet->width + left + x);
            const bool inside = x >= FRAME && x < FRAME + SIDE && y >= FRAME && y < FRAME + SIDE;
            for (size_t c = 0; c < 3; c++)
                to[c] = inside ? (unsigned char)(pixels[(c * SIDE + y - FRAME) * SIDE + x - FRAME] + 0.5f) : colour[c];
        }
    image_free(&im);
    free(pixels);
}

void grid_draw(const char *file, const pictures *d, const int32_t *predicted)
{
    static const unsigned char colours[][3] = { { 200, 40, 40 }, { 40, 150, 60 }, { 128, 128, 128 } };
    enum { WRONG, RIGHT, UNKNOWN };
    image sheet = { .width = COLUMNS * CELL };
    size_t n = 0, cells[COLUMNS * ROWS], kind[COLUMNS * ROWS];
    char error[500];

    for (int pass = d->label ? WRONG : UNKNOWN; pass <= (d->label ? RIGHT : UNKNOWN); pass++) {
        const size_t room = pass == WRONG ? COLUMNS * ROWS / 2 : COLUMNS * ROWS;
        for (size_t i = 0; i < d->n && n < room; i++)
            if (pass == UNKNOWN || (d->label[i] == predicted[i]) == (pass == RIGHT))
                cells[n] = i, kind[n++] = (size_t)pass;
    }
    sheet.height = (n + COLUMNS - 1) / COLUMNS * CELL;
    sheet.rgb = allocate(3 * sheet.width * sheet.height, 1);
    for (size_t i = 0; i < n; i++) draw_cell(&sheet, i, d, cells[i], colours[kind[i]]);
    if (!image_write_png(&sheet, file, error, sizeof error)) die("%s", error);
    note("%zu images in %s", n, file);
    image_free(&sheet);
}
