/* skinny.c - what does the low-rank path cost?  A frozen layer with its sites against the same layer without, T = 1024:
 * the time that is added, over the floating-point operations that are added, beside the rate of the bare product. Calls
 * alternate, and that time is the median of the differences of neighbours: a shared machine's speed swings by more.
 *     forward   U = X A^T, s U B^T                                2 T (K R + sum rows r)
 *     backward  dZ B, (dZ B) A, dA = (dZ B)^T X, dB = dZ^T U      4 T (K R + sum rows r)     R: the sum of the sites' ranks
 * What LoRA's backward adds stands also beside the time to read what it has to: X and the sites' columns of dZ.
 * Usage: bench-skinny [ROUNDS]   of 20 calls each */
#include "bench.h"

enum { T = 1024 };

static const struct {
    const char *name;
    size_t N, K, n_sites, row[2], rows; /* of every site */
} shape[] = {
    { "query, key, value 1152 x 384, sites query and value", 1152, 384, 2, { 0, 768 }, 384 },
    { "384 x 384, one site", 384, 384, 1, { 0 }, 384 },
    { "1536 x 384, one site", 1536, 384, 1, { 0 }, 1536 },
    { "384 x 1536, one site", 384, 1536, 1, { 0 }, 384 },
};

static struct {
    size_t N, K;
    clpeft_linear *linear;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_workspace *ws;
    clpeft_view x, y, dx, tape;
} p;

