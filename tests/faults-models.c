/* faults-models.c - what faults.c does, on a language model, a vision transformer, and the variants of a training step: dropout and
 * the norm's gradient, CLBlast's products, blocks that are computed again.
 *
 *     faults-models [--all] [SCENARIO] */
#include "decoder.h"
#include "fault/inject.h"
#include "tiny_vit.h"

/* What the scenarios work on. */
static decoder files;
static clpeft_model *language, *again;
static clpeft_trainer *trained; /* of the language model */
static tiny_vit *images;
static clpeft_model *vision;
static clpeft_context *blas;
static clpeft_model *blas_model;

static cl_command_queue unordered;

/* What a scenario made. */
static struct {
    clpeft_model *model;
    clpeft_trainer *trainer;
    clpeft_model_cache *cache;
    cl_event event[4];
    float logits[70], losses[TOKENS];
} it;

static void undo_all(void)
{
    clFinish(unordered);
    for (int i = 0; i < 4; i++)
        if (it.event[i]) clReleaseEvent(it.event[i]);
    clpeft_model_cache_destroy(it.cache);
    clpeft_trainer_destroy(it.trainer);
    clpeft_model_destroy(it.model);
    memset(&it, 0, sizeof it);
}

static clpeft_trainer_options options_of(clpeft_method method, int language_model)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(method);
    o.adapter.rank = 2, o.adapter.seed_width = o.adapter.hidden_width = 4;
    o.decay = CLPEFT_DECAY_NONE, o.warmup = 0, o.classes = 3;
    if (language_model) o.task = CLPEFT_LANGUAGE_MODEL, o.classes = 0;
    return o;
}

/* ---- a step of each kind ------------------------------------------------------------------------------------------------- */

static float *theta[2]; /* after 0 and 1 steps */

static void same_theta(float **want)
{
    const clpeft_params *p = clpeft_trainer_params(it.trainer);
    const size_t bytes = 4 * clpeft_params_size(p);
    float *have = malloc(bytes);
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, have, clpeft_trainer_queue(it.trainer)));
    if (!*want) {
        *want = have;
        return;
    }
    ck_assert_mem_eq(*want, have, bytes);
    free(have);
}

static void prepare(clpeft_model *model, const clpeft_trainer_options *o)
{
    ck_ok(clpeft_trainer_create(&it.trainer, model, o));
    same_theta(&theta[0]);
}

static void prepare_language(void)
{
    const clpeft_trainer_options o = options_of(CLPEFT_HORA, 1);
    prepare(language, &o);
}

/* Every option of an adapter at once. */
static void prepare_options(void)
{
    clpeft_trainer_options o = options_of(CLPEFT_DORAN, 1);
    o.adapter.norm_gradient = 1, o.adapter.dropout = 0.2f, o.adapter.tau = CLPEFT_TAU_GAUSSIAN;
    o.sites = "all";
    prepare(again, &o);
}

static clpeft_status step_language(void)
{
    return clpeft_train_step(it.trainer, &decoder_batch, &(clpeft_step_result){ 0 });
}

static void prepare_vision(void)
{
    clpeft_trainer_options o = options_of(CLPEFT_DORA, 0);
    o.pool = CLPEFT_POOL_BOTH;
    prepare(vision, &o);
}

static void prepare_blas(void)
{
    const clpeft_trainer_options o = options_of(CLPEFT_DORA, 0);
    prepare(blas_model, &o);
}

static clpeft_status step_vision(void)
{
    static const int32_t labels[IMAGES] = { 2, 0, 1 };
    clpeft_batch batch = batch_of(images);
    batch.labels = labels;
    return clpeft_train_step(it.trainer, &batch, &(clpeft_step_result){ 0 });
}

static void check_step(void)
{
    same_theta(&theta[1]);
    ck_assert_uint_eq(1, clpeft_trainer_steps(it.trainer));
}

