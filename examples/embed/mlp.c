/* mlp.c - an application with its own OpenCL context, queue and model that uses clpeft only for the adapter.
 *
 * The model is a frozen perceptron, logits = W2 relu(W1 x + b1) + b2, that knows one task (is x.a positive?) and is adapted to another
 * (is x.b positive?) by DoRAN sites on both layers. The last lines keep the merged weights in a safetensors file. */
#include <clpeft.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { B = 64, IN = 16, HIDDEN = 48, CLASSES = 2, STEPS = 200 };

#define CHECK(call) \
    if ((call) != CLPEFT_OK) return fprintf(stderr, "mlp: %s: %s\n", #call, clpeft_error_message()), 2

static float uniform(void)
{
    return 2.0f * (float)rand() / (float)RAND_MAX - 1.0f;
}

static cl_mem floats(cl_context cl, size_t n)
{
    return clCreateBuffer(cl, CL_MEM_READ_WRITE, 4 * n, NULL, NULL);
}

int main(int argc, char **argv)
{
    /* The application's own OpenCL. */
    cl_platform_id platform;
    cl_device_id device;
    if (clGetPlatformIDs(1, &platform, NULL) || clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL))
        return fprintf(stderr, "mlp: no OpenCL device\n"), 2;
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    cl_command_queue queue = clCreateCommandQueue(cl, device, 0, NULL);

    /* clpeft on it: two frozen layers, an adapter over both. */
    clpeft_context *ctx;
    CHECK(clpeft_context_create(&ctx, &(clpeft_context_options){ .context = cl, .device = device }));
    float w1[HIDDEN * IN], w2[CLASSES * HIDDEN], b1[HIDDEN], b2[CLASSES] = { 0 };
    for (int i = 0; i < HIDDEN * IN; i++) w1[i] = uniform() / 4;
    for (int i = 0; i < CLASSES * HIDDEN; i++) w2[i] = uniform() / 7;
    for (int i = 0; i < HIDDEN; i++) b1[i] = uniform() / 8;
    clpeft_linear *fc1, *fc2;
    CHECK(clpeft_linear_create(&fc1, ctx, &(clpeft_linear_options){ .N = HIDDEN, .K = IN, .has_bias = 1 }));
    CHECK(clpeft_linear_create(&fc2, ctx, &(clpeft_linear_options){ .N = CLASSES, .K = HIDDEN, .has_bias = 1 }));
    CHECK(clpeft_linear_load(fc1, 0, HIDDEN, w1, CLPEFT_F32, b1, queue));
    CHECK(clpeft_linear_load(fc2, 0, CLASSES, w2, CLPEFT_F32, b2, queue));
    const clpeft_site sites[] = { { .name = "fc1", .linear = fc1, .heads = 1, .head_size = HIDDEN },
                                  { .name = "fc2", .linear = fc2, .heads = 1, .head_size = CLASSES } };
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_DORAN);
    config.rank = 4;
    clpeft_params *params;
    clpeft_adapter *adapter;
    CHECK(clpeft_params_create(&params, ctx));
    CHECK(clpeft_adapter_create(&adapter, params, sites, 2, &config));
    CHECK(clpeft_params_allocate(params));

    /* Activations, gradients and scratch: the application's own buffers. */
    const clpeft_view none = { 0 };
    const clpeft_view x = { floats(cl, B * IN), 0, IN }, h = { floats(cl, B * HIDDEN), 0, HIDDEN },
                      y = { floats(cl, B * CLASSES), 0, CLASSES };
    const clpeft_view dh = { floats(cl, B * HIDDEN), 0, HIDDEN }, labels = { floats(cl, B), 0, 1 },
                      loss = { floats(cl, B), 0, 1 };
    const clpeft_view tape1 = { floats(cl, clpeft_linear_tape(fc1, adapter, B)), 0, 1 };
    const clpeft_view tape2 = { floats(cl, clpeft_linear_tape(fc2, adapter, B)), 0, 1 };
    const size_t need[2] = { clpeft_linear_workspace(fc1, adapter, B), clpeft_linear_workspace(fc2, adapter, B) };
    clpeft_workspace *ws;
    CHECK(clpeft_workspace_create(&ws, ctx, need[0] > need[1] ? need[0] : need[1]));
    clpeft_adamw adamw = clpeft_adamw_defaults();
    adamw.lr = 2e-2f;

    for (int step = 0; step < STEPS; step++) {
        float data[B * IN], losses[B], mean = 0;
        int32_t answers[B];
        for (int i = 0; i < B * IN; i++) data[i] = uniform();
        for (int i = 0; i < B; i++) answers[i] = data[i * IN + 1] > 0;
        clEnqueueWriteBuffer(queue, x.buf, CL_TRUE, 0, sizeof data, data, 0, NULL, NULL);
        clEnqueueWriteBuffer(queue, labels.buf, CL_TRUE, 0, sizeof answers, answers, 0, NULL, NULL);

        CHECK(clpeft_adapter_materialize(adapter, (uint64_t)step, 1, queue, 0, NULL, NULL));
        CHECK(clpeft_params_zero_grad(params, queue, 0, NULL, NULL));
        CHECK(clpeft_linear_forward(fc1, adapter, B, CLPEFT_IDENTITY, x, none, h, tape1, ws, queue, 0, NULL, NULL));
        CHECK(clpeft_linear_forward(fc2, adapter, B, CLPEFT_RELU, h, none, y, tape2, ws, queue, 0, NULL,
                                    NULL)); /* relu on its way in */
        CHECK(clpeft_cross_entropy(ctx, B, CLASSES, y, labels, 1.0f / B, loss, none, y, queue, 0, NULL,
                                   NULL)); /* y becomes dy */
        CHECK(clpeft_linear_backward(fc2, adapter, B, CLPEFT_RELU, h, tape2, y, 0, dh, ws, queue, 0, NULL, NULL));
        CHECK(
            clpeft_linear_backward(fc1, adapter, B, CLPEFT_IDENTITY, x, tape1, dh, 0, none, ws, queue, 0, NULL, NULL));
        CHECK(clpeft_adapter_backward(adapter, NULL, queue, 0, NULL, NULL));
        CHECK(clpeft_adamw_step(params, &adamw, queue, 0, NULL, NULL));

        clEnqueueReadBuffer(queue, loss.buf, CL_TRUE, 0, sizeof losses, losses, 0, NULL, NULL);
        for (int i = 0; i < B; i++) mean += losses[i] / B;
        if (step % 50 == 0 || step == STEPS - 1) printf("step %3d  loss %.4f\n", step, (double)mean);
        if (step == STEPS - 1 && !(mean < 0.3f)) return fprintf(stderr, "mlp: the loss did not fall\n"), 1;
    }

    /* What leaves the program: plain weights. */
    if (argc > 1) {
        CHECK(clpeft_adapter_materialize(adapter, STEPS, 0, queue, 0, NULL, NULL));
        CHECK(clpeft_adapter_merge(adapter, fc1, 0, HIDDEN, w1, queue));
        CHECK(clpeft_adapter_merge(adapter, fc2, 0, CLASSES, w2, queue));
        const clpeft_write_tensor tensors[] = {
            { .name = "fc1.weight", .n_dims = 2, .dims = { HIDDEN, IN }, .data = w1 },
            { .name = "fc2.weight", .n_dims = 2, .dims = { CLASSES, HIDDEN }, .data = w2 }
        };
        CHECK(clpeft_safetensors_write(argv[1], NULL, 0, tensors, 2));
    }

    const cl_mem own[] = { x.buf, h.buf, y.buf, dh.buf, labels.buf, loss.buf, tape1.buf, tape2.buf };
    clpeft_workspace_destroy(ws);
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(fc1), clpeft_linear_destroy(fc2);
    clpeft_context_destroy(ctx);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) clReleaseMemObject(own[i]);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return 0;
}