static void forward(const clpeft_adapter *adapter, clpeft_view tape)
{
    CHECK(clpeft_linear_forward(p.linear, adapter, T, CLPEFT_IDENTITY, p.x, (clpeft_view){ 0 }, p.y, tape, p.ws,
                                dev.queue, 0, NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void backward(clpeft_adapter *adapter, clpeft_view tape)
{
    CHECK(clpeft_linear_backward(p.linear, adapter, T, CLPEFT_IDENTITY, p.x, tape, p.y, 0, p.dx, p.ws, dev.queue, 0,
                                 NULL, NULL));
    CHECK(clFinish(dev.queue));
}

static void bare_forward(void *self)
{
    (void)self;
    forward(NULL, (clpeft_view){ 0 });
}

static void bare_backward(void *self)
{
    (void)self;
    backward(NULL, (clpeft_view){ 0 });
}

static void adapted_forward(void *self)
{
    (void)self;
    forward(p.adapter, p.tape);
}

static void adapted_backward(void *self)
{
    (void)self;
    backward(p.adapter, p.tape);
}

static void make(size_t s, clpeft_method method, size_t rank)
{
    const clpeft_linear_options options = { .N = shape[s].N, .K = shape[s].K, .dtype = CLPEFT_F32 };
    clpeft_adapter_config config = clpeft_adapter_defaults(method);
    clpeft_site sites[2];
    float *x, *w;

    p.N = shape[s].N, p.K = shape[s].K;
    x = bench_random(T * p.K, 1), w = bench_random(p.N * p.K, 2);
    CHECK(clpeft_linear_create(&p.linear, dev.ctx, &options));
    CHECK(clpeft_linear_load(p.linear, 0, p.N, w, CLPEFT_F32, NULL, dev.queue));
    for (size_t i = 0; i < shape[s].n_sites; i++)
        sites[i] = (clpeft_site){ .name = i ? "value" : "query",
                                  .linear = p.linear,
                                  .row = shape[s].row[i],
                                  .heads = 1,
                                  .head_size = shape[s].rows };
    config.rank = rank;
    CHECK(clpeft_params_create(&p.params, dev.ctx));
    CHECK(clpeft_adapter_create(&p.adapter, p.params, sites, shape[s].n_sites, &config));
    CHECK(clpeft_params_allocate(p.params));
    CHECK(clpeft_adapter_materialize(p.adapter, 1, 1, dev.queue, 0, NULL, NULL));
    p.ws = bench_workspace(clpeft_linear_workspace(p.linear, p.adapter, T));
    p.x = bench_view(T, p.K, x), p.dx = bench_view(T, p.K, NULL), p.y = bench_view(T, p.N, NULL);
    p.tape = bench_view(clpeft_linear_tape(p.linear, p.adapter, T), 1, NULL);
    free(x), free(w);
}

static void unmake(void)
{
    clReleaseMemObject(p.x.buf), clReleaseMemObject(p.dx.buf), clReleaseMemObject(p.y.buf),
        clReleaseMemObject(p.tape.buf);
    clpeft_workspace_destroy(p.ws);
    clpeft_adapter_destroy(p.adapter);
    clpeft_params_destroy(p.params);
    clpeft_linear_destroy(p.linear);
}

static bench_reader reader;

static void read_operands(size_t columns) /* of dZ */
{
    bench_read(&reader, p.x.buf, T * p.K);
    bench_read(&reader, p.y.buf, T * columns);
    CHECK(clFinish(dev.queue));
}

static double timed(void (*run)(void *), contestant *c)
{
    const double start = bench_now();
    run(NULL);
    const double ms = bench_now() - start;
    bench_add(c, ms);
    return ms;
}

/* Prints the rate of what is added, and returns its time in ms: below 1 us it costs nothing. */
static double report(const char *what, const char *text, double added, double products, void (*bare)(void *),
                     void (*adapted)(void *), size_t n)
{
    contestant without = { .ms = NULL }, with = { .ms = NULL }, difference = { .ms = NULL };

    for (const double start = bench_now(); bench_now() < start + 50;) bare(NULL), adapted(NULL); /* threads settle */
    for (size_t i = 0; i < n; i++) {
        const double ms = timed(bare, &without);
        bench_add(&difference, timed(adapted, &with) - ms);
    }
    const double ms = fmax(bench_median(&difference), 1e-3), ours = added / ms,
                 theirs = products / bench_median(&without);
    bench_print(
        &(bench_row){ "skinny", what, text, "GFLOPS", "the bare product", ">= 0.6", ours, ours, theirs, theirs });
    free(without.ms), free(with.ms), free(difference.ms);
    return ms;
}

static void measure(size_t s, clpeft_method method, const char *name, size_t rank, size_t rounds)
{
    const double R = (double)(rank * shape[s].n_sites), rows = (double)(shape[s].rows * shape[s].n_sites);
    const double added = 2e-6 * T * ((double)shape[s].K * R + rows * (double)rank); /* forward */
    const double products = 2e-6 * T * (double)shape[s].N * (double)shape[s].K;
    contestant reading = { .ms = NULL };
    char what[64], text[160];

    make(s, method, rank);
    snprintf(text, sizeof text, "%s, r %zu", shape[s].name, rank);
    snprintf(what, sizeof what, "%s forward", name);
    report(what, text, added, products, bare_forward, adapted_forward, 20 * rounds);
    snprintf(what, sizeof what, "%s backward", name);
    const double ms = report(what, text, 2 * added, products, bare_backward, adapted_backward, 20 * rounds);
    for (size_t i = 0; i < 20 * rounds && method == CLPEFT_LORA; i++) {
        const double start = bench_now();
        read_operands((size_t)rows);
        bench_add(&reading, bench_now() - start);
    }
    if (method == CLPEFT_LORA) {
        const double median = bench_median(&reading);
        bench_print(&(bench_row){ "skinny", "lora backward, time added", text, "ms", "reading its operands", NULL, ms,
                                  ms, median, median });
    }
    free(reading.ms);
    unmake();
}

int main(int argc, char **argv)
{
    const size_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 30;

    bench_open();
    reader = bench_reader_make();
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (size_t rank = 8; rank <= 16; rank *= 2) {
            measure(s, CLPEFT_LORA, "lora", rank, rounds);
            measure(s, CLPEFT_DORA, "dora", rank, rounds);
        }
    bench_reader_free(&reader);
    bench_close();
    return 0;
}
