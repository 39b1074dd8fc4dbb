/* golden.c - golden FILE...: replays golden cases of the adapter mathematics, one line per file with its worst tensor.
 *
 * A file is f64 safetensors with the case's sizes as JSON in the metadata "config": inputs, first parameters,
 * everything that forward and backward give, and the parameters after three AdamW steps. The loss is the sum over
 * sites of <Y, dY> + 0.5 <Y, Y>, so the output's gradient is dY + Y. Exit status 0 only if every tensor of every file
 * agrees within a relative Frobenius error of 5e-6 (parameters after the steps: 2e-5). */
#include "golden.h"

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int compare(golden *g, const char *prefix, const char *name, const float *have, size_t n, double bound)
{
    double *want = get(g, prefix, name, n, 0), difference = 0, size = 0;
    if (!want) return 0;
    for (size_t i = 0; i < n; i++) {
        difference += (have[i] - want[i]) * (have[i] - want[i]);
        size += want[i] * want[i];
    }
    free(want);
    double error = size > 0 ? sqrt(difference / size) : sqrt(difference);
    if (isnan(error)) error = INFINITY;
    if (!*g->worst || error / bound > g->error / g->bound) {
        snprintf(g->worst, sizeof g->worst, "%s%s", prefix, name);
        g->error = error, g->bound = bound;
    }
    return 1;
}

#define BOUND       5e-6
#define BOUND_STEPS 2e-5

/* ---- the case --------------------------------------------------------------------------------------------------- */

static int make_buffer(golden *g, cl_mem *buf, const double *values, size_t n)
{
    cl_int code;
    float *host = values ? narrow(g, values, n) : NULL;
    if (values && !host) return 0;
    *buf = clCreateBuffer(clpeft_context_cl(g->ctx), CL_MEM_READ_WRITE | (host ? CL_MEM_COPY_HOST_PTR : 0), 4 * n, host,
                          &code);
    free(host);
    return code == CL_SUCCESS || fail(g, "clCreateBuffer: %s", clpeft_status_text(code));
}

/* The layer of one site with its weight, its input and room for its results. */
static int make_layer(golden *g, layer *l, size_t block, size_t index)
{
    const size_t T = g->T, K = g->K, N = l->N = g->heads[index] * g->head_size;
    char in[80];
    snprintf(l->prefix, sizeof l->prefix, "blocks.%zu.%s.", block, g->names[index]);
    snprintf(in, sizeof in, "in.%s", l->prefix);
    double *w0 = get(g, in, "W0", N * K, 0), *bias = get(g, in, "bias", N, 1), *x = get(g, in, "X", T * K, 0);
    float *w0_f32 = w0 ? narrow(g, w0, N * K) : NULL, *bias_f32 = bias ? narrow(g, bias, N) : NULL;
    l->dy0 = get(g, in, "dY", T * N, 0);
    const clpeft_linear_options options = { .N = N, .K = K, .dtype = CLPEFT_F32, .has_bias = bias != NULL };
    int good = w0_f32 && x && l->dy0 && ok(g, clpeft_linear_create(&l->linear, g->ctx, &options)) &&
               ok(g, clpeft_linear_load(l->linear, 0, N, w0_f32, CLPEFT_F32, bias_f32, g->queue)) &&
               make_buffer(g, &l->x, x, T * K) && make_buffer(g, &l->dx, NULL, T * K) &&
               make_buffer(g, &l->y, NULL, T * N) && make_buffer(g, &l->dy, NULL, T * N);
    free(w0), free(bias), free(x), free(w0_f32), free(bias_f32);
    return good;
}

/* The arena's tensors are the file's, no more and no fewer, and take its first values. */
static int set_parameters(golden *g)
{
    const size_t n = clpeft_params_count(g->params);
    size_t in_file = 0;

    for (size_t i = 0; i < clpeft_file_tensors(g->file); i++)
        in_file += !strncmp(clpeft_file_tensor_at(g->file, i)->name, "theta0.", 7);
    if (in_file != n) return fail(g, "the file has %zu parameters, the adapter %zu", in_file, n);
    for (size_t i = 0; i < n; i++) {
        const clpeft_tensor *t = clpeft_params_tensor(g->params, i);
        double *values = get(g, "theta0.", t->name, t->size, 0);
        float *host = values ? narrow(g, values, t->size) : NULL;
        const int good = host && ok(g, clpeft_params_write(g->params, CLPEFT_THETA, t, host, g->queue));
        free(values), free(host);
        if (!good) return 0;
    }
    return 1;
}

