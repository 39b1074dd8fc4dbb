/* large.c - sizes past 32 bits: offsets and rows far into a buffer, sizes that are counted in 64 bits, and devices that allocate less
 * than is asked for. */
#include "exchange.h"
#include "fault/fault.h"
#include "reference.h"

static fault_control *layer;

/* ---- a device that allocates little ------------------------------------------------------------------------------------ */

/* A model and a step on a device whose largest buffer has `most` bytes; the parameters after it, or NULL when it is refused. */
static float *step_within(const tiny *files, size_t most, size_t *n)
{
    static const int32_t labels[] = { 2, 0, -1, 1, 2 };
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    clpeft_context *ctx;
    clpeft_model *model = NULL;
    clpeft_trainer *trainer = NULL;
    clpeft_batch batch = tiny_batch;
    float *theta = NULL;

    batch.labels = labels;
    layer->max_alloc = most;
    ck_ok(clpeft_context_create(&ctx, NULL));
    clpeft_status status = clpeft_model_load(&model, ctx, files->dir, &tiny_options);
    if (status == CLPEFT_OK) status = clpeft_trainer_create(&trainer, model, &o);
    if (status == CLPEFT_OK) status = clpeft_train_step(trainer, &batch, NULL);
    if (status == CLPEFT_OK) {
        *n = clpeft_params_size(clpeft_trainer_params(trainer));
        theta = malloc(*n * sizeof *theta);
        ck_ok(clpeft_params_read(clpeft_trainer_params(trainer), CLPEFT_THETA, NULL, theta,
                                 clpeft_trainer_queue(trainer)));
    } else {
        ck_assert_msg(status == CLPEFT_INVALID_SIZE && strstr(clpeft_error_message(), "the device allocates 1 to"),
                      "%zu bytes: %s", most, clpeft_error_message());
    }
    clpeft_trainer_destroy(trainer);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
    layer->max_alloc = 0;
    return theta;
}

/* Limits in small steps: refused with a message, or, with the weights in several buffers, the same bits. */
START_TEST(small_allocations_are_enough_or_refused)
{
    tiny files = tiny_make((tiny){ 0 });
    size_t n, again, refused = 0, done = 0;

    tiny_write(&files, "");
    float *want = step_within(&files, 0, &n);
    ck_assert_ptr_nonnull(want);
    const fault_alive before = fault_count(layer);
    for (size_t most = 64; most < (size_t)1 << 20; most += most / 2) {
        float *have = step_within(&files, most, &again);
        ck_assert_msg(have || done == 0, "refused with %zu bytes, though less is enough", most);
        if (have) {
            ck_assert_uint_eq(n, again);
            ck_assert_mem_eq(want, have, n * sizeof *want);
        }
        refused += !have, done += have != NULL;
        free(have);
    }
    ck_assert_uint_gt(refused, 5);
    ck_assert_uint_gt(done, 2);
    ck_assert_int_eq(0, fault_leaks(layer, &before));
    free(want);
    tiny_free(&files);
}
END_TEST

/* ---- far into a buffer --------------------------------------------------------------------------------------------------- */

/* One buffer as large as the device allows, up to 18 GiB: past 2^32 elements. Its pages are not touched but by the tests. */
static cl_mem far_buffer;
static size_t far_size; /* elements */

static int make_far_buffer(void)
{
    clpeft_device_info info;
    cl_int code;

    clpeft_context_info(dev.ctx, &info);
    const size_t most = (size_t)18 << 30, least = (size_t)3 << 30;
    const size_t bytes = info.max_alloc_bytes < most ? (size_t)info.max_alloc_bytes : most;
    if (bytes < least || info.global_bytes < bytes + bytes / 4) {
        printf("large: the device allocates %zu bytes at most: nothing is far in a buffer\n", bytes);
        return 0;
    }
    printf("large: a buffer of %zu bytes\n", bytes);
    far_buffer = clCreateBuffer(clpeft_context_cl(dev.ctx), CL_MEM_READ_WRITE, bytes, NULL, &code);
    far_size = bytes / 4;
    return code == CL_SUCCESS;
}

/* The values of a small matrix with its last row at the end of the large buffer, its rows far apart. */
static clpeft_view far_view(const matrix *m, size_t slot)
{
    const size_t ld = m->rows > 1 ? (far_size - 4096) / (m->rows - 1) / 64 * 64 - 4096 : m->cols;
    const clpeft_view view = { far_buffer, far_size - (slot + 1) * 256 - (m->rows - 1) * ld, ld };
    for (size_t i = 0; i < m->rows; i++)
        ck_assert_int_eq(CL_SUCCESS, clEnqueueWriteBuffer(dev.queue, far_buffer, CL_TRUE, 4 * (view.off + i * view.ld),
                                                          4 * m->cols, &AT(*m, i, 0), 0, NULL, NULL));
    return view;
}

/* What is at a far view is what the small matrix holds. */
static void expect_at(clpeft_view view, matrix *m)
{
    float row[256];
    matrix_download(m);
    for (size_t i = 0; i < m->rows; i++) {
        ck_assert_int_eq(CL_SUCCESS, clEnqueueReadBuffer(dev.queue, far_buffer, CL_TRUE, 4 * (view.off + i * view.ld),
                                                         4 * m->cols, row, 0, NULL, NULL));
        for (size_t j = 0; j < m->cols; j++)
            ck_assert_msg(row[j] == AT(*m, i, j), "[%zu,%zu]: %.9g, not %.9g", i, j, (double)row[j],
                          (double)AT(*m, i, j));
    }
}

#define Q dev.queue, 0, NULL, NULL
enum { R = 5, C = 70 };

