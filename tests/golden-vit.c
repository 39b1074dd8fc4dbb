/* golden-vit.c - golden-vit GOLDEN.safetensors [MODEL_DIR]: last hidden states of a vision transformer against those of
 * transformers, made by golden/make_vit_golden.py: within 1e-4. Without MODEL_DIR it is CLPEFT_TEST_VIT; exits with 77,
 * skipped, without that too. */
#include "clpeft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(clpeft_status status)
{
    if (status == CLPEFT_OK) return;
    printf("%s\n", clpeft_error_message());
    exit(1);
}

/* As the script makes them. */
static float *make_pixels(size_t n)
{
    float *pixels = calloc(n, sizeof *pixels);
    for (size_t i = 0; i < n; i++) pixels[i] = (float)((uint32_t)(i * 2654435761u) >> 8) / 8388608.0f - 1;
    return pixels;
}

static int compare(clpeft_context *ctx, const char *dir, const clpeft_file_tensor *golden)
{
    const size_t size = strtoul(golden->name + strlen("hidden."), NULL, 10), S = golden->dims[0],
                 rows = golden->dims[1];
    const clpeft_model_options options = { .image_size = size, .forward_only = 1, .max_tokens = 600 };
    clpeft_model *model;
    clpeft_model_info info;
    cl_command_queue queue;
    clpeft_view y;
    double most = 0;

    must(clpeft_model_load(&model, ctx, dir, &options));
    must(clpeft_queue_create(&queue, ctx));
    clpeft_model_get_info(model, &info);
    const size_t D = info.width, T = S * info.positions, step = info.positions < 32 ? 1 : info.positions / 16;
    float *pixels = make_pixels(S * info.channels * size * size), *have = calloc(T * D, sizeof *have),
          *want = calloc(S * rows * D, sizeof *want);
    if (golden->dims[2] != D || (info.positions + step - 1) / step != rows) must(CLPEFT_INVALID_SIZE);
    must(clpeft_file_read_f32(golden, 0, S * rows * D, want));
    must(clpeft_model_forward(model, NULL, &(clpeft_batch){ .S = S, .pixels = pixels }, 0, &y, queue, 0, NULL, NULL));
    for (size_t t = 0; t < T; t++)
        must(clEnqueueReadBuffer(queue, y.buf, CL_TRUE, 4 * (y.off + t * y.ld), 4 * D, have + t * D, 0, NULL, NULL));
    for (size_t q = 0; q < S; q++)
        for (size_t r = 0; r < rows; r++)
            for (size_t d = 0; d < D; d++) {
                const double x = have[(q * info.positions + r * step) * D + d];
                most = fmax(most, isfinite(x) ? fabs(x - want[(q * rows + r) * D + d]) : INFINITY);
            }
    printf("%s, %zu pixels: largest difference %.1e\n", info.name, size, most);
    free(pixels), free(have), free(want);
    clReleaseCommandQueue(queue);
    clpeft_model_destroy(model);
    return most <= 1e-4;
}

int main(int argc, char **argv)
{
    clpeft_context *ctx;
    clpeft_file *file;
    size_t right = 0, n;

    if (argc < 2) return 2;
    const char *dir = argc > 2 ? argv[2] : getenv("CLPEFT_TEST_VIT");
    if (!dir) return 77;
    must(clpeft_context_create(&ctx, NULL));
    must(clpeft_file_open(&file, argv[1]));
    n = clpeft_file_tensors(file);
    for (size_t i = 0; i < n; i++) right += compare(ctx, dir, clpeft_file_tensor_at(file, i)) != 0;
    clpeft_file_close(file);
    clpeft_context_destroy(ctx);
    return right != n;
}