/* Layers, adapter, workspace, tapes. */
static int make_case(golden *g)
{
    const size_t n = g->blocks * g->n_names;
    clpeft_site *sites = calloc(n, sizeof *sites);
    size_t bytes;
    int good = sites && (g->layers = calloc(n, sizeof *g->layers));

    for (size_t i = 0; good && i < n; i++) {
        const size_t index = i % g->n_names;
        good = make_layer(g, &g->layers[i], i / g->n_names, index);
        sites[i] = (clpeft_site){ .name = g->names[index],
                                  .block = i / g->n_names,
                                  .linear = g->layers[i].linear,
                                  .heads = g->heads[index],
                                  .head_size = g->head_size };
    }
    good = good && ok(g, clpeft_params_create(&g->params, g->ctx)) &&
           ok(g, clpeft_adapter_create(&g->adapter, g->params, sites, n, &g->adapter_config)) &&
           ok(g, clpeft_params_allocate(g->params)) && set_parameters(g);
    free(sites);
    bytes = clpeft_adapter_workspace(g->adapter);
    for (size_t i = 0; good && i < n; i++) {
        const size_t need = clpeft_linear_workspace(g->layers[i].linear, g->adapter, g->T);
        const size_t tape = clpeft_linear_tape(g->layers[i].linear, g->adapter, g->T);
        bytes = need > bytes ? need : bytes;
        good = tape == 0 || make_buffer(g, &g->layers[i].tape, NULL, tape);
    }
    return good && (bytes == 0 || ok(g, clpeft_workspace_create(&g->ws, g->ctx, bytes)));
}

static int read_buffer(golden *g, cl_mem buf, size_t n, float *host)
{
    const cl_int code = clEnqueueReadBuffer(g->queue, buf, CL_TRUE, 0, 4 * n, host, 0, NULL, NULL);
    return code == CL_SUCCESS || fail(g, "clEnqueueReadBuffer: %s", clpeft_status_text(code));
}

/* Y and dX of one layer; adds its part of the loss; y and dx receive them. */
static int run_layer(golden *g, layer *l, double *loss, float *y, float *dx)
{
    const size_t T = g->T, n = T * l->N;
    const clpeft_view x = { l->x, 0, g->K }, y_view = { l->y, 0, l->N }, dy_view = { l->dy, 0, l->N },
                      dx_view = { l->dx, 0, g->K };
    const clpeft_view none = { NULL, 0, 0 }, tape = { l->tape, 0, 1 };

    if (!ok(g, clpeft_linear_forward(l->linear, g->adapter, T, CLPEFT_IDENTITY, x, none, y_view, tape, g->ws, g->queue,
                                     0, NULL, NULL)) ||
        !read_buffer(g, l->y, n, y))
        return 0;
    float *dy = room(g, n);
    if (!dy) return 0;
    for (size_t i = 0; i < n; i++) {
        *loss += y[i] * l->dy0[i] + 0.5 * y[i] * y[i];
        dy[i] = (float)(l->dy0[i] + y[i]);
    }
    const cl_int code = clEnqueueWriteBuffer(g->queue, l->dy, CL_TRUE, 0, 4 * n, dy, 0, NULL, NULL);
    free(dy);
    return (code == CL_SUCCESS || fail(g, "clEnqueueWriteBuffer: %s", clpeft_status_text(code))) &&
           ok(g, clpeft_linear_backward(l->linear, g->adapter, T, CLPEFT_IDENTITY, x, tape, dy_view, 0, dx_view, g->ws,
                                        g->queue, 0, NULL, NULL)) &&
           read_buffer(g, l->dx, T * g->K, dx);
}

/* A, B, c, g and the merged weight of one site. */
static int compare_site(golden *g, size_t site, const char *out)
{
    const layer *l = &g->layers[site];
    const size_t N = l->N, K = g->K, r = g->adapter_config.rank;
    float *a = malloc(4 * r * K), *b = malloc(4 * N * r), *c = malloc(4 * N), *gain = malloc(4 * N),
          *merged = malloc(4 * N * K);
    const int good =
        ok(g, clpeft_adapter_read_site(g->adapter, site, a, b, c, gain, NULL, g->queue)) &&
        ok(g, clpeft_adapter_merge(g->adapter, l->linear, 0, N, merged, g->queue)) &&
        compare(g, out, "A", a, r * K, BOUND) && compare(g, out, "B", b, N * r, BOUND) &&
        compare(g, out, "merged", merged, N * K, BOUND) &&
        (!g->adapter_config.magnitude || (compare(g, out, "c", c, N, BOUND) && compare(g, out, "g", gain, N, BOUND)));
    free(a), free(b), free(c), free(gain), free(merged);
    return good;
}