START_TEST(operations_reach_far)
{
    if (!make_far_buffer()) return; /* the device has no such buffer */
    matrix a = matrix_random(R, C, 0, 0), b = matrix_random(R, C, 0, 0), y = matrix_random(R, C, 0, 0);
    matrix gamma = matrix_random(1, C, 0, 0), stat = matrix_random(R, 2, 0, 0), norm = matrix_random(R, 1, 0, 0);
    matrix product = matrix_random(R, R, 0, 0);
    clpeft_workspace *ws = NULL;
    const size_t bytes = clpeft_gemm_workspace(dev.ctx, R, R, C);
    if (bytes) ck_ok(clpeft_workspace_create(&ws, dev.ctx, bytes));
    const clpeft_view fa = far_view(&a, 0), fb = far_view(&b, 1), fy = far_view(&y, 2), fnorm = far_view(&norm, 3),
                      fproduct = far_view(&product, 4), g = { gamma.view.buf, 0, 1 };

    ck_ok(clpeft_add(dev.ctx, R, C, 2, a.view, 3, b.view, y.view, Q));
    ck_ok(clpeft_add(dev.ctx, R, C, 2, fa, 3, fb, fy, Q));
    expect_at(fy, &y);
    ck_ok(clpeft_row_norm(dev.ctx, R, C, a.view, norm.view, Q));
    ck_ok(clpeft_row_norm(dev.ctx, R, C, fa, fnorm, Q));
    expect_at(fnorm, &norm);
    ck_ok(clpeft_layer_norm(dev.ctx, R, C, 1e-5f, a.view, g, g, y.view, stat.view, Q));
    ck_ok(clpeft_layer_norm(dev.ctx, R, C, 1e-5f, fa, g, g, fy, stat.view, Q));
    expect_at(fy, &y);
    ck_ok(clpeft_gemm(dev.ctx, 0, 1, R, R, C, 1, a.view, b.view, 0, product.view, ws, Q));
    ck_ok(clpeft_gemm(dev.ctx, 0, 1, R, R, C, 1, fa, fb, 0, fproduct, ws, Q));
    expect_at(fproduct, &product);
    /* one element further is past the end */
    ck_fails(CLPEFT_INVALID_VIEW, "y",
             clpeft_add(dev.ctx, R, C, 2, fa, 3, fb, (clpeft_view){ far_buffer, fy.off + 3 * 256 - C + 1, fy.ld }, Q));
    clpeft_workspace_destroy(ws);
    matrix_free(&a), matrix_free(&b), matrix_free(&y), matrix_free(&gamma), matrix_free(&stat), matrix_free(&norm);
    matrix_free(&product);
    clReleaseMemObject(far_buffer);
}
END_TEST

/* The last rows of a table that takes the whole buffer, read and added to. */
START_TEST(tables_reach_far)
{
    enum { D = 64, N = 3 };
    if (!make_far_buffer()) return;
    const size_t V = far_size / D < INT32_MAX ? far_size / D : INT32_MAX;
    const int32_t ids[N] = { (int32_t)(V - 1), 0, (int32_t)(V / 2 + 1) }, rows[] = { 0, N };
    const clpeft_view none = { 0 }, table = { far_buffer, 0, D };
    matrix values = matrix_random(N, D, 0, 0), y = matrix_random(N, D, 0, 0), id = matrix_ints(ids, N, 0),
           start = matrix_ints(rows, 2, 0);

    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(CL_SUCCESS, clEnqueueWriteBuffer(dev.queue, far_buffer, CL_TRUE, 4 * (size_t)ids[i] * D, 4 * D,
                                                          &AT(values, i, 0), 0, NULL, NULL));
    ck_ok(clpeft_embedding(dev.ctx, N, D, V, 0, 1, id.view, start.view, table, none, 0, none, y.view, Q));
    matrix_download(&y);
    expect_same(&y, &values);
    ck_ok(clpeft_embedding_backward(dev.ctx, N, D, V, id.view, values.view, table, Q));
    ck_ok(clpeft_embedding(dev.ctx, N, D, V, 0, 1, id.view, start.view, table, none, 0, none, y.view, Q));
    matrix_download(&y);
    for (size_t i = 0; i < N * D; i++) ck_assert(y.host[i] == 2 * values.host[i]);
    matrix_free(&values), matrix_free(&y), matrix_free(&id), matrix_free(&start);
    clReleaseMemObject(far_buffer);
}
END_TEST

/* ---- sizes that are only counted ------------------------------------------------------------------------------------------ */

START_TEST(sizes_are_counted_in_64_bits)
{
    const size_t large = (size_t)1 << 18;
    const clpeft_linear_options o = { .N = large, .K = large }, small = { .N = 64, .K = 64 };
    clpeft_linear *l;

    ck_assert_uint_ge(clpeft_linear_bytes(dev.ctx, &o), 4 * large * large);
    ck_fails(CLPEFT_INVALID_SIZE, "the device allocates", clpeft_linear_create(&l, dev.ctx, &o));
    ck_ok(clpeft_linear_create(&l, dev.ctx, &small));
    if (clpeft_linear_workspace(l, NULL, 1) > 0)
        ck_assert_uint_ge(clpeft_linear_workspace(l, NULL, (size_t)1 << 33), (size_t)1 << 33);
    if (clpeft_gemm_workspace(dev.ctx, 1, 1, 1) > 0)
        ck_assert_uint_ge(clpeft_gemm_workspace(dev.ctx, large, large, large), 4 * large * large);
    clpeft_linear_destroy(l);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, small_allocations_are_enough_or_refused);
    tcase_add_test(t, operations_reach_far);
    tcase_add_test(t, tables_reach_far);
    tcase_add_test(t, sizes_are_counted_in_64_bits);
}

int main(void)
{
    layer = fault_start();
    setenv("CK_FORK", "no", 1);
    return run_suite("large", add, 0);
}
