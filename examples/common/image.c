#include "image.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* jpeglib.h wants FILE and size_t first. */
#include <jpeglib.h>

void image_free(image *im)
{
    free(im->rgb);
    *im = (image){ 0 };
}

/* Check the size and make room for the pixels, of so many bytes each. */
static bool make_room(image *im, size_t width, size_t height, size_t bytes, char *error, size_t error_size)
{
    if (width == 0 || height == 0) return fail(error, error_size, "an image without pixels");
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS)
        return fail(error, error_size, "%zu x %zu pixels: at most %d along an edge and %d in all are read", width,
                    height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    im->width = width, im->height = height;
    im->rgb = malloc(width * height * bytes);
    return im->rgb || fail(error, error_size, "no memory for %zu x %zu pixels", width, height);
}

/* ---- PNG ---- */

static bool decode_png(image *im, const void *bytes, size_t size, char *error, size_t error_size)
{
    png_image png = { .version = PNG_IMAGE_VERSION };

    if (!png_image_begin_read_from_memory(&png, bytes, size)) return fail(error, error_size, "PNG: %s", png.message);
    png.format = PNG_FORMAT_RGBA;
    if (!make_room(im, png.width, png.height, 4, error, error_size)) {
        png_image_free(&png);
        return false;
    }
    if (!png_image_finish_read(&png, NULL, im->rgb, 0, NULL) || png.warning_or_error)
        return fail(error, error_size, "PNG: %s", png.message);
    for (size_t i = 0; i < im->width * im->height; i++) memmove(im->rgb + 3 * i, im->rgb + 4 * i, 3);
    return true;
}

bool image_write_png(const image *im, const char *path, char *error, size_t error_size)
{
    png_image png = { .version = PNG_IMAGE_VERSION,
                      .width = (png_uint_32)im->width,
                      .height = (png_uint_32)im->height,
                      .format = PNG_FORMAT_RGB };

    return png_image_write_to_file(&png, path, 0, im->rgb, 0, NULL) ||
           fail(error, error_size, "%s: %s", path, png.message);
}

/* ---- JPEG ---- */

typedef struct {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf leave;
    char *error;
    size_t error_size;
} jpeg_failure;

/* Of errors; and of warnings, after which libjpeg would go on with gray. */
static void jpeg_leave(j_common_ptr jpeg)
{
    jpeg_failure *f = (jpeg_failure *)jpeg->err;
    char text[JMSG_LENGTH_MAX];

    f->base.format_message(jpeg, text);
    fail(f->error, f->error_size, "JPEG: %s", text);
    longjmp(f->leave, 1);
}

static void jpeg_message(j_common_ptr jpeg, int level)
{
    if (level < 0) jpeg_leave(jpeg);
}

static bool decode_jpeg(image *im, const void *bytes, size_t size, char *error, size_t error_size)
{
    struct jpeg_decompress_struct jpeg;
    jpeg_failure failure = { .error = error, .error_size = error_size };

    jpeg.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = jpeg_leave;
    failure.base.emit_message = jpeg_message;
    if (setjmp(failure.leave)) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, bytes, size);
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = JCS_RGB;
    if (!make_room(im, jpeg.image_width, jpeg.image_height, 3, error, error_size)) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = im->rgb + 3 * im->width * jpeg.output_scanline;
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    return true;
}

/* ---- either ---- */

bool image_decode(image *im, const void *bytes, size_t size, char *error, size_t error_size)
{
    bool done;

    *im = (image){ 0 };
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        done = decode_png(im, bytes, size, error, error_size);
    else if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
        done = decode_jpeg(im, bytes, size, error, error_size);
    else
        done = fail(error, error_size, "neither PNG nor JPEG");
    if (!done) image_free(im);
    return done;
}

bool image_read(image *im, const char *path, char *error, size_t error_size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    char why[300];
    bool done = false;
    long size;

    *im = (image){ 0 };
    if (!file) return fail(error, error_size, "%s: %s", path, strerror(errno));
    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || size > IMAGE_MAX_BYTES)
        fail(why, sizeof why, "not a file of at most %d bytes", IMAGE_MAX_BYTES);
    else if (!(bytes = malloc((size_t)size + 1)))
        fail(why, sizeof why, "no memory for %ld bytes", size);
    else if (fseek(file, 0, SEEK_SET) != 0 || fread(bytes, 1, (size_t)size, file) != (size_t)size)
        fail(why, sizeof why, "cannot be read");
    else
        done = image_decode(im, bytes, (size_t)size, why, sizeof why);
    fclose(file);
    free(bytes);
    return done || fail(error, error_size, "%s: %s", path, why);
}