static void failed_step(void)
{
    clpeft_adamw_state state;
    const uint64_t steps = clpeft_trainer_steps(it.trainer);
    ck_assert_uint_le(steps, 1);
    same_theta(&theta[steps]);
    ck_ok(clpeft_adamw_read_state(clpeft_trainer_params(it.trainer), &state, clpeft_trainer_queue(it.trainer)));
    ck_assert_uint_eq(steps, state.applied + state.skipped);
}

/* ---- load, read on, measure -------------------------------------------------------------------------------------------- */

static clpeft_status load_language(void)
{
    return clpeft_model_load(&it.model, dev.ctx, files.path, &decoder_options);
}

static clpeft_status load_vision(void)
{
    const clpeft_model_options o = options_for(images, 0, 0);
    return clpeft_model_load(&it.model, dev.ctx, images->t.dir, &o);
}

static clpeft_status read_on(void)
{
    clpeft_status status = clpeft_model_cache_create(&it.cache, language, 12);
    if (status == CLPEFT_OK) status = clpeft_model_next_logits(it.cache, NULL, 5, decoder_tokens, it.logits, dev.queue);
    if (status == CLPEFT_OK)
        status = clpeft_model_next_logits(it.cache, NULL, 1, decoder_tokens + 5, it.logits, dev.queue);
    return status;
}

static void check_logits(void)
{
    clpeft_model_cache *cache;
    float want[70];
    ck_assert_uint_eq(6, clpeft_model_cache_length(it.cache));
    ck_ok(clpeft_model_cache_create(&cache, language, 12));
    ck_ok(clpeft_model_next_logits(cache, NULL, 5, decoder_tokens, want, dev.queue));
    ck_ok(clpeft_model_next_logits(cache, NULL, 1, decoder_tokens + 5, want, dev.queue));
    ck_assert_mem_eq(want, it.logits, sizeof want);
    clpeft_model_cache_destroy(cache);
}

/* The cache counts the tokens that it has, and goes on. */
static void failed_read(void)
{
    const size_t length = clpeft_model_cache_length(it.cache);
    if (!it.cache) return;
    ck_assert(length == 0 || length == 5 || length == 6);
    clpeft_model_cache_cut(it.cache, 0);
    ck_ok(clpeft_model_next_logits(it.cache, NULL, 5, decoder_tokens, it.logits, dev.queue));
    ck_ok(clpeft_model_next_logits(it.cache, NULL, 1, decoder_tokens + 5, it.logits, dev.queue));
    check_logits();
}

static clpeft_status measure(void)
{
    return clpeft_trainer_evaluate(trained, &decoder_batch, NULL, NULL, it.losses);
}

static void check_losses(void)
{
    float want[TOKENS];
    ck_ok(clpeft_trainer_evaluate(trained, &decoder_batch, NULL, NULL, want));
    ck_assert_mem_eq(want, it.losses, sizeof want);
}

static clpeft_status merge_gguf(void)
{
    char path[100];
    snprintf(path, sizeof path, "%s/checkpoint", files.dir); /* a name that decoder_free removes */
    return clpeft_merge_write(clpeft_trainer_adapter(trained), language, files.path, path, CLPEFT_OTHER, NULL);
}

/* ---- operations that wait for each other by events -------------------------------------------------------------------- */

static matrix m[6];

static clpeft_status chain(void)
{
    const clpeft_view x = m[0].view, gamma = m[1].view, stat = m[2].view, h = m[3].view, y = m[4].view, dx = m[5].view;
    const clpeft_view none = { NULL, 0, 0 };
    cl_event *e = it.event;
    clpeft_status status =
        clpeft_layer_norm(dev.ctx, 6, 70, 1e-5f, x, gamma, gamma, h, stat, unordered, 0, NULL, &e[0]);
    if (status == CLPEFT_OK) status = clpeft_activate(dev.ctx, CLPEFT_GELU, 6, 70, h, y, unordered, 1, &e[0], &e[1]);
    if (status == CLPEFT_OK)
        status = clpeft_activate_backward(dev.ctx, CLPEFT_GELU, 6, 70, h, y, dx, unordered, 1, &e[1], &e[2]);
    if (status == CLPEFT_OK)
        status =
            clpeft_layer_norm_backward(dev.ctx, 6, 70, x, gamma, stat, dx, 0, dx, none, none, unordered, 3, e, &e[3]);
    return status;
}

