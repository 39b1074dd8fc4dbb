/* image.c - images of the examples: against Pillow's pixels and torch's resizing (golden/make_image_golden.py), damaged files,
 * IDX files. */
#include "idx.h"
#include "image.h"
#include "expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static const char *const names[] = { "rgb.png",  "gray.png", "palette.png", "alpha.png", "grayalpha.png",
                                     "bits.png", "full.jpg", "half.jpg",    "gray.jpg",  "progressive.jpg" };
enum { IMAGES = sizeof names / sizeof *names };

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/image/%s", GOLDEN, name);
    return path;
}

static const clpeft_file_tensor *golden(const clpeft_file *file, const char *name, const char *what)
{
    char full[80];
    snprintf(full, sizeof full, "%s.%s", name, what);
    const clpeft_file_tensor *t = clpeft_file_find(file, full);
    ck_assert_ptr_nonnull(t);
    return t;
}

START_TEST(pixels_are_those_of_pillow)
{
    const int most = strstr(names[_i], ".jpg") ? 1 : 0;
    char error[400];
    clpeft_file *file;
    image im;

    ck_ok(clpeft_file_open(&file, path_of("golden.safetensors")));
    const clpeft_file_tensor *t = golden(file, names[_i], "rgb");
    const unsigned char *want = t->data;
    ck_assert_msg(image_read(&im, path_of(names[_i]), error, sizeof error), "%s", error);
    ck_assert_uint_eq(t->dims[0], im.height);
    ck_assert_uint_eq(t->dims[1], im.width);
    for (size_t i = 0; i < 3 * im.height * im.width; i++)
        ck_assert_msg(abs(im.rgb[i] - want[i]) <= most, "%s byte %zu: %d, not %d", names[_i], i, im.rgb[i], want[i]);
    image_free(&im);
    clpeft_file_close(file);
}
END_TEST

START_TEST(resizing_is_that_of_torch)
{
    static const char *const filters[] = { "bilinear", "bicubic" };
    char error[400];
    clpeft_file *file;
    image im;

    ck_ok(clpeft_file_open(&file, path_of("golden.safetensors")));
    const clpeft_file_tensor *rgb = golden(file, names[_i], "rgb");
    ck_assert_msg(image_read(&im, path_of(names[_i]), error, sizeof error), "%s", error);
    memcpy(im.rgb, rgb->data, rgb->bytes); /* JPEG may differ by one */
    for (int f = 0; f < 2; f++) {
        const clpeft_file_tensor *t = golden(file, names[_i], filters[f]);
        const size_t size = t->dims[1], n = 3 * size * size;
        float *want = malloc(n * sizeof *want), *have = malloc(n * sizeof *have);
        ck_ok(clpeft_file_read_f32(t, 0, n, want));
        ck_assert(image_resize(&im, (image_box){ 2, 2, im.width - 4, im.height - 4 }, size, (image_filter)f, have));
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(fabsf(have[i] - want[i]) <= 0.01f, "%s %s [%zu]: %g, not %g", names[_i], filters[f], i,
                          (double)have[i], (double)want[i]);
        free(want), free(have);
    }
    image_free(&im);
    clpeft_file_close(file);
}
END_TEST

/* Every file cut off somewhere, and with bytes changed: an answer, and no access outside of its bytes. */
START_TEST(damaged_images_are_refused)
{
    FILE *file = fopen(path_of(names[_i]), "rb");
    unsigned char bytes[8192];
    char error[400];
    image im;

    ck_assert_ptr_nonnull(file);
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t cut = 0; cut < n - 20; cut += 1 + n / 60) {
        unsigned char *part = malloc(cut + 1);
        memcpy(part, bytes, cut);
        error[0] = 0;
        ck_assert_msg(!image_decode(&im, part, cut, error, sizeof error), "%s cut to %zu bytes", names[_i], cut);
        ck_assert(error[0] != 0 && !im.rgb);
        free(part);
    }
    for (size_t at = 0; at < n; at += 1 + n / 200) {
        bytes[at] ^= 0x55;
        if (image_decode(&im, bytes, n, error, sizeof error)) image_free(&im);
        bytes[at] ^= 0x55;
    }
}
END_TEST

START_TEST(bombs_are_refused)
{
    char error[400];
    image im;

    ck_assert(!image_read(&im, path_of("bomb.png"), error, sizeof error));
    ck_assert_msg(strstr(error, "bomb.png: 60000 x 60000 pixels: at most"), "%s", error);
    ck_assert(!image_read(&im, path_of("golden.safetensors"), error, sizeof error));
    ck_assert_msg(strstr(error, "neither PNG nor JPEG"), "%s", error);
    ck_assert(!image_read(&im, path_of("none.png"), error, sizeof error));
    ck_assert_msg(strstr(error, "No such file"), "%s", error);
}
END_TEST

START_TEST(written_images_are_read_again)
{
    unsigned char pixels[2 * 3 * 3];
    image im = { .width = 2, .height = 3, .rgb = pixels }, back;
    char path[] = "/tmp/clpeft-image-XXXXXX", error[400];

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(13 * i);
    close(mkstemp(path));
    ck_assert_msg(image_write_png(&im, path, error, sizeof error), "%s", error);
    ck_assert_msg(image_read(&back, path, error, sizeof error), "%s", error);
    ck_assert_uint_eq(2, back.width);
    ck_assert_mem_eq(pixels, back.rgb, sizeof pixels);
    image_free(&back);
    unlink(path);
}
END_TEST

START_TEST(idx_files_are_read)
{
    static const unsigned char file[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6 };
    static const unsigned char huge[] = { 0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 40, 0, 0, 0, 40, 0, 1 };
    char path[] = "/tmp/clpeft-idx-XXXXXX", error[400];
    idx d;

    close(mkstemp(path));
    for (int plain = 0; plain < 2; plain++) {
        gzFile out = gzopen(path, plain ? "wbT" : "wb");
        gzwrite(out, file, sizeof file);
        gzclose(out);
        ck_assert(idx_is(path));
        ck_assert_msg(idx_read(&d, path, 3, 0, error, sizeof error), "%s", error);
        ck_assert(d.n == 2 && d.height == 1 && d.width == 3);
        ck_assert_mem_eq(file + 16, d.bytes, 6);
        idx_free(&d);
        ck_assert(idx_read(&d, path, 3, 1, error, sizeof error) && d.n == 1);
        idx_free(&d);
        ck_assert(!idx_read(&d, path, 1, 0, error, sizeof error));
        ck_assert_msg(strstr(error, "3 dimensions, not 1"), "%s", error);
    }
    ck_assert_int_eq(0, truncate(path, sizeof file - 1));
    ck_assert(!idx_read(&d, path, 3, 0, error, sizeof error));
    ck_assert_msg(strstr(error, "ends before its 6 bytes"), "%s", error);
    gzFile out = gzopen(path, "wb");
    gzwrite(out, huge, sizeof huge);
    gzclose(out);
    ck_assert(!idx_read(&d, path, 3, 0, error, sizeof error));
    ck_assert_msg(strstr(error, "more than"), "%s", error);
    unlink(path);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, pixels_are_those_of_pillow, 0, IMAGES);
    tcase_add_loop_test(t, resizing_is_that_of_torch, 0, IMAGES);
    tcase_add_loop_test(t, damaged_images_are_refused, 0, IMAGES);
    tcase_add_test(t, bombs_are_refused);
    tcase_add_test(t, written_images_are_read_again);
    tcase_add_test(t, idx_files_are_read);
}

int main(void)
{
    return run_tests("image", add, 60, NULL, NULL);
}