/* One gradient; compared with the file when it is the first. */
static int run_gradient(golden *g, int first)
{
    const size_t n = g->blocks * g->n_names;
    double loss = 0;
    int good = ok(g, clpeft_adapter_materialize(g->adapter, 0, 1, g->queue, 0, NULL, NULL)) &&
               ok(g, clpeft_params_zero_grad(g->params, g->queue, 0, NULL, NULL));

    for (size_t i = 0; good && i < n; i++) {
        layer *l = &g->layers[i];
        char out[80];
        snprintf(out, sizeof out, "out.%s", l->prefix);
        float *y = room(g, g->T * l->N), *dx = room(g, g->T * g->K);
        good = y && dx && run_layer(g, l, &loss, y, dx) &&
               (!first || (compare(g, out, "Y", y, g->T * l->N, BOUND) &&
                           compare(g, out, "dX", dx, g->T * g->K, BOUND) && compare_site(g, i, out)));
        free(y), free(dx);
    }
    const float loss_f32 = (float)loss;
    return good && (!first || compare(g, "", "loss", &loss_f32, 1, BOUND)) &&
           ok(g, clpeft_adapter_backward(g->adapter, g->ws, g->queue, 0, NULL, NULL));
}

static int compare_parameters(golden *g, clpeft_params_buffer which, const char *prefix, double bound)
{
    int good = 1;
    for (size_t i = 0; good && i < clpeft_params_count(g->params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(g->params, i);
        if (which == CLPEFT_GRAD && t->kind == CLPEFT_KIND_FIXED) continue;
        float *host = room(g, t->size);
        good = host && ok(g, clpeft_params_read(g->params, which, t, host, g->queue)) &&
               compare(g, prefix, t->name, host, t->size, bound);
        free(host);
    }
    return good;
}

static int replay(golden *g, const char *path)
{
    int good = ok(g, clpeft_file_open(&g->file, path)) && read_config(g) && make_case(g);
    for (int step = 0; good && step < 3; step++)
        good = run_gradient(g, step == 0) && (step > 0 || compare_parameters(g, CLPEFT_GRAD, "grad.", BOUND)) &&
               ok(g, clpeft_adamw_step(g->params, &g->adamw, g->queue, 0, NULL, NULL));
    return good && compare_parameters(g, CLPEFT_THETA, "theta3.", BOUND_STEPS);
}

static void release(golden *g)
{
    clpeft_adapter_destroy(g->adapter);
    clpeft_params_destroy(g->params);
    clpeft_workspace_destroy(g->ws);
    for (size_t i = 0; g->layers && i < g->blocks * g->n_names; i++) {
        const cl_mem all[] = { g->layers[i].x, g->layers[i].y, g->layers[i].dy, g->layers[i].dx, g->layers[i].tape };
        for (size_t b = 0; b < sizeof all / sizeof *all; b++)
            if (all[b]) clReleaseMemObject(all[b]);
        clpeft_linear_destroy(g->layers[i].linear);
        free(g->layers[i].dy0);
    }
    free(g->layers);
    json_decref(g->config);
    clpeft_file_close(g->file);
}

int main(int argc, char **argv)
{
    clpeft_context *ctx = NULL;
    cl_command_queue queue = NULL;
    int failed = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: golden FILE...\n");
        return 2;
    }
    if (clpeft_context_create(&ctx, NULL) != CLPEFT_OK || clpeft_queue_create(&queue, ctx) != CLPEFT_OK) {
        fprintf(stderr, "golden: %s\n", clpeft_error_message());
        clpeft_context_destroy(ctx);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        golden g = { .ctx = ctx, .queue = queue };
        const int replayed = replay(&g, argv[i]), pass = replayed && g.error <= g.bound;
        if (replayed)
            printf("%s: %s: worst is %s, relative error %.2e of %.0e\n", argv[i], pass ? "pass" : "FAIL", g.worst,
                   g.error, g.bound);
        else
            printf("%s: FAIL: %s\n", argv[i], g.reason);
        failed += !pass;
        release(&g);
    }
    clReleaseCommandQueue(queue);
    clpeft_context_destroy(ctx);
    return failed > 0;
}