static void check_chain(void)
{
    static float first[6 * 70];
    static int known;
    clFinish(unordered);
    matrix_download(&m[5]);
    if (!known) memcpy(first, m[5].host, sizeof first), known = 1;
    ck_assert_mem_eq(first, m[5].host, sizeof first);
}

static void start_chain(void)
{
    const struct {
        size_t rows, cols;
    } size[] = { { 6, 70 }, { 70, 1 }, { 6, 2 }, { 6, 70 }, { 6, 70 }, { 6, 70 } };
    cl_command_queue_properties can = 0;
    cl_int code;
    clGetDeviceInfo(clpeft_context_device(dev.ctx), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    unordered = clCreateCommandQueue(clpeft_context_cl(dev.ctx), clpeft_context_device(dev.ctx),
                                     can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    ck_assert_int_eq(CL_SUCCESS, code);
    random_state = 3;
    for (int i = 0; i < 6; i++) m[i] = matrix_random(size[i].rows, size[i].cols, 0, 0);
}

static const fault_scenario list[] = {
    { "events", NULL, chain, check_chain, NULL, 1, NULL },
    { "load-gguf", NULL, load_language, NULL, NULL, 1, NULL },
    { "load-vit", NULL, load_vision, NULL, NULL, 1, NULL },
    { "lm-step", prepare_language, step_language, check_step, failed_step, 2, NULL },
    { "all-options", prepare_options, step_language, check_step, failed_step, 2, NULL },
    { "vit-step", prepare_vision, step_vision, check_step, failed_step, 2, NULL },
    { "clblast-step", prepare_blas, step_vision, check_step, failed_step, 2, NULL },
    { "generate", NULL, read_on, check_logits, failed_read, 1, NULL },
    { "perplexity", NULL, measure, check_losses, NULL, 1, NULL },
    { "merge-gguf", NULL, merge_gguf, NULL, NULL, 1, NULL },
};

static void set_up(void)
{
    const clpeft_trainer_options lora = options_of(CLPEFT_LORA, 1);
    clpeft_model_options recompute = decoder_options;

    device_open();
    files = decoder_make((decoder){ .V = 70, .dtype = CLPEFT_Q8_0 });
    decoder_write_gguf(&files, files.dtype, SIZE_MAX);
    ck_ok(clpeft_model_load(&language, dev.ctx, files.path, &decoder_options));
    recompute.recompute = 1;
    ck_ok(clpeft_model_load(&again, dev.ctx, files.path, &recompute));
    ck_ok(clpeft_trainer_create(&trained, language, &lora));
    images = make(0, SIDE);
    write_model(images, "");
    const clpeft_model_options pixels = options_for(images, 0, 0);
    ck_ok(clpeft_model_load(&vision, dev.ctx, images->t.dir, &pixels));
    setenv("CLPEFT_GEMM", "clblast", 1);
    ck_ok(clpeft_context_create(&blas, NULL));
    unsetenv("CLPEFT_GEMM");
    ck_ok(clpeft_model_load(&blas_model, blas, images->t.dir, &pixels));
    start_chain();
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++) free(theta[i]), theta[i] = NULL;
    for (int i = 0; i < 6; i++) matrix_free(&m[i]);
    clReleaseCommandQueue(unordered);
    clpeft_model_destroy(blas_model);
    clpeft_context_destroy(blas);
    clpeft_model_destroy(vision);
    destroy(images);
    clpeft_trainer_destroy(trained);
    clpeft_model_destroy(again);
    clpeft_model_destroy(language);
    decoder_free(&files);
    device_close();
}

int main(int n, char **arguments)
{
    return run_scenarios(n, arguments, list, sizeof list / sizeof *list, undo_all, set_up, tear_down);
}
