/* layer.cpp - clpeft from C++ through the same header: one frozen layer learns a new target by a LoRA site. Owners are unique_ptrs. */
#include <clpeft.h>

#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

void check(clpeft_status status)
{
    if (status != CLPEFT_OK) throw std::runtime_error(clpeft_error_message());
}

/* unique_ptr with a _destroy function as its deleter. */
template <auto destroy> struct deleter {
    template <class T> void operator()(T *object) const { destroy(object); }
};
template <class T, auto destroy> using owned = std::unique_ptr<T, deleter<destroy>>;

/* A device buffer of n floats, and the view of it as rows of ld. */
class buffer {
public:
    buffer(clpeft_context *ctx, size_t n) : mem(clCreateBuffer(clpeft_context_cl(ctx), CL_MEM_READ_WRITE, 4 * n, nullptr, nullptr)) {}
    buffer(const buffer &) = delete;
    ~buffer() { clReleaseMemObject(mem); }
    clpeft_view view(size_t ld) const { return { mem, 0, ld }; }
    cl_mem mem;
};

void run()
{
    constexpr size_t T = 32, K = 24, N = 16;
    clpeft_context *made_context = nullptr;
    check(clpeft_context_create(&made_context, nullptr));
    const owned<clpeft_context, clpeft_context_destroy> ctx(made_context);
    cl_command_queue queue = nullptr;
    check(clpeft_queue_create(&queue, ctx.get()));

    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const auto values = [&](size_t n, float scale) {
        std::vector<float> v(n);
        for (float &x : v) x = scale * normal(random);
        return v;
    };
    const std::vector<float> weight = values(N * K, 0.2f), input = values(T * K, 1), target = values(T * N, 0.5f);

    clpeft_linear_options layer{};
    layer.N = N, layer.K = K, layer.dtype = CLPEFT_F32;
    clpeft_linear *made_linear = nullptr;
    check(clpeft_linear_create(&made_linear, ctx.get(), &layer));
    const owned<clpeft_linear, clpeft_linear_destroy> linear(made_linear);
    check(clpeft_linear_load(linear.get(), 0, N, weight.data(), CLPEFT_F32, nullptr, queue));

    clpeft_params *made_params = nullptr;
    check(clpeft_params_create(&made_params, ctx.get()));
    const owned<clpeft_params, clpeft_params_destroy> params(made_params);
    clpeft_site site{};
    site.name = "layer", site.linear = linear.get(), site.heads = 1, site.head_size = N;
    clpeft_adapter_config config = clpeft_adapter_defaults(CLPEFT_LORA);
    clpeft_adapter *made_adapter = nullptr;
    check(clpeft_adapter_create(&made_adapter, params.get(), &site, 1, &config));
    const owned<clpeft_adapter, clpeft_adapter_destroy> adapter(made_adapter);
    check(clpeft_params_allocate(params.get()));

    clpeft_workspace *made_workspace = nullptr;
    check(clpeft_workspace_create(&made_workspace, ctx.get(), clpeft_linear_workspace(linear.get(), adapter.get(), T)));
    const owned<clpeft_workspace, clpeft_workspace_destroy> ws(made_workspace);
    const buffer x(ctx.get(), T * K), y(ctx.get(), T * N), wanted(ctx.get(), T * N), tape(ctx.get(), clpeft_linear_tape(linear.get(), adapter.get(), T));
    clEnqueueWriteBuffer(queue, x.mem, CL_TRUE, 0, 4 * T * K, input.data(), 0, nullptr, nullptr);
    clEnqueueWriteBuffer(queue, wanted.mem, CL_TRUE, 0, 4 * T * N, target.data(), 0, nullptr, nullptr);

    clpeft_adamw adamw = clpeft_adamw_defaults();
    adamw.lr = 0.02f, adamw.max_norm = 0;
    std::vector<float> error(T * N);
    double first = 0, last = 0;
    for (uint64_t step = 0; step < 150; step++) {
        check(clpeft_adapter_materialize(adapter.get(), step, 1, queue, 0, nullptr, nullptr));
        check(clpeft_params_zero_grad(params.get(), queue, 0, nullptr, nullptr));
        check(clpeft_linear_forward(linear.get(), adapter.get(), T, CLPEFT_IDENTITY, x.view(K), clpeft_view{}, y.view(N), tape.view(1), ws.get(),
                                    queue, 0, nullptr, nullptr));
        /* loss = |y - wanted|^2 / 2, so dy = y - wanted */
        check(clpeft_add(ctx.get(), T, N, 1, y.view(N), -1, wanted.view(N), y.view(N), queue, 0, nullptr, nullptr));
        check(clpeft_linear_backward(linear.get(), adapter.get(), T, CLPEFT_IDENTITY, x.view(K), tape.view(1), y.view(N), 0, clpeft_view{},
                                     ws.get(), queue, 0, nullptr, nullptr));
        check(clpeft_adapter_backward(adapter.get(), nullptr, queue, 0, nullptr, nullptr));
        check(clpeft_adamw_step(params.get(), &adamw, queue, 0, nullptr, nullptr));
        clEnqueueReadBuffer(queue, y.mem, CL_TRUE, 0, 4 * T * N, error.data(), 0, nullptr, nullptr);
        last = 0;
        for (float e : error) last += 0.5 * e * e;
        if (step == 0) first = last;
    }
    std::printf("squared error %.2f -> %.2f\n", first, last);
    clReleaseCommandQueue(queue);
    if (!(last < 0.5 * first)) throw std::runtime_error("the error did not fall");
}

} // namespace

int main()
{
    try {
        run();
    } catch (const std::exception &e) {
        std::fprintf(stderr, "layer: %s\n", e.what());
        return 2;
    }
    return 0;
}
