/* images.c - libFuzzer: any bytes as a PNG or JPEG image, or as an IDX file. */
#include "common/idx.h"
#include "common/image.h"
#include "scratch.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    enum { SIDE = 8 };
    static float out[3 * SIDE * SIDE];
    char error[256] = "";
    image im = { 0 };
    idx d = { 0 };

    if (image_decode(&im, bytes, size, error, sizeof error)) {
        const image_box box = { 0, 0, im.width, im.height };
        assert(im.width && im.height && im.rgb);
        if (im.width * im.height < 1 << 16)
            assert(image_resize(&im, box, SIDE, size & 1 ? IMAGE_BICUBIC : IMAGE_BILINEAR, out));
        image_free(&im);
    } else {
        assert(*error);
    }
    scratch_write("a.idx", bytes, size);
    if (!idx_is(scratch_path("a.idx"))) return 0;
    for (int dims = 1; dims < 4; dims += 2)
        if (idx_read(&d, scratch_path("a.idx"), dims, 100, error, sizeof error)) idx_free(&d);
    return 0;
}
