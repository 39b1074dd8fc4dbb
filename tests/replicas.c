/* replicas.c - a training on two sub-devices of one device has the losses of the whole device, and equal parameters on both. */
#include "tiny.h"

#include "trainer/parallel.h"

enum { STEPS = 12, PARTS = 2 };
static const int32_t labels[] = { 2, 0, -1, 1, 2 };

static clpeft_trainer_options options_of(clpeft_method method)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    o.classes = 3, o.adapter.rank = 2, o.adapter.seed_width = 4, o.adapter.hidden_width = 5, o.adapter.dropout = 0.1f;
    o.warmup = 2, o.total_steps = STEPS;
    return o;
}

/* Two parts of the device with half of its units each, or twice the device itself where it cannot be parted. Returns how many there
 * are to release. */
static cl_uint part_device(cl_device_id parts[PARTS])
{
    cl_device_id device = clpeft_context_device(dev.ctx);
    cl_uint units = 0, n = 0;

    clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    const cl_device_partition_property halves[] = { CL_DEVICE_PARTITION_EQUALLY, units / 2, 0 };
    if (units >= 2 && clCreateSubDevices(device, halves, PARTS, parts, &n) == CL_SUCCESS && n == PARTS) return n;
    parts[0] = parts[1] = device;
    return 0;
}

/* An OpenCL context of an application, and the library's in it. */
typedef struct {
    cl_context cl;
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
} replica;

static replica open_replica(cl_device_id device, const char *dir, const clpeft_trainer_options *options)
{
    cl_int code;
    replica r = { .cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code) };

    ck_assert_int_eq(CL_SUCCESS, code);
    ck_ok(clpeft_context_create(&r.ctx, &(clpeft_context_options){ .context = r.cl, .device = device }));
    ck_ok(clpeft_model_load(&r.model, r.ctx, dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&r.trainer, r.model, options));
    return r;
}

static void close_replica(replica *r)
{
    clpeft_trainer_destroy(r->trainer);
    clpeft_model_destroy(r->model);
    clpeft_context_destroy(r->ctx);
    clReleaseContext(r->cl);
}

static float *theta(const clpeft_trainer *t)
{
    float *x = malloc(clpeft_params_size(clpeft_trainer_params(t)) * sizeof *x);
    ck_ok(clpeft_params_read(clpeft_trainer_params(t), CLPEFT_THETA, NULL, x, clpeft_trainer_queue(t)));
    return x;
}

START_TEST(two_sub_devices_are_one_device)
{
    const clpeft_trainer_options options = options_of((clpeft_method)_i);
    tiny files = tiny_make((tiny){ 0 });
    cl_device_id parts[PARTS];
    const cl_uint created = part_device(parts);
    clpeft_batch batch = tiny_batch;

    batch.labels = labels;
    tiny_write(&files, "");
    replica one = open_replica(clpeft_context_device(dev.ctx), files.dir, &options);
    replica two[PARTS] = { open_replica(parts[0], files.dir, &options), open_replica(parts[1], files.dir, &options) };
    clpeft_trainer *trainers[PARTS] = { two[0].trainer, two[1].trainer };
    for (int step = 0; step < STEPS; step++) {
        clpeft_step_result whole, shared;
        parallel_times times;
        ck_ok(clpeft_train_step(one.trainer, &batch, &whole));
        parallel_step(trainers, PARTS, &batch, &shared, &times);
        expect_near(shared.loss, whole.loss, 1e-5, "loss of step %d", step);
        expect_near(shared.grad_norm, whole.grad_norm, 1e-4 * (double)whole.grad_norm, "norm of step %d", step);
        ck_assert_uint_eq(whole.counted, shared.counted);
        ck_assert_uint_eq(whole.correct, shared.correct);
    }
    float *a = theta(two[0].trainer), *b = theta(two[1].trainer);
    ck_assert_int_eq(0, memcmp(a, b, clpeft_params_size(clpeft_trainer_params(one.trainer)) * sizeof *a));
    free(a), free(b);
    close_replica(&one);
    for (int i = 0; i < PARTS; i++) close_replica(&two[i]);
    for (cl_uint i = 0; i < created; i++) clReleaseDevice(parts[i]);
    tiny_free(&files);
}
END_TEST

/* Every sequence belongs to one share, in order, with its tokens, labels and place. */
START_TEST(shares_are_the_whole_batch)
{
    const size_t count = (size_t)_i + 1;
    const clpeft_model_info info = { 0 };
    clpeft_batch batch = tiny_batch;
    size_t S = 0, T = 0;
    int32_t rows[8];

    batch.labels = labels;
    for (size_t own = 0; own < count; own++) {
        const clpeft_batch share = parallel_share(&batch, &info, false, own, count, rows);
        for (size_t q = 0; q < share.S; q++)
            ck_assert_int_eq(batch.row_start[S + q + 1] - batch.row_start[S + q], rows[q + 1] - rows[q]);
        if (share.S > 0) {
            ck_assert_uint_eq(T, share.first_token);
            ck_assert_ptr_eq(batch.tokens + T, share.tokens);
            ck_assert_ptr_eq(batch.labels + S, share.labels);
        }
        S += share.S, T += (size_t)rows[share.S];
        ck_assert_uint_le((size_t)rows[share.S], parallel_most_tokens((size_t)batch.row_start[batch.S], 9, count));
    }
    ck_assert_uint_eq(batch.S, S);
}
END_TEST

/* Images are of one size and have no row_start. */
START_TEST(images_are_shared_by_number)
{
    const clpeft_model_info info = { .positions = 5, .image_size = 2, .channels = 3 };
    const clpeft_batch batch = { .S = 5, .pixels = (float[60]){ 0 }, .labels = labels };
    int32_t rows[8];

    const clpeft_batch share = parallel_share(&batch, &info, false, 1, 2, rows);
    ck_assert_uint_eq(2, share.S);
    ck_assert_ptr_eq(batch.pixels + 3 * 12, share.pixels);
    ck_assert_ptr_eq(labels + 3, share.labels);
    ck_assert_uint_eq(15, share.first_token);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, two_sub_devices_are_one_device, CLPEFT_LORA, CLPEFT_DORAN + 1);
    tcase_add_loop_test(t, shares_are_the_whole_batch, 0, 6);
    tcase_add_test(t, images_are_shared_by_number);
}

int main(void)
{
    return run_suite("replicas", add, 120);
}
